"""What the decisions amount to when many requests make them: outages, sick targets, recoveries, bursts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flumegate.routing.failure import Failure
from flumegate.snapshot import Retry, Target
from rig.simulation import RATE, Sickness, World

BROKEN = Sickness(Failure("server", "upstream_503", 503))
UNREACHABLE = Sickness(Failure("connect", "upstream_unreachable"), 0.001)
LIMITED = Sickness(Failure("limited", "upstream_429", 429))
LIMITED_SAID = Sickness(Failure("limited", "upstream_429", 429, 2.0))
BROKEN_SAID = Sickness(Failure("server", "upstream_503", 503, 2.0))
TOO_SLOW = Sickness(Failure("timeout", "first_token_timeout"), 2.0)

START, HEAL, END = 10.0, 70.0, 100.0
"""An outage of a minute."""
SETTLED = 5.0
"""Seconds after which a sick target is known as one."""
STRATEGIES = ["weighted", "priority", "least_busy", "fastest", "sticky", "tiers"]


def targets(names: str) -> tuple[Target, ...]:
    """Return a target for each letter."""
    return tuple(Target(name, "x") for name in names)


def three(strategy: str, seed: int = 1) -> World:
    """Return a world with three targets; `tiers` is `priority` with each in a tier of its own."""
    own = targets("abc")
    if strategy == "tiers":
        own = tuple(Target(target.provider, "x", tier=tier) for tier, target in enumerate(own))
    return World(own, strategy="priority" if strategy == "tiers" else strategy, seed=seed)


def outage(sickness: Sickness, own: str, other: str, seed: int, retry: Retry | None = None) -> World:
    """Let all targets fail for a minute."""
    world = World(targets(own), fallback=targets(other), retry=retry, seed=seed)
    world.sick = lambda _, now: sickness if START <= now < HEAL else None
    world.arrive(0.0, END)
    world.run()
    return world


@pytest.mark.parametrize(("own", "other"), [("a", ""), ("abc", ""), ("a", "b"), ("ab", "cd")])
@pytest.mark.parametrize(
    "sickness",
    [
        pytest.param(BROKEN, id="503"),
        pytest.param(BROKEN_SAID, id="503 with Retry-After"),
        pytest.param(LIMITED, id="429"),
        pytest.param(LIMITED_SAID, id="429 with Retry-After"),
        pytest.param(TOO_SLOW, id="timeouts"),
        pytest.param(UNREACHABLE, id="unreachable"),
    ],
)
def test_retries_cannot_make_an_outage_worse(sickness: Sickness, own: str, other: str) -> None:
    """At most 1.2 attempts a request and 3 for any; served again within ten seconds, without a wave of attempts."""
    world = outage(sickness, own, other, seed=1)
    assert world.errors(0, START - 3) == 0
    assert world.amplification(START, HEAL) <= 1.2
    assert max(served.attempts for served in world.served) <= max(3, len(own + other))
    assert world.errors(HEAL + 10) == 0
    assert world.peak(HEAL) <= 1.5 * RATE
    assert world.intruders == []
    assert all(candidate.health.in_flight == 0 for candidate in world.course.candidates)
    assert max(world.most_probes.values(), default=0) <= 1


def test_many_retries_cannot_either() -> None:
    """The budget bounds them, however many are configured."""
    world = outage(TOO_SLOW, "a", "", seed=2, retry=Retry(max_retries=20, initial_delay=0.1))
    assert world.amplification(START, HEAL) <= 1.2
    assert world.peak(HEAL) <= 1.5 * RATE
    assert world.intruders == []


def always(sickness: Sickness) -> Callable[[float], Sickness | None]:
    """Return a fault that stays."""
    return lambda _: sickness


def flapping(now: float) -> Sickness | None:
    """Return a fault that comes and goes every two seconds."""
    return BROKEN if now % 4 < 2 else None


def one_sick(strategy: str, fault: Callable[[float], Sickness | None], seed: int = 1) -> World:
    """Let the first of three targets fail for a minute, beside one failure in a hundred everywhere."""
    world = three(strategy, seed)
    world.sick = lambda target, now: fault(now) if target == "a" and START <= now < HEAL else None
    world.noise = 0.01
    world.arrive(0.0, END)
    world.run()
    return world


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(always(BROKEN), id="503"),
        pytest.param(always(LIMITED), id="429"),
        pytest.param(always(LIMITED_SAID), id="429 with Retry-After"),
        pytest.param(flapping, id="flapping"),
        pytest.param(always(TOO_SLOW), id="too slow"),
        pytest.param(always(UNREACHABLE), id="unreachable"),
    ],
)
def test_one_sick_target_does_not_hurt(strategy: str, fault: Callable[[float], Sickness | None]) -> None:
    """One in twenty attempts at most goes there, no client notices, the others stay in use; it gets its share back."""
    world = one_sick(strategy, fault)
    assert world.share("a", START + SETTLED, HEAL) <= 0.05
    assert world.errors(0) <= 0.001
    assert [note for note in world.opened if note.target != "a" or not START <= note.at <= HEAL + 2.5] == []
    assert max(world.most_probes.values(), default=0) <= 1
    assert world.share("a", HEAL + 15, END) >= 0.9 * (1 if strategy == "tiers" else 1 / 3)
    assert world.intruders == []


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_burst_opens_nothing(strategy: str) -> None:
    """Five hundred requests at the same moment, again and again, with one failure in a hundred."""
    world = three(strategy)
    world.noise = 0.01
    for second in range(20):
        world.burst(float(second), 500)
    world.run()
    assert world.opened == []
    assert world.errors(0) <= 0.001
    if strategy != "tiers":
        assert max(world.share(target, 0, 20) for target in "abc") <= 0.5


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_slower_target_is_no_sick_one(strategy: str) -> None:
    """It keeps its share but where the strategy goes by latency or by what is under way."""
    world = three(strategy)
    world.slower["a"] = 4.0
    world.arrive(0.0, 60.0)
    world.run()
    assert world.opened == []
    if strategy in ("fastest", "least_busy"):
        assert world.share("a", 10, 60) < 0.2
