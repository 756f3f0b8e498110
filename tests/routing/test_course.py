from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from flumegate.routing.balance import STRATEGIES
from flumegate.routing.course import MOST_SAVED_HEDGES
from flumegate.snapshot import Hedge, Mirror, Rule, Target, When
from rig.courses import break_down, candidate_of, course_of, targets


def test_most_requests_have_nothing_to_choose() -> None:
    """One stage with one target, and nothing beside it."""
    course = course_of(*targets("a"))
    assert course.only is course.candidates[0]
    assert course.straight.candidate is course.only
    assert (course.straight.account, course.straight.wait_seconds, course.straight.queued) == (0, 0.0, False)
    assert course.plain


def test_two_targets_are_a_choice_wherever_they_stand() -> None:
    """In the route itself or in its fallback."""
    for course in (course_of(*targets("ab")), course_of(*targets("a"), fallback=targets("b"))):
        assert course.only is None
        assert course.straight.candidate is candidate_of(course, "a")
        assert [candidate.target.provider for candidate in course.candidates] == ["a", "b"]


@pytest.mark.parametrize(
    "beside",
    [
        {"rules": (Rule(When(), "other"),)},
        {"hedge": Hedge(1.0, 0.1)},
        {"mirror": Mirror("other")},
        {"coalesce": True},
    ],
)
def test_what_is_to_be_done_beside_choosing_is_seen_at_once(beside: dict[str, Any]) -> None:
    """Requests without any of it need not look for each."""
    assert not course_of(*targets("a"), **beside).plain


def test_hedges_are_a_share_of_the_requests() -> None:
    """One to begin with; what a quiet time saves up is bounded."""
    course = course_of(*targets("ab"), hedge=Hedge(1.0, 0.1))
    assert [course.may_hedge() for _ in range(2)] == [True, False]
    made = 0
    for _ in range(1_000):
        course.count()
        made += course.may_hedge()
    assert 98 <= made <= 100
    for _ in range(1_000):
        course.count()
    assert sum(course.may_hedge() for _ in range(1_000)) == MOST_SAVED_HEDGES
    plain = course_of(*targets("ab"))
    for _ in range(100):
        plain.count()
    assert sum(plain.may_hedge() for _ in range(100)) == 1, "nobody asks a route without hedges"


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_a_quick_choice_is_made_only_among_targets_that_are_well(strategy: str) -> None:
    """With anything to look at, somebody looks."""
    course = course_of(*targets("ab"), strategy=strategy)
    dice = random.Random(1)
    break_down(candidate_of(course, "b").health, 1_000.0)
    assert course.quick(dice) is None


def test_a_quick_choice_is_not_made_where_targets_differ_in_what_the_request_needs() -> None:
    """One of them takes no images: with an image in the request it matters which; without one it does not."""
    course = course_of(Target("a", "gpt-4o"), Target("b", "gpt-3.5-turbo"), strategy="weighted")
    picture = b'{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}}]}]}'
    assert "images" in course.differs
    assert course.quick(random.Random(1), picture) is None
    assert course.quick(random.Random(1), b'{"messages":[{"role":"user","content":"hello"}]}') is not None


@pytest.mark.parametrize(
    ("own", "strategy", "expected"),
    [
        ((Target("a", "x"), Target("b", "x", weight=3)), "weighted", {"a": 0.25, "b": 0.75}),
        ((Target("a", "x"), Target("b", "x", weight=3), Target("c", "x", tier=1)), "priority", {"a": 0.25, "b": 0.75}),
        ((Target("a", "x", tier=1), Target("b", "x")), "priority", {"b": 1.0}),
        ((Target("a", "x", weight=0), Target("b", "x")), "weighted", {"b": 1.0}),
    ],
)
def test_a_quick_choice_has_the_strategys_shares(
    own: tuple[Target, ...], strategy: str, expected: dict[str, float]
) -> None:
    """As the whole order would begin."""
    course = course_of(*own, strategy=strategy)
    dice = random.Random(1)
    firsts: Counter[str] = Counter()
    for _ in range(10_000):
        choice = course.quick(dice)
        assert choice is not None
        firsts[choice.candidate.target.provider] += 1
    assert {name: count / 10_000 for name, count in firsts.items()} == pytest.approx(expected, abs=0.02)
