"""Databases of both engines, and rows in them as the management API would have made them."""

from __future__ import annotations

import hmac
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from flumegate.records.access import Budget, Limits, Project
from flumegate.store import budgets, keys, projects
from flumegate.store.database import Database
from flumegate.store.keys import StoredKey
from flumegate.store.projects import StoredProject
from rig.postgres import Postgres

ENGINES = ("sqlite", "postgresql")


def url_of(engine: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of a new, empty database."""
    if engine == "sqlite":
        return f"sqlite:///{folder / 'flumegate.db'}"
    cluster: Postgres = request.getfixturevalue("postgres")
    return cluster.create_database()


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


def is_whole(path: Path) -> bool:
    """Tell whether an SQLite file finds no fault with itself; nothing in it is changed by that."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        return bool(database.execute("PRAGMA integrity_check").fetchall() == [("ok",)])


def digest_of(pepper: bytes, key: str) -> bytes:
    return hmac.digest(pepper, key.encode(), "sha256")


def add_key(
    database: Database, pepper: bytes, text: str, key_id: str, *, project: str = "", limits: Limits | None = None
) -> None:
    """Store a key whose text is known."""
    row = StoredKey(key_id, digest_of(pepper, text), project=project, limits=limits or Limits(), created_at=1.0)
    with database.transaction() as connection:
        keys.insert(connection, row)


def add_project(database: Database, project: Project) -> None:
    row = StoredProject(
        project.id,
        project.name,
        active=project.active,
        models=project.models,
        endpoints=project.endpoints,
        limits=project.limits,
        default_provider=project.default_provider,
    )
    with database.transaction() as connection:
        projects.insert(connection, row)


def add_budget(database: Database, budget: Budget) -> None:
    with database.transaction() as connection:
        budgets.insert(connection, budget, 1.0)


def revoke_key(database: Database, key_id: str) -> None:
    with database.transaction() as connection:
        assert keys.revoke(connection, [key_id], time.time()) == 1
