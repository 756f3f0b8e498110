from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from flumegate.quota.window import MINUTE, Window

STEPS = st.lists(
    st.tuples(st.floats(min_value=0, max_value=130, allow_subnormal=False), st.integers(1, 12)), max_size=120
)
SMALL_STEPS = st.lists(
    st.tuples(st.floats(min_value=0, max_value=2, allow_subnormal=False), st.integers(1, 12)), max_size=200
)


def admit(window: Window, now: float, tokens: int, limit: int) -> bool:
    """Count tokens if they fit."""
    if window.wait_for_tokens(now, tokens, limit):
        return False
    window.add(now, tokens)
    return True


def used(window: Window, now: float) -> int:
    """Return the tokens that count at a moment."""
    window.turn(int(now))
    return window.tokens


@given(STEPS | SMALL_STEPS, st.integers(12, 40))
def test_no_sixty_seconds_see_more_than_the_limit(steps: list[tuple[float, int]], limit: int) -> None:
    """Wherever they begin, and whatever comes in which bursts: what is admitted within them is the limit at most."""
    window, now = Window(), 1_000.0
    admitted: list[tuple[float, int]] = []
    for pause, amount in steps:
        now += pause
        if admit(window, now, amount, limit):
            admitted.append((now, amount))
            within = sum(amount for time, amount in admitted if time > now - MINUTE)
            assert within <= limit
            assert used(window, now) >= within


def test_a_burst_at_an_edge_is_not_followed_by_a_second_one() -> None:
    """A whole limit at the end of one minute leaves nothing for the whole next one, not even drop by drop."""
    window, admitted = Window(), []
    for tenth in range(590, 2_400):
        now = tenth / 10
        admitted += [now] * sum(admit(window, now, 1, 100) for _ in range(150))
    for start in range(590, 1_800):
        assert sum(start / 10 <= time < start / 10 + MINUTE for time in admitted) <= 100
    assert admitted.count(59.0) == 100
    assert len(admitted) == 300


def test_a_steady_load_gets_nearly_all_of_it() -> None:
    """Sixty of sixty-one parts, over an hour of asking twice as often as is allowed."""
    window = Window()
    admitted = sum(admit(window, half / 20, 1, 600) for half in range(20 * 3_600))
    assert 0.98 * 600 * 60 <= admitted <= 600 * 60


@given(SMALL_STEPS, st.integers(1, 40), st.integers(1, 60))
def test_who_waits_as_long_as_told_finds_room(steps: list[tuple[float, int]], limit: int, amount: int) -> None:
    """And not a second earlier: the answer to `when` is exact, also for more than the limit itself."""
    window, now = Window(), 1_000.0
    for pause, counted in steps:
        now += pause
        window.add(now, counted)
        wait = window.wait_for_tokens(now, amount, limit)
        assert 0 <= wait <= MINUTE + 1
        if wait > 0.001:
            earlier = copy.deepcopy(window)
            assert earlier.wait_for_tokens(now + wait - 0.001, amount, limit) > 0
            assert earlier.wait_for_tokens(now + wait + 1e-9, amount, limit) == 0.0
        later = copy.deepcopy(window)
        assert used(later, now + MINUTE + 1) == 0


def test_all_of_it_is_there_again_once_a_minute_has_passed() -> None:
    """As a whole: what was counted late in a second, and what was counted early in it."""
    window = Window()
    assert used(window, 5.0) == 0
    window.add(5.5, 4)
    assert window.wait_for_tokens(5.5, 7, 10) == 60.5
    assert (used(window, 65.9), used(window, 66.0)) == (4, 0)
    assert window.wait_for_tokens(70.0, 100, 10) == 0.0


def test_what_is_given_back_is_taken_from_where_it_was_counted() -> None:
    """A long request that took less than expected does not free what others have used since."""
    window = Window()
    window.add(10.0, 900)
    window.add(50.0, 500)
    window.give_back(10, 60.0, 800)
    assert used(window, 60.0) == 600
    window.give_back(10, 60.0, 800)
    assert used(window, 60.0) == 500
    window.give_back(10, 100.0, 100)
    assert used(window, 100.0) == 500
    window.give_back(50, 100.0, 500)
    assert used(window, 100.0) == 0


@given(SMALL_STEPS, st.floats(min_value=0.5, max_value=100_000))
def test_a_clock_that_goes_back_refills_nothing(steps: list[tuple[float, int]], jump: float) -> None:
    """What was used still counts after the jump, and is forgotten a minute of the new time later."""
    window, now = Window(), 200_000.0
    for pause, amount in steps:
        now += pause
        window.add(now, amount)
    before = used(window, now)
    assert used(window, now - jump) == before
    assert used(window, now - jump + MINUTE + 1) == 0 or jump < 1


def test_requests_are_counted_beside_tokens() -> None:
    """Each with a limit and a wait of its own; what was used is let go together."""
    window = Window()
    window.add(10.0, 500)
    window.requests += 2
    window.add(12.5, 0)
    window.requests += 1
    assert (window.requests, window.tokens) == (3, 500)
    assert window.wait_for_request(12.5, 4) == 0.0
    assert window.wait_for_request(12.5, 3) == 58.5
    assert window.wait_for_request(12.5, 1) == 60.5
    assert window.wait_for_tokens(12.5, 100, 600) == 0.0
    assert window.wait_for_tokens(12.5, 101, 600) == 58.5
    window.turn(71)
    assert (window.requests, window.tokens) == (1, 0)
    window.turn(73)
    assert (window.requests, window.tokens) == (0, 0)


def test_no_more_is_given_back_than_was_counted() -> None:
    """In the second of the moment as in those before it."""
    window = Window()
    window.add(10.0, 5)
    window.add(11.0, 7)
    window.give_back(11, 11.5, 100)
    assert used(window, 11.5) == 5
    window.give_back(9, 11.5, 100)
    assert used(window, 11.5) == 5
