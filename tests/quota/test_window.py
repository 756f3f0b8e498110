from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from flumegate.quota.window import MINUTE, Rate

STEPS = st.lists(
    st.tuples(st.floats(min_value=0, max_value=130, allow_subnormal=False), st.integers(1, 12)), max_size=120
)
SMALL_STEPS = st.lists(
    st.tuples(st.floats(min_value=0, max_value=2, allow_subnormal=False), st.integers(1, 12)), max_size=200
)


def admit(rate: Rate, now: float, amount: int, limit: int) -> bool:
    """Count an amount if it fits."""
    if rate.wait(now, amount, limit):
        return False
    rate.add(now, amount)
    return True


@given(STEPS | SMALL_STEPS, st.integers(12, 40))
def test_no_sixty_seconds_see_more_than_the_limit(steps: list[tuple[float, int]], limit: int) -> None:
    """Wherever they begin, and whatever comes in which bursts: what is admitted within them is the limit at most."""
    rate, now = Rate(), 1_000.0
    admitted: list[tuple[float, int]] = []
    for pause, amount in steps:
        now += pause
        if admit(rate, now, amount, limit):
            admitted.append((now, amount))
            within = sum(amount for time, amount in admitted if time > now - MINUTE)
            assert within <= limit
            assert rate.used(now) >= within


def test_a_burst_at_an_edge_is_not_followed_by_a_second_one() -> None:
    """A whole limit at the end of one minute leaves nothing for the whole next one, not even drop by drop."""
    rate, admitted = Rate(), []
    for tenth in range(590, 2_400):
        now = tenth / 10
        admitted += [now] * sum(admit(rate, now, 1, 100) for _ in range(150))
    for start in range(590, 1_800):
        assert sum(start / 10 <= time < start / 10 + MINUTE for time in admitted) <= 100
    assert admitted.count(59.0) == 100
    assert len(admitted) == 300


def test_a_steady_load_gets_nearly_all_of_it() -> None:
    """Sixty of sixty-one parts, over an hour of asking twice as often as is allowed."""
    rate = Rate()
    admitted = sum(admit(rate, half / 20, 1, 600) for half in range(20 * 3_600))
    assert 0.98 * 600 * 60 <= admitted <= 600 * 60


@given(SMALL_STEPS, st.integers(1, 40), st.integers(1, 60))
def test_who_waits_as_long_as_told_finds_room(steps: list[tuple[float, int]], limit: int, amount: int) -> None:
    """And not a second earlier: the answer to `when` is exact, also for more than the limit itself."""
    rate, now = Rate(), 1_000.0
    for pause, counted in steps:
        now += pause
        rate.add(now, counted)
        wait = rate.wait(now, amount, limit)
        assert 0 <= wait <= MINUTE + 1
        if wait > 0.001:
            earlier = copy.deepcopy(rate)
            assert earlier.wait(now + wait - 0.001, amount, limit) > 0
            assert earlier.wait(now + wait + 1e-9, amount, limit) == 0.0
        later = copy.deepcopy(rate)
        assert later.used(now + MINUTE + 1) == 0


def test_all_of_it_is_there_again_once_a_minute_has_passed() -> None:
    """As a whole: what was counted late in a second, and what was counted early in it."""
    rate = Rate()
    assert rate.used(5.0) == 0
    rate.add(5.5, 4)
    assert rate.wait(5.5, 7, 10) == 60.5
    assert (rate.used(65.9), rate.used(66.0)) == (4, 0)
    assert rate.wait(70.0, 100, 10) == 0.0


def test_what_is_given_back_is_taken_from_where_it_was_counted() -> None:
    """A long request that took less than expected does not free what others have used since."""
    rate = Rate()
    rate.add(10.0, 900)
    rate.add(50.0, 500)
    rate.give_back(10.5, 60.0, 800)
    assert rate.used(60.0) == 600
    rate.give_back(10.5, 60.0, 800)
    assert rate.used(60.0) == 500
    rate.give_back(10.5, 100.0, 100)
    assert rate.used(100.0) == 500
    rate.give_back(50.0, 100.0, 500)
    assert rate.used(100.0) == 0


@given(SMALL_STEPS, st.floats(min_value=0.5, max_value=100_000))
def test_a_clock_that_goes_back_refills_nothing(steps: list[tuple[float, int]], jump: float) -> None:
    """What was used still counts after the jump, and is forgotten a minute of the new time later."""
    rate, now = Rate(), 200_000.0
    for pause, amount in steps:
        now += pause
        rate.add(now, amount)
    used = rate.used(now)
    assert rate.used(now - jump) == used
    assert rate.used(now - jump + MINUTE + 1) == 0 or jump < 1
