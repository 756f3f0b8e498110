"""What was used and spent, by day, project, key, provider or model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal, NamedTuple, get_args

from flumegate.manage.desk import Desk, refuse
from flumegate.store import usage as rows
from flumegate.store.spend import day_name

By = Literal["day", "project", "key", "provider", "model"]
DIVISIONS: tuple[By, ...] = get_args(By)
MOST_DAYS = 400
MOST_ROWS = 100_000
_SECONDS = 10.0


class Usage(NamedTuple):
    """A sum."""

    place: tuple[str, ...]
    """What it is of, one for each division that was asked for."""
    requests: int
    errors: int
    input_tokens: int
    output_tokens: int
    micros: int


class Report(NamedTuple):
    """Usage between two days, both included."""

    since: str
    until: str
    rows: list[Usage]
    total: Usage
    whole: bool
    """False: there was more than one report holds, and the sums are too small."""


def report(
    desk: Desk,
    by: Sequence[By],
    *,
    since: str | None = None,
    until: str | None = None,
    project: str | None = None,
    key: str | None = None,
) -> Report:
    """Sum up usage by the divisions, in their order.

    Raises:
        RefusedError: a day is none, or there are too many of them.
    """
    last = until or day_name(desk.clock())
    first = since or day_name(desk.clock() - 29 * 86_400.0)
    if not first <= last or _days_between(first, last) > MOST_DAYS:
        raise refuse("invalid_value", f"since and until are days like 2026-11-21, at most {MOST_DAYS} of them.")
    with desk.database.reader(seconds=_SECONDS) as connection:
        found = rows.days(connection, since=first, until=last, project=project, key=key, limit=MOST_ROWS)
    sums: dict[tuple[str, ...], list[int]] = {}
    total = [0] * 5
    for row in found:
        counted = sums.setdefault(tuple(getattr(row, division) for division in by), [0] * 5)
        amounts = (row.requests, row.errors, row.input_tokens, row.output_tokens, row.micros)
        for place, amount in enumerate(amounts):
            counted[place] += amount
            total[place] += amount
    listed = [Usage(place, *amounts) for place, amounts in sorted(sums.items())]
    return Report(first, last, listed, Usage((), *total), len(found) < MOST_ROWS)


def _days_between(first: str, last: str) -> int:
    try:
        return (date.fromisoformat(last) - date.fromisoformat(first)).days
    except ValueError:
        raise refuse("invalid_value", "since and until are days like 2026-11-21.") from None
