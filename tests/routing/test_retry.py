from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.routing.failure import Class, Failure
from flumegate.routing.retry import MOST_ATTEMPTS, allot, delay, may_repeat, most_attempts
from flumegate.snapshot import Retry
from rig import cuts

DICE = st.floats(0, 1, exclude_max=True)
SECONDS = st.floats(0, 3600)
POLICIES = st.builds(
    Retry,
    max_retries=st.integers(0, 10),
    initial_delay=st.floats(0, 600),
    factor=st.floats(1, 100),
    max_delay=st.floats(0, 3600),
)
BROKEN = Failure("server", "upstream_503", 503)


@pytest.mark.parametrize(
    ("retries", "targets", "attempts"), [(0, 1, 1), (2, 1, 3), (2, 5, 5), (2, 50, MOST_ATTEMPTS), (20, 1, 21)]
)
def test_attempts_are_the_retries_or_one_at_each_target(retries: int, targets: int, attempts: int) -> None:
    """Each target gets a chance, up to a bound; what is configured counts whole."""
    assert most_attempts(Retry(max_retries=retries), targets) == attempts


@pytest.mark.parametrize(
    ("kind", "status", "repeats"),
    [
        ("connect", 0, True),
        ("timeout", 0, True),
        ("busy", 0, True),
        ("server", 503, True),
        ("server", 501, False),
        ("server", 200, True),
        ("server", 0, True),
        ("limited", 429, True),
        ("limited", 200, True),
        ("credential", 401, False),
        ("missing", 404, False),
        ("unsaid", 0, False),
        ("refused", 400, False),
    ],
)
def test_what_may_pass_is_asked_again(kind: Class, status: int, repeats: bool) -> None:
    """A status counts as configured; an error inside a 200 stands for a 502."""
    assert may_repeat(Retry(), Failure(kind, "c", status)) is repeats
    assert may_repeat(Retry(on_status=()), Failure(kind, "c", status)) is (kind in ("connect", "timeout", "busy"))


@cuts.law
@given(POLICIES, st.integers(0, 10_000), DICE)
def test_full_jitter(policy: Retry, repeats: int, dice: float) -> None:
    """A wait lies between zero and a bound that grows by the factor up to the longest wait, however often it grew."""
    seconds = delay(policy, repeats, BROKEN, dice)
    assert seconds is not None
    bound = policy.max_delay
    if repeats < 5:
        bound = min(policy.max_delay, policy.initial_delay * policy.factor**repeats)
    assert 0 <= seconds <= bound
    assert dice == 0 or bound == 0 or delay(policy, repeats, BROKEN, 0.0) == 0


def test_the_bound_grows() -> None:
    """The dice's last number shows it."""
    assert [delay(Retry(), repeats, BROKEN, 0.5) for repeats in (0, 1, 2, 5, 6, 1000)] == [0.5, 1, 2, 16, 30, 30]


@cuts.law
@given(POLICIES, st.integers(0, 100), SECONDS, DICE)
def test_an_upstreams_wish_is_obeyed(policy: Retry, repeats: int, wish: float, dice: float) -> None:
    """Never earlier than it asked for, little later, and not at all where that is longer than anybody should wait."""
    seconds = delay(policy, repeats, BROKEN._replace(retry_after=wish), dice)
    if wish > policy.max_delay:
        assert seconds is None
    else:
        assert seconds is not None
        assert wish <= seconds <= wish * 1.1 + 0.1


@cuts.law
@given(st.floats(0, 1e6), st.floats(0, 3600), st.integers(-1, 20))
def test_each_attempt_leaves_time_for_those_that_may_follow(now: float, left: float, others: int) -> None:
    """Equal parts of what is left; the last one has all of it."""
    deadline = now + left
    by = allot(now, deadline, others)
    assert now <= by <= deadline
    if others <= 0:
        assert by == deadline
    else:
        assert by - now == pytest.approx(left / (others + 1), abs=1e-6)


@pytest.mark.parametrize("kind", ["refused", "credential", "missing"])
def test_every_status_can_be_named(kind: Class) -> None:
    """What is configured counts, whatever the status usually means."""
    assert may_repeat(Retry(on_status=(422,)), Failure(kind, "c", 422))
    assert not may_repeat(Retry(on_status=(422,)), Failure(kind, "c", 400))
