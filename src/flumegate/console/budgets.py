"""`/manage/budgets`: what may be spent, and what was."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query, Response
from pydantic import BaseModel, Field

from flumegate.console.endpoint import Endpoint
from flumegate.console.fields import BudgetBody, Micros, Text, When, as_time
from flumegate.console.permission import READ_USAGE, WRITE
from flumegate.console.request import ActorOf, AskedOf, DeskOf, VersionOf
from flumegate.manage import budgets
from flumegate.manage.budgets import Shown
from flumegate.records.access import Period

Scope = Annotated[Text, Field(min_length=1, max_length=400)]
ScopeQuery = Annotated[str, Query(min_length=1, max_length=400, description="As in key:ID or project:ID/model:NAME.")]


class ScopedBudgetBody(BudgetBody):
    """A budget, and whose it is."""

    scope: Scope = Field(description="key:ID, project:ID, model:NAME or project:ID/model:NAME.")


class RaiseBody(When):
    """More for a while, on top of the limit."""

    scope: Scope
    period: Period
    micros: Micros = Field(description="0 takes a raise back.")


class BudgetShape(BaseModel):
    """A budget, with what was spent of it in the period of the moment."""

    scope: str
    period: Period
    limit_micros: int
    soft_percent: int
    raised_micros: int
    raised_until: datetime | None
    spent_micros: int
    spent_requests: int
    created_at: datetime | None
    updated_at: datetime | None
    version: int = Field(description="For If-Match.")


class BudgetsShape(BaseModel):
    """Budgets by scope and period."""

    budgets: list[BudgetShape]


def shape_budget(shown: Shown) -> BudgetShape:
    """Return a budget as it is told."""
    budget = shown.stored.budget
    return BudgetShape(
        scope=budget.scope,
        period=budget.period,
        limit_micros=budget.limit_micros,
        soft_percent=budget.soft_percent,
        raised_micros=budget.raised_micros,
        raised_until=as_time(budget.raised_until),
        spent_micros=shown.spent.micros,
        spent_requests=shown.spent.requests,
        created_at=as_time(shown.stored.created_at),
        updated_at=as_time(shown.stored.updated_at),
        version=shown.stored.version,
    )


def list_budgets(
    desk: DeskOf, scope: Annotated[str | None, Query(max_length=400, description="Of this scope only.")] = None
) -> BudgetsShape:
    """List budgets, with what was spent."""
    return BudgetsShape(budgets=[shape_budget(each) for each in budgets.listed(desk, scope)])


def put_budget(desk: DeskOf, actor: ActorOf, version: VersionOf, body: ScopedBudgetBody) -> BudgetShape:
    """Set a budget, in place of the one that its scope has for that period."""
    return shape_budget(budgets.put(desk, actor, body.scope, body.budget(), version))


def raise_budget(desk: DeskOf, asked: AskedOf, version: VersionOf, body: RaiseBody) -> Response:
    """Raise a budget for a while."""
    until = body.ends(desk.clock())
    return asked.answer(
        lambda actor: budgets.lift(
            desk, actor, body.scope, body.period, micros=body.micros, until=until, version=version
        ),
        shape_budget,
    )


def delete_budget(
    desk: DeskOf, actor: ActorOf, version: VersionOf, scope: ScopeQuery, period: Annotated[Period, Query()]
) -> Response:
    """Take a budget away; what was spent stays known."""
    budgets.remove(desk, actor, scope, period, version)
    return Response(status_code=204)


ENDPOINTS = (
    Endpoint("GET", "/manage/budgets", list_budgets, READ_USAGE),
    Endpoint("PUT", "/manage/budgets", put_budget, WRITE),
    Endpoint("POST", "/manage/budgets/raise", raise_budget, WRITE, BudgetShape),
    Endpoint("DELETE", "/manage/budgets", delete_budget, WRITE, None, 204),
)
