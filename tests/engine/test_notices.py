from __future__ import annotations

import pytest

from flumegate.engine.notices import (
    budget_line,
    nearly_spent,
    refusal,
    room_form,
    room_lines,
    rooms_left,
    tightest,
    unknown_balance,
)
from flumegate.quota.book import Book, Holder, Over, Room
from flumegate.quota.ledger import Ledger, Line, Short, Unknown
from flumegate.quota.stay import NOTHING, Allowance
from flumegate.records.access import Budget, Limits

KEY = Holder("key:secret-id", Limits())
NOON = 1_795_262_400.0
"""2026-11-21."""


def test_what_is_left_stands_in_the_head() -> None:
    """Of the limited rates only, whole seconds rounded up."""
    assert room_lines(None, None) == b""
    assert room_lines(Room(60, 59, 60.2), None) == (
        b"x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\nx-ratelimit-reset-requests: 61s\r\n"
    )
    assert room_lines(None, Room(9, 0, 1)) == (
        b"x-ratelimit-limit-tokens: 9\r\nx-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 1s\r\n"
    )


@pytest.mark.parametrize(
    "limits", [Limits(), Limits(60), Limits(0, 900), Limits(60, 900), Limits(60, 100), Limits(concurrency=5)]
)
@pytest.mark.parametrize("several", [False, True])
def test_a_form_that_is_kept_ready_says_the_same(limits: Limits, several: bool) -> None:
    """As the rooms themselves, for one holder; of several the tightest is looked for each time."""
    holders = [Holder("key:1", limits)] + [Holder("project:1", Limits(90, 9_000))] * several
    allowance = Allowance(holders, (), ())
    assert allowance.bind(Book(), Ledger(), NOON) is None
    allowance.form = room_form(allowance)
    assert bool(allowance.form) == (not several and bool(limits.requests_per_minute and limits.tokens_per_minute))
    allowance.count(300, 0, int(NOON))
    assert rooms_left(allowance) == room_lines(*allowance.rooms())


def test_the_tightest_rates_are_told() -> None:
    """Of requests and of tokens each."""
    wide, tight = Room(100, 50, 1), Room(1_000, 2, 1)
    assert tightest([(wide, tight), (tight, None), (None, wide)]) == (tight, tight)
    assert tightest([]) == (None, None)


@pytest.mark.parametrize(
    ("over", "code", "wait", "words"),
    [
        (Over("max_requests", KEY, 7, None), "request_quota_exceeded", None, "All 7 requests of this key"),
        (Over("concurrency", KEY, 3, None), "concurrency_limit_exceeded", 1, "3 requests of this key"),
        (Over("tokens", KEY, 500, 12.1), "rate_limit_exceeded", 13, "500 tokens a minute of this key"),
        (Over("requests", Holder("project:p", Limits()), 5, 0.1), "rate_limit_exceeded", 1, "of this project"),
    ],
)
def test_a_limit_says_which_and_whose_it_is_and_how_long(over: Over, code: str, wait: int | None, words: str) -> None:
    """Whose by kind: an id is nobody's business."""
    error = refusal(over, NOTHING, NOON)
    assert (error.code, error.retry_after) == (code, wait)
    assert words in error.message
    assert "secret-id" not in error.message


@pytest.mark.parametrize(
    ("scope", "ends_at", "wait", "words"),
    [
        ("key:k", 0.0, None, "this key, $10.00, has $0.5000 left"),
        ("key:k", 0.0, None, "does not reset by itself"),
        ("project:p", NOON + 43_200, 43_200, "this project, $10.00"),
        ("project:p", NOON + 43_200, 43_200, "resets in 12 h 0 min"),
        ("model:gpt", NOON + 864_000 - 60, 86_400, "resets in 9 d 23 h"),
        ("model:gpt", NOON + 5, 5, "the model 'gpt'"),
        ("model:gpt", NOON - 5, 1, "resets in 0 h 0 min"),
    ],
)
def test_a_budget_says_what_is_left_and_when_it_resets(
    scope: str, ends_at: float, wait: int | None, words: str
) -> None:
    """Nobody is sent away for longer than a day: it may be raised."""
    other, line = Line("other@total", 1), Line(f"{scope}@x", 10_000_000, ends_at)
    budgets = Budget("other", "total", 1), Budget(scope, "month", 10_000_000)
    allowance = Allowance((), budgets, (other, line))
    error = refusal(Short(line, 500_000), allowance, NOON)
    assert (error.code, error.retry_after) == ("budget_exceeded", wait)
    assert words in error.message
    spent = refusal(Short(line, -5), allowance, NOON)
    assert "$0.0000 left" in spent.message


def test_what_cannot_be_known_is_worth_another_try() -> None:
    """Soon: control comes back."""
    for error in (refusal(Unknown(("a",)), NOTHING, NOON), unknown_balance()):
        assert (error.code, error.retry_after) == ("balance_unknown", 2)


def test_budgets_warn_from_their_part_on() -> None:
    """One that never warns does not, nor does one of nothing before it refuses."""
    early, late, never, none = (
        Line("a@total", 1_000, warn_micros=500),
        Line("b@total", 300, warn_micros=240),
        Line("c@total", 100),
        Line("d@total", 0, warn_micros=1),
    )
    assert nearly_spent([(early, 499), (late, 239), (never, 100), (none, 0)]) == []
    assert nearly_spent([(early, 500), (late, 303), (never, 109)]) == [(early, 50), (late, 101)]
    assert budget_line(Budget("project:secret/model:m", "day", 9), 84) == (
        b"x-flumegate-budget-warning: project day 84%\r\n"
    )
