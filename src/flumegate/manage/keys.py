"""Client keys: made and shown once, changed, rotated with an overlap, revoked, and taken over from elsewhere.

A key's id is public and stands in lists, logs and records. What is stored is its digest: from a stolen database nobody
makes a key, and a digest sent as one opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, func, select

from flumegate.manage import budgets as budget_rules
from flumegate.manage import mint
from flumegate.manage.actor import Actor
from flumegate.manage.desk import Desk, Entry, expect, refuse
from flumegate.manage.grants import (
    check_endpoints,
    check_limits,
    check_models,
    check_name,
    check_networks,
    check_tags,
    check_within,
    need_key,
    need_project,
)
from flumegate.records.access import NO_LIMITS, KeyState, Limits
from flumegate.store import accounts
from flumegate.store import keys as rows
from flumegate.store.keys import KeyChanges, StoredKey
from flumegate.store.projects import StoredProject
from flumegate.store.rows import Place
from flumegate.store.tables import keys as table

MOST_OVERLAP_SECONDS = 7 * 86_400.0
MOST_SECONDS = 525_600 * 60.0
"""How long a key may be good for, where it is for a time: a year."""
MOST_AT_ONCE = 1000


class NewKey(NamedTuple):
    """What a key is made of."""

    project: str = ""
    name: str = ""
    expires_at: float = 0.0
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    budgets: tuple[budget_rules.NewBudget, ...] = ()


class KeyPatch(msgspec.Struct, kw_only=True):
    """What is to change; None = stays as it is."""

    name: str | None = None
    active: bool | None = None
    expires_at: float | None = None
    """0 = never."""
    models: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    limits: Mapping[str, int] | None = None


class Issued(NamedTuple):
    """A new key, this once with its text."""

    key: StoredKey
    text: str

    def __repr__(self) -> str:
        return f"Issued({self.key.id!r})"  # never the text: tracebacks show this


class Revoked(NamedTuple):
    """What a revocation of several did."""

    revoked: int
    already: int
    total: int


def create(desk: Desk, actor: Actor, new: NewKey) -> Issued:
    """Make a key.

    Raises:
        RefusedError: there is no such project, it is not active or allows less, or something cannot be.
    """
    entry = Entry("key.create", project=new.project, details={"name": new.name[:100]})

    def perform(connection: Connection) -> Issued:
        minted = mint.mint(mint.KEY)
        entry.target = minted.id
        digest = mint.digest_of(desk.pepper, minted.text)
        return Issued(store(desk, connection, actor, new, minted.id, digest), minted.text)

    return desk.change(actor, entry, perform)


def store(desk: Desk, connection: Connection, actor: Actor, new: NewKey, key_id: str, digest: bytes) -> StoredKey:
    """Store a key within the caller's transaction.

    Raises:
        RefusedError: see `create`.
    """
    now = desk.clock()
    models, endpoints = check_models(new.models), check_endpoints(new.endpoints)
    if new.project:
        project = _need_active(connection, new.project)
        check_within(project.models, models, "models")
        check_within(project.endpoints, endpoints, "endpoints")
    if new.expires_at and new.expires_at <= now:
        raise refuse("invalid_value", "expires_at is a time to come.")
    key = StoredKey(
        id=key_id,
        digest=digest,
        project=new.project,
        name=check_name(new.name) if new.name else "",
        expires_at=new.expires_at,
        models=models,
        endpoints=endpoints,
        networks=check_networks(new.networks),
        tags=check_tags(new.tags),
        limits=check_limits(desk.may_limit, new.limits),
        created_at=now,
        created_by=actor.name,
    )
    rows.insert(connection, key)
    for budget in new.budgets:
        budget_rules.put_in(desk, connection, f"key:{key_id}", budget)
    return key


def find(desk: Desk, key_id: str) -> StoredKey:
    """Return a key.

    Raises:
        RefusedError: there is none.
    """
    with desk.reading() as connection:
        return need_key(connection, key_id)


def page(
    desk: Desk, *, limit: int, after: Place | None = None, project: str | None = None, state: KeyState | None = None
) -> tuple[list[StoredKey], Place | None]:
    """Return keys, newest first, and where the next page begins."""
    with desk.reading() as connection:
        return rows.page(connection, limit=limit, after=after, project=project, state=state)


def patch(desk: Desk, actor: Actor, key_id: str, asked: KeyPatch, version: int | None = None) -> StoredKey:
    """Change a key that is still at the version that the caller has seen.

    Raises:
        RefusedError: there is none, it was changed meanwhile, or something cannot be.
    """
    fields = sorted(name for name, value in msgspec.structs.asdict(asked).items() if value is not None)
    entry = Entry("key.update", key_id, details={"fields": fields})

    def perform(connection: Connection) -> StoredKey:
        key = need_key(connection, key_id)
        entry.project = key.project
        expect(key.version, version)
        rows.change(connection, key_id, key.version, _changes(desk, connection, key, asked))
        return need_key(connection, key_id)

    return desk.change(actor, entry, perform)


def rotate(desk: Desk, actor: Actor, key_id: str, overlap_seconds: float, version: int | None = None) -> Issued:
    """Make a key that takes the place of another: with its rights, and on its account.

    The old one goes on working for the overlap; without one it is revoked at once. Budgets and counts go on: what both
    use counts together.

    Raises:
        RefusedError: there is none that works, its project is not active, it was changed meanwhile, or the overlap is
            longer than a week.
    """
    entry = Entry("key.rotate", key_id, details={"overlap_seconds": overlap_seconds})

    def perform(connection: Connection) -> Issued:
        if not 0 <= overlap_seconds <= MOST_OVERLAP_SECONDS:
            raise refuse("invalid_value", "The overlap is from 0 to 7 days.")
        old = need_key(connection, key_id)
        entry.project = old.project
        expect(old.version, version)
        now = desk.clock()
        if old.state != "active" or old.replaced_by or 0 < old.expires_at <= now:
            raise refuse("key_not_active", "This key is revoked, expired or replaced already. Make a new one.")
        if old.project:
            _need_active(connection, old.project)
        minted = mint.mint(mint.KEY)
        new = old._replace(
            id=minted.id,
            digest=mint.digest_of(desk.pepper, minted.text),
            created_at=now,
            created_by=actor.name,
            last_used_at=0.0,
            request_count=0,
            version=1,
        )
        rows.insert(connection, new)
        accounts.share(connection, new.id, accounts.account_of(connection, old.id))
        rows.change(connection, old.id, old.version, _replaced(new.id, now, overlap_seconds))
        entry.details["replaced_by"] = new.id
        return Issued(new, minted.text)

    return desk.change(actor, entry, perform)


def revoke(desk: Desk, actor: Actor, key_id: str, version: int | None = None) -> None:
    """Revoke a key; one that is revoked stays so.

    Raises:
        RefusedError: there is none, or it was changed meanwhile.
    """
    entry = Entry("key.revoke", key_id)

    def perform(connection: Connection) -> None:
        key = need_key(connection, key_id)
        entry.project = key.project
        expect(key.version, version)
        if version is None:
            rows.revoke(connection, [key_id], desk.clock())
        elif key.state == "active":
            rows.change(connection, key_id, version, {"state": "revoked", "revoked_at": desk.clock()})

    desk.change(actor, entry, perform)


def revoke_batch(desk: Desk, actor: Actor, key_ids: Sequence[str]) -> Revoked:
    """Revoke several keys; ids that nobody has are not counted.

    Raises:
        RefusedError: there are too many.
    """
    wanted = list(dict.fromkeys(key_ids))
    entry = Entry("key.revoke_batch", details={"keys": wanted[:MOST_AT_ONCE]})

    def perform(connection: Connection) -> Revoked:
        if len(wanted) > MOST_AT_ONCE:
            raise refuse("invalid_value", f"At most {MOST_AT_ONCE} keys are revoked at once.")
        known = sum(rows.find(connection, key_id) is not None for key_id in wanted)
        revoked = rows.revoke(connection, wanted, desk.clock())
        return Revoked(revoked, known - revoked, known)

    return desk.change(actor, entry, perform)


def revoke_project(desk: Desk, actor: Actor, project_id: str) -> Revoked:
    """Revoke all keys of a project.

    Raises:
        RefusedError: there is no such project.
    """
    entry = Entry("key.revoke_project", project_id, project_id)

    def perform(connection: Connection) -> Revoked:
        need_project(connection, project_id)
        revoked = rows.revoke_project(connection, project_id, desk.clock())
        entry.details["revoked"] = revoked
        total = _count(connection, project_id)
        return Revoked(revoked, total - revoked, total)

    return desk.change(actor, entry, perform)


def revoke_expired(desk: Desk, actor: Actor) -> Revoked:
    """Mark as revoked what has expired, or outlived its overlap."""
    entry = Entry("key.revoke_expired")

    def perform(connection: Connection) -> Revoked:
        revoked = rows.revoke_expired(connection, desk.clock())
        entry.details["revoked"] = revoked
        return Revoked(revoked, 0, revoked)

    return desk.change(actor, entry, perform)


def state_of(key: StoredKey, now: float) -> str:
    """Return `active`, `revoked`, `expired` or `replaced` (it works until its overlap ends)."""
    if key.state != "active":
        return "revoked"
    if (key.expires_at and key.expires_at <= now) or (key.grace_until and key.grace_until <= now):
        return "expired"
    return "replaced" if key.replaced_by else "active"


def _need_active(connection: Connection, project_id: str) -> StoredProject:
    """Return a project that new keys can be made in."""
    project = need_project(connection, project_id)
    if not project.active:
        raise refuse("project_inactive", "The project is not active. Activate it first.")
    return project


def _changes(desk: Desk, connection: Connection, key: StoredKey, asked: KeyPatch) -> KeyChanges:
    project = need_project(connection, key.project) if key.project else None
    changes: KeyChanges = {}
    if asked.name is not None:
        changes["name"] = check_name(asked.name) if asked.name else ""
    if asked.active is not None:
        if asked.active and key.replaced_by and not key.grace_until:
            raise refuse("key_not_active", "This key was replaced without an overlap, which ended it. Make a new one.")
        changes["state"] = "active" if asked.active else "revoked"
        changes["revoked_at"] = 0.0 if asked.active else key.revoked_at or desk.clock()
    if asked.expires_at is not None:
        changes["expires_at"] = asked.expires_at
    if asked.models is not None:
        changes["models"] = check_models(asked.models)
        check_within(project.models if project else (), changes["models"], "models")
    if asked.endpoints is not None:
        changes["endpoints"] = check_endpoints(asked.endpoints)
        check_within(project.endpoints if project else (), changes["endpoints"], "endpoints")
    if asked.networks is not None:
        changes["networks"] = check_networks(asked.networks)
    if asked.tags is not None:
        changes["tags"] = check_tags(asked.tags)
    if asked.limits is not None:
        changes["limits"] = check_limits(desk.may_limit, msgspec.structs.replace(key.limits, **asked.limits))
    return changes


def _count(connection: Connection, project_id: str) -> int:
    return connection.execute(select(func.count()).where(table.c.project == project_id)).scalar_one()


def _replaced(by: str, now: float, overlap_seconds: float) -> KeyChanges:
    if overlap_seconds:
        return {"replaced_by": by, "grace_until": now + overlap_seconds}
    return {"replaced_by": by, "state": "revoked", "revoked_at": now}
