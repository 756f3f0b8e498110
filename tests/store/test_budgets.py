from __future__ import annotations

import pytest

from flumegate.records.access import Budget
from flumegate.store import budgets
from flumegate.store.budgets import StoredBudget
from flumegate.store.database import Database
from flumegate.store.errors import ConflictError, DuplicateError, MissingError

_DAILY = Budget("key:abcd", "day", 5_000_000, 70, 100, 9.5)


def test_a_scope_has_one_budget_for_a_period(database: Database) -> None:
    """Another period or scope is another budget; a second for the same is refused."""
    with database.transaction() as connection:
        budgets.insert(connection, _DAILY, 1.0)
        budgets.insert(connection, Budget("key:abcd", "month", 7), 1.0)
        budgets.insert(connection, Budget("project:p/model:gpt-4o", "day", 2**62), 1.0)
        with pytest.raises(DuplicateError, match="key:abcd has a budget for day already"):
            budgets.insert(connection, Budget("key:abcd", "day", 1), 2.0)
    with database.reader() as connection:
        assert budgets.find(connection, "key:abcd", "day") == StoredBudget(_DAILY, 1.0, 1.0, 1)
        assert budgets.find(connection, "key:abcd", "total") is None
        assert [each.budget.period for each in budgets.all_budgets(connection, scope="key:abcd")] == ["day", "month"]
        assert len(budgets.all_budgets(connection)) == 3


def test_only_who_saw_the_last_version_changes_it(database: Database) -> None:
    """The loser of two changes is told; a budget that is gone is missing."""
    with database.transaction() as connection:
        budgets.insert(connection, _DAILY, 1.0)
        budgets.replace(connection, Budget("key:abcd", "day", 6), 1, 2.0)
        with pytest.raises(ConflictError):
            budgets.replace(connection, _DAILY, 1, 3.0)
        assert budgets.find(connection, "key:abcd", "day") == StoredBudget(Budget("key:abcd", "day", 6), 1.0, 2.0, 2)
        budgets.remove(connection, "key:abcd", "day")
        with pytest.raises(MissingError):
            budgets.remove(connection, "key:abcd", "day")
        with pytest.raises(MissingError):
            budgets.replace(connection, _DAILY, 2, 3.0)
