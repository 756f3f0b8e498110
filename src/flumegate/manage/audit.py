"""The audit trail as operators see it: search it, prove it whole, take it away as JSON lines.

The key of its MACs stands in the database, sealed: neither who holds the database nor the data path can make an entry.
A database that was cut at its end, or put back to an older copy, is told by the newest entry, which is noted in a file
beside it (`audit.head` in the data folder) after each change. A trail that no longer holds that entry gets no newer
note: later entries cannot make good what is missing before them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from flumegate.log import event
from flumegate.manage.actor import Actor
from flumegate.manage.seal import Place, Ring
from flumegate.store import audit as audits
from flumegate.store.audit import StoredEntry
from flumegate.store.database import Database
from flumegate.store.errors import QueryTooSlow, StoreUnavailable
from flumegate.store.tables import meta

if TYPE_CHECKING:
    from flumegate.manage.desk import Desk

KEY_NAME = "audit_key"
KEY_PLACE = Place("meta", KEY_NAME, "value")
HEAD_NAME = "audit.head"
_SCANNED_AT_ONCE = 500
_MOST_SCANNED = 20_000
"""Entries that one page looks through; the next page goes on from there."""
_VERIFY_SECONDS = 60.0
_encode = msgspec.json.Encoder().encode


class Head(msgspec.Struct):
    """The newest entry at some time."""

    sequence: int
    hash: str


class Filters(NamedTuple):
    """What a search is narrowed to; empty = not narrowed."""

    action: str = ""
    actor: str = ""
    target: str = ""
    project: str = ""
    outcome: str = ""
    client: str = ""
    request_id: str = ""
    correlation_id: str = ""
    since: float = 0.0
    until: float = 0.0
    text: str = ""
    """Part of any of them, or of the details."""


class Verdict(NamedTuple):
    """Whether the trail is as it was written."""

    entries: int
    fault: str | None
    """What is wrong with it first."""


def key_of(connection: Connection, ring: Ring) -> bytes:
    """Return the key of the trail's MACs, made when it is first needed; the connection writes."""
    sealed = connection.execute(select(meta.c.value).where(meta.c.name == KEY_NAME)).scalar()
    if sealed is not None:
        return ring.unseal(bytes.fromhex(sealed), KEY_PLACE)
    key = secrets.token_bytes(32)
    connection.execute(meta.insert().values(name=KEY_NAME, value=ring.seal(key, KEY_PLACE).hex()))
    return key


def details_of(actor: Actor) -> dict[str, object]:
    """Return what is known of how somebody asked, as far as it is."""
    told = {
        "correlation_id": actor.correlation_id,
        "method": actor.method,
        "endpoint": actor.endpoint,
        "user_agent": actor.user_agent,
        "role": actor.role,
    }
    return {name: value for name, value in told.items() if value}


def search(
    desk: Desk, filters: Filters, *, before: int | None = None, limit: int = 20
) -> tuple[list[StoredEntry], int | None]:
    """Return entries, newest first, and the sequence number that the next page goes on before; None = that was all."""
    found: list[StoredEntry] = []
    scanned = 0
    with desk.reading() as connection:
        while scanned < _MOST_SCANNED:
            some = audits.newest(connection, limit=_SCANNED_AT_ONCE, before=before, project=filters.project or None)
            for stored in some:
                if _fits(stored, filters):
                    found.append(stored)
                before = stored.sequence
                if len(found) == limit:
                    return found, before if before > 1 else None
            if len(some) < _SCANNED_AT_ONCE:
                return found, None
            scanned += len(some)
    return found, before


def find(desk: Desk, sequence: int) -> StoredEntry | None:
    """Return one entry."""
    with desk.reading() as connection:
        found = audits.newest(connection, limit=1, before=sequence + 1)
    return found[0] if found and found[0].sequence == sequence else None


