from __future__ import annotations

import pytest
from sqlalchemy import inspect, text

from flumegate.store import migrate
from flumegate.store.database import Database
from flumegate.store.errors import StoreUnavailable
from flumegate.store.schema import FIRST, NEWER, NOTHING, TABLES, find_revision, is_stamped
from flumegate.store.tables import HEAD, metadata


def test_each_revision_is_told_by_its_tables(url: str) -> None:
    """What the migrations make is what this room expects, revision by revision."""
    migrate.upgrade(url)
    database = Database(url)
    with database.reader() as connection:
        assert find_revision(connection, "it") == HEAD
        assert is_stamped(connection)
        assert (
            set(inspect(connection).get_table_names())
            == TABLES[HEAD] | {"alembic_version"}
            == {
                *metadata.tables,
                "alembic_version",
            }
        )
    migrate.downgrade(url, FIRST)
    with database.reader() as connection:
        assert find_revision(connection, "it") == FIRST
    database.close()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE alembic_version SET version_num = '0001'", "at migration 0001, yet its tables are not"),
        ("INSERT INTO alembic_version VALUES ('0001')", "several migrations at once"),
        ("DROP TABLE contents", r"tables are not \(contents\)"),
        ("DROP TABLE alembic_version", "at migration 0001, yet its tables are not"),
        ("UPDATE meta SET value = '7' WHERE name = 'schema_version'", "has schema 7"),
    ],
)
def test_what_does_not_fit_is_refused(url: str, statement: str, expected: str) -> None:
    """Nothing writes to it, and nothing migrates it, until somebody has looked."""
    migrate.upgrade(url)
    database = Database(url)
    with database.transaction() as connection:
        connection.execute(text(statement))
    database.close()
    for use in (migrate.status, migrate.upgrade, lambda it: migrate.downgrade(it, FIRST)):
        with pytest.raises(StoreUnavailable, match=expected):
            use(url)
    with pytest.raises(StoreUnavailable, match=expected), database.transaction():
        pass


def test_nothing_and_something_newer(url: str) -> None:
    """An empty database is no revision; one that a newer release migrated is left to that one."""
    assert migrate.status(url) == (NOTHING, HEAD, list(TABLES))
    migrate.upgrade(url)
    database = Database(url)
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0815'"))
    database.close()
    assert migrate.status(url) == (NEWER, HEAD, [])
    for use in (migrate.upgrade, lambda it: migrate.downgrade(it, FIRST)):
        with pytest.raises(StoreUnavailable, match="migrated by a newer release"):
            use(url)
