"""Copies of requests for a shadow target: the client neither waits for them nor sees anything of them.

At most MOST are under way, and none begins while memory is short; a target that cannot keep up gets fewer copies, and
what was left out is counted. No limit and no budget knows of them: they hold nothing, and their records count for none.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flumegate.dialects.envelope import Envelope
from flumegate.engine.asks import set_deadline
from flumegate.engine.nobody import copy_of
from flumegate.engine.trip import Trip
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.records.request import COPY_MARK
from flumegate.routing.course import Course
from flumegate.snapshot import Mirror

if TYPE_CHECKING:
    from flumegate.engine.run import Engine

MOST = 64
TAG = b"mirror"


class Mirrors:
    """The copies that are under way in one worker."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._under_way: set[asyncio.Task[None]] = set()
        self._number = 0
        self.left_out = 0

    @property
    def under_way(self) -> int:
        """Copies that have not ended."""
        return len(self._under_way)

    def send(self, exchange: Exchange, mirror: Mirror, seen: Envelope) -> None:
        """Send a copy of an exchange, if the dice say so and there is room."""
        if self._engine.dice.random() >= mirror.share:
            return
        if len(self._under_way) >= MOST or self._engine.overload.pressure != "none":
            self.left_out += 1
            return
        self._number += 1
        copied = copy_of(exchange, f"{exchange.record_id}{COPY_MARK}{self._number:x}")
        tags = exchange.picked.get(b"x-flumegate-tags")
        copied.picked = {**exchange.picked, b"x-flumegate-tags": TAG if not tags else tags + b"," + TAG}
        copied.special = True
        task = self._engine.loop.create_task(self._run(copied, mirror, seen))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _run(self, copied: Exchange, mirror: Mirror, seen: Envelope) -> None:
        engine, endpoint = self._engine, copied.endpoint
        assert endpoint is not None  # noqa: S101 - only routes of endpoints have a mirror

        def find(_: Exchange) -> tuple[Course, Envelope]:
            return engine.planner.detour(endpoint, mirror.use, copied.model_requested), seen

        try:
            course, _ = find(copied)
            set_deadline(copied, course.timeout)
            if engine.settlement.policy.content == "full":
                copied.response_body = []
            await Trip(engine, copied, course, seen, b"", find).run()
        except GatewayError as error:
            engine.refuse(copied, error)
        except asyncio.CancelledError:
            engine.abandon(copied)
        except Exception as error:  # noqa: BLE001 - the top of a copy's road: nobody else would hear of it
            engine.confess(copied, error)

    def close(self) -> None:
        """End all copies: the worker stops."""
        for task in tuple(self._under_way):
            task.cancel()
