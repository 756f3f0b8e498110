"""What was spent, summed up by scope and period: what budgets are held against.

Scopes are those of budgets (`records/access.py`); a period is named by its day (`2026-11-21`), its month (`2026-11`) or
`total`, in UTC, after the time at which the request began. Which requests count, the record says
(`Record.is_counted`); a cost that is not known counts as none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select, update

from flumegate.records.request import Record
from flumegate.store.accounts import accounts_of
from flumegate.store.database import insert_into
from flumegate.store.tables import keys, spend

TOTAL = "total"
LONGEST_NAME = 300
"""Characters of a model's name in a scope; what is longer is cut."""
_LARGEST = 10**12
"""Of one request: a sum of absurd numbers must not end in one that no column holds."""
_LAST_SECOND = 253_402_300_799.0
_SCOPES_AT_ONCE = 500


class Spend(NamedTuple):
    """A sum over requests."""

    micros: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


def totals(connection: Connection, scopes: Iterable[str], period_names: Iterable[str]) -> dict[tuple[str, str], Spend]:
    """Return what was spent, by scope and period; where nothing was, there is no entry."""
    wanted, periods = list(dict.fromkeys(scopes)), list(period_names)
    found: dict[tuple[str, str], Spend] = {}
    for first in range(0, len(wanted), _SCOPES_AT_ONCE):
        some = wanted[first : first + _SCOPES_AT_ONCE]
        query = select(spend).where(spend.c.scope.in_(some), spend.c.period_name.in_(periods))
        found.update({(row[0], row[1]): Spend(*row[2:]) for row in connection.execute(query)})
    return found


def period_names(at: float) -> tuple[str, str, str]:
    """Return the names of the day, the month and the whole of time that a moment belongs to, in UTC."""
    day = day_name(at)
    return day, day[:7], TOTAL


def day_name(at: float) -> str:
    """Return the name of the day that a moment belongs to, in UTC."""
    within = 0.0 if math.isnan(at) else min(max(at, 0.0), _LAST_SECOND)
    return datetime.fromtimestamp(within, UTC).strftime("%Y-%m-%d")


def scopes_of(record: Record, accounts: Mapping[str, str]) -> Iterator[str]:
    """Yield the scopes that a request counts for; `accounts` says which keys count on another key's."""
    model = storable_text(record.model_requested)
    project = storable_text(record.project)
    if record.key_id:
        key = storable_text(record.key_id)
        yield f"key:{accounts.get(key, key)}"
    if project:
        yield f"project:{project}"
    if model:
        yield f"model:{model}"
        if project:
            yield f"project:{project}/model:{model}"


def add_spend(connection: Connection, records: Sequence[Record]) -> None:
    """Count records that are new. Whoever stores them calls this in the same transaction."""
    sums: dict[tuple[str, str], list[int]] = {}
    used: dict[str, tuple[int, float]] = {}
    accounts = accounts_of(connection, {storable_text(record.key_id) for record in records if record.key_id})
    for record in records:
        if record.outcome == "refused" or record.is_copy:
            continue
        # Whoever only looked at the list of models has used the key, too.
        count, last = used.get(record.key_id, (0, 0.0))
        used[record.key_id] = count + record.is_counted, max(last, record.started_at)
        if not record.is_counted:
            continue
        amounts = (bounded(record.cost_micros), 1, bounded(record.input_tokens), bounded(record.output_tokens))
        names = period_names(record.started_at)
        for scope in scopes_of(record, accounts):
            for name in names:
                total = sums.setdefault((scope, name), [0, 0, 0, 0])
                for place, amount in enumerate(amounts):
                    total[place] += amount
    if sums:
        # In one order, so that two instances never wait for each other in a circle.
        rows = [
            dict(zip(spend.columns.keys(), (*place, *amounts), strict=True)) for place, amounts in sorted(sums.items())
        ]
        statement = insert_into(connection, spend)
        added = {name: spend.c[name] + statement.excluded[name] for name in Spend._fields}
        connection.execute(statement.on_conflict_do_update(index_elements=["scope", "period_name"], set_=added), rows)
    _note_use(connection, used)


def _note_use(connection: Connection, used: dict[str, tuple[int, float]]) -> None:
    """Tell the keys that they were used; keys of the configuration have no row, and nothing happens."""
    rows = [
        {"wanted": storable_text(key), "count": count, "at": last} for key, (count, last) in sorted(used.items()) if key
    ]
    if not rows:
        return
    known = set(connection.execute(select(keys.c.id).where(keys.c.id.in_([row["wanted"] for row in rows]))).scalars())
    rows = [row for row in rows if row["wanted"] in known]
    if rows:
        latest = func.greatest if connection.dialect.name == "postgresql" else func.max
        later = latest(keys.c.last_used_at, bindparam("at"))
        counted = {"request_count": keys.c.request_count + bindparam("count"), "last_used_at": later}
        connection.execute(update(keys).where(keys.c.id == bindparam("wanted")).values(counted), rows)


def bounded(amount: int | None) -> int:
    """Return what counts of an amount that an upstream reported."""
    return min(max(amount or 0, 0), _LARGEST)


def storable_text(text: str) -> str:
    """Return a name as it is kept in an index of either database."""
    return text[:LONGEST_NAME].replace("\0", "\ufffd")
