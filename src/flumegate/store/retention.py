"""Deletes what is older than the operator wants to keep, a few rows at a time, so that storing never waits for long."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, select

from flumegate.store.database import Database
from flumegate.store.tables import contents, requests

SECONDS_PER_DAY = 86_400
BATCH_ROWS = 500


def delete_older_than(database: Database, *, days: float, now: float, batch_rows: int = BATCH_ROWS) -> int:
    """Delete requests and contents that are more than so many days old; return how many requests.

    Args:
        database: the connection that writes; between two batches others may use it.
        days: age in days from which rows go.
        now: Unix seconds.
        batch_rows: rows of one transaction.

    Raises:
        StoreUnavailable: the database cannot be used now; what was deleted before stays deleted.
    """
    before = now - days * SECONDS_PER_DAY
    deleted = 0
    while count := _delete_requests(database, before, batch_rows):
        deleted += count
    while _delete_contents(database, before, batch_rows):
        pass
    return deleted


def _delete_requests(database: Database, before: float, batch_rows: int) -> int:
    old = select(requests.c.sequence, requests.c.id).where(requests.c.started_at < before)
    with database.transaction() as connection:
        rows = connection.execute(old.order_by(requests.c.started_at).limit(batch_rows)).all()
        if rows:
            values = [{"wanted": row.id} for row in rows]
            connection.execute(delete(contents).where(contents.c.id == bindparam("wanted")), values)
            connection.execute(delete(requests).where(requests.c.id == bindparam("wanted")), values)
    return len(rows)


def _delete_contents(database: Database, before: float, batch_rows: int) -> int:
    old = select(contents.c.id).where(contents.c.stored_at < before).limit(batch_rows)
    with database.transaction() as connection:
        return connection.execute(delete(contents).where(contents.c.id.in_(old))).rowcount
