"""A worker's places: who is served, who waits for how long, who is refused. The clock and the memory are arguments."""

from __future__ import annotations

import asyncio
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from flumegate.engine.overload import MAX_RETRY_SECONDS, Overload
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.snapshot import Door, Route, Target
from rig import engines, exchanges

LIMIT = 1000


def request(key: str = "ann") -> Exchange:
    made = exchanges.exchange()
    made.key_id = key
    return made


def places(totals: dict[str, int] | None = None, memory_limit: int = 0, **bounds: float) -> Overload:
    """Return the places of a worker with these bounds of its door."""
    made = Overload(asyncio.get_running_loop(), {} if totals is None else totals)
    made.apply(Door(**bounds), memory_limit)  # type: ignore[arg-type] # the fields are int and float
    return made


def outcome(overload: Overload, exchange: Exchange) -> str:
    """Return what becomes of a request that asks for a place now."""
    try:
        return "admitted" if overload.admit(exchange) else "waits"
    except GatewayError as error:
        right = (error.status, error.code) == (503, "overloaded") and 1 <= (error.retry_after or 0) <= MAX_RETRY_SECONDS
        return "refused" if right else repr(error)


async def turn() -> None:
    """Let every task run that can."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_who_waits_is_served_when_a_place_becomes_free() -> None:
    """And the place is given back like any other."""
    overload = places(max_active=1, max_queued=1)
    first, second = request(), request("bob")
    assert [outcome(overload, first), outcome(overload, second), outcome(overload, request())] == [
        "admitted",
        "waits",
        "refused",
    ]
    waiting = asyncio.create_task(overload.wait(second))
    await turn()
    overload.leave(first)
    await waiting
    assert (overload.active, overload.queued) == (1, 0)
    overload.leave(second)
    overload.leave(second)
    assert (overload.active, overload.queued) == (0, 0)


async def test_a_displaced_request_is_refused_at_once() -> None:
    """The newest of the flooding key makes room for another's first."""
    totals: dict[str, int] = {}
    overload = places(totals, max_active=1, max_queued=2)
    flood = [request() for _ in range(3)]
    assert [outcome(overload, each) for each in flood] == ["admitted", "waits", "waits"]
    waits = [asyncio.create_task(overload.wait(each)) for each in flood[1:]]
    await turn()
    assert outcome(overload, request("bob")) == "waits"
    with pytest.raises(GatewayError, match="max_queued"):
        await waits[1]
    assert not waits[0].done()
    assert totals == {"requests_shed": 1}
    overload.leave(flood[2])
    assert (overload.active, overload.queued) == (1, 2)
    overload.leave(flood[0])
    await waits[0]


async def test_waiting_has_an_end() -> None:
    """After `queue_seconds` the answer is 503, and the queue is free again."""
    overload = places(max_active=1, max_queued=1, queue_seconds=5)
    first, second = request(), request()
    assert [outcome(overload, first), outcome(overload, second)] == ["admitted", "waits"]
    waiting = asyncio.create_task(overload.wait(second))
    await turn()
    overload.sweep(asyncio.get_running_loop().time() + 4, 0)
    await turn()
    assert not waiting.done()
    overload.sweep(asyncio.get_running_loop().time() + 6, 0)
    with pytest.raises(GatewayError, match="queue_seconds"):
        await waiting
    overload.leave(second)
    assert (overload.active, overload.queued) == (1, 0)


@pytest.mark.parametrize("when", ["waiting", "seated", "displaced", "expired"])
async def test_a_client_that_leaves_while_it_waits_gives_everything_back(when: str) -> None:
    """Whatever was decided about it in the same turn of the loop."""
    overload = places(max_active=1, max_queued=1, queue_seconds=5)
    first, second, third = request(), request(), request("bob")
    assert outcome(overload, first) == "admitted"
    assert outcome(overload, second) == "waits"

    async def run() -> None:
        try:
            await overload.wait(second)
        finally:
            overload.leave(second)

    task = asyncio.create_task(run())
    await turn()
    if when == "seated":
        overload.leave(first)
    elif when == "displaced":
        overload.apply(Door(max_active=1, max_queued=0), 0)
        assert outcome(overload, third) == "refused"
    elif when == "expired":
        overload.sweep(asyncio.get_running_loop().time() + 6, 0)
    task.cancel()
    if when == "waiting":
        overload.leave(first)  # the task is told of its end, and has not run yet
    with pytest.raises(asyncio.CancelledError):
        await task
    overload.leave(first)
    assert (overload.active, overload.queued) == (0, 0)
    assert outcome(overload, third) == "admitted"


