"""Reads the records for people: the newest, one, or those that match. Opens the database read-only, per call.

What a person types (`2h`, `4xx`, `2026-07-25 14:00`) becomes numbers here; what is wrong with it becomes ValueError
with a message that says what would be right.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from flumegate.records.request import Content, Record
from flumegate.store.database import read_only
from flumegate.store.queries import (
    Arrivals,
    Filters,
    Page,
    find_content,
    find_requests,
    list_after,
    list_latest,
    list_requests,
)

_AGE = re.compile(r"([0-9]{1,9})\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_STATUS = re.compile(r"([1-5])([0-9]{2}|xx)", re.IGNORECASE)


class Search(NamedTuple):
    """What to search for, as typed; None or empty = everything."""

    text: str = ""
    since: str | None = None
    """An age (`90s`, `30m`, `2h`, `7d`, `1w`), or an ISO 8601 date or time, local unless it names a zone."""
    until: str | None = None
    status: str | None = None
    """`404` or `4xx`."""
    provider: str | None = None
    model: str | None = None
    key: str | None = None
    outcome: str | None = None


class Found(NamedTuple):
    """One request with its bodies, where they were kept."""

    record: Record
    content: Content | None


def tail(database: Path, lines: int) -> Arrivals:
    """Return the requests that were stored last, oldest first, and the number from which to go on.

    Raises:
        StoreUnavailable: there is no database yet, or it cannot be read now.
        QueryTooSlow: the query was stopped.
    """
    with read_only(database) as connection:
        return list_latest(connection, max(0, lines))


def follow(database: Path, sequence: int, *, limit: int = 1000) -> Arrivals:
    """Return what was stored after that number, in that order.

    Raises:
        StoreUnavailable: the database cannot be read now.
        QueryTooSlow: the query was stopped.
    """
    with read_only(database) as connection:
        return list_after(connection, sequence, limit)


def show(database: Path, identifier: str) -> list[Found]:
    """Return the request of that record id, or all with that client request id, newest first.

    Raises:
        StoreUnavailable: there is no database yet, or it cannot be read now.
        QueryTooSlow: the query was stopped.
    """
    with read_only(database) as connection:
        return [Found(record, find_content(connection, record.id)) for record in find_requests(connection, identifier)]


def search(database: Path, wanted: Search, *, now: float, limit: int = 50, cursor: str | None = None) -> Page:
    """Return one page of the requests that match, newest first.

    Args:
        database: the file.
        wanted: what was typed.
        now: Unix seconds from which ages count.
        limit: rows of a page, 1 to 1000.
        cursor: from the page before.

    Raises:
        ValueError: something that was typed cannot be understood.
        StoreUnavailable: there is no database yet, or it cannot be read now.
        QueryTooSlow: the query was stopped.
    """
    filters = Filters(
        text=wanted.text,
        since=read_moment(wanted.since, now) if wanted.since is not None else None,
        until=read_moment(wanted.until, now) if wanted.until is not None else None,
        statuses=read_statuses(wanted.status) if wanted.status is not None else None,
        provider=wanted.provider,
        model=wanted.model,
        key=wanted.key,
        outcome=wanted.outcome,
    )
    with read_only(database) as connection:
        return list_requests(connection, filters, limit=limit, cursor=cursor)


def read_moment(text: str, now: float) -> float:
    """Return the Unix seconds that an age before now, or an ISO 8601 date or time, stands for.

    Raises:
        ValueError: it is neither.
    """
    if age := _AGE.fullmatch(text.strip()):
        return now - int(age[1]) * _SECONDS[age[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"{text!r} is no time: use an age like 30m, 2h or 7d, or 2026-07-25 or 2026-07-25T14:00"
        ) from None


def read_statuses(text: str) -> tuple[int, int]:
    """Return the first and the last status that `404` or `4xx` stands for.

    Raises:
        ValueError: it is neither.
    """
    match = _STATUS.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no status: use a number like 404 or a class like 4xx")
    if match[2].isdigit():
        return int(text), int(text)
    return int(match[1]) * 100, int(match[1]) * 100 + 99
