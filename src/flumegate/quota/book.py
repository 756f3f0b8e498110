"""What keys and projects use of their limits, as one worker counts it. Nothing here knows a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from flumegate.quota.window import Window
from flumegate.records.access import Limits

LimitName = Literal["requests", "tokens", "concurrency", "max_requests"]
MOST_HOLDERS = 65_536
"""From so many on, holders for whom nothing counts any more are forgotten."""


class Holder(NamedTuple):
    """Whose limits they are."""

    name: str
    """`key:<id>` or `project:<id>`."""
    limits: Limits


class Over(NamedTuple):
    """Why a request is not admitted."""

    limit: LimitName
    holder: Holder
    allowed: int
    wait_seconds: float | None
    """Until it could be; None = nobody knows, or never."""


class Room(msgspec.Struct, frozen=True, gc=False):
    """What is left of a rate, for headers."""

    limit: int
    remaining: int
    reset_seconds: float
    """Until all of it is there again."""


class Sheet(Window):
    """What one holder has used: within the minute, under way, and in all its life.

    Attributes:
        active: requests under way.
        served: requests in all its life, as far as that was told; else since it was first counted here.
        told: somebody has said what it was served before.
    """

    __slots__ = ("active", "served", "told")

    def __init__(self) -> None:
        super().__init__()
        self.active = 0
        self.served = 0
        self.told = False

    def quiet(self, second: int) -> bool:
        """Return whether it could be forgotten and begin anew without any limit noticing."""
        if self.active or self.told:
            return False
        self.turn(second)
        return not (self.requests or self.tokens)


class Book:
    """The holders of one worker.

    Attributes:
        era: another object whenever sheets were forgotten: who has bound some of them looks for them anew.
    """

    def __init__(self) -> None:
        self.era = object()
        self._sheets: dict[str, Sheet] = {}
        self._sweep_at = MOST_HOLDERS

    def unknown(self, holders: Sequence[Holder]) -> tuple[str, ...]:
        """Return the holders with a count for life that nobody has told yet."""
        return tuple(holder.name for holder in holders if holder.limits.max_requests and not self._told(holder.name))

    def tell(self, name: str, served: int) -> None:
        """Enter how many requests a holder has had so far; what is known already stays."""
        sheet = self._sheets.setdefault(name, Sheet())
        if not sheet.told:
            sheet.served, sheet.told = served, True

    def sheets(self, names: Sequence[str], second: int) -> list[Sheet]:
        """Return where holders are counted; from then on they are, with or without a limit."""
        known = self._sheets
        if names and len(known) >= self._sweep_at:  # who looks for nobody may do so between a look and a count
            self._forget_quiet(second)
        return [known.setdefault(name, Sheet()) for name in names]

    def active(self, name: str) -> int:
        """Return how many requests of a holder are under way."""
        sheet = self._sheets.get(name)
        return 0 if sheet is None else sheet.active

    def _told(self, name: str) -> bool:
        sheet = self._sheets.get(name)
        return sheet is not None and sheet.told

    def _forget_quiet(self, second: int) -> None:
        for name in [name for name, sheet in self._sheets.items() if sheet.quiet(second)]:
            del self._sheets[name]
        self.era = object()
        # Twice what is in use, so that a look at all of them is paid for by as many newcomers.
        self._sweep_at = max(MOST_HOLDERS, 2 * len(self._sheets))


def limit_of(limits: Limits, name: LimitName) -> int:
    """Return the number behind a limit's name."""
    return {
        "requests": limits.requests_per_minute,
        "tokens": limits.tokens_per_minute,
        "concurrency": limits.concurrency,
        "max_requests": limits.max_requests,
    }[name]
