"""The shelf: the last Snapshot in memory that outlives the process that wrote it, and never on a disk in the clear.

An anonymous memory file (an unlinked temporary file where the system has none), made by the supervisor and inherited
by control, which writes it, and by workers, which read it when they start. Two slots take turns, each with a length
and a CRC-32: a writer that dies half-way leaves the other slot whole, so a reader never sees a torn value.
Standard library only.
"""

from __future__ import annotations

import os
import struct
import zlib

SLOT_BYTES = 64 * 1024 * 1024
"""Room of one slot. The file is sparse: room that was never written costs nothing."""

_HEAD = struct.Struct(">4sQQI")
_MAGIC = b"FGS1"
_ATTEMPTS = 8
"""A reader that loses the race against two successive writes looks again; the writer writes seldom."""


class ShelfFullError(ValueError):
    """The value is larger than a slot."""


def make(name: str) -> int:
    """Return the descriptor of a new, empty shelf.

    Raises:
        OSError: neither anonymous memory nor a temporary folder is to be had.
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC)
    import tempfile  # noqa: PLC0415 - heavy, and needed only where memfd is missing

    descriptor, path = tempfile.mkstemp(prefix=name)
    os.unlink(path)  # noqa: PTH108 - pathlib would double what the supervisor imports
    return descriptor


class Shelf:
    """One value, replaced as a whole."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, payload: bytes) -> None:
        """Replace the value.

        Raises:
            ShelfFullError: the value is larger than a slot; the old one stays.
            OSError: the system has no room; the old value stays.
        """
        if len(payload) + _HEAD.size > SLOT_BYTES:
            raise ShelfFullError(f"{len(payload)} bytes do not fit on the shelf, which takes {SLOT_BYTES - _HEAD.size}")
        found = self._newest()
        sequence, slot = (found[0] + 1, 1 - found[1]) if found else (1, 0)
        start = slot * SLOT_BYTES
        # Blanked first, written last: whatever moment the writer dies at, this slot then counts as empty.
        _write_all(self._descriptor, bytes(_HEAD.size), start)
        _write_all(self._descriptor, payload, start + _HEAD.size)
        _write_all(self._descriptor, _head(sequence, payload), start)

    def read(self) -> bytes | None:
        """Return the newest whole value, or None if there is none."""
        found = self._newest()
        return found[2] if found else None

    def _newest(self) -> tuple[int, int, bytes] | None:
        for _ in range(_ATTEMPTS):
            heads = [self._head(slot) for slot in (0, 1)]
            for slot in sorted((0, 1), key=lambda slot: heads[slot], reverse=True):
                payload = self._payload(slot, heads[slot])
                if payload is not None:
                    return heads[slot][0], slot, payload
            if heads == [self._head(slot) for slot in (0, 1)]:
                return None
        return None

    def _head(self, slot: int) -> tuple[int, int, int]:
        data = os.pread(self._descriptor, _HEAD.size, slot * SLOT_BYTES)
        if len(data) < _HEAD.size:
            return (0, 0, 0)
        magic, sequence, length, check = _HEAD.unpack(data)
        return (sequence, length, check) if magic == _MAGIC else (0, 0, 0)

    def _payload(self, slot: int, head: tuple[int, int, int]) -> bytes | None:
        sequence, length, check = head
        if not sequence or length + _HEAD.size > SLOT_BYTES:
            return None
        payload = _read_all(self._descriptor, length, slot * SLOT_BYTES + _HEAD.size)
        return payload if len(payload) == length and _check(sequence, payload) == check else None


def _head(sequence: int, payload: bytes) -> bytes:
    return _HEAD.pack(_MAGIC, sequence, len(payload), _check(sequence, payload))


def _check(sequence: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack(">QQ", sequence, len(payload))))


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _read_all(descriptor: int, length: int, offset: int) -> bytes:
    parts: list[bytes] = []
    while length:
        part = os.pread(descriptor, length, offset)
        if not part:
            break
        parts.append(part)
        length, offset = length - len(part), offset + len(part)
    return b"".join(parts)
