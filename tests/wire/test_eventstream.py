"""AWS event streams: frames, their checksums, and what damage does."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.wire.eventstream import MAX_FRAME_BYTES, Frame, Reader, write
from rig import cuts

FRAMES = st.lists(
    st.builds(
        Frame, st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=9), max_size=3), st.binary(max_size=30)
    ),
    max_size=4,
)


def raw(headers: bytes, payload: bytes = b"") -> bytes:
    """Return a sound frame around a block of headers that may be none."""
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    frame = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + payload
    return frame + struct.pack(">I", zlib.crc32(frame))


@cuts.short_law
@given(FRAMES, cuts.POSITIONS)
def test_what_is_written_is_read_however_it_is_cut(frames: list[Frame], positions: list[int]) -> None:
    """Frames survive the way, and no cut changes them."""
    stream = b"".join(write(*frame) for frame in frames)
    reader = Reader()
    assert [frame for piece in cuts.at(stream, positions) for frame in reader.feed(piece)] == frames
    assert reader.is_between()
    assert not reader.fault


def test_the_smallest_frame_is_the_one_of_the_specification() -> None:
    """An empty message is sixteen bytes, as the published test vector has it."""
    assert write({}, b"") == bytes.fromhex("000000100000000005c248eb7d98c8ff")


def test_headers_of_every_type_are_passed_over_but_strings() -> None:
    """Only strings are of use here, and nothing else may lose the place."""
    block = b"".join(
        (
            b"\x01a\x00",
            b"\x01b\x01",
            b"\x01c\x02\x05",
            b"\x01d\x03\x00\x05",
            b"\x01e\x04\x00\x00\x00\x05",
            b"\x01f\x05" + bytes(8),
            b"\x01g\x06\x00\x03xyz",
            b"\x01h\x07\x00\x03two",
            b"\x01i\x08" + bytes(8),
            b"\x01j\x09" + bytes(16),
        )
    )
    assert Reader().feed(raw(block, b"p")) == [Frame({"h": "two"}, b"p")]


@pytest.mark.parametrize(
    ("damaged", "told"),
    [
        (b"\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x00", "begins with a wrong checksum"),
        (write({"a": "b"}, b"x")[:-1] + b"\x00", "has a wrong checksum"),
        (raw(b"\x01a\x07\x00\x09x"), "headers that cannot be read"),
        (raw(b"\x01a\x63"), "headers that cannot be read"),
        (raw(b"\x09a"), "headers that cannot be read"),
        (raw(b"\x01a\x07\x00"), "headers that cannot be read"),
        (raw(b"\x01\xff\x00"), "headers that cannot be read"),
    ],
)
def test_damage_ends_the_reading(damaged: bytes, told: str) -> None:
    """What stood before it counts, what stands behind it does not, in one piece as byte by byte."""
    sound = write({"n": "1"}, b"{}")
    stream = sound + damaged + sound
    for pieces in ([stream], cuts.bytewise(stream)):
        reader = Reader()
        assert [frame for piece in pieces for frame in reader.feed(piece)] == [Frame({"n": "1"}, b"{}")]
        assert told in reader.fault


@pytest.mark.parametrize(("total", "headers"), [(15, 0), (20, 5), (MAX_FRAME_BYTES + 1, 0), (200_000, 131_073)])
def test_impossible_lengths_are_not_waited_for(total: int, headers: int) -> None:
    """A length that cannot be true is told at once, before anything is held for it."""
    lengths = struct.pack(">II", total, headers)
    reader = Reader()
    assert reader.feed(lengths + struct.pack(">I", zlib.crc32(lengths))) == []
    assert "impossible length" in reader.fault
    assert reader.is_between()


def test_a_begun_frame_is_known() -> None:
    """Whoever closes the stream learns that it was cut."""
    reader = Reader()
    assert reader.feed(write({}, b"whole")[:-1]) == []
    assert not reader.is_between()
