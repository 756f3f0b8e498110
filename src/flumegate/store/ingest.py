"""Stores records in batches, each batch whole or not at all, and no record twice.

The insert is compiled once and fed with plain tuples, which is several times faster than building a statement a row.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import msgspec
from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError

from flumegate.records.request import Attempt, Content, Record
from flumegate.store.database import BUSY_SECONDS, Database
from flumegate.store.tables import contents as contents_table
from flumegate.store.tables import requests

RECORD_COLUMNS = tuple(column.name for column in requests.columns if column.name != "sequence")
_CONTENT_COLUMNS = tuple(column.name for column in contents_table.columns)
_ATTEMPTS = RECORD_COLUMNS.index("attempts")
_LOSSES = RECORD_COLUMNS.index("losses")
_LARGEST = 2**63 - 1
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
        rows = [_record_row(record) for record in records]
        bodies: list[Row] = [(content.id, now, content.request_body, content.response_body) for content in contents]
        try:
            return self._insert(rows, bodies)
        except (OverflowError, IntegrityError):
            # One absurd number that an upstream reported must not keep all other records out for ever.
            return self._insert([tuple(map(_storable, row)) for row in rows], bodies)

    def close(self) -> None:
        """Close the database; the next insert opens it again."""
        self.database.close()

    def _insert(self, rows: list[Row], bodies: list[Row]) -> int:
        new = 0
        with self.database.transaction() as connection:
            if rows:
                new = connection.exec_driver_sql(_INSERT_RECORD, rows).rowcount
            if bodies:
                connection.exec_driver_sql(_INSERT_CONTENT, bodies)
        return new


def _record_row(record: Record) -> Row:
    values = list(_astuple(record))
    values[_ATTEMPTS] = _encode_json([_asdict(attempt) for attempt in record.attempts]).decode()
    values[_LOSSES] = _encode_json(record.losses).decode()
    return tuple(values)


def read_record(row: Sequence[object]) -> Record:
    """Return the record whose columns, in the order of RECORD_COLUMNS, are these."""
    values = list(row)
    values[_ATTEMPTS] = tuple(Attempt(**attempt) for attempt in msgspec.json.decode(str(values[_ATTEMPTS])))
    values[_LOSSES] = tuple(msgspec.json.decode(str(values[_LOSSES])))
    return Record(*values)  # type: ignore[arg-type] # the table's test holds columns and fields together


def _storable(value: Value) -> Value:
    if isinstance(value, int):
        return max(-_LARGEST, min(_LARGEST, value))
    if isinstance(value, float) and not math.isfinite(value):
        return 0.0
    return value


def _compile_insert(table: Table, columns: tuple[str, ...]) -> str:
    statement = sqlite.insert(table).on_conflict_do_nothing(index_elements=["id"])
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="qmark"), column_keys=list(columns)))


_INSERT_RECORD = _compile_insert(requests, RECORD_COLUMNS)
_INSERT_CONTENT = _compile_insert(contents_table, _CONTENT_COLUMNS)
