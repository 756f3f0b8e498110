"""Budgets as they are stored: one for each scope and period. What was spent stands in `spend.py`."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, select

from flumegate.records.access import Budget, Period
from flumegate.store.changes import note_change
from flumegate.store.errors import ConflictError, DuplicateError, MissingError
from flumegate.store.rows import add_rows, change_row
from flumegate.store.tables import budgets


class StoredBudget(NamedTuple):
    """One row."""

    budget: Budget
    created_at: float
    updated_at: float
    version: int


def insert(connection: Connection, budget: Budget, now: float) -> None:
    """Store a new budget.

    Raises:
        DuplicateError: its scope has one for that period.
    """
    values = {**_columns(budget), "created_at": now, "updated_at": now, "version": 1}
    if not add_rows(connection, budgets, [values]):
        raise DuplicateError(f"{budget.scope} has a budget for {budget.period} already")
    note_change(connection)


def replace(connection: Connection, budget: Budget, version: int, now: float) -> None:
    """Put a budget in the place of the one of its scope and period, if that is at the expected version.

    Raises:
        MissingError: there is none.
        ConflictError: somebody else changed it first.
    """
    values = _columns(budget)
    del values["scope"], values["period"]
    row = _which(budget.scope, budget.period)
    change_row(connection, budgets, row, version, {**values, "updated_at": now})


def remove(connection: Connection, scope: str, period: Period, version: int | None = None) -> None:
    """Delete a budget, if it is at the expected version where one is given; what was spent stays known.

    Raises:
        MissingError: there is none.
        ConflictError: somebody else changed it first.
    """
    which = _which(scope, period)
    if version is not None:
        which &= budgets.c.version == version
    if not connection.execute(delete(budgets).where(which)).rowcount:
        found = find(connection, scope, period)
        if found is None:
            raise MissingError(f"{scope} has no budget for {period}")
        raise ConflictError(f"it is at version {found.version}, not {version}: read it again and repeat the change")
    note_change(connection)


def find(connection: Connection, scope: str, period: Period) -> StoredBudget | None:
    """Return the budget of a scope for a period."""
    row = connection.execute(select(budgets).where(_which(scope, period))).one_or_none()
    return _read(row) if row is not None else None


def all_budgets(connection: Connection, *, scope: str | None = None) -> list[StoredBudget]:
    """Return all budgets, or those of one scope, by scope and period."""
    query = select(budgets).order_by(budgets.c.scope, budgets.c.period)
    if scope is not None:
        query = query.where(budgets.c.scope == scope)
    return [_read(row) for row in connection.execute(query)]


def _which(scope: str, period: str) -> ColumnElement[bool]:
    return (budgets.c.scope == scope) & (budgets.c.period == period)


def _columns(budget: Budget) -> dict[str, object]:
    values = msgspec.structs.asdict(budget)
    del values["since"]  # which is what created_at says
    return values


def _read(row: Row[tuple[object, ...]]) -> StoredBudget:
    budget = Budget(row.scope, row.period, row.limit_micros, row.soft_percent, row.raised_micros, row.raised_until)
    return StoredBudget(budget, row.created_at, row.updated_at, row.version)
