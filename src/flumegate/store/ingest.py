"""Stores records in batches, each batch whole or not at all, and no record twice; with them what they spent.

The inserts are written once and fed with plain tuples, or on PostgreSQL with one array a column, which is several times
faster than building a statement a row. Spend and usage are counted in the same transaction, and only for records that
are new: a batch that comes again after a crash changes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import msgspec
from sqlalchemy import Boolean, Connection, Float, LargeBinary, Table, Text
from sqlalchemy.dialects import sqlite

from flumegate.records.request import Attempt, Content, Record
from flumegate.store.database import BUSY_SECONDS, Database
from flumegate.store.errors import RowRefused, StoreUnavailable
from flumegate.store.spend import add_spend
from flumegate.store.tables import contents as contents_table
from flumegate.store.tables import requests
from flumegate.store.usage import add_usage

RECORD_COLUMNS = tuple(column.name for column in requests.columns if column.name != "sequence")
_CONTENT_COLUMNS = tuple(column.name for column in contents_table.columns)
_ATTEMPTS = RECORD_COLUMNS.index("attempts")
_LOSSES = RECORD_COLUMNS.index("losses")
_STARTED_AT = RECORD_COLUMNS.index("started_at")
_ID = RECORD_COLUMNS.index("id")
_LARGEST = 2**63 - 1
_LONGEST_INDEXED = 500
"""Characters; PostgreSQL's index entries hold 2,700 bytes."""
_INDEXED = frozenset(
    RECORD_COLUMNS.index(column.name)
    for column in requests.columns
    if isinstance(column.type, Text) and any(column.name in index.columns for index in requests.indexes)
)
_encode_json = msgspec.json.Encoder().encode
_astuple = msgspec.structs.astuple
_asdict = msgspec.structs.asdict

Value = str | int | float | bytes | None
Row = tuple[Value, ...]


class Ingest:
    """Writes what the spool delivers.

    Attributes:
        database: the connection that writes, for others that must write over the same one.
    """

    def __init__(self, url: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        """Take a URL like `sqlite:///./data/flumegate.db`; nothing is opened before the first insert.

        Raises:
            StoreUnavailable: the URL is not that of an SQLite file.
        """
        self.database = Database(url, busy_seconds=busy_seconds)

    def insert(self, records: Sequence[Record], contents: Sequence[Content] = ()) -> int:
        """Store all of them in one transaction, pass over ids that are there already; return how many were new.

        Raises:
            StoreUnavailable: the database cannot be used now; nothing of the batch is stored.
        """
        now = time.time()
        unique: dict[str, Record] = {}
        for record in records:
            unique.setdefault(record.id, record)
        batch = list(unique.values())
        rows = [_record_row(record) for record in batch]
        bodies: list[Row] = [(content.id, now, content.request_body, content.response_body) for content in contents]
        try:
            return self._insert(batch, rows, bodies)
        except (OverflowError, RowRefused):
            # One absurd value that an upstream reported must not keep all other records out for ever.
            rows = [_storable_row(row) for row in rows]
        try:
            return self._insert(batch, rows, bodies)
        except RowRefused as refusal:
            raise StoreUnavailable(f"a record is refused: {refusal}; is the schema that of this release?") from refusal

    def close(self) -> None:
        """Close the database; the next insert opens it again."""
        self.database.close()

    def _insert(self, batch: Sequence[Record], rows: list[Row], bodies: list[Row]) -> int:
        new: set[object] = set()
        with self.database.transaction() as connection:
            write = _insert_arrays if connection.dialect.name == "postgresql" else _insert_rows
            if rows:
                new = write(connection, requests, RECORD_COLUMNS, rows)
                # By the row's id, which is the record's unless that one could not be stored.
                fresh = [record for record, row in zip(batch, rows, strict=True) if row[_ID] in new]
                add_spend(connection, fresh)
                add_usage(connection, fresh)
            if bodies:
                write(connection, contents_table, _CONTENT_COLUMNS, bodies)
        return len(new)


def _insert_rows(connection: Connection, table: Table, columns: tuple[str, ...], rows: list[Row]) -> set[object]:
    """Insert into SQLite; return the ids that were new. The transaction holds the lock: nobody adds one between."""
    place = columns.index("id")
    ids = _encode_json([row[place] for row in rows]).decode()
    known = set(connection.exec_driver_sql(_KNOWN.format(table.name), (ids,)).scalars())
    connection.exec_driver_sql(_INSERTS[table.name], rows)
    return {row[place] for row in rows if row[place] not in known}


def _insert_arrays(connection: Connection, table: Table, columns: tuple[str, ...], rows: list[Row]) -> set[object]:
    """Insert into PostgreSQL, in one statement and in this order; return the ids that were new."""
    types = [_array_type(table, name) for name in columns]
    arrays = ", ".join(f"%s::{each}[]" for each in types)
    names = ", ".join(f'"{name}"' for name in columns)
    statement = (
        f"INSERT INTO {table.name} ({names}) SELECT {names} "  # noqa: S608 - names of our own
        f"FROM unnest({arrays}) WITH ORDINALITY AS given ({names}, place) ORDER BY place "
        "ON CONFLICT (id) DO NOTHING RETURNING id"
    )
    return set(connection.exec_driver_sql(statement, tuple(map(list, zip(*rows, strict=True)))).scalars())


def _array_type(table: Table, name: str) -> str:
    kind = table.columns[name].type
    if isinstance(kind, Text):
        return "text"
    if isinstance(kind, Boolean):
        return "boolean"
    if isinstance(kind, LargeBinary):
        return "bytea"
    return "double precision" if isinstance(kind, Float) else "bigint"


def _record_row(record: Record) -> Row:
    values = list(_astuple(record))
    if not math.isfinite(record.started_at):
        values[_STARTED_AT] = 0.0  # SQLite has no such number, and nothing sorts by it
    values[_ATTEMPTS] = _encode_json([_asdict(attempt) for attempt in record.attempts]).decode()
    values[_LOSSES] = _encode_json(record.losses).decode()
    return tuple(values)


def read_record(row: Sequence[object]) -> Record:
    """Return the record whose columns, in the order of RECORD_COLUMNS, are these."""
    values = list(row)
    values[_ATTEMPTS] = tuple(Attempt(**attempt) for attempt in msgspec.json.decode(str(values[_ATTEMPTS])))
    values[_LOSSES] = tuple(msgspec.json.decode(str(values[_LOSSES])))
    return Record(*values)  # type: ignore[arg-type] # the table's test holds columns and fields together


def _storable_row(row: Row) -> Row:
    return tuple(_storable(value, indexed=place in _INDEXED) for place, value in enumerate(row))


def _storable(value: Value, *, indexed: bool) -> Value:
    """Return the nearest value that either database holds."""
    if isinstance(value, str):
        text = value.replace("\0", "\ufffd")
        return text[:_LONGEST_INDEXED] if indexed else text
    if isinstance(value, int):
        return max(-_LARGEST, min(_LARGEST, value))
    return value


def _compile_insert(table: Table, columns: tuple[str, ...]) -> str:
    statement = sqlite.insert(table).on_conflict_do_nothing(index_elements=["id"])
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="qmark"), column_keys=list(columns)))


_KNOWN = "SELECT id FROM {} WHERE id IN (SELECT value FROM json_each(?))"
_INSERTS = {
    requests.name: _compile_insert(requests, RECORD_COLUMNS),
    contents_table.name: _compile_insert(contents_table, _CONTENT_COLUMNS),
}
