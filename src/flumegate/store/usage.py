"""Usage by day, project, key, provider and model: what reports and charts are drawn from, for as long as one likes.

All requests are counted, refused ones too. The model is the one that was sent upstream, so that what a client makes up
adds no rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from flumegate.records.request import Record
from flumegate.store.database import insert_into
from flumegate.store.spend import bounded, day_name, storable_text
from flumegate.store.tables import usage_days

_PLACE = ("day", "project", "key", "provider", "model")
_AMOUNTS = ("requests", "errors", "input_tokens", "output_tokens", "micros")
MOST_ROWS = 10_000


class UsageDay(NamedTuple):
    """A sum over the requests of one day."""

    day: str
    """In UTC, `2026-11-21`."""
    project: str
    key: str
    provider: str
    model: str
    requests: int
    errors: int
    """Requests that did not end with a whole, good answer."""
    input_tokens: int
    output_tokens: int
    micros: int


def days(
    connection: Connection,
    *,
    since: str,
    until: str,
    project: str | None = None,
    key: str | None = None,
    limit: int = MOST_ROWS,
) -> list[UsageDay]:
    """Return the usage of some days, oldest first.

    Args:
        connection: one that reads.
        since: first day, as in `2026-11-21`.
        until: last day, included.
        project: of this project only.
        key: of this key only.
        limit: rows at most.
    """
    query = select(usage_days).where(usage_days.c.day.between(since, until))
    if project is not None:
        query = query.where(usage_days.c.project == project)
    if key is not None:
        query = query.where(usage_days.c.key == key)
    query = query.order_by(*(usage_days.c[name] for name in _PLACE)).limit(limit)
    return [UsageDay(*row) for row in connection.execute(query)]


def add_usage(connection: Connection, records: Sequence[Record]) -> None:
    """Count records that are new. Whoever stores them calls this in the same transaction."""
    sums: dict[tuple[str, ...], list[int]] = {}
    for record in records:
        names = (record.project, record.key_id, record.provider, record.model if record.provider else "")
        total = sums.setdefault((day_name(record.started_at), *map(storable_text, names)), [0, 0, 0, 0, 0])
        amounts = (
            1,
            int(record.outcome != "ok" or record.status >= 400),
            bounded(record.input_tokens),
            bounded(record.output_tokens),
            bounded(record.cost_micros),
        )
        for place, amount in enumerate(amounts):
            total[place] += amount
    if sums:
        rows = [dict(zip(_PLACE + _AMOUNTS, (*place, *total), strict=True)) for place, total in sorted(sums.items())]
        statement = insert_into(connection, usage_days)
        added = {name: usage_days.c[name] + statement.excluded[name] for name in _AMOUNTS}
        connection.execute(statement.on_conflict_do_update(index_elements=_PLACE, set_=added), rows)
