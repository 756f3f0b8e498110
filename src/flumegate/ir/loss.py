"""What could not be said in another dialect. Every writer returns its losses; none is silent."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from flumegate.ir.parts import Extras, Opaque

LossKind = Literal["dropped", "approximated", "invented", "refused"]
_INDEX = re.compile(r"\[\d+\]")
_NOT_IN_CODES = re.compile(r"[^A-Za-z0-9_.:-]")
_EMPTY = (b"[]", b'""')
"""What says nothing; an empty object may switch something on."""
_MAX_CODE = 100
"""Characters. Names in paths are the client's, and codes go into headers and metrics."""


class Loss(msgspec.Struct, frozen=True, gc=False):
    """One thing that changed on the way.

    Attributes:
        kind: `dropped`: left out; `approximated`: said less exactly; `invented`: the other dialect demands it and
            nobody had said it; `refused`: without it the request would mean something else, so it must not be sent.
        path: where in the client's document (`messages[2].content[0].detail`); of a setting, its neutral name.
        reason: one sentence for people.
    """

    kind: LossKind
    path: str
    reason: str

    @property
    def code(self) -> str:
        """Short name for headers, metrics and records: `dropped:seed`, `dropped:messages.content.detail`."""
        return _NOT_IN_CODES.sub("_", f"{self.kind}:{_INDEX.sub('', self.path)}"[:_MAX_CODE])


class Losses:
    """Collects what a writer could not say."""

    def __init__(self) -> None:
        self.found: list[Loss] = []
        self._known: set[Loss] = set()

    def _note(self, loss: Loss) -> None:
        if loss not in self._known:  # the same words about the same place tell nothing new
            self._known.add(loss)
            self.found.append(loss)

    def dropped(self, path: str, reason: str) -> None:
        """Note that a hint was left out."""
        self._note(Loss("dropped", path, reason))

    def approximated(self, path: str, reason: str) -> None:
        """Note that something was said less exactly."""
        self._note(Loss("approximated", path, reason))

    def invented(self, path: str, reason: str) -> None:
        """Note that something was added."""
        self._note(Loss("invented", path, reason))

    def refused(self, path: str, reason: str) -> None:
        """Note that the request cannot be sent; the writer goes on all the same, so that all reasons are found."""
        self._note(Loss("refused", path, reason))

    def extras(self, extras: Extras | None, at: str, own: tuple[str, ...], target: str) -> None:
        """Report members that only another dialect knows; `own` names the dialects whose members are written."""
        if extras is None or extras.dialect in own:
            return
        for name, raw in extras.fields.items():
            path = f"{at}.{name}" if at else name
            if name in extras.vital:
                self.refused(path, f"{target} has nothing like it.")
            elif name not in extras.trivial and bytes(raw) not in _EMPTY:
                self.dropped(path, f"{target} has nothing like it.")

    def opaque(self, part: Opaque, target: str) -> None:
        """Report a block that only another dialect knows; one of an answer has no place but its name."""
        place = part.at or part.kind
        if part.vital:
            self.refused(place, f"{target} has no block of type {part.kind[:60]!r}.")
        else:
            self.dropped(place, f"{target} has no block of type {part.kind[:60]!r}.")
