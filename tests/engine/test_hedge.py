"""A race leaves no place, no connection and no task behind, at whichever of its awaits the client leaves."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest

from flumegate.snapshot import Hedge, Route, Target
from rig import engines

MOST_AWAITS = 200


@types.coroutine
def leaving(work: Coroutine[Any, Any, None], number: int) -> Generator[Any, Any, int]:
    """Run a request whose client leaves at its Nth await; return how many awaits it came to."""
    awaits = 0
    sent: Any = None
    thrown: BaseException | None = None
    task = asyncio.current_task()
    assert task is not None
    while True:
        try:
            waited = work.throw(thrown) if thrown is not None else work.send(sent)
        except StopIteration:
            return awaits
        awaits += 1
        if awaits == number:
            task.cancel()
        thrown = None
        try:
            sent = yield waited
        except BaseException as error:  # noqa: BLE001 - it belongs to the coroutine, whatever it is
            thrown = error


@pytest.mark.parametrize(
    "models", [("silent", "quick"), ("slow", "silent"), ("slow", "bad"), ("bad", "quick"), ("slow", "slower")]
)
async def test_nothing_is_left_wherever_the_client_leaves(tmp_path: Path, models: tuple[str, str]) -> None:
    """Places, probes and connections: all are given back, and no task fails unheard."""
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    targets = tuple(Target("up", model, tier=tier) for tier, model in enumerate(models))
    async with engines.running(tmp_path, {"m": Route(targets, hedge=Hedge(0.002, 1.0))}) as made:
        pool = made.upstream.pool(made.snapshot.providers["up"])
        for number in range(1, MOST_AWAITS):
            exchange = engines.request(made)
            awaits = await asyncio.ensure_future(leaving(made.run(exchange), number))
            assert exchange.settled
            under_way = {(health.in_flight, health.unheard, health.probing) for health in made.healths.all()}
            assert under_way == {(0, 0, False)}, f"left at await {number}"
            assert pool.places == pool.idle, f"left at await {number}"
            if awaits < number:
                break
        else:
            raise AssertionError("a request never ends")
        assert number > 3
        assert not made.overload.active
    assert not unheard


async def test_a_client_in_a_hurry_blames_neither_target(tmp_path: Path) -> None:
    """Both attempts end with the client's own time, and that tells nothing about those who were asked."""
    targets = (Target("up", "silent"), Target("up", "quiet-silent", tier=1))
    async with engines.running(tmp_path, {"m": Route(targets, hedge=Hedge(0.002, 1.0))}) as made:
        exchange = engines.request(made)
        exchange.special, exchange.picked = True, {b"x-flumegate-timeout": b"0.05"}
        running = asyncio.create_task(made.run(exchange))
        async with asyncio.timeout(20):
            while not running.done():
                made.upstream.sweep()
                await asyncio.sleep(0)
        assert (exchange.status, len(exchange.attempts)) == (504, 2)
        assert [health.failures for health in made.healths.all()] == [0, 0]
