from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from flumegate.store.database import Database, database_path, read_only
from flumegate.store.errors import StoreUnavailable
from flumegate.store.ingest import Ingest
from flumegate.store.sqlite import SqliteFile
from flumegate.store.tables import SCHEMA_VERSION
from rig.records import make_content, make_record


def _ingest(path: Path) -> Ingest:
    return Ingest(f"sqlite:///{path}", busy_seconds=0.05)


def test_files_are_private(tmp_path: Path) -> None:
    """Prompts are in there: folder 0700, files 0600."""
    path = tmp_path / "data" / "flumegate.db"
    ingest = _ingest(path)
    ingest.insert([make_record(1)])
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    assert len(list(path.parent.iterdir())) == 3
    ingest.close()


def test_relative_and_absolute_urls_name_their_files() -> None:
    """Three slashes are relative, four are absolute, as everywhere."""
    assert database_path("sqlite:///./data/flumegate.db") == Path("data/flumegate.db")
    assert database_path("sqlite:////var/lib/flumegate.db") == Path("/var/lib/flumegate.db")


def test_locked_database_is_named_and_works_again(tmp_path: Path) -> None:
    """Another program holds the lock: the error says so, and the next insert after it lets go succeeds."""
    path = tmp_path / "flumegate.db"
    ingest = _ingest(path)
    ingest.insert([make_record(1)])
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked by another program: close what has it open"):
            ingest.insert([make_record(2)])
    assert ingest.insert([make_record(2)]) == 1
    ingest.close()


def test_damaged_database_is_named_and_works_again(tmp_path: Path) -> None:
    """A file of noise is left as it is, the error says what to do, and doing it is enough."""
    path = tmp_path / "flumegate.db"
    path.write_bytes(b"this is no database" * 1000)
    ingest = _ingest(path)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="move it away and a new one is made"):
            ingest.insert([make_record(1)])
    with pytest.raises(StoreUnavailable, match="damaged"), read_only(path):
        pass
    path.rename(tmp_path / "away.db")
    assert ingest.insert([make_record(1)]) == 1
    ingest.close()


def test_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    """Pages that rot under a running gateway end in a clear error, not in a crash."""
    path = tmp_path / "flumegate.db"
    ingest = _ingest(path)
    ingest.insert([make_record(number) for number in range(2000)])
    ingest.close()
    data = bytearray(path.read_bytes())
    for offset in range(4096, len(data), 4096):
        data[offset : offset + 200] = os.urandom(200)
    path.write_bytes(data)
    with pytest.raises(StoreUnavailable, match="damaged"):
        ingest.insert([make_record(number) for number in range(2000, 2100)])
    ingest.close()


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file stands where the folder should be: said so, and nothing else breaks."""
    (tmp_path / "data").write_text("in the way")
    ingest = _ingest(tmp_path / "data" / "flumegate.db")
    with pytest.raises(StoreUnavailable, match=r"data/flumegate\.db cannot be used.*check the file, its folder"):
        ingest.insert([make_record(1)])


def test_path_that_is_a_folder_is_named(tmp_path: Path) -> None:
    """A folder where the file should be is no database, to either side."""
    with pytest.raises(StoreUnavailable, match="check the file"):
        _ingest(tmp_path).insert([make_record(1)])
    with pytest.raises(StoreUnavailable, match="there is no database at"), read_only(tmp_path):
        pass


def test_missing_database_says_how_to_get_one(tmp_path: Path) -> None:
    """Reading before the first start explains itself, and creates nothing."""
    with pytest.raises(StoreUnavailable, match="start the gateway with `flumegate serve`"), read_only(tmp_path / "no"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_this_user_may_not_look_into_is_named(tmp_path: Path) -> None:
    """With the remedy, as for a file."""
    (tmp_path / "closed").mkdir(mode=0)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from flumegate.store.database import read_only\n"
        "from flumegate.store.errors import StoreUnavailable\n"
        "os.chdir(sys.argv[1])\n"
        "if os.geteuid() == 0: os.setegid(65534); os.seteuid(65534)\n"
        "try:\n"
        "    with read_only(Path('closed/flumegate.db')): pass\n"
        "except StoreUnavailable as problem: print(problem)\n"
    )
    tmp_path.chmod(0o755)
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    (tmp_path / "closed").chmod(0o700)
    assert done.stderr == ""
    assert "closed/flumegate.db cannot be opened: give this user permission" in done.stdout


def test_moved_database_is_noticed(tmp_path: Path) -> None:
    """Somebody moves the file away while the gateway runs: the next batch goes into a new one, not into the void."""
    path = tmp_path / "flumegate.db"
    ingest = _ingest(path)
    ingest.insert([make_record(1)])
    path.rename(tmp_path / "away.db")
    assert ingest.insert([make_record(2)], [make_content(2)]) == 1
    with read_only(path) as reader:
        assert reader.execute(text("SELECT id FROM requests")).scalars().all() == ["record-00000002"]
    ingest.close()


@pytest.mark.parametrize("version", [str(SCHEMA_VERSION + 1), "1000", "unknown"])
def test_newer_database_is_refused_and_left_alone(tmp_path: Path, version: str) -> None:
    """An older release neither writes to nor reads a database of a newer one, and says what to do."""
    path = tmp_path / "flumegate.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        connection.execute("INSERT INTO meta VALUES ('schema_version', ?)", (version,))
    ingest = _ingest(path)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=f"has schema {version}.*run the newer release"):
            ingest.insert([make_record(1)])
    with pytest.raises(StoreUnavailable, match="run the newer release"), read_only(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'requests'").fetchall() == []
    ingest.close()


def test_a_transaction_holds_the_lock_from_its_beginning(tmp_path: Path) -> None:
    """What was read in it is still true when it writes, and the log is written ahead, so that readers never wait."""
    path = tmp_path / "flumegate.db"
    database = Database(f"sqlite:///{path}")
    with database.transaction() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        with closing(sqlite3.connect(path, timeout=0.01)) as other, pytest.raises(sqlite3.OperationalError):
            other.execute("BEGIN IMMEDIATE")
    database.close()


def test_copies_are_private_whole_and_few(tmp_path: Path) -> None:
    """The three newest stand beside the file, as readable as it; half of one, left by a kill, is no hindrance."""
    path = tmp_path / "flumegate.db"
    ingest = _ingest(path)
    ingest.insert([make_record(1)])
    ingest.close()
    (tmp_path / "flumegate.db.backup-under-way").write_bytes(b"half of a copy")
    made = [SqliteFile(path, 1.0).back_up("0002") for _ in range(5)]
    kept = sorted(tmp_path.glob("flumegate.db.before-*"))
    assert kept == made[-3:]
    assert {file.stat().st_mode & 0o777 for file in kept} == {0o600}
    with read_only(kept[0]) as reader:
        assert reader.execute(text("SELECT id FROM requests")).scalars().all() == ["record-00000001"]
    assert not list(tmp_path.glob("*under-way"))
