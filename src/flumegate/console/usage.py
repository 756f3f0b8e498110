"""`/manage/usage`: what was used and spent."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field

from flumegate.console.endpoint import Endpoint
from flumegate.console.permission import READ_USAGE
from flumegate.console.request import DeskOf
from flumegate.manage import usage
from flumegate.manage.usage import By, Usage

_Day = Annotated[str | None, Query(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="In UTC, included.")]
_Id = Annotated[str | None, Query(pattern="^[0-9A-Za-z._-]{0,64}$")]


class UsageShape(BaseModel):
    """A sum."""

    of: dict[str, str] = Field(description="What it is of, by the divisions that were asked for.")
    requests: int
    errors: int
    input_tokens: int
    output_tokens: int
    micros: int = Field(description="Millionths of a dollar.")


class ReportShape(BaseModel):
    """Usage between two days, both included."""

    since: str
    until: str
    rows: list[UsageShape]
    total: UsageShape
    whole: bool = Field(description="false: there is more than one report holds; ask for fewer days.")


def get_usage(
    desk: DeskOf,
    by: Annotated[list[By] | None, Query(description="How it is divided; several nest. Left out = day.")] = None,
    since: _Day = None,
    until: _Day = None,
    project_id: _Id = None,
    key_id: _Id = None,
) -> ReportShape:
    """Sum up requests, tokens and money; the last 30 days where no others are named."""
    divisions = tuple(dict.fromkeys(by or ("day",)))
    found = usage.report(desk, divisions, since=since, until=until, project=project_id, key=key_id)
    return ReportShape(
        since=found.since,
        until=found.until,
        rows=[_shape(row, divisions) for row in found.rows],
        total=_shape(found.total, ()),
        whole=found.whole,
    )


def _shape(row: Usage, divisions: tuple[By, ...]) -> UsageShape:
    return UsageShape(
        of=dict(zip(divisions, row.place, strict=True)),
        requests=row.requests,
        errors=row.errors,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        micros=row.micros,
    )


ENDPOINTS = (Endpoint("GET", "/manage/usage", get_usage, READ_USAGE),)
