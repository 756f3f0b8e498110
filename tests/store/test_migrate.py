from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from flumegate.store import migrate
from flumegate.store.database import Database, read_only
from flumegate.store.errors import StoreUnavailable
from flumegate.store.ingest import Ingest
from flumegate.store.tables import HEAD, metadata
from rig.records import make_record

_TESTS = str(Path(__file__).parents[1])
REVISIONS = {
    "flumegate.store.migrations.env": "",
    "flumegate.store.migrations.versions.r0001_records": "0001",
    "flumegate.store.migrations.versions.r0002_management": "0002",
    "flumegate.store.migrations.versions.r0003_key_accounts": "0003",
}
_KILLED_AT = """
import os, signal, sys
from sqlalchemy import Engine, event
from flumegate.store import migrate
url, way, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
seen = 0
def count(*_):
    global seen
    seen += 1
    if seen == last:
        os.kill(os.getpid(), signal.SIGKILL)
event.listen(Engine, "before_cursor_execute", count)
migrate.upgrade(url) if way == "up" else migrate.downgrade(url, "0001")
print(seen)
"""


def _kill_at(url: str, way: str, statement: int) -> int:
    """Migrate in a process of its own that is killed before that statement; return how many there were, 0 = killed."""
    command = [sys.executable, "-c", _KILLED_AT, url, way, str(statement)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": _TESTS}, check=False
    )
    if done.returncode == -signal.SIGKILL:
        return 0
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def _old_database(path: Path) -> str:
    """Make a file as the releases before there were migrations made it, with a record in it."""
    url = f"sqlite:///{path}"
    migrate.upgrade(url)
    ingest = Ingest(url)
    ingest.insert([make_record(1)])
    ingest.close()
    migrate.downgrade(url, "0001")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE alembic_version")
    for copy in path.parent.glob("*.before-*"):
        copy.unlink()
    return url


def test_the_newest_revision_is_the_one_that_everybody_knows() -> None:
    """The number that stands beside the tables is that of the last migration, and the chain has one end."""
    config = Config()
    config.set_main_option("script_location", "flumegate.store:migrations")
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [HEAD]
    chain = [revision.revision for revision in script.walk_revisions()]
    assert chain[::-1] == [revision for revision in REVISIONS.values() if revision]


def test_migrations_make_what_the_tables_say(url: str) -> None:
    """No column, index or type differs between what is migrated and what the code believes."""
    migrate.upgrade(url)
    database = Database(url)
    with database.transaction() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    assert found == []
    database.close()


def test_up_and_down_and_up_again_keeps_the_records(url: str) -> None:
    """What both revisions know stays; what only the newer one knows begins anew."""
    ingest = Ingest(url)
    ingest.insert([make_record(1, cost_micros=5)])
    ingest.close()
    migrate.downgrade(url, "0001")
    assert migrate.status(url) == ("0001", HEAD, ["0002", HEAD])
    migrate.downgrade(url, "0001")
    with pytest.raises(ValueError, match="there is no revision 'base': name one of 0001, 0002, 0003"):
        migrate.downgrade(url, "base")
    with pytest.raises(ValueError, match="which is older"):
        migrate.downgrade(url, HEAD)
    assert migrate.upgrade(url).pending == ["0002", HEAD]
    assert migrate.upgrade(url).pending == []
    with ingest.database.reader() as connection:
        assert connection.execute(text("SELECT id FROM requests")).scalars().all() == ["record-00000001"]
        assert connection.execute(text("SELECT count(*) FROM spend")).scalar() == 0
    ingest.close()


def test_a_database_of_an_older_release_is_adopted(tmp_path: Path) -> None:
    """It is stamped, migrated, and copied before; its records are where they were."""
    url = _old_database(tmp_path / "flumegate.db")
    assert migrate.status(url) == ("0001", HEAD, ["0002", HEAD])
    ingest = Ingest(url)
    assert ingest.insert([make_record(1), make_record(2)]) == 1
    ingest.close()
    assert migrate.status(url).revision == HEAD
    (copy,) = tmp_path.glob("flumegate.db.before-0003-*")
    with read_only(copy) as connection:
        assert connection.execute(text("SELECT id FROM requests")).scalars().all() == ["record-00000001"]


def test_a_release_before_this_one_goes_on_with_the_new_schema(url: str) -> None:
    """What it looks for is still there: its own tables, and a version that it knows."""
    migrate.upgrade(url)
    with read_only(url) as connection:
        version = connection.execute(text("SELECT value FROM meta WHERE name = 'schema_version'")).scalar()
    assert version == "1"


def test_a_copy_that_cannot_be_made_stops_the_migration(tmp_path: Path) -> None:
    """Nothing is changed without a way back."""
    url = _old_database(tmp_path / "flumegate.db")
    (tmp_path / "flumegate.db.backup-under-way").mkdir()
    with pytest.raises(StoreUnavailable, match="could not be copied before its migration, so nothing was changed"):
        migrate.upgrade(url)
    assert migrate.status(url).revision == "0001"


def test_looking_makes_no_file(tmp_path: Path) -> None:
    assert migrate.status(f"sqlite:///{tmp_path}/flumegate.db").revision == ""
    assert not list(tmp_path.iterdir())


def test_of_many_that_start_together_one_migrates(url: str) -> None:
    """All of them find the database ready, and only one had anything to do."""
    done: list[int] = []
    together = threading.Barrier(4)

    def start() -> None:
        together.wait()
        done.append(len(migrate.upgrade(url).pending))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 0, 0, 3]
    assert migrate.status(url).pending == []


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.faults)])
def test_a_kill_at_any_statement_leaves_a_schema(url: str, step: int) -> None:
    """The old one or the new one, never half of either; and the next start migrates as if nothing had happened."""
    for way, before, after in (("up", "", HEAD), ("down", HEAD, "0001"), ("up", "0001", HEAD)):
        statement = 1
        while not _kill_at(url, way, statement):
            assert migrate.status(url).revision in (before, after)
            statement += step
        assert migrate.status(url).revision == after
