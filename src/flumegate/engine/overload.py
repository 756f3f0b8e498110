"""A worker's places: who is served now, who waits for how long, and who is refused because it would be too much.

The book behind it (`routing.fairness`) is fair between keys. Two things bound a worker: the number of its requests, and
its memory. From PRESSED of the memory's limit on no key gets more than the mean of all keys, from CRITICAL on nothing
new is taken while anything is under way; a worker without work always takes one request, so it cannot lock itself out.
What is answered here (health, metrics, lists of models) needs no place.
"""

from __future__ import annotations

import asyncio
import math
from typing import Literal, NamedTuple

from flumegate import log
from flumegate.errors import UNAVAILABLE, GatewayError
from flumegate.exchange import Exchange
from flumegate.routing.fairness import Admission, Verdict
from flumegate.snapshot import Door

Pressure = Literal["none", "pressed", "critical"]
PRESSED = 0.85
CRITICAL = 0.95
SLACK = 0.05
"""So much must be given back before a state ends, or it would change with every request."""
MAX_RETRY_SECONDS = 30
_SMOOTHING = 0.2
"""Weight of the newest sweep in the rate of leaves: its memory is about a second long."""
_PLACES = "The gateway is busy: all its places (server.max_active) are taken, and so is the queue (server.max_queued)."
_WAITED = (
    "The gateway is busy: no place (server.max_active) became free in time (server.queue_seconds, or the request's own "
    "x-flumegate-timeout)."
)
_MEMORY = "The gateway is short of memory (server.max_memory_bytes) and takes no more for now."


class _Waiting(NamedTuple):
    """A request that waits: what its task waits for, and until when. The result is why it gets no place, or None."""

    future: asyncio.Future[GatewayError | None]
    due: float


class Overload:
    """The places of one worker.

    Attributes:
        pressure: how short of memory the worker is.
        memory_bytes: what it had in use at the last sweep.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, totals: dict[str, int]) -> None:
        self._loop = loop
        self._totals = totals
        self._queue_seconds = Door().queue_seconds
        self._memory_limit = 0
        self._book: Admission[Exchange] = Admission(Door().max_active, Door().max_queued)
        self._free_below = self._book.max_active
        """Below so many there is nothing to be decided; 0 under pressure."""
        self._waiting: dict[Exchange, _Waiting] = {}
        self._left = 0
        self._rate = 0.0
        """Places that become free in a second, of late."""
        self._swept = loop.time()
        self.pressure: Pressure = "none"
        self.memory_bytes = 0

    @property
    def active(self) -> int:
        """Requests that have a place."""
        return self._book.active

    @property
    def queued(self) -> int:
        """Requests that wait for one."""
        return self._book.queued

    def apply(self, door: Door, memory_limit: int) -> None:
        """Take the bounds of a new Snapshot; `memory_limit` in bytes, 0 = none."""
        self._queue_seconds = door.queue_seconds
        self._memory_limit = memory_limit
        for exchange in self._book.resize(door.max_active, door.max_queued):
            self._seat(exchange)
        self._weigh()

    def admit(self, exchange: Exchange) -> bool:
        """Give a request its place; return False where it must `wait` for one.

        Raises:
            GatewayError: 503, there is none and none to wait for.
        """
        book = self._book
        if book.active < self._free_below:
            book.take(exchange.key_id)
            exchange.placed_for = exchange.key_id
            return True
        return self._decide(exchange)

    async def wait(self, exchange: Exchange) -> None:
        """Return once a request that was just not admitted has its place.

        Raises:
            GatewayError: 503, it waited too long or lost its place in the queue.
        """
        refusal = await self._waiting[exchange].future
        if refusal is not None:
            raise refusal

    def leave(self, exchange: Exchange) -> None:
        """Take the place back, or the request out of the queue; nothing happens where it has neither."""
        key = exchange.placed_for
        if key is not None:
            exchange.placed_for = None
            self._left += 1
            for other in self._book.leave(key):
                self._seat(other)
        elif self._waiting and self._waiting.pop(exchange, None) is not None:
            self._book.withdraw(exchange)

    def check_memory(self) -> None:
        """Refuse what would be read into memory that there is not.

        Raises:
            GatewayError: 503.
        """
        if self.pressure == "critical" and self._book.active:
            raise self._refusal(_MEMORY)

    def sweep(self, now: float, memory_bytes: int) -> None:
        """End waits that took too long, and look at the memory; `now` by the loop's clock."""
        if (elapsed := now - self._swept) > 0:
            self._rate += (self._left / elapsed - self._rate) * _SMOOTHING
            self._left, self._swept = 0, now
        for exchange in [exchange for exchange, waiting in self._waiting.items() if waiting.due <= now]:
            self._book.withdraw(exchange)
            self._turn_away(exchange, _WAITED)
        self.memory_bytes = memory_bytes
        self._weigh()

    def _decide(self, exchange: Exchange) -> bool:
        self.check_memory()
        pressed = self.pressure == "pressed"
        verdict, displaced = self._book.enter(exchange.key_id, exchange, pressed=pressed)
        if displaced is not None:
            self._turn_away(displaced, _PLACES)
        if verdict is Verdict.REFUSED:
            raise self._refusal(_MEMORY if pressed else _PLACES)
        if verdict is Verdict.ADMITTED:
            exchange.placed_for = exchange.key_id
            return True
        due = min(self._loop.time() + self._queue_seconds, exchange.deadline)
        self._waiting[exchange] = _Waiting(self._loop.create_future(), due)
        return False

    def _seat(self, exchange: Exchange) -> None:
        """Wake a request that has its place; one whose client has just left gives it on in `leave`."""
        exchange.placed_for = exchange.key_id
        future = self._waiting.pop(exchange).future
        if not future.done():
            future.set_result(None)

    def _turn_away(self, exchange: Exchange, message: str) -> None:
        """End the wait of a request that is in the book no more."""
        future = self._waiting.pop(exchange).future
        if not future.done():
            future.set_result(self._refusal(message))

    def _refusal(self, message: str) -> GatewayError:
        self._totals["requests_shed"] = self._totals.get("requests_shed", 0) + 1
        before = self._book.active if message is _MEMORY else self._book.queued
        seconds = (before + 1) / self._rate if self._rate else MAX_RETRY_SECONDS
        retry_after = math.ceil(min(seconds, MAX_RETRY_SECONDS))
        return GatewayError(
            UNAVAILABLE, "overloaded", f"{message} Try again in {retry_after} s.", retry_after=retry_after
        )

    def _weigh(self) -> None:
        """Compare the memory with its limit; say so once when the state changes."""
        share = self.memory_bytes / self._memory_limit if self._memory_limit else 0.0
        before = self.pressure
        if share >= CRITICAL or (before == "critical" and share >= CRITICAL - SLACK):
            self.pressure = "critical"
        elif share >= PRESSED or (before != "none" and share >= PRESSED - SLACK):
            self.pressure = "pressed"
        else:
            self.pressure = "none"
        self._free_below = self._book.max_active if self.pressure == "none" else 0
        if self.pressure != before:
            log.event(
                "info" if self.pressure == "none" else "warning",
                "memory_pressure",
                state=self.pressure,
                memory_bytes=self.memory_bytes,
                limit_bytes=self._memory_limit,
            )
