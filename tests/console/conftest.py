from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.desk import Bench, desk_on
from rig.postgres import Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A desk on an empty database of either engine."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'flumegate.db'}"
    else:
        cluster: Postgres = request.getfixturevalue("postgres")
        url = cluster.create_database()
    with desk_on(url, tmp_path) as bench:
        yield bench


@pytest.fixture
def sqlite_desk(tmp_path: Path) -> Iterator[Bench]:
    """A desk on SQLite, for what no database has a part in."""
    with desk_on(f"sqlite:///{tmp_path / 'flumegate.db'}", tmp_path) as bench:
        yield bench
