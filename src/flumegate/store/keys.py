"""Client keys as they are stored: never the key, only the digest that it is found by. Nothing is deleted.

`last_used_at` and `request_count` are kept by the ingest (`spend.py`) and raise no version: nobody changed the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypedDict

from sqlalchemy import ColumnElement, Connection, Row, or_, select, update

from flumegate.records.access import NO_LIMITS, Key, KeyState, Limits
from flumegate.store.changes import note_change
from flumegate.store.errors import DuplicateError
from flumegate.store.rows import Place, add_rows, change_row, columns_of, page_of, read_limits, read_list
from flumegate.store.tables import keys

REMEMBER_SECONDS = 30 * 86_400.0
"""For how long whoever uses a revoked key is told so; afterwards nobody knows it."""
_ROWS_AT_ONCE = 5000
_KEY_COLUMNS = (
    keys.c.digest,
    keys.c.id,
    keys.c.project,
    keys.c.state,
    keys.c.expires_at,
    keys.c.grace_until,
    keys.c.models,
    keys.c.endpoints,
    keys.c.networks,
    keys.c.tags,
    keys.c.requests_per_minute,
    keys.c.tokens_per_minute,
    keys.c.concurrency,
    keys.c.max_requests,
)


class StoredKey(NamedTuple):
    """One row. Times are 0 where they are not set."""

    id: str
    digest: bytes
    project: str = ""
    name: str = ""
    state: KeyState = "active"
    expires_at: float = 0.0
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    created_at: float = 0.0
    created_by: str = ""
    revoked_at: float = 0.0
    replaced_by: str = ""
    """Id of the key that took its place."""
    grace_until: float = 0.0
    """Until when it works all the same once it was replaced."""
    last_used_at: float = 0.0
    request_count: int = 0
    version: int = 1


class KeyChanges(TypedDict, total=False):
    """What of a key can be changed."""

    name: str
    state: KeyState
    expires_at: float
    models: tuple[str, ...]
    endpoints: tuple[str, ...]
    networks: tuple[str, ...]
    tags: tuple[str, ...]
    limits: Limits
    revoked_at: float
    replaced_by: str
    grace_until: float


def insert(connection: Connection, key: StoredKey) -> None:
    """Store a new key.

    Raises:
        DuplicateError: there is one with that id or digest.
    """
    insert_many(connection, [key])


def insert_many(connection: Connection, new: Sequence[StoredKey]) -> None:
    """Store new keys, all or none: whoever catches the error rolls the transaction back.

    Raises:
        DuplicateError: there is one with the id or digest of one of them.
    """
    if not new:
        return
    rows = [columns_of(key._asdict()) for key in new]
    if add_rows(connection, keys, rows) != len(rows):
        raise DuplicateError("there is a key with that id or digest already")
    note_change(connection)


def find(connection: Connection, key_id: str) -> StoredKey | None:
    """Return the key of that id."""
    return _one(connection, keys.c.id == key_id)


def find_by_digest(connection: Connection, digest: bytes) -> StoredKey | None:
    """Return the key of that digest."""
    return _one(connection, keys.c.digest == digest)


def page(
    connection: Connection,
    *,
    limit: int,
    after: Place | None = None,
    project: str | None = None,
    state: KeyState | None = None,
) -> tuple[list[StoredKey], Place | None]:
    """Return keys, newest first, and where the next page begins; None = this was the last.

    Raises:
        ValueError: the limit is not between 1 and 1000.
    """
    query = select(keys)
    if project is not None:
        query = query.where(keys.c.project == project)
    if state is not None:
        query = query.where(keys.c.state == state)
    found = [_read(row) for row in connection.execute(page_of(query, keys, after, limit))]
    return found[:limit], Place(found[limit - 1].created_at, found[limit - 1].id) if len(found) > limit else None


def change(connection: Connection, key_id: str, version: int, changes: KeyChanges) -> None:
    """Change a key whose version is the expected one, and raise it.

    Raises:
        MissingError: there is no such key.
        ConflictError: somebody else changed it first.
    """
    change_row(connection, keys, keys.c.id == key_id, version, columns_of(changes))


def revoke(connection: Connection, key_ids: Sequence[str], now: float) -> int:
    """Revoke these keys; return how many of them worked until now."""
    return _revoke(connection, keys.c.id.in_(key_ids), now) if key_ids else 0


def revoke_project(connection: Connection, project: str, now: float) -> int:
    """Revoke all keys of a project; return how many of them worked until now."""
    return _revoke(connection, keys.c.project == project, now)


def revoke_all(connection: Connection, now: float) -> int:
    """Revoke every key there is; return how many of them worked until now."""
    return _revoke(connection, keys.c.id == keys.c.id, now)


def revoke_expired(connection: Connection, now: float) -> int:
    """Mark as revoked what has expired or outlived its grace; return how many those were."""
    expired = (keys.c.expires_at > 0) & (keys.c.expires_at <= now)
    outlived = (keys.c.grace_until > 0) & (keys.c.grace_until <= now)
    return _revoke(connection, expired | outlived, now)


def all_known(connection: Connection, now: float) -> Iterator[tuple[bytes, Key]]:
    """Yield digest and key of all that workers are to know, without budgets.

    Those that were revoked of late are among them, without their rights. A key that was replaced expires with its
    grace; whether the time has come is for whoever uses it to say.
    """
    which = or_(keys.c.state == "active", keys.c.revoked_at > now - REMEMBER_SECONDS)
    query = select(*_KEY_COLUMNS).where(which).order_by(keys.c.id).limit(_ROWS_AT_ONCE)
    last = ""
    while rows := connection.execute(query.where(keys.c.id > last)).all():
        for digest, key_id, project, state, expires_at, grace_until, models, endpoints, networks, tags, *limits in rows:
            if state != "active":
                yield digest, Key(key_id, project, "revoked")
                continue
            ends = min(expires_at or grace_until, grace_until or expires_at)
            lists = read_list(models), read_list(endpoints), read_list(networks), read_list(tags)
            yield digest, Key(key_id, project, "active", ends, *lists, Limits(*limits) if any(limits) else NO_LIMITS)
        last = rows[-1].id


def revoked_since(connection: Connection, unix_time: float, most: int) -> list[str]:
    """Return the ids of keys that were revoked after a time, the latest first, at most so many."""
    query = select(keys.c.id).where(keys.c.state != "active", keys.c.revoked_at > unix_time)
    return list(connection.execute(query.order_by(keys.c.revoked_at.desc()).limit(most)).scalars())


def _revoke(connection: Connection, which: ColumnElement[bool], now: float) -> int:
    # Locked in one order, so that it never waits in a circle with the ingest of another instance.
    working = select(keys.c.id).where(which, keys.c.state == "active").order_by(keys.c.id).with_for_update()
    statement = update(keys).where(keys.c.id.in_(working.subquery().select()))
    values = {"state": "revoked", "revoked_at": now, "version": keys.c.version + 1}
    revoked = connection.execute(statement.values(values)).rowcount
    if revoked:
        note_change(connection)
    return revoked


def _one(connection: Connection, which: ColumnElement[bool]) -> StoredKey | None:
    row = connection.execute(select(keys).where(which)).one_or_none()
    return _read(row) if row is not None else None


def _read(row: Row[tuple[object, ...]]) -> StoredKey:
    return StoredKey(
        id=row.id,
        digest=row.digest,
        project=row.project,
        name=row.name,
        state=row.state,
        expires_at=row.expires_at,
        models=read_list(row.models),
        endpoints=read_list(row.endpoints),
        networks=read_list(row.networks),
        tags=read_list(row.tags),
        limits=read_limits(row),
        created_at=row.created_at,
        created_by=row.created_by,
        revoked_at=row.revoked_at,
        replaced_by=row.replaced_by,
        grace_until=row.grace_until,
        last_used_at=row.last_used_at,
        request_count=row.request_count,
        version=row.version,
    )