async def test_more_places_wake_those_who_wait() -> None:
    """A changed setting needs no restart."""
    overload = places(max_active=1, max_queued=3)
    asked = [request() for _ in range(3)]
    assert [outcome(overload, each) for each in asked] == ["admitted", "waits", "waits"]
    waits = [asyncio.create_task(overload.wait(each)) for each in asked[1:]]
    await turn()
    overload.apply(Door(max_active=3, max_queued=3), 0)
    await asyncio.gather(*waits)
    assert overload.active == 3


async def test_retry_after_follows_the_rate_at_which_places_become_free() -> None:
    """With nothing known it is the longest; a worker that ends 100 requests a second says one second."""
    overload = places(max_active=1, max_queued=0)
    held = request()
    overload.admit(held)

    def advice() -> int | None:
        with pytest.raises(GatewayError) as refused:
            overload.admit(request())
        return refused.value.retry_after

    assert advice() == MAX_RETRY_SECONDS
    now = asyncio.get_running_loop().time()
    for second in range(1, 30):
        for _ in range(100):
            overload.leave(held)
            overload.admit(held)
        overload.sweep(now + second, 0)
    assert advice() == 1


async def test_memory_decides_before_places_do(capfd: pytest.CaptureFixture[str]) -> None:
    """Above 85 % no key grows beyond the mean, above 95 % nothing is taken; one line tells of each change."""
    overload = places(memory_limit=LIMIT)
    now = asyncio.get_running_loop().time()
    flood = [request() for _ in range(3)]
    assert {outcome(overload, each) for each in flood} == {"admitted"}
    other = request("bob")
    assert outcome(overload, other) == "admitted"
    for use, state, ann, cid in (
        (840, "none", "admitted", "admitted"),
        (860, "pressed", "refused", "admitted"),
        (890, "pressed", "refused", "admitted"),
        (960, "critical", "refused", "refused"),
        (910, "critical", "refused", "refused"),
        (890, "pressed", "refused", "admitted"),
        (810, "pressed", "refused", "admitted"),
        (790, "none", "admitted", "admitted"),
    ):
        overload.sweep(now, use)
        assert overload.pressure == state
        for key, expected in (("ann", ann), ("cid", cid)):
            asked = request(key)
            assert outcome(overload, asked) == expected
            overload.leave(asked)
    assert overload.memory_bytes == 790
    lines = [line for line in capfd.readouterr().err.splitlines() if "memory_pressure" in line]
    assert [line.count("critical") for line in lines] == [0, 1, 0, 0]


async def test_a_worker_without_work_takes_one_request_whatever_its_memory() -> None:
    """So it cannot lock itself out: what it has in use is not what its requests hold."""
    totals: dict[str, int] = {}
    overload = places(totals, memory_limit=LIMIT)
    overload.sweep(0, 5 * LIMIT)
    overload.check_memory()
    first = request()
    assert [outcome(overload, first), outcome(overload, request())] == ["admitted", "refused"]
    with pytest.raises(GatewayError, match="max_memory_bytes"):
        overload.check_memory()
    overload.leave(first)
    assert outcome(overload, request()) == "admitted"
    assert totals == {"requests_shed": 2}


