from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flumegate.routing.account import GUESSED_SECONDS, STATED_MOST_SECONDS, Account
from rig import cuts

WISHES = st.lists(st.tuples(st.floats(0, 30), st.none() | st.floats(0, 600)), max_size=20)


@cuts.law
@given(WISHES)
def test_no_wish_is_cut_short(wishes: list[tuple[float, float | None]]) -> None:
    """Whatever guesses and shorter wishes come between, up to the longest time that is obeyed."""
    account = Account()
    now, until = 1_000.0, 0.0
    for pause, wish in wishes:
        now += pause
        if wish is None:
            account.guess(now)
        else:
            account.obey(now, wish)
            until = max(until, now + min(wish, STATED_MOST_SECONDS))
        account.succeed(now)
        assert until <= now or account.free_at() == until


def test_a_wish_takes_the_place_of_a_guess() -> None:
    """The upstream knows better, also where it asks for less."""
    account = Account()
    for _ in range(4):
        account.guess(account.free_at())
    assert account.free_at() == sum(GUESSED_SECONDS[:3]) + GUESSED_SECONDS[3]
    account.obey(8.0, 1.0)
    assert (account.free_at(), account.stated) == (9.0, True)
