"""The audit trail: who did what, each entry bound to the one before it by a hash, and to this installation by a MAC.

The hash shows that a row was changed, lost or moved; the MAC, under a key that the database does not hold, that nobody
wrote the chain anew. What was cut off at the end is shown by the newest hash that somebody kept elsewhere. The database
itself refuses to change or delete a row (the migration that makes the table).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, insert, select, text

from flumegate.store.tables import audit

FIRST_PREVIOUS = bytes(32)
"""What the first entry follows."""
_LOCK = 0x666C756D61756469
"""Any number that nobody else on the server takes."""
_ROWS_AT_ONCE = 1000
_encode = msgspec.json.Encoder(order="sorted").encode


class Entry(NamedTuple):
    """What happened. Secrets never stand in it."""

    at: float
    actor: str
    action: str
    """`project.create`, `key.revoke`, …"""
    target: str = ""
    """Id of what it was done to."""
    project: str = ""
    outcome: str = "success"
    """`success`, `failure`, `denied` or `error`."""
    request_id: str = ""
    client: str = ""
    details: dict[str, object] = {}  # noqa: RUF012 - nobody changes it; a tuple has no other way to say empty


class StoredEntry(NamedTuple):
    """An entry in its place in the chain."""

    sequence: int
    entry: Entry
    previous: bytes
    hash: bytes
    mac: bytes


def append(connection: Connection, entry: Entry, mac_key: bytes) -> StoredEntry:
    """Add an entry at the end. Until the transaction ends nobody else can, on any instance."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    before = last(connection)
    previous = before.hash if before is not None else FIRST_PREVIOUS
    sequence = before.sequence + 1 if before is not None else 1
    # As it will be read: a tuple in the details comes back as a list, an integral time as a float.
    entry = entry._replace(at=float(entry.at), details=msgspec.json.decode(_encode(entry.details)))
    digest = _hash(sequence, entry, previous)
    stored = StoredEntry(sequence, entry, previous, digest, _mac(mac_key, digest))
    values = {**entry._asdict(), "details": _encode(entry.details).decode()}
    connection.execute(
        insert(audit).values(sequence=sequence, previous=previous, hash=digest, mac=stored.mac, **values)
    )
    return stored


def last(connection: Connection) -> StoredEntry | None:
    """Return the newest entry."""
    row = connection.execute(select(audit).order_by(audit.c.sequence.desc()).limit(1)).one_or_none()
    return _read(row) if row is not None else None


def hash_of(connection: Connection, sequence: int) -> bytes | None:
    """Return the hash of the entry of that number."""
    return connection.execute(select(audit.c.hash).where(audit.c.sequence == sequence)).scalar()


def entries(connection: Connection, *, after: int = 0) -> Iterator[StoredEntry]:
    """Yield the entries behind that sequence number, oldest first."""
    query = select(audit).order_by(audit.c.sequence).limit(_ROWS_AT_ONCE)
    while rows := connection.execute(query.where(audit.c.sequence > after)).all():
        yield from map(_read, rows)
        after = rows[-1].sequence


def newest(
    connection: Connection, *, limit: int, before: int | None = None, project: str | None = None
) -> list[StoredEntry]:
    """Return entries, newest first, older than that sequence number and of that project where they are given."""
    query = select(audit).order_by(audit.c.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.sequence < before)
    if project is not None:
        query = query.where(audit.c.project == project)
    return [_read(row) for row in connection.execute(query)]


def find_fault(trail: Iterable[StoredEntry], mac_key: bytes) -> str | None:
    """Return what is wrong with a whole trail, from its first entry on; None if it is as it was written."""
    previous, expected = FIRST_PREVIOUS, 1
    for stored in trail:
        if stored.sequence != expected:
            return f"entry {expected} is missing"
        if stored.previous != previous or stored.hash != _hash(stored.sequence, stored.entry, previous):
            return f"entry {expected} was changed"
        if not hmac.compare_digest(stored.mac, _mac(mac_key, stored.hash)):
            return f"entry {expected} was not written with this installation's key"
        previous, expected = stored.hash, expected + 1
    return None


def _hash(sequence: int, entry: Entry, previous: bytes) -> bytes:
    return hashlib.sha256(previous + _encode((sequence, *entry))).digest()


def _mac(key: bytes, digest: bytes) -> bytes:
    return hmac.digest(key, digest, "sha256")


def _read(row: Row[Any]) -> StoredEntry:
    entry = Entry(
        row.at,
        row.actor,
        row.action,
        row.target,
        row.project,
        row.outcome,
        row.request_id,
        row.client,
        msgspec.json.decode(row.details),
    )
    return StoredEntry(row.sequence, entry, row.previous, row.hash, row.mac)
