"""Who gets a place when there are not enough: an admission book, fair between client keys.

Up to `max_active` requests are served at once, and a key alone may have all of those places. Beyond, requests queue
behind others of their key; each place that becomes free goes to the next key in turn, so a key waits for at most as
many of them as other keys wait. Where the queue is full, the newest request of the key that queues most is refused: the
one who floods pays, not the one who comes late. Under pressure no key may hold more than the mean of all of them.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

Ticket = TypeVar("Ticket", bound=Hashable)


class Verdict(enum.Enum):
    """What becomes of a request that enters."""

    ADMITTED = "admitted"
    QUEUED = "queued"
    REFUSED = "refused"


class Entry(NamedTuple, Generic[Ticket]):
    """The verdict on the request that enters, and the ticket that lost its place in the queue to it."""

    verdict: Verdict
    displaced: Ticket | None = None


class Admission(Generic[Ticket]):
    """The book. A ticket stands for one request; it is in the book once, from `enter` until it has a place or leaves.

    Attributes:
        active: requests that have a place.
        queued: requests that wait for one.
    """

    def __init__(self, max_active: int, max_queued: int) -> None:
        self.max_active = max_active
        self.max_queued = max_queued
        self.active = 0
        self.queued = 0
        self._held: dict[str, int] = {}
        """Key → its requests, active and queued; no key without any."""
        self._queues: OrderedDict[str, OrderedDict[Ticket, None]] = OrderedDict()
        """Key → its queue, oldest first; the key whose turn is next stands first, and none is empty."""
        self._key_of: dict[Ticket, str] = {}

    def take(self, key: str) -> None:
        """Give a place to a request of this key; for a caller that has seen that one is free."""
        self.active += 1
        held = self._held
        held[key] = held.get(key, 0) + 1

    def enter(self, key: str, ticket: Ticket, *, pressed: bool = False) -> Entry[Ticket]:
        """Give a request a place, or let it wait, or refuse it; `pressed`: there is less room than places."""
        if pressed and self._is_above_mean(key):
            return Entry(Verdict.REFUSED)
        if self.active < self.max_active:
            self.take(key)
            return Entry(Verdict.ADMITTED)
        displaced: Ticket | None = None
        if self.queued >= self.max_queued:
            longest = max(self._queues, key=self._length, default=key)
            if self._length(longest) <= self._length(key) + 1:
                return Entry(Verdict.REFUSED)
            displaced = next(reversed(self._queues[longest]))
            self.withdraw(displaced)
        self._queues.setdefault(key, OrderedDict())[ticket] = None
        self._key_of[ticket] = key
        self._held[key] = self._held.get(key, 0) + 1
        self.queued += 1
        return Entry(Verdict.QUEUED, displaced)

    def leave(self, key: str) -> Sequence[Ticket]:
        """Take back the place of a request of this key; return the tickets that have a place from now on."""
        self.active -= 1
        self._let_go(key)
        return self._fill() if self.queued else ()

    def withdraw(self, ticket: Ticket) -> bool:
        """Strike a ticket that waits; return False where it does not."""
        key = self._key_of.pop(ticket, None)
        if key is None:
            return False
        queue = self._queues[key]
        del queue[ticket]
        if not queue:
            del self._queues[key]
        self.queued -= 1
        self._let_go(key)
        return True

    def resize(self, max_active: int, max_queued: int) -> Sequence[Ticket]:
        """Set other bounds; return the tickets that have a place from now on. Nobody loses what they have."""
        self.max_active, self.max_queued = max_active, max_queued
        return self._fill()

    def _fill(self) -> list[Ticket]:
        """Give the free places out, one key after the other."""
        seated: list[Ticket] = []
        while self.queued and self.active < self.max_active:
            key, queue = next(iter(self._queues.items()))
            ticket, _ = queue.popitem(last=False)
            if queue:
                self._queues.move_to_end(key)
            else:
                del self._queues[key]
            del self._key_of[ticket]
            self.queued -= 1
            self.active += 1
            seated.append(ticket)
        return seated

    def _let_go(self, key: str) -> None:
        held = self._held[key] - 1
        if held:
            self._held[key] = held
        else:
            del self._held[key]

    def _length(self, key: str) -> int:
        return len(self._queues.get(key, ()))

    def _is_above_mean(self, key: str) -> bool:
        """Tell whether one more request would bring this key above the mean of all keys that hold any.

        The mean of what is held, and not of the places: under pressure there are more places than room.
        """
        mine = self._held.get(key, 0) + 1
        keys = len(self._held) + (mine == 1)
        return mine * keys > self.active + self.queued + 1
