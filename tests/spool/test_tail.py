from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flumegate.records.request import Content, Record
from flumegate.spool.append import SpoolWriter, frame
from flumegate.spool.segments import CONTENT, HEADER_BYTES, MAGIC, RECORDS, list_segments
from flumegate.spool.tail import BATCH_BYTES, WINDOW_BYTES, Batch, Damage, SpoolReader
from rig.records import framed, make_content, make_record


def _drain(reader: SpoolReader, max_records: int = 7) -> list[Record]:
    records: list[Record] = []
    while (batch := reader.read(max_records)).positions:
        records += batch.records
        reader.acknowledge(batch)
    return records


def _numbers(records: list[Record]) -> list[int]:
    return [int(record.id[-8:]) for record in records]


def _fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spool")


def test_nothing_is_forgotten_before_it_is_acknowledged(tmp_path: Path) -> None:
    """A batch is read again until it is acknowledged, by this reader or by the next one."""
    with_segment(tmp_path, framed(*(make_record(number) for number in range(10))))
    reader = SpoolReader(tmp_path)
    first = reader.read(4)
    assert reader.read(4) == first
    reader.acknowledge(first)
    assert _numbers(reader.read(4).records) == [4, 5, 6, 7]
    restarted = SpoolReader(tmp_path)
    assert _numbers(_drain(restarted)) == [4, 5, 6, 7, 8, 9]
    assert list_segments(tmp_path, RECORDS) == []


def with_segment(folder: Path, frames: list[bytes], suffix: str = RECORDS) -> Path:
    """Leave one finished segment that holds these frames."""
    path = folder / f"1750000000000-w0-1-000000{suffix}"
    path.write_bytes(b"".join(frames))
    return path


def test_half_a_frame_of_a_living_writer_is_waited_for(tmp_path: Path) -> None:
    """A torn tail in an open segment is no damage: it is read once it is whole."""
    writer = SpoolWriter(tmp_path, "w0", max_bytes=10**9)
    writer.write(framed(make_record(1)))
    (whole,) = framed(make_record(2))
    writer.write([whole[:20]])
    reader = SpoolReader(tmp_path)
    batch = reader.read(10)
    assert (_numbers(batch.records), batch.damage) == ([1], (0, 0))
    reader.acknowledge(batch)
    assert reader.read(10) == Batch([], [], {}, Damage())
    writer.write([whole[20:]])
    assert _numbers(_drain(reader)) == [2]
    writer.close()


