"""Brings a database's schema to the one of this release, or back: the only place that runs migrations.

All steps are one transaction on both engines, so that whatever ends the process leaves the schema as it was or as it
should be. Of several instances that start together one migrates, and the others find it done. An SQLite file is copied
first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from flumegate.store.database import BUSY_SECONDS, QUERY_SECONDS, STATEMENT_SECONDS, Backend, choose_backend
from flumegate.store.errors import StoreUnavailable
from flumegate.store.schema import FIRST, NEWER, NOTHING, TABLES, find_revision, is_stamped
from flumegate.store.sqlite import SqliteFile
from flumegate.store.tables import HEAD

_REVISIONS = list(TABLES)


class Status(NamedTuple):
    """Where a database stands."""

    revision: str
    """`""` for an empty one, `newer` for one of a newer release."""
    head: str
    """Where this release wants it."""
    pending: list[str]
    """What an upgrade would run, in that order."""


def status(url: str) -> Status:
    """Tell where the database stands; nothing is changed, and no file is made.

    Raises:
        StoreUnavailable: it cannot be read now, was made by half, or only a newer release can use it.
    """
    backend = choose_backend(url, BUSY_SECONDS, STATEMENT_SECONDS)
    if isinstance(backend, SqliteFile) and not backend.path.exists():
        return Status(NOTHING, HEAD, list(_REVISIONS))
    try:
        with backend.reader(QUERY_SECONDS) as connection:
            revision = find_revision(connection, backend.name)
    except (SQLAlchemyError, OSError) as error:
        raise backend.explain(error, QUERY_SECONDS) from error
    finally:
        backend.close()
    if revision == NEWER:
        return Status(revision, HEAD, [])
    return Status(revision, HEAD, [name for name in _REVISIONS if name > revision])


def upgrade(url: str) -> Status:
    """Bring the database to this release's schema; return where it stood before.

    Raises:
        StoreUnavailable: it cannot be used now, or is not one that this release may change; nothing is changed.
    """
    return upgrade_backend(choose_backend(url, BUSY_SECONDS, STATEMENT_SECONDS))


def upgrade_backend(backend: Backend) -> Status:
    """Do what `upgrade` does, for a database that is chosen already."""
    with _migrating(backend) as (connection, revision):
        if revision == NEWER:
            raise StoreUnavailable(_refusal(backend))
        before = Status(revision, HEAD, [name for name in _REVISIONS if name > revision])
        if before.pending:
            _back_up(backend, revision, before.pending[-1])
            config = _config(connection)
            if revision == FIRST and not is_stamped(connection):
                command.stamp(config, FIRST)  # a release before there were migrations made it
            command.upgrade(config, HEAD)
    return before


def downgrade(url: str, revision: str) -> None:
    """Bring the database back to an older revision; what that one has no table for is lost.

    Raises:
        StoreUnavailable: it cannot be used now, or is not one that this release may change; nothing is changed.
        ValueError: there is no such revision, or the database is older.
    """
    if revision not in TABLES:
        raise ValueError(f"there is no revision {revision!r}: name one of {', '.join(_REVISIONS)}")
    backend = choose_backend(url, BUSY_SECONDS, STATEMENT_SECONDS)
    with _migrating(backend) as (connection, found):
        if found == NEWER:
            raise StoreUnavailable(_refusal(backend))
        if found < revision:
            raise ValueError(f"the database is at revision {found or 'none'}, which is older: upgrade it instead")
        if found > revision:
            _back_up(backend, found, revision)
            command.downgrade(_config(connection), revision)


@contextmanager
def _migrating(backend: Backend) -> Iterator[tuple[Connection, str]]:
    try:
        with backend.migrating() as connection:
            yield connection, find_revision(connection, backend.name)
    except (SQLAlchemyError, OSError) as error:
        raise StoreUnavailable(str(backend.explain(error, STATEMENT_SECONDS))) from error
    finally:
        backend.close()


def _back_up(backend: Backend, revision: str, target: str) -> None:
    if isinstance(backend, SqliteFile) and revision != NOTHING:
        backend.back_up(target)


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "flumegate.store:migrations")
    return config


def _refusal(backend: Backend) -> str:
    return f"{backend.name} was migrated by a newer release, which is the one to change it: use that one"
