"""Budgets: set, raised for a while, held against what was spent; on either database."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from flumegate.manage import budgets, keys, projects
from flumegate.manage.budgets import NewBudget
from flumegate.manage.keys import NewKey
from flumegate.manage.projects import NewProject
from flumegate.manage.workers import RefusedError
from flumegate.records.access import Budget, Period
from flumegate.store import budgets as rows
from flumegate.store.spend import period_names
from flumegate.store.tables import spend
from rig.desk import Bench, actor

OWNER = actor()
PERIODS: tuple[Period, ...] = ("day", "month", "total")
SMALL = NewBudget("day", 1)


def code(desk: Bench, scope: str, new: NewBudget = SMALL, version: int | None = None) -> str:
    with pytest.raises(RefusedError) as refused:
        budgets.put(desk, OWNER, scope, new, version)
    return refused.value.code


def test_a_budget_is_told_with_what_was_spent_of_it(desk: Bench) -> None:
    """In the period of the moment."""
    day, month, total = period_names(desk.time.now)
    with desk.database.transaction() as connection:
        for name, micros in ((day, 5), (month, 50), (total, 500), ("2020-01-01", 9)):
            row = {"scope": "model:m", "period_name": name, "micros": micros, "requests": 1}
            connection.execute(insert(spend).values(**row, input_tokens=0, output_tokens=0))
    for period in PERIODS:
        budgets.put(desk, OWNER, "model:m", NewBudget(period, 1000))
    spent = {each.stored.budget.period: each.spent.micros for each in budgets.listed(desk)}
    assert spent == {"day": 5, "month": 50, "total": 500}


def test_setting_again_changes_it_and_leaves_what_was_raised(desk: Bench) -> None:
    budgets.put(desk, OWNER, "model:m", NewBudget("day", 10))
    raised = budgets.lift(desk, OWNER, "model:m", "day", micros=7, until=desk.time.now + 60)
    assert raised.stored.budget.raised_micros == 7
    changed = budgets.put(desk, OWNER, "model:m", NewBudget("day", 20, 50), raised.stored.version)
    budget = changed.stored.budget
    assert (budget.limit_micros, budget.soft_percent, budget.raised_micros) == (20, 50, 7)
    assert code(desk, "model:m", version=1) == "version_conflict"
    back = budgets.lift(desk, OWNER, "model:m", "day", micros=0, until=0.0)
    assert (back.stored.budget.raised_micros, back.stored.budget.raised_until) == (0, 0.0)


@pytest.mark.parametrize("until", [-1.0, 0.0, 400 * 86_400.0])
def test_a_raise_ends_within_a_year(desk: Bench, until: float) -> None:
    budgets.put(desk, OWNER, "model:m", NewBudget("day", 10))
    with pytest.raises(RefusedError) as refused:
        budgets.lift(desk, OWNER, "model:m", "day", micros=1, until=desk.time.now + until)
    assert refused.value.code == "invalid_value"


def test_a_scope_is_of_something_that_is_there(desk: Bench) -> None:
    project = projects.create(desk, OWNER, NewProject("team")).project.id
    key = keys.create(desk, OWNER, NewKey()).key.id
    for scope in (f"project:{project}", f"project:{project}/model:m/x", f"key:{key}", "model:a/b"):
        budgets.put(desk, OWNER, scope, NewBudget("total", 1))
    for scope in ("", "x", "key:", "model:", "user:1", f"project:{project}/", f"project:{project}/key:1", "model:a\n"):
        assert code(desk, scope) == "invalid_value"
    assert code(desk, "project:gone") == "project_not_found"
    assert code(desk, "key:gone") == "key_not_found"


@pytest.mark.parametrize(
    ("scope", "instead"),
    [
        ("key:static-a590adcc", "flumegate key create"),
        ("model:gpt-*", "for each model"),
        ("model:*", "for each model"),
        ("project:{project}/model:gpt-*", "for each model"),
    ],
)
def test_a_scope_that_would_never_hold_is_refused(desk: Bench, scope: str, instead: str) -> None:
    """With what to do instead; one that was stored before is still listed, and can be taken away."""
    scope = scope.format(project=projects.create(desk, OWNER, NewProject("team")).project.id)
    with pytest.raises(RefusedError, match=instead) as refused:
        budgets.put(desk, OWNER, scope, SMALL)
    assert refused.value.code == "invalid_value"
    with desk.database.transaction() as connection:
        rows.insert(connection, Budget(scope, "day", 1), desk.time.now)
    assert [each.stored.budget.scope for each in budgets.listed(desk, scope)] == [scope]
    budgets.remove(desk, OWNER, scope, "day")
    assert budgets.listed(desk) == []


def test_a_budget_that_cannot_be_held_is_refused(desk: Bench) -> None:
    for new in (NewBudget("day", -1), NewBudget("day", 10**16), NewBudget("day", 1, 0), NewBudget("day", 1, 101)):
        assert code(desk, "model:m", new) == "invalid_value"
    desk.no_limits = "Set redis.url."
    assert code(desk, "model:m") == "limits_need_redis"


def test_what_is_taken_away_is_gone(desk: Bench) -> None:
    budgets.put(desk, OWNER, "model:m", NewBudget("day", 10))
    budgets.remove(desk, OWNER, "model:m", "day")
    assert budgets.listed(desk) == []
    with pytest.raises(RefusedError) as refused:
        budgets.remove(desk, OWNER, "model:m", "day")
    assert refused.value.code == "budget_not_found"