def test_half_a_frame_of_a_dead_writer_is_damage(tmp_path: Path) -> None:
    """A torn tail in a finished segment is counted, and the segment goes."""
    (whole,) = framed(make_record(2))
    with_segment(tmp_path, [*framed(make_record(1)), whole[:30]])
    reader = SpoolReader(tmp_path)
    assert _numbers(_drain(reader)) == [1]
    assert (reader.damaged_regions, reader.damaged_bytes) == (1, 30)
    assert list_segments(tmp_path, RECORDS) == []


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_damage_costs_only_the_damaged_records(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Flip any bytes anywhere and cut anywhere: all untouched records are read, and nothing else."""
    sizes = data.draw(st.lists(st.integers(0, 300), min_size=1, max_size=12))
    frames = framed(*(make_record(number, tags="t" * size) for number, size in enumerate(sizes)))
    whole = b"".join(frames)
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    del damaged[data.draw(st.integers(0, len(whole))) :]
    expected, offset = [], 0
    for number, one in enumerate(frames):
        if damaged[offset : offset + len(one)] == one:
            expected.append(number)
        offset += len(one)
    folder = _fresh(tmp_path_factory)
    with_segment(folder, [bytes(damaged)])
    reader = SpoolReader(folder)
    assert _numbers(_drain(reader)) == expected
    assert list_segments(folder, RECORDS) == []
    read = sum(len(frames[number]) for number in expected)
    assert reader.damaged_bytes == len(damaged) - read
    assert (reader.damaged_regions > 0) == (len(damaged) > read)


@settings(deadline=None, max_examples=200)
@given(noise=st.lists(st.one_of(st.binary(max_size=80), st.just(MAGIC), st.just(frame(b"")), st.just(frame(b"\xc1")))))
def test_noise_is_passed_over(noise: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever a segment holds, reading ends, raises nothing, and finds the record behind it."""
    folder = _fresh(tmp_path_factory)
    with_segment(folder, [*noise, *framed(make_record(1))])
    reader = SpoolReader(folder)
    assert _numbers(_drain(reader)) == [1]
    assert reader.damaged_bytes == sum(len(piece) for piece in noise)


def test_every_single_bit_and_every_cut_is_survived(tmp_path: Path) -> None:
    """One flipped bit costs exactly one record, wherever it is; a cut costs what is behind it."""
    frames = framed(*(Record(str(number), "", 0.0, "GET", "/") for number in range(3)))
    whole = b"".join(frames)
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with_segment(tmp_path, [bytes(damaged)])
        reader = SpoolReader(tmp_path)
        assert [record.id for record in _drain(reader)] == [n for n in "012" if int(n) != bit // 8 // len(frames[0])]
        assert (reader.damaged_regions, reader.damaged_bytes) == (1, len(frames[0]))
    for cut in range(len(whole)):
        with_segment(tmp_path, [whole[:cut]])
        assert len(_drain(SpoolReader(tmp_path))) == cut // len(frames[0])


def test_a_damaged_body_cannot_pass_for_other_rows(tmp_path: Path) -> None:
    """A body that holds what looks like a frame yields no row of its own when its frame is damaged."""
    inner = framed(make_content(666))[0]
    (outer,) = framed(Content("outer", b"body " + inner, b"answer"))
    damaged = bytearray(outer)
    damaged[-1] ^= 1
    with_segment(tmp_path, [bytes(damaged), *framed(make_content(1))], CONTENT)
    batch = SpoolReader(tmp_path).read(10)
    assert [content.id for content in batch.contents] == ["record-00000001"]
    assert batch.damage.bytes == len(outer)


def test_false_headers_do_not_keep_the_reader_busy(tmp_path: Path) -> None:
    """A long stretch of headers that claim huge payloads ends the search, not the reader."""
    size = 8 * WINDOW_BYTES
    header = frame(b"x" * (size // 2))[:HEADER_BYTES]
    with_segment(tmp_path, [b"\x00" + header * (size // HEADER_BYTES)])
    reader = SpoolReader(tmp_path)
    assert _drain(reader) == []
    assert (reader.damaged_regions, reader.damaged_bytes) == (1, size + 1)
    assert list_segments(tmp_path, RECORDS) == []


def test_records_of_a_newer_release_are_read(tmp_path: Path) -> None:
    """Fields that a newer worker appends are passed over; fields that an older one did not know get their defaults."""
    newer = [*msgspec.to_builtins(make_record(1)), "a new field", {"and": ["another"]}, None]
    older = msgspec.to_builtins(make_record(2))[:20]
    with_segment(tmp_path, [frame(msgspec.msgpack.encode(row)) for row in (newer, older)])
    reader = SpoolReader(tmp_path)
    first, second = _drain(reader)
    assert first == make_record(1)
    assert (second.id, second.attempts, second.cost_micros) == ("record-00000002", (), None)
    assert reader.damaged_regions == 0


def test_frames_that_are_no_records_are_passed_over(tmp_path: Path) -> None:
    """A sound frame with a strange payload costs itself only."""
    strange = [frame(b""), frame(b"\xc1"), frame(msgspec.msgpack.encode({"id": 1})), frame(msgspec.msgpack.encode([1]))]
    with_segment(tmp_path, [*framed(make_record(1)), *strange, *framed(make_record(2))])
    reader = SpoolReader(tmp_path)
    assert _numbers(_drain(reader)) == [1, 2]
    assert (reader.damaged_regions, reader.damaged_bytes) == (4, sum(len(one) for one in strange))


def test_large_rows_cross_windows_and_bound_a_batch(tmp_path: Path) -> None:
    """Rows larger than what is read at once arrive whole, and a batch does not grow without bound."""
    dice = random.Random(7)
    contents = [make_content(number, dice.randrange(WINDOW_BYTES * 3)) for number in range(12)]
    with_segment(tmp_path, framed(*contents), CONTENT)
    reader = SpoolReader(tmp_path)
    read: list[Content] = []
    batches = 0
    while (batch := reader.read(2000)).positions:
        size = sum(len(content.request_body) + len(content.response_body) for content in batch.contents[:-1])
        assert size < BATCH_BYTES
        read += batch.contents
        batches += 1
        reader.acknowledge(batch)
    assert read == contents
    assert batches > 1


def test_oldest_segments_come_first(tmp_path: Path) -> None:
    """Records are read in the order in which their segments were begun."""
    for number, milliseconds in enumerate((1_750_000_000_003, 1_750_000_000_001, 1_750_000_000_002)):
        (tmp_path / f"{milliseconds}-w{number}-9-000000{RECORDS}").write_bytes(b"".join(framed(make_record(number))))
    assert _numbers(_drain(SpoolReader(tmp_path))) == [1, 2, 0]


def test_missing_folder_and_foreign_files_are_no_error(tmp_path: Path) -> None:
    """Before the first record, and with things in the folder that are none of ours, there is just nothing to read."""
    reader = SpoolReader(tmp_path / "nowhere")
    reader.acknowledge(reader.read(10))
    (tmp_path / "README").write_text("not ours")
    (tmp_path / "a.records").mkdir()
    reader = SpoolReader(tmp_path)
    batch = reader.read(10)
    assert (batch.records, batch.positions) == ([], {})
    assert reader.unreadable_segments == 1
    reader.acknowledge(batch)
    assert (tmp_path / "README").exists()


def test_segment_that_vanishes_is_passed_over(tmp_path: Path) -> None:
    """A segment that a writer deletes between reading and acknowledging does no harm."""
    path = with_segment(tmp_path, framed(make_content(1)), CONTENT)
    reader = SpoolReader(tmp_path)
    batch = reader.read(10)
    path.unlink()
    reader.acknowledge(batch)
    assert reader.read(10).positions == {}


def test_half_made_segments_of_dead_writers_are_swept(tmp_path: Path) -> None:
    """A segment that never got its name is removed at start; one that somebody still holds is not."""
    (tmp_path / f".1750000000000-w0-1-000000{RECORDS}").touch()
    writer = SpoolWriter(tmp_path, "w1", max_bytes=10**9)
    writer.write(framed(make_record(1)))
    (held,) = (path for path in tmp_path.iterdir() if path.name[0] != ".")
    hidden = held.rename(tmp_path / f".{held.name}")
    SpoolReader(tmp_path)
    assert list(tmp_path.iterdir()) == [hidden]
    writer.close()


def test_one_who_looks_ahead_takes_nothing(tmp_path: Path) -> None:
    """It reads on behind what it has seen, and the reader that takes still finds everything."""
    writer = SpoolWriter(tmp_path, "w0", max_bytes=1_000_000)
    writer.write(framed(*map(make_record, range(3))))
    writer.close()
    ahead, reader = SpoolReader(tmp_path), SpoolReader(tmp_path)
    seen = []
    while (batch := ahead.read(2)).records:
        seen += [record.id for record in batch.records]
        ahead.skip(batch)
    assert len(seen) == 3
    assert [record.id for record in reader.read(10).records] == seen
