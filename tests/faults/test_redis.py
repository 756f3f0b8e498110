"""Row 25, as far as limits and budgets go: Redis stopped, frozen, slow or full.

Each request here is one entry and one leave of a worker's part of the limits. What stands around it, and rows 28 to 30,
are proven in `tests/shared`, where nothing is timed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from flumegate.quota.book import Holder
from flumegate.quota.ledger import Line, Short
from flumegate.records.access import Limits
from flumegate.shared.link import COMMAND_SECONDS
from flumegate.shared.quota import RENEW_SECONDS, SharedQuota
from rig.fault_proxy import CLEAN, FaultProxy, Way, fault_proxy
from rig.figures import figure, percentile
from rig.redis import Redis, redis_server

KEY = Holder("key:1", Limits(requests_per_minute=10_000_000, concurrency=5_000))
LINE = Line("key:1@total", 10_000_000)
COST = 10
OUTAGE_REQUESTS = 400


class Fault(NamedTuple):
    """What happens to Redis, and how it ends."""

    begin: Callable[[Redis, FaultProxy], object]
    end: Callable[[Redis, FaultProxy], object]
    forgets: bool = False


def _delay(_: Redis, proxy: FaultProxy) -> None:
    proxy.answers = Way(delay_seconds=2.0)


def _heal(_: Redis, proxy: FaultProxy) -> None:
    proxy.answers = CLEAN


FAULTS = {
    "stopped": Fault(lambda redis, _: redis.kill(), lambda redis, _: redis.start(), forgets=True),
    "frozen": Fault(lambda redis, _: redis.freeze(), lambda redis, _: redis.thaw()),
    "2 s late": Fault(_delay, _heal),
    "full": Fault(
        lambda redis, _: redis.command("CONFIG", "SET", "maxmemory", "1"),
        lambda redis, _: redis.command("CONFIG", "SET", "maxmemory", "0"),
    ),
}


@pytest.fixture
def redis() -> Iterator[Redis]:
    with redis_server() as running:
        yield running


@pytest.fixture
def proxy(redis: Redis) -> Iterator[FaultProxy]:
    with fault_proxy(redis.port) as running:
        yield running


async def served(quota: SharedQuota, request: str) -> float:
    """Enter and leave once; return the seconds that this took."""
    began = time.perf_counter()
    found = await quota.enter(request, [KEY], [LINE], 0, COST, time.monotonic())
    if found is not None and not isinstance(found, Short):
        await quota.open(LINE.account, 0)
        found = await quota.enter(request, [KEY], [LINE], 0, COST, time.monotonic())
    assert found is None
    await quota.leave(request, 0, COST, time.monotonic())
    return time.perf_counter() - began


def spent(redis: Redis) -> int:
    """Return what Redis knows to be spent."""
    return int(redis.command("HGET", f"fg:{{flumegate}}:account:{LINE.account}", "s").split(b"\r\n")[1])


@pytest.mark.faults
@pytest.mark.parametrize("name", FAULTS)
async def test_requests_go_on_without_redis(
    redis: Redis, proxy: FaultProxy, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Errors 0; one timeout, then at most 5 ms more; converged within 10 s; one line for each change."""
    fault = FAULTS[name]
    quota = SharedQuota(f"redis://127.0.0.1:{proxy.port}/0", workers=lambda: 1)
    await quota.open(LINE.account, 0)
    quota.start()
    for number in range(100):
        await served(quota, f"before{number}")
    before = spent(redis)
    fault.begin(redis, proxy)
    try:
        first = await served(quota, "first")
        took = [await served(quota, f"out{number}") for number in range(OUTAGE_REQUESTS)]
        await asyncio.sleep(2.5)  # not to wait for something: the length of the outage, with two probes in it
        took += [await served(quota, f"late{number}") for number in range(OUTAGE_REQUESTS)]
    finally:
        fault.end(redis, proxy)
    healed, lost = time.monotonic(), 0
    while quota.away:
        lost += await served(quota, f"healing{lost}") > 0
        await asyncio.sleep(0.01)
    await served(quota, "back")
    converged = time.monotonic() - healed
    after = 1 + 2 * OUTAGE_REQUESTS + lost + 1
    p99 = percentile(took, 0.99)
    figure(
        25, f"first request with redis {name}: {first * 1_000:.0f} ms (≤ {COMMAND_SECONDS * 1_000:.0f} and a little)"
    )
    figure(25, f"then, p99: {p99 * 1_000:.2f} ms (≤ 5)")
    figure(25, f"converged: {converged:.1f} s (≤ 10)")
    assert first <= COMMAND_SECONDS + 0.1
    assert p99 <= 0.005
    assert converged <= 10.0 - RENEW_SECONDS
    await quota.close()
    assert spent(redis) == (COST if fault.forgets else before + after * COST)
    lines = capfd.readouterr().err
    assert (lines.count("redis_away"), lines.count("redis_back")) == (1, 1)
