"""Budgets: what a key, a project, a model or a project's use of a model may spend in a day, a month, or in all."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from flumegate.manage.actor import Actor
from flumegate.manage.desk import Desk, Entry, expect, refuse
from flumegate.manage.grants import check_may_limit, need_key, need_project
from flumegate.records.access import Budget, Period
from flumegate.store import budgets as rows
from flumegate.store.accounts import account_of
from flumegate.store.budgets import StoredBudget
from flumegate.store.spend import LONGEST_NAME, Spend, period_names, totals

MOST_MICROS = 10**15
"""A thousand million dollars."""
MOST_RAISE_SECONDS = 366 * 86_400.0
_PERIODS: tuple[Period, ...] = ("day", "month", "total")


class NewBudget(NamedTuple):
    """What a budget is made of, beside its scope."""

    period: Period
    limit_micros: int
    soft_percent: int = 80


class Shown(NamedTuple):
    """A budget, and what was spent of it in the period of the moment."""

    stored: StoredBudget
    spent: Spend


def put(desk: Desk, actor: Actor, scope: str, new: NewBudget, version: int | None = None) -> Shown:
    """Store a budget, or change the one that its scope has for that period; what was raised stays raised.

    Raises:
        RefusedError: there is no such scope, it was changed meanwhile, or no limit can be held now.
    """
    entry = Entry("budget.set", scope, details={"period": new.period, "limit_micros": new.limit_micros})

    def perform(connection: Connection) -> Shown:
        entry.project = _check_scope(connection, scope)
        named = _named(connection, scope)
        before = put_in(desk, connection, named, new, version)
        if before is not None:
            entry.details["was_micros"] = before.budget.limit_micros
        return _shown(desk, connection, named, new.period)

    return desk.change(actor, entry, perform)


def put_in(
    desk: Desk, connection: Connection, scope: str, new: NewBudget, version: int | None = None
) -> StoredBudget | None:
    """Store a budget within the caller's transaction; return the one before.

    Raises:
        RefusedError: it cannot be, or was changed meanwhile.
    """
    if not 0 <= new.limit_micros <= MOST_MICROS or not 1 <= new.soft_percent <= 100:
        raise refuse("invalid_value", f"limit_micros is from 0 to {MOST_MICROS}, soft_percent from 1 to 100.")
    check_may_limit(desk.may_limit)
    before = rows.find(connection, scope, new.period)
    budget = Budget(scope, new.period, new.limit_micros, new.soft_percent)
    if before is None:
        if version is not None:
            raise refuse(
                "version_conflict", "There is none of that scope for that period. Without If-Match it is made."
            )
        rows.insert(connection, budget, desk.clock())
        return None
    expect(before.version, version)
    raised = msgspec.structs.replace(
        budget, raised_micros=before.budget.raised_micros, raised_until=before.budget.raised_until
    )
    rows.replace(connection, raised, before.version, desk.clock())
    return before


def lift(
    desk: Desk, actor: Actor, scope: str, period: Period, *, micros: int, until: float, version: int | None = None
) -> Shown:
    """Raise a budget for a while, on top of its limit; 0 micros takes the raise back.

    Raises:
        RefusedError: there is none, it was changed meanwhile, or the time is not one to come.
    """
    entry = Entry("budget.raise", scope, details={"period": period, "micros": micros, "until": until})

    def perform(connection: Connection) -> Shown:
        now = desk.clock()
        if not 0 <= micros <= MOST_MICROS or (micros and not now < until <= now + MOST_RAISE_SECONDS):
            raise refuse("invalid_value", "A raise has a time to come as its end, within a year.")
        named = _named(connection, scope)
        stored = _need(connection, named, period)
        expect(stored.version, version)
        entry.project = _project_of(scope)
        raised = msgspec.structs.replace(stored.budget, raised_micros=micros, raised_until=until if micros else 0.0)
        rows.replace(connection, raised, stored.version, now)
        return _shown(desk, connection, named, period)

    return desk.change(actor, entry, perform)


def remove(desk: Desk, actor: Actor, scope: str, period: Period, version: int | None = None) -> None:
    """Take a budget away; what was spent stays known.

    Raises:
        RefusedError: there is none, or it was changed meanwhile.
    """

    def perform(connection: Connection) -> None:
        named = _named(connection, scope)
        expect(_need(connection, named, period).version, version)
        rows.remove(connection, named, period, version)

    desk.change(actor, Entry("budget.remove", scope, _project_of(scope), {"period": period}), perform)


def listed(desk: Desk, scope: str | None = None) -> list[Shown]:
    """Return all budgets, or those of one scope, with what was spent."""
    with desk.reading() as connection:
        found = rows.all_budgets(connection, scope=None if scope is None else _named(connection, scope))
        names = dict(zip(_PERIODS, period_names(desk.clock()), strict=True))
        spent = totals(connection, {each.budget.scope for each in found}, names.values())
    return [Shown(each, spent.get((each.budget.scope, names[each.budget.period]), Spend())) for each in found]


def _named(connection: Connection, scope: str) -> str:
    """Return what a scope is called where it is kept: a key that replaced another has that one's budgets."""
    kind, _, rest = scope.partition(":")
    return f"key:{account_of(connection, rest)}" if kind == "key" else scope


def _check_scope(connection: Connection, scope: str) -> str:
    """Return the project that a scope belongs to; empty = none.

    Raises:
        RefusedError: there is no such scope, or none that a budget could hold for.
    """
    kind, _, rest = scope.partition(":")
    if kind == "key" and rest.startswith("static-"):
        raise refuse(
            "invalid_value",
            "A key of the configuration has no budget of its own: make one with flumegate key create instead, "
            "or set a budget for a model.",
        )
    if "*" in scope:
        raise refuse(
            "invalid_value",
            "A budget is for one name, and * stands for nothing in it: set one for each model, or for a project.",
        )
    if kind == "key" and rest:
        return need_key(connection, rest).project
    if kind == "project" and rest:
        project, slash, model = rest.partition("/")
        if not slash or (model.startswith("model:") and _is_name(model.removeprefix("model:"))):
            return need_project(connection, project).id
    if kind == "model" and _is_name(rest):
        return ""
    raise refuse("invalid_value", "scope is key:ID, project:ID, model:NAME or project:ID/model:NAME.")


def _is_name(text: str) -> bool:
    return 0 < len(text) <= LONGEST_NAME and all(" " < letter <= "~" for letter in text)


def _project_of(scope: str) -> str:
    return scope.removeprefix("project:").partition("/")[0] if scope.startswith("project:") else ""


def _need(connection: Connection, scope: str, period: Period) -> StoredBudget:
    found = rows.find(connection, scope, period)
    if found is None:
        raise refuse("budget_not_found", f"There is no budget of that scope for {period}.")
    return found


def _shown(desk: Desk, connection: Connection, scope: str, period: Period) -> Shown:
    name = dict(zip(_PERIODS, period_names(desk.clock()), strict=True))[period]
    stored = _need(connection, scope, period)
    return Shown(stored, totals(connection, [scope], [name]).get((scope, name), Spend()))
