"""`/manage/keys`, also as `/manage/tokens`: client keys. A key's text stands in one answer only, that of its making."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import Query, Response
from pydantic import BaseModel, Field, model_validator

from flumegate.console.endpoint import Endpoint
from flumegate.console.fields import (
    Body,
    BudgetBodies,
    Entries,
    Id,
    Limit,
    LimitsBody,
    LimitsShape,
    Name,
    SecretText,
    When,
    as_time,
    check_active,
    shape_limits,
)
from flumegate.console.permission import ISSUE_KEYS, READ, WRITE
from flumegate.console.request import ActorOf, AskedOf, DeskOf, PositionOf, VersionOf, versioned, write_cursor
from flumegate.manage import foreign_keys, keys
from flumegate.manage.desk import Desk
from flumegate.manage.foreign_keys import ForeignKey
from flumegate.manage.keys import Issued, KeyPatch, NewKey, Revoked
from flumegate.records.access import KeyState
from flumegate.store.keys import StoredKey

Digest = Annotated[str, Field(pattern="^([0-9a-fA-F]{64})?$")]


class KeyBody(When):
    """A new key."""

    project_id: Annotated[str, Field(pattern="^[0-9A-Za-z._-]{0,64}$")] = ""
    name: Name = ""
    models: Entries = Field(default_factory=list, description="Names that it may ask for, with *; empty = all.")
    endpoints: Entries = Field(default_factory=list, description="Endpoints that it may use; empty = all.")
    networks: Entries = Field(default_factory=list, description="Where it may be used from; empty = anywhere.")
    tags: Entries = Field(default_factory=list, description="Added to the records of its requests.")
    limits: LimitsBody = Field(default_factory=LimitsBody)
    max_requests: Limit | None = Field(default=None, description="The same as limits.max_requests; null, 0 = no limit.")
    budgets: BudgetBodies = Field(default_factory=list)

    def new(self, now: float) -> NewKey:
        """Return what is to be made."""
        limits = {**self.limits.given()}
        if self.max_requests is not None:
            limits["max_requests"] = self.max_requests
        return NewKey(
            project=self.project_id,
            name=self.name,
            expires_at=self.ends(now),
            models=tuple(self.models),
            endpoints=tuple(self.endpoints),
            networks=tuple(self.networks),
            tags=tuple(self.tags),
            limits=LimitsBody.model_validate(limits).limits(),
            budgets=tuple(each.budget() for each in self.budgets),
        )


class KeyPatchBody(When):
    """What changes; left out or null = stays."""

    name: Name | None = None
    active: bool | None = Field(default=None, description="false revokes the key, true takes that back.")
    is_active: bool | None = Field(default=None, description="The same as active.")
    never_expires: bool = Field(default=False, description="Take the expiry away.")
    models: Entries | None = None
    endpoints: Entries | None = None
    networks: Entries | None = None
    tags: Entries | None = None
    limits: LimitsBody | None = None
    max_requests: Limit | None = None

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.never_expires and (self.expires_at or self.duration_minutes):
            raise ValueError("name one of never_expires, expires_at and duration_minutes")
        check_active(self.active, self.is_active)
        return self

    def patch(self, now: float) -> KeyPatch:
        """Return what is to change."""
        limits = {**(self.limits.given() if self.limits else {})}
        if self.max_requests is not None:
            limits["max_requests"] = self.max_requests
        ends = self.ends(now)
        return KeyPatch(
            name=self.name,
            active=self.is_active if self.active is None else self.active,
            expires_at=0.0 if self.never_expires else ends or None,
            models=None if self.models is None else tuple(self.models),
            endpoints=None if self.endpoints is None else tuple(self.endpoints),
            networks=None if self.networks is None else tuple(self.networks),
            tags=None if self.tags is None else tuple(self.tags),
            limits=limits or None,
        )


class RotateBody(Body):
    """How a key is replaced."""

    overlap_days: float = Field(
        default=1.0, ge=0, le=7, allow_inf_nan=False, description="How long the old one goes on working."
    )


class ForeignKeyBody(KeyBody):
    """A key that a client has already; one of token, sha256 and hmac says which."""

    token: SecretText = ""
    sha256: Digest = Field(default="", description="SHA-256 of its text, hexadecimal.")
    hmac: Digest = Field(default="", description="What another installation with the same pepper keeps of it.")

    @model_validator(mode="after")
    def _one_of_three(self) -> ForeignKeyBody:
        if sum(map(bool, (self.token, self.sha256, self.hmac))) != 1:
            raise ValueError("name one of token, sha256 and hmac")
        return self


class ImportBody(Body):
    """Keys from elsewhere."""

    keys: list[ForeignKeyBody] = Field(min_length=1, max_length=keys.MOST_AT_ONCE)


class BatchBody(Body):
    """Which keys."""

    ids: list[Id] = Field(min_length=1, max_length=keys.MOST_AT_ONCE)


class KeyShape(BaseModel):
    """A key, by its id: its text is never told again."""

    id: str
    masked: str = Field(description="How it begins, made from its id.")
    project_id: str
    name: str
    state: Literal["active", "replaced", "expired", "revoked"]
    is_active: bool
    expires_at: datetime | None
    models: list[str]
    endpoints: list[str]
    networks: list[str]
    tags: list[str]
    limits: LimitsShape
    max_requests: int
    request_count: int
    last_used_at: datetime | None
    created_at: datetime | None
    created_by: str
    revoked_at: datetime | None
    replaced_by: str
    grace_until: datetime | None = Field(description="How long it works although it was replaced.")
    version: int = Field(description="For If-Match.")


class IssuedShape(KeyShape):
    """A new key."""

    key: str = Field(description="The key itself. It is not shown again.")


class KeysShape(BaseModel):
    """A page of keys, newest first."""

    keys: list[KeyShape]
    next: str | None = Field(description="Send it as cursor for the next page; null = that was all.")


class ImportedShape(BaseModel):
    """What was taken over."""

    keys: list[KeyShape]


class RevokedShape(BaseModel):
    """What a revocation of several did."""

    revoked_count: int
    already_revoked_count: int
    total_tokens: int


def shape_key(key: StoredKey, now: float) -> KeyShape:
    """Return a key as it is told."""
    return KeyShape.model_validate(_told(key, now))


def shape_revoked(revoked: Revoked) -> RevokedShape:
    """Return what a revocation of several did."""
    return RevokedShape(
        revoked_count=revoked.revoked, already_revoked_count=revoked.already, total_tokens=revoked.total
    )


def list_keys(
    desk: DeskOf,
    position: PositionOf,
    project_id: Annotated[str | None, Query(pattern="^[0-9A-Za-z._-]{0,64}$")] = None,
    state: Annotated[KeyState | None, Query(description="Only such.")] = None,
    active_only: Annotated[bool, Query(description="The same as state=active.")] = False,  # noqa: FBT002 - a query
) -> KeysShape:
    """List keys, newest first."""
    wanted: KeyState | None = "active" if active_only else state
    found, following = keys.page(desk, limit=position.limit, after=position.after, project=project_id, state=wanted)
    return KeysShape(keys=[shape_key(each, desk.clock()) for each in found], next=write_cursor(following))


def create_key(desk: DeskOf, asked: AskedOf, body: KeyBody) -> Response:
    """Make a key; this answer alone shows it."""
    new = body.new(desk.clock())
    return asked.answer(lambda actor: keys.create(desk, actor, new), lambda issued: _issued(issued, desk), 201)


def import_keys(desk: DeskOf, asked: AskedOf, body: ImportBody) -> Response:
    """Take over keys that clients have already, by their text or by a hash of it; all or none."""
    now = desk.clock()
    foreign = [ForeignKey(each.new(now), each.token, each.sha256, each.hmac) for each in body.keys]
    return asked.answer(
        lambda actor: foreign_keys.import_keys(desk, actor, foreign),
        lambda stored: ImportedShape(keys=[shape_key(key, now) for key in stored]),
        201,
    )


def get_key(desk: DeskOf, response: Response, key_id: Id) -> KeyShape:
    """Show a key."""
    found = keys.find(desk, key_id)
    versioned(response, found.version)
    return shape_key(found, desk.clock())


def patch_key(
    desk: DeskOf, actor: ActorOf, response: Response, version: VersionOf, key_id: Id, body: KeyPatchBody
) -> KeyShape:
    """Change a key."""
    changed = keys.patch(desk, actor, key_id, body.patch(desk.clock()), version)
    versioned(response, changed.version)
    return shape_key(changed, desk.clock())


def delete_key(desk: DeskOf, actor: ActorOf, version: VersionOf, key_id: Id) -> Response:
    """Revoke a key; one that is revoked stays so."""
    keys.revoke(desk, actor, key_id, version)
    return Response(status_code=204)


def rotate_key(desk: DeskOf, asked: AskedOf, version: VersionOf, key_id: Id, body: RotateBody) -> Response:
    """Make a key that takes the place of another; this answer alone shows it."""
    seconds = body.overlap_days * 86_400
    return asked.answer(
        lambda actor: keys.rotate(desk, actor, key_id, seconds, version), lambda issued: _issued(issued, desk)
    )


def revoke_keys(desk: DeskOf, asked: AskedOf, body: BatchBody) -> Response:
    """Revoke several keys."""
    return asked.answer(lambda actor: keys.revoke_batch(desk, actor, body.ids), shape_revoked)


def revoke_expired_keys(desk: DeskOf, asked: AskedOf) -> Response:
    """Mark as revoked what has expired."""
    return asked.answer(lambda actor: keys.revoke_expired(desk, actor), shape_revoked)


def _issued(issued: Issued, desk: Desk) -> IssuedShape:
    return IssuedShape.model_validate(_told(issued.key, desk.clock()) | {"key": issued.text})


def _told(key: StoredKey, now: float) -> dict[str, object]:
    state = keys.state_of(key, now)
    return {
        "id": key.id,
        "masked": f"sk-fg-{key.id}-…",
        "project_id": key.project,
        "name": key.name,
        "state": state,
        "is_active": state in ("active", "replaced"),
        "expires_at": as_time(key.expires_at),
        "models": key.models,
        "endpoints": key.endpoints,
        "networks": key.networks,
        "tags": key.tags,
        "limits": shape_limits(key.limits),
        "max_requests": key.limits.max_requests,
        "request_count": key.request_count,
        "last_used_at": as_time(key.last_used_at),
        "created_at": as_time(key.created_at),
        "created_by": key.created_by,
        "revoked_at": as_time(key.revoked_at),
        "replaced_by": key.replaced_by,
        "grace_until": as_time(key.grace_until),
        "version": key.version,
    }


ENDPOINTS = tuple(
    row
    for base in ("/manage/keys", "/manage/tokens")
    for row in (
        Endpoint("GET", base, list_keys, READ),
        Endpoint("POST", base, create_key, ISSUE_KEYS, IssuedShape, 201),
        Endpoint("POST", f"{base}/import", import_keys, ISSUE_KEYS, ImportedShape, 201),
        Endpoint("POST", f"{base}/revoke", revoke_keys, WRITE, RevokedShape),
        Endpoint("POST", f"{base}/revoke-expired", revoke_expired_keys, WRITE, RevokedShape),
        Endpoint("GET", f"{base}/{{key_id}}", get_key, READ, versioned=True),
        Endpoint("PATCH", f"{base}/{{key_id}}", patch_key, WRITE, versioned=True),
        Endpoint("DELETE", f"{base}/{{key_id}}", delete_key, WRITE, None, 204),
        Endpoint("POST", f"{base}/{{key_id}}/rotate", rotate_key, ISSUE_KEYS, IssuedShape),
    )
)
