"""Credentials for providers, sealed: this room cannot open them. Those of a project stand before the installation's.

The empty project is the installation itself.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, delete, select

from flumegate.store.changes import note_change
from flumegate.store.database import insert_into
from flumegate.store.errors import MissingError
from flumegate.store.tables import project_credentials, provider_credentials


class Credential(NamedTuple):
    """One row."""

    project: str
    """Empty for the installation's own."""
    provider: str
    sealed: bytes
    created_at: float
    updated_at: float


def put(connection: Connection, project: str, provider: str, sealed: bytes, now: float) -> None:
    """Store a credential, in place of the one before it."""
    table = _table(project)
    values: dict[str, object] = {"provider": provider, "sealed": sealed, "created_at": now, "updated_at": now}
    if project:
        values["project"] = project
    statement = insert_into(connection, table).values(values)
    changed = {"sealed": statement.excluded.sealed, "updated_at": statement.excluded.updated_at}
    place = ["project", "provider"] if project else ["provider"]
    connection.execute(statement.on_conflict_do_update(index_elements=place, set_=changed))
    note_change(connection)


def remove(connection: Connection, project: str, provider: str) -> None:
    """Delete a credential.

    Raises:
        MissingError: there is none.
    """
    if not connection.execute(delete(_table(project)).where(*_which(project, provider))).rowcount:
        raise MissingError(f"there is no credential for {provider}")
    note_change(connection)


def find(connection: Connection, project: str, provider: str) -> Credential | None:
    """Return a credential of a project, or with an empty one of the installation."""
    query = select(_table(project)).where(*_which(project, provider))
    row = connection.execute(query).one_or_none()
    return None if row is None else Credential(project, provider, row.sealed, row.created_at, row.updated_at)


def all_credentials(connection: Connection) -> list[Credential]:
    """Return all of them: the installation's first, then those of projects."""
    found = [
        Credential("", row.provider, row.sealed, row.created_at, row.updated_at)
        for row in connection.execute(select(provider_credentials).order_by(provider_credentials.c.provider))
    ]
    query = select(project_credentials).order_by(project_credentials.c.project, project_credentials.c.provider)
    found += [
        Credential(row.project, row.provider, row.sealed, row.created_at, row.updated_at)
        for row in connection.execute(query)
    ]
    return found


def _table(project: str) -> Table:
    return project_credentials if project else provider_credentials


def _which(project: str, provider: str) -> list[ColumnElement[bool]]:
    table = _table(project)
    found: list[ColumnElement[bool]] = [table.c.provider == provider]
    if project:
        found.append(table.c.project == project)
    return found
