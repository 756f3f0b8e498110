from __future__ import annotations

import os
from pathlib import Path

import pytest

from flumegate.spool.append import SpoolWriter
from flumegate.spool.segments import (
    HEADER_BYTES,
    POSITIONS,
    RECORDS,
    checksum_matches,
    count_frames,
    frame,
    is_finished,
    list_segments,
    load_positions,
    payload_length,
    save_positions,
    split,
)
from rig.records import framed, make_record


@pytest.mark.parametrize("payload", [b"", b"x", b"\x00" * 1000, frame(b"frame in a frame")])
def test_frame_says_how_long_and_what_its_payload_is(payload: bytes) -> None:
    """Every payload comes back whole from its frame."""
    made = frame(payload)
    assert payload_length(made[:HEADER_BYTES]) == len(payload)
    assert checksum_matches(made[:HEADER_BYTES], made[HEADER_BYTES:])
    assert not checksum_matches(made[:HEADER_BYTES], payload + b"!")


def test_every_flipped_bit_of_a_header_shows() -> None:
    """No single damaged bit lets a frame pass for another one."""
    made = frame(b"payload")
    for bit in range(HEADER_BYTES * 8):
        damaged = bytearray(made)
        damaged[bit // 8] ^= 1 << bit % 8
        header = bytes(damaged[:HEADER_BYTES])
        assert payload_length(header) is None or not checksum_matches(header, b"payload")


def test_half_a_header_is_none() -> None:
    """A header that is cut names no length."""
    assert [payload_length(frame(b"")[:size]) for size in range(HEADER_BYTES)] == [None] * HEADER_BYTES


def test_frames_are_counted_and_split_without_the_torn_one(tmp_path: Path) -> None:
    """A torn frame at the end is neither counted nor handed out."""
    frames = [frame(b"a" * size) for size in (0, 10, 2000)]
    path = tmp_path / "segment"
    path.write_bytes(b"".join(frames) + frame(b"torn")[:-1])
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert count_frames(descriptor, 0) == 3
        assert count_frames(descriptor, len(frames[0])) == 2
    finally:
        os.close(descriptor)
    assert split(path.read_bytes()) == frames
    assert split(b"") == []


def test_a_segment_is_finished_once_its_writer_lets_go(tmp_path: Path) -> None:
    """While a writer holds a segment nobody takes it for finished; afterwards everybody does."""
    writer = SpoolWriter(tmp_path, "w0", max_bytes=1_000_000)
    writer.write(framed(make_record(1)))
    (name,) = list_segments(tmp_path, RECORDS)
    descriptor = os.open(tmp_path / name, os.O_RDONLY)
    try:
        assert not is_finished(descriptor)
        writer.close()
        assert is_finished(descriptor)
    finally:
        os.close(descriptor)


def test_no_folder_means_no_segments(tmp_path: Path) -> None:
    """Before the first record there is nothing to list, and that is no error."""
    assert list_segments(tmp_path / "nowhere", RECORDS) == []


def test_positions_survive_and_damaged_ones_count_for_nothing(tmp_path: Path) -> None:
    """A note that cannot be trusted is as good as none: everything is read again."""
    assert load_positions(tmp_path) == {}
    save_positions(tmp_path, {"a.records": 12})
    assert load_positions(tmp_path) == {"a.records": 12}
    whole = (tmp_path / POSITIONS).read_bytes()
    for damaged in (whole[:-1], b"", whole[:-1] + b"\xff", b"nonsense"):
        (tmp_path / POSITIONS).write_bytes(damaged)
        assert load_positions(tmp_path) == {}
