"""Tokens of the console as they are stored: by their digest, each with a role. Nothing is deleted."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sqlalchemy import Connection, select, update

from flumegate.store.changes import note_change
from flumegate.store.errors import DuplicateError, MissingError
from flumegate.store.rows import add_rows
from flumegate.store.tables import admin_tokens

Role = Literal["owner", "admin", "operator", "viewer", "auditor"]


class AdminToken(NamedTuple):
    """One row. Times are 0 where they are not set."""

    id: str
    name: str
    digest: bytes
    role: Role
    created_at: float
    expires_at: float = 0.0
    revoked_at: float = 0.0
    last_used_at: float = 0.0


def insert(connection: Connection, token: AdminToken) -> None:
    """Store a new token.

    Raises:
        DuplicateError: there is one with that id or digest.
    """
    if not add_rows(connection, admin_tokens, [token._asdict()]):
        raise DuplicateError("there is a token with that id or digest already")
    note_change(connection)


def find(connection: Connection, token_id: str) -> AdminToken | None:
    """Return the token of that id."""
    row = connection.execute(select(admin_tokens).where(admin_tokens.c.id == token_id)).one_or_none()
    return AdminToken(*row) if row is not None else None


def find_by_digest(connection: Connection, digest: bytes) -> AdminToken | None:
    """Return the token of that digest, revoked or expired ones too."""
    row = connection.execute(select(admin_tokens).where(admin_tokens.c.digest == digest)).one_or_none()
    return AdminToken(*row) if row is not None else None


def all_tokens(connection: Connection) -> list[AdminToken]:
    """Return all tokens, oldest first."""
    query = select(admin_tokens).order_by(admin_tokens.c.created_at, admin_tokens.c.id)
    return [AdminToken(*row) for row in connection.execute(query)]


def revoke(connection: Connection, token_id: str, now: float) -> bool:
    """Revoke a token; tell whether it was not revoked before.

    Raises:
        MissingError: there is no such token.
    """
    statement = update(admin_tokens).where(admin_tokens.c.id == token_id, admin_tokens.c.revoked_at == 0)
    if connection.execute(statement.values(revoked_at=now)).rowcount:
        note_change(connection)
        return True
    if find(connection, token_id) is None:
        raise MissingError("there is no such token")
    return False


def note_use(connection: Connection, token_id: str, now: float) -> None:
    """Remember when a token was last used; that is no change of it."""
    used = update(admin_tokens).where(admin_tokens.c.id == token_id, admin_tokens.c.last_used_at < now)
    connection.execute(used.values(last_used_at=now))
