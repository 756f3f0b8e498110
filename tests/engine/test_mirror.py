"""Copies: they end in their time like any request, and whatever befalls one is recorded and told to nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from flumegate.dialects.registry import ENDPOINTS
from flumegate.records.stored import Stored, Wanted
from flumegate.snapshot import Door, Mirror, Route, Target
from flumegate.spool.tail import SpoolReader
from rig import engines

RESPONSES = next(endpoint for endpoint in ENDPOINTS if endpoint.name == "responses")
COPIED = Route((Target("up", "quick"),), mirror=Mirror("shadow"))


async def test_a_copy_has_the_time_of_its_own_route(tmp_path: Path) -> None:
    """A shadow that never answers would hold one of the copies' places for ever."""
    routes = {"m": COPIED, "shadow": Route((Target("up", "silent"),), timeout=0.05)}
    async with engines.running(tmp_path, routes) as made:
        exchange = engines.request(made)
        await made.run(exchange)
        assert exchange.status == 200
        await engines.end_copies(made)
        shadow = next(health for health in made.healths.all() if health.name == "up/silent")
        assert (shadow.in_flight, shadow.unheard) == (0, 0)


async def test_a_bug_in_a_copy_is_recorded_and_goes_no_further(tmp_path: Path) -> None:
    """The request itself knows nothing of it, and no task fails unheard."""
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))

    async def fail(_: Wanted) -> Stored:
        raise msgspec.DecodeError("a damaged row")

    routes = {"m": COPIED, "shadow": Route((Target("claude", "x"),))}
    body = b'{"model":"m","input":"hello","previous_response_id":"resp_0123456789abcdef"}'
    async with engines.running(tmp_path, routes) as made:
        made.ask = fail
        exchange = engines.request(made, body, RESPONSES)
        await made.run(exchange)
        await engines.end_copies(made)
        assert exchange.status == 200
    assert not unheard
    kept = {record.id: record.error_code for record in SpoolReader(tmp_path).read(9).records}
    assert kept == {"r": "", "r-m1": "internal_error"}


async def test_a_worker_short_of_memory_makes_no_copies(tmp_path: Path) -> None:
    """They hold bodies like requests do, and nobody waits for them; what was left out is counted."""
    async with engines.running(tmp_path, {"m": COPIED, "shadow": Route((Target("up", "x"),))}) as made:
        made.overload.apply(Door(), 1_000)
        made.overload.sweep(asyncio.get_running_loop().time(), 900)
        exchange = engines.request(made)
        await made.run(exchange)
        assert (exchange.status, made.mirrors.under_way, made.mirrors.left_out) == (200, 0, 1)
