"""A request on its way to the wire: what the writers of its sections share."""

from __future__ import annotations

from typing import Any

from flumegate.dialects.anthropic.messages.extras import DIALECT, TARGET, put_back, write_cache
from flumegate.ir.loss import Losses
from flumegate.ir.parts import CacheMark, Extras
from flumegate.ir.request import Request
from flumegate.ir.turns import safe_name
from flumegate.ir.written import Abilities, Rename

MAX_NAME = 128
MAX_MARKS = 4
_TTLS = ("", "5m", "1h")


class Draft:
    """One request, what its model takes, and what could not be said so far.

    Attributes:
        own: the client spoke Messages itself, so its words are taken as they are wherever they can be.
        thinking_dropped: reasoning of another provider was left out of the conversation.
    """

    def __init__(self, request: Request, abilities: Abilities) -> None:
        self.request = request
        self.abilities = abilities
        self.own = request.dialect == DIALECT
        self.losses = Losses()
        self.renames: dict[str, Rename] = {}
        self.thinking_dropped = False
        self._marked: list[tuple[dict[str, Any], str]] = []

    def name_of(self, namespace: str, name: str) -> str:
        """Return a tool's name on the wire."""
        return safe_name(f"{namespace}__{name}" if namespace else name, MAX_NAME)

    def extras(self, members: dict[str, Any], extras: Extras | None, at: str) -> None:
        """Put our own extras back, report others."""
        put_back(members, extras)
        self.losses.extras(extras, at, (DIALECT,), TARGET)

    def mark(self, members: dict[str, Any], cache: CacheMark | None, at: str) -> None:
        """Note a breakpoint; called in the order in which the model reads."""
        if cache is None:
            return
        if self.abilities.cache_marks is False:
            self.losses.dropped(f"{at}.cache", "The model takes no cache breakpoints.")
            return
        if cache.ttl not in _TTLS and not self.own:
            self.losses.approximated(f"{at}.cache", f"{TARGET} keeps a cache for 5m or 1h; its default is used.")
            cache = CacheMark()
        members["cache_control"] = write_cache(cache)
        self._marked.append((members, at))

    def limit_marks(self) -> None:
        """Take back the first breakpoints where there are too many: the last ones cover the longest beginnings."""
        room = MAX_MARKS - (self.request.cache is not None)
        for members, at in self._marked[: max(0, len(self._marked) - room)]:
            del members["cache_control"]
            self.losses.dropped(f"{at}.cache", f"{TARGET} takes at most {MAX_MARKS} cache breakpoints.")
