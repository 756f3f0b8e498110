from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

from flumegate.records.request import Content, Record
from flumegate.spool.append import STALE_SECONDS, SpoolWriter
from flumegate.spool.segments import CONTENT, RECORDS, list_segments
from flumegate.spool.tail import SpoolReader
from rig.disk import small_disk
from rig.records import framed, make_content, make_record

_TESTS = str(Path(__file__).parents[1])
_WRITE_FOR_EVER = """
import os, sys
from pathlib import Path
from flumegate.spool.append import SpoolWriter
from rig.disk import small_disk
from rig.records import framed, make_record
writer = SpoolWriter(Path(sys.argv[1]), sys.argv[2], max_bytes=10**9, segment_bytes=40_000)
first, last = int(sys.argv[3]), int(sys.argv[4])
while first < last:
    size = 1 + first % 7
    if not writer.write(framed(*(make_record(number) for number in range(first, first + size)))):
        sys.exit("not written")
    first += size
    os.write(1, b"%d\\n" % first)
"""
_WRITE_UNTIL_LIMIT = """
import resource, sys
from pathlib import Path
from flumegate.spool.append import SpoolWriter
from rig.disk import small_disk
from rig.records import framed, make_content, make_record
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
writer = SpoolWriter(Path(sys.argv[1]), "w0", max_bytes=10**9)
for number in range(0, 600, 3):
    writer.write(framed(*(make_record(one) for one in range(number, number + 3))))
    writer.write(framed(make_record(10_000 + number, tags="x" * 30_000)))
    writer.write_content(framed(make_content(number, 100 if number % 2 else 20_000)))
writer.close()
print(writer.dropped, writer.dropped_content)
"""


def _everything(folder: Path) -> tuple[list[Record], list[Content]]:
    reader = SpoolReader(folder)
    records: list[Record] = []
    contents: list[Content] = []
    while (batch := reader.read(100)).positions:
        records += batch.records
        contents += batch.contents
        reader.acknowledge(batch)
    return records, contents


def _ids(rows: list[Record] | list[Content]) -> list[str]:
    return [row.id for row in rows]


def _python(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": _TESTS}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Records and contents come back equal and in order, from a folder that only its owner may enter."""
    folder = tmp_path / "data" / "spool"
    writer = SpoolWriter(folder, "w0", max_bytes=1_000_000)
    records = [make_record(number) for number in range(10)]
    contents = [make_content(number) for number in range(5)]
    assert writer.write(framed(*records[:4]))
    assert writer.write(framed(*records[4:]))
    assert writer.write_content(framed(*contents))
    writer.sync()
    assert _everything(folder) == (records, contents)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    writer.close()


def test_segments_are_cut_to_size_and_sort_by_age(tmp_path: Path) -> None:
    """A full segment is followed by another; their names in order are their contents in order."""
    writer = SpoolWriter(tmp_path, "w0", max_bytes=10_000_000, segment_bytes=2000)
    for number in range(50):
        writer.write(framed(make_record(number)))
    assert len(list_segments(tmp_path, RECORDS)) > 5
    assert max(path.stat().st_size for path in tmp_path.iterdir()) <= 2000
    assert writer.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert _ids(_everything(tmp_path)[0]) == [f"record-{number:08d}" for number in range(50)]
    writer.close()


def test_an_old_segment_is_finished_and_deleted_once_stored(tmp_path: Path) -> None:
    """A worker that went quiet leaves no segment behind that control could never delete."""
    writer = SpoolWriter(tmp_path, "w0", max_bytes=1_000_000)
    writer.write(framed(make_record(1)))
    writer.rotate_if_stale(100.0)
    reader = SpoolReader(tmp_path)
    reader.acknowledge(reader.read(10))
    assert len(list_segments(tmp_path, RECORDS)) == 1
    writer.rotate_if_stale(100.0 + STALE_SECONDS)
    reader.acknowledge(reader.read(10))
    assert list_segments(tmp_path, RECORDS) == []
    writer.rotate_if_stale(101.0 + STALE_SECONDS)
    assert writer.bytes == 0
    assert writer.write(framed(make_record(2)))
    assert _ids(reader.read(10).records) == ["record-00000002"]
    writer.close()


def test_killed_writer_loses_nothing_that_it_had_written(tmp_path: Path) -> None:
    """SIGKILL at any moment: every record whose write had returned is read back, none twice."""
    for turn in range(4):
        folder = tmp_path / str(turn)
        with _python(_WRITE_FOR_EVER, str(folder), "w0", "0", "1000000") as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(50 + 37 * turn)]
            process.kill()
            lines += process.stdout.readlines()
        acknowledged = max(int(line) for line in lines if line.endswith(b"\n"))
        ids = _ids(_everything(folder)[0])
        assert acknowledged >= 50
        assert len(ids) >= acknowledged
        assert ids == [f"record-{number:08d}" for number in range(len(ids))]


