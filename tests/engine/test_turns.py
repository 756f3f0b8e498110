from __future__ import annotations

import asyncio
import math
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.engine.turns import Turns
from flumegate.errors import UNAVAILABLE, GatewayError
from flumegate.routing.health import FULL, READY, Health
from rig import cuts
from rig.courses import course_of, targets

NOW = 1_000.0


def full(limit: int = 1) -> Health:
    """Return a target at its limit of concurrent requests."""
    health = course_of(*targets("a", max_concurrency=limit, max_queued=9)).candidates[0].health
    for _ in range(limit):
        health.begin(NOW)
    return health


def leave(turns: Turns, health: Health) -> None:
    """End a request that had a place."""
    health.release(probe=False)
    turns.leave(health)


class Crowd:
    """Requests at one target, each of which stays until it is told to go."""

    def __init__(self, limit: int) -> None:
        self.health = course_of(*targets("a", max_concurrency=limit, max_queued=999)).candidates[0].health
        self.turns = Turns(asyncio.get_running_loop())
        self.served: list[int] = []
        self.waited: list[int] = []
        self.inside: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._ends: list[asyncio.Event] = []

    def arrive(self) -> None:
        self._ends.append(asyncio.Event())
        self.tasks.append(asyncio.create_task(self._be(len(self.tasks))))

    async def _be(self, number: int) -> None:
        queued = self.health.availability(NOW)[0] == FULL
        if queued:
            await self.turns.wait(self.health, math.inf)
            self.waited.append(number)
        else:
            # Who was handed a place a moment ago has it, and takes it up a turn of the loop later.
            assert all(turn.done() for turn in self.turns._waiting.get(self.health, ()))
        self.health.begin(NOW, entered=queued)
        self.served.append(number)
        self.inside.append(number)
        try:
            await self._ends[number].wait()
        finally:
            self.inside.remove(number)
            leave(self.turns, self.health)

    def go(self) -> None:
        if self.inside:
            self._ends[self.inside[0]].set()

    def cancel(self, pick: int) -> None:
        if self.tasks:
            self.tasks[pick % len(self.tasks)].cancel()

    async def settle(self) -> None:
        """Let everything happen that can happen by itself."""
        for _ in range(2 * len(self.tasks) + 5):
            await asyncio.sleep(0)
            assert len(self.inside) <= self.health.in_flight <= self.health.max_concurrency


STEPS = st.lists(
    st.tuples(st.sampled_from(("arrive", "arrive", "go", "cancel", "tick", "settle")), st.integers(0, 30)), max_size=60
)


@cuts.law
@given(st.integers(1, 3), STEPS)
def test_places_are_taken_in_turn_and_never_lost(limit: int, steps: list[tuple[str, int]]) -> None:
    """Whatever comes, goes and is cancelled at whatever moment: nobody overtakes, the limit holds, all are served."""

    async def live() -> None:
        crowd = Crowd(limit)
        for step, pick in steps:
            if step == "arrive":
                crowd.arrive()
            elif step == "go":
                crowd.go()
            elif step == "cancel":
                crowd.cancel(pick)
            elif step == "tick":
                await asyncio.sleep(0)
            else:
                await crowd.settle()
        await crowd.settle()
        while crowd.inside:
            crowd.go()
            await crowd.settle()
        outcomes = await asyncio.gather(*crowd.tasks, return_exceptions=True)
        assert crowd.waited == sorted(crowd.waited)
        for number, outcome in enumerate(outcomes):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
            assert outcome is not None or number in crowd.served
        assert (crowd.health.in_flight, crowd.health.queued, crowd.health.unheard) == (0, 0, 0)
        assert crowd.health.availability(NOW) == (READY, NOW)

    asyncio.run(live())


def test_nobody_waits_for_ever() -> None:
    """Who waited in vain is told so, and is not counted any more; the place goes to nobody."""

    async def wait() -> Health:
        health = full()
        turns = Turns(asyncio.get_running_loop())
        with pytest.raises(GatewayError) as refused:
            await turns.wait(health, monotonic())
        assert (refused.value.kind, refused.value.code) == (UNAVAILABLE, "targets_busy")
        assert (health.queued, health.in_flight) == (0, 1)
        leave(turns, health)
        return health

    assert asyncio.run(wait()).in_flight == 0


def test_who_gives_up_makes_no_gap() -> None:
    """The next one moves up."""

    async def wait() -> None:
        health = full()
        turns = Turns(asyncio.get_running_loop())
        patient = asyncio.create_task(turns.wait(health, math.inf))
        with pytest.raises(GatewayError):
            await turns.wait(health, monotonic())
        assert health.queued == 1
        leave(turns, health)
        await patient
        assert (health.queued, health.in_flight) == (0, 1)

    asyncio.run(wait())


@pytest.mark.parametrize("others", [0, 1])
def test_a_place_that_comes_at_the_moment_of_giving_up_is_passed_on(others: int) -> None:
    """To the next one who waits, or back: both happen in one turn of the loop."""

    async def wait() -> None:
        loop = asyncio.get_running_loop()
        health = full()
        turns = Turns(loop)
        until = monotonic() + 0.02
        hasty = asyncio.create_task(turns.wait(health, until))
        await asyncio.sleep(0)
        patient = [asyncio.create_task(turns.wait(health, math.inf)) for _ in range(others)]
        await asyncio.sleep(0)
        loop.call_at(until - 0.01, leave, turns, health)
        while monotonic() < until + 0.01:
            pass  # so that both are due at once
        with pytest.raises(GatewayError):
            await hasty
        await asyncio.gather(*patient)
        assert (health.queued, health.in_flight) == (0, others)

    asyncio.run(wait())


def test_targets_have_queues_of_their_own() -> None:
    """A place at one is no place at another."""

    async def wait() -> None:
        first, second = full(), full()
        turns = Turns(asyncio.get_running_loop())
        waiting = asyncio.create_task(turns.wait(first, math.inf))
        await asyncio.sleep(0)
        leave(turns, second)
        assert (second.in_flight, waiting.done()) == (0, False)
        leave(turns, first)
        await waiting
        assert first.in_flight == 1

    asyncio.run(wait())
