from __future__ import annotations

import pytest

from flumegate.quota.ledger import Ledger, Line, line_of, recorded
from flumegate.records.access import Budget

NOON = 1_795_262_400.0
"""2026-11-21 12:00 UTC."""


def test_an_account_is_opened_once() -> None:
    """What it has spent so far must be told first, else a restart would be a way around every budget."""
    ledger, first, second = Ledger(), Line("key:1@total", 100), Line("key:2@total", 100)
    assert ledger.unknown([first, second]) == (first.account, second.account)
    ledger.open(first.account, 900)
    ledger.open(first.account, 0)
    assert ledger.unknown([first, second]) == (second.account,)
    assert ledger.account(first.account).spent == 900
    with pytest.raises(KeyError):
        ledger.account(second.account)


def test_accounts_of_past_periods_are_forgotten_when_nobody_needs_them() -> None:
    """A request that began before midnight is settled in its own day."""
    ledger = Ledger()
    ledger.open("day", 0, ends_at=100.0)
    ledger.open("other day", 0, ends_at=100.0)
    ledger.open("tomorrow", 0, ends_at=200.0)
    ledger.open("total", 0)
    day = ledger.account("day")
    day.held += 5
    assert ledger.held_total == 5
    assert ledger.forget(100.0) == 0
    assert ledger.forget(101.0) == 1
    day.held -= 5
    assert ledger.forget(101.0) == 1
    assert ledger.unknown([Line(name, 1) for name in ("day", "tomorrow", "total")]) == ("day",)


def test_a_line_is_a_budget_at_a_time() -> None:
    """Each period is its own account; what it was raised by counts until then and no longer."""
    budget = Budget("key:1", "day", 1_000, raised_micros=500, raised_until=NOON + 60)
    midnight = NOON + 12 * 3_600
    assert line_of(budget, NOON) == Line("key:1@2026-11-21", 1_500, midnight, 1_200)
    assert line_of(budget, NOON + 60) == Line("key:1@2026-11-21", 1_000, midnight, 800)
    assert line_of(budget, midnight).account == "key:1@2026-11-22"
    assert line_of(Budget("project:1", "month", 7), NOON).account == "project:1@2026-11"
    assert line_of(Budget("project:1", "total", 7), NOON) == Line("project:1@total", 7, 0.0, 5)


def test_a_budget_that_is_set_again_has_another_account() -> None:
    """Which the records call the same, whatever stands in the names of models."""
    now = 1_795_262_400.0
    lines = [
        line_of(Budget(scope, "day", 1, since=since), now) for scope in ("key:k", "model:a@b#1") for since in (0, 7)
    ]
    assert [line.account for line in lines] == [
        "key:k@2026-11-21",
        "key:k@2026-11-21#7",
        "model:a@b#1@2026-11-21",
        "model:a@b#1@2026-11-21#7",
    ]
    names = ["key:k@2026-11-21", "model:a@b#1@2026-11-21"]
    assert [recorded(line.account) for line in lines] == [names[0], names[0], names[1], names[1]]
