"""What is asked of the store: each function takes a connection and returns typed rows.

Every value is a bound parameter and the wildcards of LIKE are escaped, so that text stays text. Lists run newest first
and go on from a cursor, which names the last row that was seen: no row is skipped or repeated while others arrive.
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, Select, func, or_, select, tuple_

from flumegate.records.request import Content, Record
from flumegate.store.ingest import RECORD_COLUMNS, read_record
from flumegate.store.tables import contents, requests

LONGEST_TEXT = 256
MOST_ROWS = 1000
_COLUMNS = tuple(requests.c[name] for name in RECORD_COLUMNS)
_SEARCHED = tuple(
    requests.c[name]
    for name in (
        "id",
        "request_id",
        "trace_id",
        "model",
        "model_requested",
        "provider",
        "path",
        "error_code",
        "tags",
    )
)


class Filters(NamedTuple):
    """What a list is narrowed to; None or empty = not narrowed."""

    text: str = ""
    """Part of an id, model, provider, path, error code or tags; case counts for nothing in ASCII."""
    since: float | None = None
    """Unix seconds, included."""
    until: float | None = None
    """Unix seconds, not included."""
    statuses: tuple[int, int] | None = None
    """First and last HTTP status."""
    provider: str | None = None
    model: str | None = None
    """The name that the client asked for, or the one sent upstream."""
    key: str | None = None
    outcome: str | None = None


class Page(NamedTuple):
    """One page of a list, newest first."""

    records: list[Record]
    cursor: str | None
    """Where the next page begins; None = this is the last."""


class Arrivals(NamedTuple):
    """Rows in the order in which they were stored."""

    records: list[Record]
    sequence: int
    """Number of the last row; what comes next has a larger one."""


def list_requests(connection: Connection, filters: Filters, *, limit: int, cursor: str | None = None) -> Page:
    """Return the newest requests that pass the filters, from the cursor on.

    Args:
        connection: from `read_only`.
        filters: what to narrow the list to.
        limit: rows of a page, 1 to 1000.
        cursor: from the page before.

    Raises:
        ValueError: limit, cursor or text cannot be used; the message says why.
    """
    if not 1 <= limit <= MOST_ROWS:
        raise ValueError(f"limit must be between 1 and {MOST_ROWS}")
    query = select(*_COLUMNS).where(*_conditions(filters, connection.dialect.name))
    if cursor is not None:
        query = query.where(tuple_(requests.c.started_at, requests.c.id) < tuple_(*_read_cursor(cursor)))
    query = query.order_by(requests.c.started_at.desc(), requests.c.id.desc()).limit(limit + 1)
    records = _records(connection, query)
    if len(records) <= limit:
        return Page(records, None)
    records.pop()
    return Page(records, _write_cursor(records[-1]))


def find_requests(connection: Connection, identifier: str) -> list[Record]:
    """Return the record of that id, or all those with that client request id, newest first; at most 100."""
    wanted = bindable(identifier)
    query = select(*_COLUMNS).where(requests.c.id == wanted)
    records = _records(connection, query)
    if records:
        return records
    query = select(*_COLUMNS).where(requests.c.request_id == wanted)
    return _records(connection, query.order_by(requests.c.started_at.desc(), requests.c.id.desc()).limit(100))


def find_content(connection: Connection, record_id: str) -> Content | None:
    """Return the bodies of a request, or None if they were not kept."""
    query = select(contents.c.id, contents.c.request_body, contents.c.response_body)
    row = connection.execute(query.where(contents.c.id == bindable(record_id))).one_or_none()
    return Content(*row) if row is not None else None


def list_latest(connection: Connection, limit: int) -> Arrivals:
    """Return the rows that were stored last, oldest of them first, and where to go on."""
    query = select(requests.c.sequence, *_COLUMNS).order_by(requests.c.sequence.desc()).limit(limit)
    rows = connection.execute(query).all()[::-1]
    last = connection.execute(select(func.coalesce(func.max(requests.c.sequence), 0))).scalar_one()
    return Arrivals([read_record(row[1:]) for row in rows], rows[-1][0] if rows else last)


def list_after(connection: Connection, sequence: int, limit: int) -> Arrivals:
    """Return the rows that were stored after that one, in that order."""
    query = select(requests.c.sequence, *_COLUMNS).where(requests.c.sequence > sequence)
    rows = connection.execute(query.order_by(requests.c.sequence).limit(limit)).all()
    return Arrivals([read_record(row[1:]) for row in rows], rows[-1][0] if rows else sequence)


def bindable(text: str) -> str:
    """Return the text as every database takes it: halves of characters become `?`, as NUL does what it is stored as."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _conditions(filters: Filters, dialect: str) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if filters.text:
        if len(filters.text) > LONGEST_TEXT:
            raise ValueError(f"the text to search for has more than {LONGEST_TEXT} characters: use a part of it")
        text = bindable(filters.text.replace("\0", ""))  # a pattern would end there
        found.append(or_(*(_contains(column, text, dialect) for column in _SEARCHED)))
    if filters.since is not None:
        found.append(requests.c.started_at >= filters.since)
    if filters.until is not None:
        found.append(requests.c.started_at < filters.until)
    if filters.statuses is not None:
        found.append(requests.c.status.between(*filters.statuses))
    if filters.provider is not None:
        found.append(requests.c.provider == bindable(filters.provider))
    if filters.model is not None:
        model = bindable(filters.model)
        found.append(or_(requests.c.model == model, requests.c.model_requested == model))
    if filters.key is not None:
        found.append(requests.c.key_id == bindable(filters.key))
    if filters.outcome is not None:
        found.append(requests.c.outcome == bindable(filters.outcome))
    return found


def _contains(column: Column[str], text: str, dialect: str) -> ColumnElement[bool]:
    if dialect == "sqlite":
        return column.contains(text, autoescape=True)  # its LIKE does not look at case
    folded = "".join(letter.lower() if letter.isascii() else letter for letter in text)
    return func.lower(column.collate("C")).contains(folded, autoescape=True)


def _records(connection: Connection, query: Select[tuple[object, ...]]) -> list[Record]:
    return [read_record(row) for row in connection.execute(query)]


def _write_cursor(record: Record) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((record.started_at, record.id))).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[float, str]:
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        started_at, record_id = msgspec.json.decode(data, type=tuple[float, str])
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise ValueError("the cursor is not one of ours: copy it whole from the page before, or leave it out") from None
    return started_at, bindable(record_id)
