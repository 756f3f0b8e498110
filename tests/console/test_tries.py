from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flumegate.console import tries
from flumegate.console.tries import MOST_PER_MINUTE, Tries


def test_the_sixth_wrong_try_of_a_minute_waits() -> None:
    """Until the first of them is a minute old; other addresses are not kept."""
    kept = Tries()
    for second in range(MOST_PER_MINUTE):
        assert kept.wait("a", second) == 0
        kept.count("a", second)
    assert kept.wait("a", 10.0) == 50
    assert kept.wait("b", 10.0) == 0
    assert kept.wait("a", 60.0) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 20)), max_size=200))
def test_no_minute_has_more_than_so_many(steps: list[tuple[str, float]]) -> None:
    """Whoever asks before each try is never let through more often, at whatever pace."""
    kept, now = Tries(), 0.0
    let: dict[str, list[float]] = {}
    for address, pause in steps:
        now += pause
        if not kept.wait(address, now):
            kept.count(address, now)
            let.setdefault(address, []).append(now)
    for times in let.values():
        assert all(later - earlier >= 59.9 for earlier, later in zip(times, times[MOST_PER_MINUTE:], strict=False))


def test_addresses_that_keep_coming_cost_bounded_memory() -> None:
    kept = Tries()
    for number in range(tries._MOST_ADDRESSES + 10):
        kept.count(str(number), 0.0)
    assert len(kept._tries) == tries._MOST_ADDRESSES
