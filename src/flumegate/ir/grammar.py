"""The legal order of a stream's events, as a table that readers are held to.

Upstreams send impossible orders; whoever writes for a client must never see one.
"""

from __future__ import annotations

from flumegate.ir import events as e
from flumegate.ir.parts import Media, Opaque, Thinking


class GrammarError(ValueError):
    """An event stands where it cannot; the message names both."""


class Grammar:
    """Follows one stream and refuses the first event out of order."""

    __slots__ = ("_choices", "_finished", "_next", "_open", "ended", "started")

    def __init__(self) -> None:
        self.started = False
        self.ended = False
        self._next = 0
        self._open: dict[int, tuple[e.Opened, int]] = {}
        """Open blocks, and the piece that each is at."""
        self._choices: set[int] = {0}
        self._finished: set[int] = set()

    def check(self, event: e.Event) -> None:
        """Take the next event.

        Raises:
            GrammarError: it may not come here.
        """
        if self.ended:
            raise GrammarError(f"{type(event).__name__} after the end")
        if type(event) is e.Grew:  # first: nearly all events are of this kind
            self._grow(event)
        elif not self.started:
            if not isinstance(event, e.Started | e.Failed):
                raise GrammarError(f"{type(event).__name__} before the start")
            self.started = True
            self.ended = isinstance(event, e.Failed)
        else:
            self._go_on(event)

    def _grow(self, event: e.Grew) -> None:
        known = self._open.get(event.index)
        if known is None:
            raise GrammarError(f"block {event.index} grows and is not open")
        opened, piece = known
        if isinstance(opened.part, Media | Opaque):
            raise GrammarError(f"block {event.index} came whole and grows")
        if event.piece != piece:
            if not isinstance(opened.part, Thinking) or event.piece != piece + 1:
                raise GrammarError(f"block {event.index} is at piece {piece} and grows piece {event.piece}")
            self._open[event.index] = (opened, event.piece)

    def _go_on(self, event: e.Event) -> None:
        match event:
            case e.Opened():
                self._open_block(event)
            case e.Closed():
                if self._open.pop(event.index, None) is None:
                    raise GrammarError(f"block {event.index} closes and is not open")
            case e.Cited() if event.index not in self._open:
                raise GrammarError(f"block {event.index} is cited and is not open")
            case e.Finished():
                self._finish(event.choice)
            case e.Ended():
                if self._finished != self._choices:
                    raise GrammarError("the end before every choice has finished")
                self.ended = True
            case e.Failed():
                self.ended = True
            case e.Started():
                raise GrammarError("a second start")
            case _:
                pass  # usage may come at any time

    def _open_block(self, event: e.Opened) -> None:
        if event.index != self._next:
            raise GrammarError(f"block {event.index} opens where {self._next} is next")
        if event.choice in self._finished:
            raise GrammarError(f"block {event.index} opens in a finished choice")
        self._next += 1
        self._choices.add(event.choice)
        self._open[event.index] = (event, 0)

    def _finish(self, choice: int) -> None:
        if choice in self._finished:
            raise GrammarError(f"choice {choice} finishes twice")
        if any(opened.choice == choice for opened, _ in self._open.values()):
            raise GrammarError(f"choice {choice} finishes with an open block")
        self._finished.add(choice)
        self._choices.add(choice)