def test_two_writers_at_once_do_not_touch_each_other(tmp_path: Path) -> None:
    """Two workers fill one folder while control reads and deletes; every record arrives once."""
    writers = [_python(_WRITE_FOR_EVER, str(tmp_path), f"w{n}", str(n * 9000), str(n * 9000 + 5000)) for n in (0, 1)]
    reader = SpoolReader(tmp_path)
    ids: list[str] = []
    drains = [threading.Thread(target=writer.communicate) for writer in writers]
    for drain in drains:
        drain.start()
    while any(drain.is_alive() for drain in drains) or list_segments(tmp_path, RECORDS):
        batch = reader.read(500)
        ids += _ids(batch.records)
        reader.acknowledge(batch)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(ids) == len(set(ids)) >= 10_000
    assert reader.damaged_regions == 0


def test_file_size_limit_loses_only_what_cannot_be_written_and_counts_it(tmp_path: Path) -> None:
    """Short writes and refused ones: the spool stays whole, small records all arrive, each loss is counted."""
    with _python(_WRITE_UNTIL_LIMIT, str(tmp_path)) as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    dropped, dropped_content = map(int, output.split())
    reader = SpoolReader(tmp_path)
    batch = reader.read(10_000)
    small = [record for record in batch.records if not record.tags]
    assert len(small) == 600
    assert dropped == 800 - len(batch.records) == 200
    assert dropped_content == 200 - len(batch.contents) == 100
    assert batch.damage == (0, 0)
    assert max(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000


def test_full_disk_loses_contents_first_and_counts_exactly(tmp_path: Path) -> None:
    """On a full disk nothing raises, contents give way to records, losses equal the ledger, and it heals by itself."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, 512):
        folder = disk / "spool"
        writer = SpoolWriter(folder, "w0", max_bytes=10**9, segment_bytes=64 * 1024)
        records = contents = 0
        while writer.dropped < 10 and records < 20_000:
            writer.write(framed(make_record(records), make_record(records + 1), make_record(records + 2)))
            records += 3
            if contents < 200:
                writer.write_content(framed(make_content(contents, 4000)))
                contents += 1
            writer.sync()
            if records % 30 == 0:
                writer.rotate_if_stale(0.0)
        assert writer.dropped >= 10
        assert writer.dropped_content == contents
        lost = writer.dropped
        kept, no_contents = _everything(folder)
        assert (len(kept), no_contents) == (records - lost, [])
        writer.rotate_if_stale(0.0)
        assert writer.write(framed(make_record(records)))
        assert writer.write_content(framed(make_content(records)))
        assert writer.dropped == lost
        assert [len(rows) for rows in _everything(folder)] == [1, 1]
        writer.close()


def test_cap_takes_oldest_contents_then_new_contents_then_records(tmp_path: Path) -> None:
    """Past the cap the oldest finished contents go first; records are lost last; every loss is counted one by one."""
    writer = SpoolWriter(tmp_path, "w0", max_bytes=100_000, segment_bytes=10_000)
    for number in range(100):
        writer.write_content(framed(make_content(number, 1000)))
        writer.rotate_if_stale(0.0)
    contents = SpoolReader(tmp_path).read(1000).contents
    assert _ids(contents) == [f"record-{number:08d}" for number in range(100 - len(contents), 100)]
    assert writer.dropped_content == 100 - len(contents) > 40
    written = 0
    while writer.write(framed(make_record(written))):
        written += 1
        assert writer.bytes <= 100_000
    assert written > 200
    assert writer.dropped_content == 100
    assert writer.dropped == 1
    assert not writer.write_content(framed(make_content(100, 1000), make_content(101, 1000)))
    assert writer.dropped_content == 102
    records, contents = _everything(tmp_path)
    assert (len(records), contents) == (written, [])
    writer.rotate_if_stale(1.0)
    assert writer.write(framed(make_record(written)))
    writer.close()


def test_stored_contents_that_are_deleted_for_space_are_no_loss(tmp_path: Path) -> None:
    """What control had stored of a deleted segment is not counted as dropped."""
    writer = SpoolWriter(tmp_path, "w0", max_bytes=40_000, segment_bytes=40_000)
    for number in range(4):
        writer.write_content(framed(make_content(number, 500)))
    reader = SpoolReader(tmp_path)
    reader.acknowledge(reader.read(3))
    for number in range(100, 250):
        writer.write(framed(make_record(number)))
    assert list_segments(tmp_path, CONTENT) == []
    assert writer.dropped_content == 1
    writer.close()


def test_deleted_folder_costs_nothing(tmp_path: Path) -> None:
    """Somebody removes the spool under a running worker: what can still be reached is written again."""
    folder = tmp_path / "spool"
    writer = SpoolWriter(folder, "w0", max_bytes=1_000_000)
    writer.write(framed(make_record(1), make_record(2)))
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    writer.write(framed(make_record(3)))
    writer.rotate_if_stale(1.0)
    writer.write(framed(make_record(4)))
    writer.close()
    assert sorted(_ids(_everything(folder)[0])) == [f"record-{number:08d}" for number in (1, 2, 3, 4)]
    assert writer.dropped == 0


def test_folder_that_cannot_be_made_is_counted_and_tried_again(tmp_path: Path) -> None:
    """A file stands where the folder should be: every record is counted, and the next one after the repair arrives."""
    folder = tmp_path / "spool"
    folder.write_text("in the way")
    writer = SpoolWriter(folder, "w0", max_bytes=1_000_000)
    assert not writer.write(framed(make_record(1), make_record(2)))
    assert not writer.write_content(framed(make_content(1)))
    assert (writer.dropped, writer.dropped_content) == (2, 1)
    writer.sync()
    folder.unlink()
    assert writer.write(framed(make_record(3)))
    assert _ids(_everything(folder)[0]) == ["record-00000003"]
    writer.close()


def test_sync_runs_beside_writing(tmp_path: Path) -> None:
    """A thread that waits for the disk disturbs no write, whatever is rotated meanwhile."""
    writer = SpoolWriter(tmp_path, "w0", max_bytes=10**9, segment_bytes=5000)
    done = threading.Event()

    def sync_until_done() -> None:
        while not done.is_set():
            writer.sync()

    thread = threading.Thread(target=sync_until_done)
    thread.start()
    try:
        written = [writer.write(framed(make_record(number))) for number in range(1000)]
    finally:
        done.set()
        thread.join()
    writer.close()
    assert all(written)
    assert writer.sync_failures == 0
    assert len(_everything(tmp_path)[0]) == 1000


def test_without_sync_descriptors_stay_few(tmp_path: Path) -> None:
    """A disk that confirms nothing does not use up the descriptors of the worker."""
    writer = SpoolWriter(tmp_path, "w0", max_bytes=10**9, segment_bytes=300)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(200):
        writer.write(framed(make_record(number)))
    assert len(list_segments(tmp_path, RECORDS)) == 200
    assert len(list(Path("/proc/self/fd").iterdir())) - before < 80
    assert writer.sync_failures > 0
    writer.close()


def test_no_descriptors_left_is_counted_and_heals(tmp_path: Path) -> None:
    """Out of descriptors, records are counted as lost; once there are some again, they arrive."""
    writer = SpoolWriter(tmp_path, "w0", max_bytes=10**9)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        assert not writer.write(framed(make_record(1)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert writer.write(framed(make_record(2)))
    assert writer.dropped == 1
    writer.close()


def test_names_are_unique_over_restarts(tmp_path: Path) -> None:
    """Two writers of the same name and process never share a segment, nor does a restarted one take up an old one."""
    writers = [SpoolWriter(tmp_path, "w0", max_bytes=10**9) for _ in range(20)]
    for number, writer in enumerate(writers):
        writer.write(framed(make_record(number)))
        writer.write_content(framed(make_content(number)))
    assert len(list_segments(tmp_path, RECORDS)) == len(list_segments(tmp_path, CONTENT)) == 20
    for writer in writers:
        writer.close()


def test_workers_do_not_load_what_only_control_needs() -> None:
    """The spool's writing side brings no heavy library into a worker."""
    script = "import sys, flumegate.spool.append; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "flumegate" in loaded
    assert not loaded & {"pydantic", "ruamel", "sqlalchemy", "sqlite3", "rich", "cyclopts", "asyncio"}


def test_signals_do_not_disturb_a_write(tmp_path: Path) -> None:
    """A signal in the middle of many writes loses and doubles nothing."""
    with _python(_WRITE_FOR_EVER, str(tmp_path), "w0", "0", "3000") as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(20):
            process.send_signal(signal.SIGSTOP)
            process.send_signal(signal.SIGCONT)
        process.communicate()
    ids = _ids(_everything(tmp_path)[0])
    assert process.returncode == 0
    assert ids == [f"record-{number:08d}" for number in range(len(ids))]
    assert len(ids) >= 3000