class Crowd:
    """Requests that come and go at random, each with a task like the road's."""

    def __init__(self, max_active: int, max_queued: int) -> None:
        self.overload = places(max_active=max_active, max_queued=max_queued)
        self.max_active, self.max_queued = max_active, max_queued
        self.tasks: list[asyncio.Task[str]] = []
        self.serving: list[asyncio.Future[None]] = []

    async def serve(self, exchange: Exchange) -> str:
        try:
            if not self.overload.admit(exchange):
                await self.overload.wait(exchange)
            done = asyncio.get_running_loop().create_future()
            self.serving.append(done)
            try:
                await done
            finally:
                self.serving.remove(done)
        except GatewayError:
            return "refused"
        finally:
            self.overload.leave(exchange)
        return "served"

    async def act(self, kind: str, number: int) -> None:
        if kind in ("ann", "bob", "cid"):
            self.tasks.append(asyncio.create_task(self.serve(request(kind))))
        elif kind == "end" and self.serving:
            done = self.serving[number % len(self.serving)]
            if not done.done():
                done.set_result(None)
        elif kind == "cancel" and self.tasks:
            self.tasks[number % len(self.tasks)].cancel()
        elif kind == "turn":
            await turn()
        assert self.overload.active <= self.max_active
        assert self.overload.queued <= self.max_queued

    async def finish(self) -> None:
        while not all(task.done() for task in self.tasks):
            await turn()
            for done in self.serving:
                if not done.done():
                    done.set_result(None)


ACTS = st.tuples(st.sampled_from(["ann", "ann", "bob", "cid", "end", "cancel", "turn"]), st.integers(0, 20))


@given(st.integers(1, 3), st.integers(0, 3), st.lists(ACTS, max_size=60))
def test_no_place_is_ever_lost(max_active: int, max_queued: int, acts: list[tuple[str, int]]) -> None:
    """However requests come, end and are cancelled: everyone has an end, and all places are free afterwards."""

    async def live() -> None:
        crowd = Crowd(max_active, max_queued)
        for kind, number in acts:
            await crowd.act(kind, number)
        await crowd.finish()
        assert (crowd.overload.active, crowd.overload.queued) == (0, 0)
        assert outcome(crowd.overload, request()) == "admitted"

    asyncio.run(live())


async def test_a_request_whose_key_changes_while_it_waits_leaves_nothing_behind() -> None:
    """A new Snapshot may give the same client another key id; the place was taken for the old one."""
    overload = places(max_active=1, max_queued=2)
    first, second, third = request(""), request(""), request("bob")
    assert [outcome(overload, each) for each in (first, second, third)] == ["admitted", "waits", "waits"]
    waiting = [asyncio.create_task(overload.wait(each)) for each in (second, third)]
    await turn()
    overload.leave(first)
    await waiting[0]
    second.key_id = "ann"
    overload.leave(second)
    await turn()
    assert waiting[1].done()
    overload.leave(third)
    assert (overload.active, overload.queued) == (0, 0)
    assert outcome(overload, request("")) == "admitted"


async def test_a_wait_ends_with_the_clients_own_time() -> None:
    """Who has no time left would only be served to hear that it is too late."""
    overload = places(max_active=1, max_queued=2, queue_seconds=600)
    now = asyncio.get_running_loop().time()
    first, hurried, patient = request(), request("bob"), request("cid")
    hurried.deadline = now + 5
    assert [outcome(overload, each) for each in (first, hurried, patient)] == ["admitted", "waits", "waits"]
    waiting = [asyncio.create_task(overload.wait(each)) for each in (hurried, patient)]
    await turn()
    overload.sweep(now + 4, 0)
    assert overload.queued == 2
    overload.sweep(now + 6, 0)
    assert overload.queued == 1
    with pytest.raises(GatewayError, match="x-flumegate-timeout"):
        await waiting[0]
    overload.leave(first)
    await waiting[1]


async def test_a_request_says_its_time_before_it_waits(tmp_path: Path) -> None:
    """The header is read before a place is asked for, and a senseless one is refused there."""
    async with engines.running(tmp_path, {"m": Route((Target("up", "silent"),))}) as made:
        made.overload.apply(Door(max_active=1, max_queued=2, queue_seconds=600), 0)
        blocking = asyncio.create_task(made.run(engines.request(made)))
        await turn()
        hurried = engines.request(made)
        hurried.special, hurried.picked = True, {b"x-flumegate-timeout": b"0.05"}
        running = asyncio.create_task(made.run(hurried))
        async with asyncio.timeout(20):
            while not running.done():
                made.overload.sweep(asyncio.get_running_loop().time(), 0)
                await asyncio.sleep(0)
        assert (hurried.status, hurried.error_code) == (503, "overloaded")
        blocking.cancel()
        await blocking
