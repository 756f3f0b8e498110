from __future__ import annotations

import stat
from pathlib import Path

import pytest

from flumegate.keytable import KeyTable
from flumegate.manage.seal import Ring, read_master_key
from flumegate.manage.state import CURRENT, STALE, DatabaseState
from flumegate.processes.first_start import StartRefusedError
from flumegate.processes.kept_state import STATE_NAME, KeptState, Standing
from flumegate.records.access import Key

RING = Ring([read_master_key("a-master-key-for-tests-0123456789-abcdef")])
STRANGE = Ring([read_master_key("another-master-key-for-tests-987654321")])


def state(changes: int, *ids: str) -> DatabaseState:
    keys = [(name.encode().ljust(32, b"."), Key(name)) for name in ids]
    return DatabaseState(changes=changes, as_of=1.0, installation="house", keys=keys, key_count=len(keys))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path


def tables(folder: Path) -> list[str]:
    return sorted(str(path) for path in (folder / "run").glob("*.tbl"))


def test_what_was_kept_is_there_at_the_next_start(folder: Path) -> None:
    """The state without its keys, sealed, and the table that holds them; both for nobody else's eyes."""
    kept = KeptState(folder, RING)
    assert kept.read() is None
    written = kept.write_table(state(3, "one", "two"))
    kept.write(written)
    assert KeptState(folder, RING).read() == written
    assert written.keys == []
    found = KeyTable(Path(written.key_table)).find(b"two".ljust(32, b"."))
    assert found == Key("two")
    for path in (folder / STATE_NAME, Path(written.key_table)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_keys_need_no_table(folder: Path) -> None:
    assert KeptState(folder, RING).write_table(state(3)).key_table == ""
    assert tables(folder) == []


def test_tables_of_one_content_are_one_and_others_have_other_names(folder: Path) -> None:
    """A worker looks at the name to see whether it has to look at the file."""
    kept = KeptState(folder, RING)
    first = kept.write_table(state(3, "one"))
    assert kept.write_table(state(3, "one")) == first
    # Another database may be at the same count of changes.
    assert kept.write_table(state(3, "two")).key_table != first.key_table


def test_old_tables_go_but_never_the_last_two(folder: Path) -> None:
    """A worker that is starting may be about to open the one before the newest; what others left goes, too."""
    (folder / "run" / "keys-0-left-by-the-dead.tbl").touch()
    kept = KeptState(folder, RING)
    written = [kept.write_table(state(changes, f"key{changes}")).key_table for changes in range(4)]
    kept.retire(written[-1])
    assert tables(folder) == sorted(written[-2:])
    kept.retire(written[-1])
    assert tables(folder) == sorted(written[-2:])


def test_a_state_whose_table_is_gone_is_none(folder: Path) -> None:
    """Without its keys it would turn everybody away."""
    kept = KeptState(folder, RING)
    written = kept.write_table(state(3, "one"))
    kept.write(written)
    Path(written.key_table).unlink()
    assert kept.read() is None


def test_a_missing_master_key_stops_the_start(folder: Path) -> None:
    """It is named by its public id; a damaged file only costs the start its patience."""
    KeptState(folder, RING).write(state(3))
    with pytest.raises(StartRefusedError, match=RING.write_id):
        KeptState(folder, STRANGE).read()
    sealed = (folder / STATE_NAME).read_bytes()
    (folder / STATE_NAME).write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert KeptState(folder, RING).read() is None


def test_a_disk_that_takes_nothing_stops_nothing(tmp_path: Path) -> None:
    """The state is then read from the database at the next start; a table that cannot be written is told."""
    kept = KeptState(tmp_path / "nowhere", RING)
    kept.write(state(3))
    with pytest.raises(StartRefusedError):
        kept.write_table(state(3, "one"))


def test_what_was_kept_is_current_only_where_nobody_else_writes(folder: Path) -> None:
    """SQLite has one writer; a server may have been changed meanwhile, and a database never read may hold anything."""
    kept = KeptState(folder, RING)
    database = folder / "flumegate.db"
    url, server = f"sqlite:///{database}", "postgresql://u:p@h/d"
    assert kept.standing(url) == Standing(None, CURRENT)
    assert kept.standing(server) == Standing(None, STALE)
    database.touch()
    assert kept.standing(url) == Standing(None, STALE)
    kept.write(state(3))
    assert (kept.standing(url).keys_are, kept.standing(server).keys_are) == (CURRENT, STALE)