def verify(desk: Desk) -> Verdict:
    """Read the whole trail and tell whether it is as it was written.

    Raises:
        UnsealError: the trail's key does not open.
    """
    with desk.database.transaction() as connection:
        key = key_of(connection, desk.ring(connection))
    count = 0
    head = read_head(desk.head) if desk.head is not None else None
    seen = ""

    def counted(trail: Iterator[StoredEntry]) -> Iterator[StoredEntry]:
        nonlocal count, seen
        for stored in trail:
            count += 1
            if head is not None and stored.sequence == head.sequence:
                seen = stored.hash.hex()
            yield stored

    with desk.database.reader(seconds=_VERIFY_SECONDS) as connection:
        fault = audits.find_fault(counted(audits.entries(connection)), key)
    if fault is None and head is not None and seen != head.hash:
        fault = (
            f"entry {head.sequence} is not the one that was noted: the trail was cut, or is from an older copy"
            if seen
            else f"entries up to {head.sequence} were written, and the trail ends at {count}"
        )
    return Verdict(count, fault)


def export(desk: Desk, *, after: int = 0, limit: int = 10_000) -> list[bytes]:
    """Return entries as JSON lines, oldest first, each with what proves its place."""
    lines: list[bytes] = []
    with desk.database.reader(seconds=_VERIFY_SECONDS) as connection:
        for stored in audits.entries(connection, after=after):
            lines.append(_encode(as_row(stored)) + b"\n")
            if len(lines) == limit:
                break
    return lines


def as_row(stored: StoredEntry) -> dict[str, Any]:
    """Return an entry as it is told."""
    return {
        "sequence": stored.sequence,
        **stored.entry._asdict(),
        "previous": stored.previous.hex(),
        "hash": stored.hash.hex(),
        "mac": stored.mac.hex(),
    }


def holds(connection: Connection, head: Head) -> bool:
    """Tell whether the trail has the entry that was noted, as it was."""
    found = audits.hash_of(connection, head.sequence)
    return found is not None and found.hex() == head.hash


def advance_head(database: Database, path: Path, head: Head) -> None:
    """Note the newest entry, if the trail still holds the one that was noted before; one caller at a time.

    The note may be older than the end: a process that is killed has not noted what it did last. Who accepts a trail
    that was cut takes the file away. Without an answer of the database the note waits for the next change.
    """
    noted = read_head(path)
    if noted is not None:
        try:
            with database.reader() as connection:
                whole = holds(connection, noted)
        except (StoreUnavailable, QueryTooSlow):
            return
        if not whole:
            remedy = "flumegate audit verify; docs/security.md"
            event("error", "audit_trail_broken", entry=noted.sequence, remedy=remedy)
            return
        if noted.sequence >= head.sequence:
            return
    keep_head(path, head)


def keep_head(path: Path, head: Head) -> None:
    """Write the note. A disk that is full costs this one, and the next replaces it."""
    beside = path.with_name(f".{path.name}-new")
    try:
        beside.touch(mode=0o600)
        beside.write_bytes(_encode(head))
        beside.replace(path)
    except OSError as problem:
        event("warning", "audit_head_not_kept", reason=problem, effect="a trail that is cut now is not noticed")


def read_head(path: Path) -> Head | None:
    """Return the newest entry that was noted here; None = there is no note that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Head)
    except (OSError, msgspec.MsgspecError):
        return None


def _fits(stored: StoredEntry, filters: Filters) -> bool:
    entry = stored.entry
    if filters.since and entry.at < filters.since:
        return False
    if filters.until and entry.at >= filters.until:
        return False
    if filters.correlation_id and entry.details.get("correlation_id") != filters.correlation_id:
        return False
    for name in ("action", "actor", "target", "project", "outcome", "client", "request_id"):
        wanted = getattr(filters, name)
        if wanted and getattr(entry, name) != wanted:
            return False
    return not filters.text or filters.text.lower() in _encode(as_row(stored)).decode().lower()
