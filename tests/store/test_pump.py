from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from flumegate.records.request import Record
from flumegate.spool.append import SpoolWriter
from flumegate.spool.segments import list_segments
from flumegate.spool.tail import SpoolReader
from flumegate.store.ingest import Ingest
from flumegate.store.pump import Pump
from flumegate.store.spend import Spend, totals
from flumegate.store.usage import days
from rig.disk import small_disk
from rig.records import framed, make_content, make_record

_TESTS = str(Path(__file__).parents[1])
_PUMP_FOR_EVER = """
import sys
from pathlib import Path
from flumegate.spool.tail import SpoolReader
from flumegate.store.ingest import Ingest
from flumegate.store import pump
pump.BATCH_RECORDS = 50
folder = Path(sys.argv[1])
it = pump.Pump(SpoolReader(folder / "spool"), Ingest(sys.argv[2]), lambda records: None)
print("started", flush=True)
while it.step():
    print(it.stored, flush=True)
"""


def _fill(folder: Path, first: int, last: int) -> None:
    writer = SpoolWriter(folder, "w0", max_bytes=10**9, segment_bytes=50_000)
    for number in range(first, last):
        writer.write(framed(make_record(number, cost_micros=21)))
        writer.write_content(framed(make_content(number)))
    writer.close()


def _pump(folder: Path) -> tuple[Pump, Ingest, list[Record]]:
    shown: list[Record] = []
    ingest = Ingest(f"sqlite:///{folder}/flumegate.db", busy_seconds=0.05)
    return Pump(SpoolReader(folder / "spool"), ingest, shown.extend), ingest, shown


def _ids(folder: Path, table: str) -> list[str]:
    with closing(sqlite3.connect(folder / "flumegate.db")) as connection:
        return [row[0] for row in connection.execute(f"SELECT id FROM {table} ORDER BY id")]  # noqa: S608 - a name of our own


def test_a_step_tells_whether_it_came_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what was there when it began: who waits for that must not wait until nobody writes any more."""
    monkeypatch.setattr("flumegate.store.pump.BATCH_RECORDS", 60)
    pump, ingest, _ = _pump(tmp_path)
    _fill(tmp_path / "spool", 0, 100)
    told = []
    for number in range(100, 103):
        told.append((pump.step(), pump.caught_up))
        _fill(tmp_path / "spool", number, number + 1)
    assert told == [(120, False), (82, True), (2, True)]
    ingest.close()


def test_spool_becomes_rows_and_is_gone(tmp_path: Path) -> None:
    """Everything in the spool is stored and shown once, and its segments are deleted."""
    _fill(tmp_path / "spool", 0, 500)
    pump, ingest, shown = _pump(tmp_path)
    while pump.step():
        pass
    assert _ids(tmp_path, "requests") == _ids(tmp_path, "contents") == [f"record-{number:08d}" for number in range(500)]
    assert [record.id for record in shown] == [f"record-{number:08d}" for number in range(500)]
    assert pump.stored == 500
    assert [list_segments(tmp_path / "spool", suffix) for suffix in (".records", ".content")] == [[], []]
    ingest.close()


def test_broken_store_keeps_the_spool_and_is_reported_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """While the database is damaged nothing leaves the spool; one line when it breaks, one when it works again."""
    _fill(tmp_path / "spool", 0, 20)
    path = tmp_path / "flumegate.db"
    path.write_bytes(b"damaged" * 1000)
    pump, ingest, shown = _pump(tmp_path)
    assert [pump.step() for _ in range(3)] == [0, 0, 0]
    assert "move it away" in pump.failure
    assert shown == []
    path.unlink()
    while pump.step():
        pass
    assert pump.failure == ""
    assert len(_ids(tmp_path, "requests")) == len(shown) == 20
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["store_unavailable", "store_available"]
    ingest.close()


def test_damage_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Damaged bytes in the spool are said, with their number, once."""
    _fill(tmp_path / "spool", 0, 3)
    (name,) = list_segments(tmp_path / "spool", ".records")
    path = tmp_path / "spool" / name
    data = path.read_bytes()
    path.write_bytes(data[:-5])
    pump, ingest, shown = _pump(tmp_path)
    while pump.step():
        pass
    pump.step()
    (line,) = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert (line["event"], line["regions"], line["bytes"]) == ("spool_damaged", 1, len(data) // 3 - 5)
    assert len(shown) == 2
    ingest.close()


def test_killed_control_loses_and_doubles_nothing(tmp_path: Path, url: str) -> None:
    """SIGKILL while records are being stored, again and again: in the end each is there, and was paid for, once."""
    _fill(tmp_path / "spool", 0, 3000)
    for turn in range(6):
        command = [sys.executable, "-c", _PUMP_FOR_EVER, str(tmp_path), url]
        environment = {**os.environ, "PYTHONPATH": _TESTS}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
            assert process.stdout is not None
            for _ in range(1 + turn):
                process.stdout.readline()
            process.kill()
    ingest = Ingest(url)
    pump = Pump(SpoolReader(tmp_path / "spool"), ingest, lambda _: None)
    while pump.step():
        pass
    expected = [f"record-{number:08d}" for number in range(3000)]
    with ingest.database.reader() as connection:
        for table in ("requests", "contents"):
            ids = connection.exec_driver_sql(f"SELECT id FROM {table} ORDER BY id").scalars().all()  # noqa: S608 - a name of our own
            assert ids == expected
        found = totals(connection, ["key:static-0a1b2c3d", "model:smart"], ["total"])
        used = days(connection, since="2000-01-01", until="2100-01-01")
    assert set(found.values()) == {Spend(3000 * 21, 3000, 3000 * 1203, 3000 * 320)}
    assert sum(day.requests for day in used) == 3000
    ingest.close()
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(tmp_path / "flumegate.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_full_disk_stops_storing_and_nothing_else(tmp_path: Path) -> None:
    """No space for the database: records stay in the spool; once there is some, all of them are stored, once each."""
    disk = tmp_path / "disk"
    disk.mkdir()
    _fill(tmp_path / "spool", 0, 2500)
    with small_disk(disk, 1024):
        (disk / "in the way").write_bytes(b"x" * 500_000)
        ingest = Ingest(f"sqlite:///{disk}/flumegate.db")
        pump = Pump(SpoolReader(tmp_path / "spool"), ingest, lambda _: None)
        assert pump.step() == 0
        assert "the disk is full: free some space" in pump.failure
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        while pump.step():
            pass
        assert (pump.failure, pump.stored) == ("", 2500)
        assert len(_ids(disk, "requests")) == 2500
        ingest.close()
