"""Targets drawn at once are drawn as the full ranking would: with the same chances, and never one that is last."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from flumegate.dialects.registry import ENDPOINTS
from flumegate.routing.course import Course
from flumegate.routing.healths import Healths
from flumegate.routing.planner import Planner
from flumegate.routing.tries import Ask, Tries
from flumegate.snapshot import Route, Target
from rig.exchanges import provider, snapshot

CHAT = next(endpoint for endpoint in ENDPOINTS if endpoint.name == "chat")
DRAWS = 6_000


def course_of(strategy: str, *targets: tuple[int, int]) -> Course:
    """Return a course over targets with these weights and tiers."""
    names = "abcdef"[: len(targets)]
    route = Route(
        tuple(Target(name, "m", weight=weight, tier=tier) for name, (weight, tier) in zip(names, targets, strict=True)),
        strategy=strategy,
    )
    known = snapshot(*map(provider, names), models={"m": route})
    course = Planner(known, Healths()).course(CHAT, "m")
    for candidate in course.candidates:
        candidate.health.availability(0.0)
    return course


def shares(course: Course, *, quick: bool) -> dict[str, float]:
    dice = random.Random(7)
    seen: Counter[str] = Counter()
    for _ in range(DRAWS):
        choice = course.quick(dice) if quick else Tries(course, Ask(), dice).first(0.0)
        assert choice is not None
        seen[choice.candidate.target.provider] += 1
    return {candidate.target.provider: seen[candidate.target.provider] / DRAWS for candidate in course.candidates}


@pytest.mark.parametrize("strategy", ["weighted", "priority", "least_busy", "fastest"])
@pytest.mark.parametrize(
    "targets",
    [
        ((1, 0), (1, 0), (1, 0)),
        ((6, 0), (3, 0), (1, 0)),
        ((1, 0), (1, 1), (1, 2)),
        ((1, 1), (3, 0), (1, 0)),
        ((0, 0), (2, 0), (1, 0)),
        ((0, 0), (0, 0)),
    ],
)
def test_the_chances_are_those_of_the_full_ranking(strategy: str, targets: tuple[tuple[int, int], ...]) -> None:
    """Whatever the weights and tiers; a weight of 0 is drawn only where there is no other."""
    course = course_of(strategy, *targets)
    quick, full = shares(course, quick=True), shares(course, quick=False)
    assert quick == pytest.approx(full, abs=0.03)


@pytest.mark.parametrize("strategy", ["least_busy", "fastest"])
def test_what_is_measured_counts(strategy: str) -> None:
    """A target that is busy, or slow, is passed over as in the full ranking."""
    course = course_of(strategy, (1, 0), (1, 0), (2, 0))
    for number, candidate in enumerate(course.candidates):
        candidate.health.in_flight = 3 * number
        candidate.health.measure(0.1 + number)
    quick, full = shares(course, quick=True), shares(course, quick=False)
    assert quick == pytest.approx(full, abs=0.03)
    assert quick["c"] < 0.1


@pytest.mark.parametrize("strategy", ["sticky", "cheapest"])
def test_a_strategy_that_looks_at_the_request_is_not_drawn(strategy: str) -> None:
    """Which target it is depends on more than chance."""
    assert course_of(strategy, (1, 0), (1, 0)).quick(random.Random(1)) is None


def test_nothing_is_drawn_while_a_target_is_not_well() -> None:
    """Then the ranking must look at how each of them fares."""
    course = course_of("weighted", (1, 0), (1, 0))
    assert course.quick(random.Random(1)) is not None
    course.candidates[1].health.force("open")
    assert course.quick(random.Random(1)) is None


def test_a_single_target_needs_no_dice() -> None:
    """In every strategy that draws."""
    for strategy in ("weighted", "priority", "least_busy", "fastest"):
        choice = course_of(strategy, (1, 0)).quick(random.Random(1))
        assert choice is not None
        assert choice.candidate.target.provider == "a"


def test_no_herd_runs_to_a_target_that_was_never_measured() -> None:
    """Of a burst it gets its part, as any other: what is under way there counts from the first request on."""
    course = course_of("fastest", (1, 0), (1, 0), (1, 0))
    for candidate in course.candidates[:2]:
        candidate.health.measure(0.5)
    dice = random.Random(7)
    for _ in range(600):
        choice = course.quick(dice)
        assert choice is not None
        choice.candidate.health.begin(1.0)
    assert [candidate.health.in_flight for candidate in course.candidates] == pytest.approx([200] * 3, abs=60)
