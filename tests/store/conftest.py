"""Both engines: a test that asks for `url` runs once on an SQLite file and once on a PostgreSQL database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flumegate.store.database import Database
from rig.postgres import Postgres

ENGINES = ("sqlite", "postgresql")


def new_url(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{folder}/flumegate.db"
    cluster: Postgres = request.getfixturevalue("postgres")
    return cluster.create_database()


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    return new_url(request, tmp_path)


@pytest.fixture(scope="module", params=ENGINES)
def module_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An empty database that the tests of one module share."""
    return new_url(request, tmp_path_factory.mktemp("store"))


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """The same, opened."""
    opened = Database(url)
    yield opened
    opened.close()
