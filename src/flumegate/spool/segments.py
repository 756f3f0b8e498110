"""What a spool looks like on disk; the only thing that its writers and its reader share.

A segment is a file of frames: magic, length, length inverted, CRC-32 of the payload, payload. Its writer holds an
exclusive lock on it from before it gets its name until it is finished; the kernel lets go of the lock when the writer
dies. So a segment that nobody locks never changes again. Records and contents have segments of their own, so that
contents can be dropped first. Names begin with the time, so that sorting them puts the oldest first.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import msgspec

MAGIC = b"\xc1FG\x01"
"""0xC1 occurs neither in UTF-8 (RFC 3629 §3) nor as a type of msgpack, so no text in a record holds it."""
HEADER_BYTES = 16
RECORDS = ".records"
CONTENT = ".content"
POSITIONS = "positions"
"""File that holds how far each segment is stored, for a reader that restarts and for the count of lost contents."""

_HEADER = struct.Struct("<4sIII")
_pack = _HEADER.pack
_crc32 = zlib.crc32
_INVERT = 0xFFFF_FFFF


def frame(payload: bytes) -> bytes:
    """Return the payload as it stands in a segment: 16 bytes of header, then itself."""
    length = len(payload)
    return _pack(MAGIC, length, length ^ _INVERT, _crc32(payload)) + payload


def payload_length(header: bytes) -> int | None:
    """Return the length that a header names, or None if these are not 16 bytes of a sound header."""
    if len(header) != HEADER_BYTES:
        return None
    magic, length, inverted, _ = _HEADER.unpack(header)
    return int(length) if magic == MAGIC and length ^ inverted == _INVERT else None


def checksum_matches(header: bytes, payload: bytes) -> bool:
    """Tell whether a payload is the one that its sound header was written for."""
    return _HEADER.unpack(header)[3] == _crc32(payload)  # type: ignore[no-any-return] # struct yields Any


def split(data: bytes) -> list[bytes]:
    """Return the frames, headers included, at the start of the data, up to the first that is not whole."""
    frames = []
    offset = 0
    while (length := payload_length(data[offset : offset + HEADER_BYTES])) is not None:
        end = offset + HEADER_BYTES + length
        if end > len(data):
            break
        frames.append(data[offset:end])
        offset = end
    return frames


def count_frames(descriptor: int, offset: int) -> int:
    """Return how many frames a segment holds from an offset on, by their headers alone.

    Raises:
        OSError: the segment cannot be read.
    """
    end = os.fstat(descriptor).st_size
    count = 0
    while (length := payload_length(os.pread(descriptor, HEADER_BYTES, offset))) is not None:
        offset += HEADER_BYTES + length
        if offset > end:
            break
        count += 1
    return count


def list_segments(folder: Path, suffix: str) -> list[str]:
    """Return the names of the segments of one kind, oldest first; none if there is no such folder.

    Raises:
        OSError: the folder cannot be read.
    """
    with suppress(FileNotFoundError):
        return sorted(name for name in os.listdir(folder) if name.endswith(suffix) and name[0] != ".")  # noqa: PTH208 - names are what is wanted, ten times a second
    return []


def is_finished(descriptor: int) -> bool:
    """Tell whether the segment behind this descriptor has lost its writer, so that it never changes again."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def load_positions(folder: Path) -> dict[str, int]:
    """Return how far each segment is stored, in bytes; empty if that was not noted or cannot be read."""
    try:
        data = (folder / POSITIONS).read_bytes()
        header, payload = data[:HEADER_BYTES], data[HEADER_BYTES:]
        if payload_length(header) == len(payload) and checksum_matches(header, payload):
            return msgspec.msgpack.decode(payload, type=dict[str, int])
    except (OSError, msgspec.DecodeError):
        pass
    return {}


def save_positions(folder: Path, positions: dict[str, int]) -> None:
    """Note how far each segment is stored.

    Raises:
        OSError: the note cannot be written; the one before it still stands.
    """
    draft = folder / f".{POSITIONS}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        data = frame(msgspec.msgpack.encode(positions))
        if os.write(descriptor, data) == len(data):
            draft.replace(folder / POSITIONS)
    finally:
        os.close(descriptor)
