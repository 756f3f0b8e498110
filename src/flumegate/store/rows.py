"""How rows of what is managed become values, and how one is changed only by who has seen its last version."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, Table, select, tuple_, update

from flumegate.records.access import Limits
from flumegate.store.changes import note_change
from flumegate.store.database import insert_into
from flumegate.store.errors import ConflictError, MissingError

MOST_ROWS = 1000
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[str, ...]).decode


class Place(NamedTuple):
    """Where a page of a list ended; the next one begins after it."""

    created_at: float
    id: str


def write_list(items: tuple[str, ...]) -> str:
    """Return a list as it stands in a column."""
    return _encode(items).decode() if items else "[]"


def read_list(stored: str) -> tuple[str, ...]:
    """Return the list that a column holds."""
    return _decode(stored) if stored != "[]" else ()


def read_limits(row: Row[Any]) -> Limits:
    """Return the limits that stand in a row of keys or projects."""
    return Limits(row.requests_per_minute, row.tokens_per_minute, row.concurrency, row.max_requests)


def columns_of(values: Mapping[str, object]) -> dict[str, object]:
    """Return a value's fields as columns: lists as JSON, limits each in its own."""
    columns: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Limits):
            columns.update(msgspec.structs.asdict(value))
        else:
            columns[name] = write_list(value) if isinstance(value, tuple) else value
    return columns


def page_of(query: Select[Any], table: Table, after: Place | None, limit: int) -> Select[Any]:
    """Return the query for one page, newest first, and one row more, which tells whether there is another page.

    Raises:
        ValueError: the limit is not between 1 and 1000.
    """
    if not 1 <= limit <= MOST_ROWS:
        raise ValueError(f"limit must be between 1 and {MOST_ROWS}")
    if after is not None:
        query = query.where(tuple_(table.c.created_at, table.c.id) < tuple_(*after))
    return query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit + 1)


def write_cursor(place: Place) -> str:
    """Return the place as text that a client hands back."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def read_cursor(cursor: str) -> Place:
    """Return the place that a client handed back.

    Raises:
        ValueError: the text is none of ours.
    """
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = Place(*msgspec.json.decode(data, type=tuple[float, str]))
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise ValueError("the cursor is not one of ours: copy it whole from the page before, or leave it out") from None
    return place._replace(id=place.id.replace("\0", ""))


def add_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> int:
    """Insert rows, pass over those whose place is taken, and return how many were inserted."""
    statement = insert_into(connection, table).on_conflict_do_nothing()
    # Without the option the library does not tell how many, on PostgreSQL.
    return connection.execute(statement, list(rows), execution_options={"preserve_rowcount": True}).rowcount


def change_row(
    connection: Connection, table: Table, row: ColumnElement[bool], version: int, values: Mapping[str, object]
) -> None:
    """Change one row and raise its version, if that is still the expected one.

    Raises:
        MissingError: there is no such row.
        ConflictError: its version is another.
    """
    statement = update(table).where(row, table.c.version == version)
    changed = connection.execute(statement.values(**values, version=table.c.version + 1)).rowcount
    if not changed:
        found = connection.execute(select(table.c.version).where(row)).scalar_one_or_none()
        if found is None:
            raise MissingError(f"there is no such row in {table.name}")
        raise ConflictError(f"it is at version {found}, not {version}: read it again and repeat the change")
    note_change(connection)
