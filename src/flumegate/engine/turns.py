"""Waiting for a place at a target that is at its limit of concurrent requests: in turn, for a bounded time."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic

from flumegate.errors import UNAVAILABLE, GatewayError
from flumegate.routing.health import Health


class Turns:
    """The queues of one worker. A place that becomes free is handed to the first who waits: nobody can overtake."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[Health, deque[asyncio.Future[None]]] = {}

    async def wait(self, health: Health, until: float) -> None:
        """Wait for a place; when this returns it has been taken (see `Health.in_flight`).

        Raises:
            GatewayError: none became free in time.
        """
        waiting = self._waiting.setdefault(health, deque())
        turn: asyncio.Future[None] = self._loop.create_future()
        waiting.append(turn)
        health.queued += 1
        try:
            async with asyncio.timeout(max(until - monotonic(), 0.001)):
                await turn
        except TimeoutError:
            self._withdraw(health, turn)
            raise GatewayError(
                UNAVAILABLE,
                "targets_busy",
                "No target became free in time (max_concurrency, queue_seconds). Try again shortly.",
                retry_after=1,
            ) from None
        except asyncio.CancelledError:
            self._withdraw(health, turn)
            raise
        finally:
            health.queued -= 1

    def leave(self, health: Health) -> None:
        """Give a place back, or hand it to the first who waits."""
        waiting = self._waiting.get(health)
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        if waiting is not None:
            del self._waiting[health]
        health.leave()

    def _withdraw(self, health: Health, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self.leave(health)  # the place was handed over at the very moment: pass it on
            return
        waiting = self._waiting.get(health)
        if waiting is not None and turn in waiting:
            waiting.remove(turn)
            if not waiting:
                del self._waiting[health]
