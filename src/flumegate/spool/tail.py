"""Where control finds the workers' records: reads all segments of the folder, oldest first, and deletes what is stored.

Nothing is gone before `acknowledge`: a batch that was read and not acknowledged is read again. A frame that is not
whole yet in a segment that still has its writer is waited for; in a finished one it is damage. Damage costs the
damaged records only: reading goes on at the next sound frame, and what was passed over is counted. Nothing here
raises because of what is in a segment.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import msgspec

from flumegate.records.request import Content, Record
from flumegate.spool.segments import (
    CONTENT,
    HEADER_BYTES,
    MAGIC,
    RECORDS,
    checksum_matches,
    is_finished,
    list_segments,
    load_positions,
    payload_length,
    save_positions,
)

WINDOW_BYTES = 1024 * 1024
BATCH_BYTES = 8 * 1024 * 1024
"""Rows of one kind in one batch; a single row may be larger."""
_SEARCH_BYTES = 256 * 1024 * 1024
"""What one search for a sound frame may check, so that false headers cannot keep it busy for hours."""

_Row = TypeVar("_Row", Record, Content)


class Position(NamedTuple):
    """How far a batch reaches into one segment."""

    offset: int
    complete: bool
    """The segment is finished, and nothing follows."""


class Damage(NamedTuple):
    """What could not be read: stretches of a segment, and how many bytes they have together."""

    regions: int = 0
    bytes: int = 0


class Batch(NamedTuple):
    """What one read yields; `acknowledge` takes it back once everything in it is stored."""

    records: list[Record]
    contents: list[Content]
    positions: dict[str, Position]
    damage: Damage
    whole: bool = True
    """It reaches to the end: nothing is left of what stood there when it began to be read."""


class SpoolReader:
    """Reads what all writers of a folder append. One thread at a time; one that takes per folder.

    Attributes:
        damaged_regions: stretches that could not be read, acknowledged so far.
        damaged_bytes: their size.
        unreadable_segments: segments that the last read could not open or read; they are tried again.
    """

    def __init__(self, folder: Path) -> None:
        """Take up where the last reader of this folder noted that it was."""
        self._folder = folder
        self._positions = load_positions(folder)
        self._decode_record = msgspec.msgpack.Decoder(Record).decode
        self._decode_content = msgspec.msgpack.Decoder(Content).decode
        self.damaged_regions = 0
        self.damaged_bytes = 0
        self.unreadable_segments = 0
        self._sweep()

    def read(self, max_records: int) -> Batch:
        """Return up to so many records, and contents of about 8 MiB; empty lists when nothing is there."""
        self.unreadable_segments = 0
        positions: dict[str, Position] = {}
        records = _Reading(self._decode_record, max_records, BATCH_BYTES)
        contents = _Reading(self._decode_content, max_records, BATCH_BYTES)
        self._read_lane(RECORDS, records, positions)
        self._read_lane(CONTENT, contents, positions)
        damage = Damage(records.regions + contents.regions, records.damaged_bytes + contents.damaged_bytes)
        whole = not records.is_full() and not contents.is_full()
        return Batch(records.rows, contents.rows, positions, damage, whole)

    def acknowledge(self, batch: Batch) -> None:
        """Take note that a batch is stored: never read it again, and delete the segments that it completes."""
        if not batch.positions:
            return
        for name, position in batch.positions.items():
            self._positions[name] = position.offset
            if position.complete:
                with suppress(OSError):
                    (self._folder / name).unlink(missing_ok=True)
                    del self._positions[name]
        self.damaged_regions += batch.damage.regions
        self.damaged_bytes += batch.damage.bytes
        # A note that cannot be written costs a second reading after a restart; the store knows what it has.
        with suppress(OSError):
            present = {*list_segments(self._folder, RECORDS), *list_segments(self._folder, CONTENT)}
            self._positions = {name: offset for name, offset in self._positions.items() if name in present}
            save_positions(self._folder, self._positions)

    def skip(self, batch: Batch) -> None:
        """Go on behind a batch without taking it: for one who only looks ahead of the reader that does."""
        for name, position in batch.positions.items():
            self._positions[name] = position.offset

    def _read_lane(self, suffix: str, reading: _Reading[_Row], positions: dict[str, Position]) -> None:
        try:
            names = list_segments(self._folder, suffix)
        except OSError:
            self.unreadable_segments += 1
            return
        for name in names:
            if reading.is_full():
                break
            start = self._positions.get(name, 0)
            try:
                position = self._read_segment(name, start, reading)
            except FileNotFoundError:
                continue  # a writer dropped it for want of space
            except OSError:
                self.unreadable_segments += 1
                continue
            if position.complete or position.offset != start:
                positions[name] = position

    def _read_segment(self, name: str, start: int, reading: _Reading[_Row]) -> Position:
        descriptor = os.open(self._folder / name, os.O_RDONLY)
        try:
            # Asked first: what a finished segment holds after that is all it will ever hold.
            finished = is_finished(descriptor)
            window = _Window(descriptor)
            try:
                reading.take(window, start, finished=finished)
            except OSError:
                self.unreadable_segments += 1
                return Position(reading.offset, complete=False)
            return Position(reading.offset, finished and reading.offset >= window.end)
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Delete segments whose writer died before they got their names; nothing was ever written to them."""
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path.name[0] == "." and path.suffix in {RECORDS, CONTENT}:
                    _unlink_finished(path)


class _Window:
    """Bytes of one segment by offset, read from the disk in large pieces. Files may shrink while they are mapped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._base = 0
        self._data = b""
        self.end = os.fstat(descriptor).st_size

    def get(self, offset: int, length: int) -> bytes:
        """Return so many bytes at the offset, fewer at the end of the segment."""
        length = min(length, self.end - offset)
        start = offset - self._base
        if start < 0 or start + length > len(self._data):
            self._data = os.pread(self._descriptor, max(length, WINDOW_BYTES), offset)
            self._base, start = offset, 0
        return self._data[start : start + length]

    def find(self, mark: bytes, offset: int) -> int:
        """Return where the mark occurs next, from the offset on, or the end of the segment."""
        while offset + len(mark) <= self.end and self.get(offset, len(mark)):
            found = self._data.find(mark, offset - self._base)
            if found >= 0:
                return self._base + found
            offset = max(offset, self._base + len(self._data) - len(mark)) + 1
        return self.end


class _Reading(Generic[_Row]):
    """Rows of one kind as they are read, within a budget, and what was passed over."""

    def __init__(self, decode: Callable[[bytes], _Row], max_rows: int, max_bytes: int) -> None:
        self._decode: Callable[[bytes], _Row] = decode
        self._rows_left = max_rows
        self._bytes_left = max_bytes
        self.offset = 0
        """Behind the last byte that is dealt with, in the segment that was taken from last."""
        self.rows: list[_Row] = []
        self.regions = 0
        self.damaged_bytes = 0

    def is_full(self) -> bool:
        """Tell whether this batch takes no more rows."""
        return self._rows_left <= 0 or self._bytes_left <= 0

    def take(self, window: _Window, start: int, *, finished: bool) -> None:
        """Read rows from the start on, and move `offset` along.

        Raises:
            OSError: the segment cannot be read any further.
        """
        self.offset = start
        while self.offset < window.end and not self.is_full():
            payload = _payload_at(window, self.offset)
            if payload is not None:
                behind = self.offset + HEADER_BYTES + len(payload)
                if not self._keep(payload):
                    self._pass_over(behind)
                self.offset = behind
            elif finished:
                self.offset = self._pass_over(_next_sound(window, self.offset))
            else:
                # Half a frame, or one that its writer is taking back: judged when the segment is finished.
                break

    def _keep(self, payload: bytes) -> bool:
        try:
            row = self._decode(payload)
        except msgspec.DecodeError:
            return False
        self.rows.append(row)
        self._rows_left -= 1
        self._bytes_left -= len(payload)
        return True

    def _pass_over(self, end: int) -> int:
        self.regions += 1
        self.damaged_bytes += end - self.offset
        return end


def _payload_at(window: _Window, offset: int) -> bytes | None:
    """Return the payload of the frame at the offset, or None if there is no sound and whole one."""
    header = window.get(offset, HEADER_BYTES)
    length = payload_length(header)
    if length is None or offset + HEADER_BYTES + length > window.end:
        return None
    payload = window.get(offset + HEADER_BYTES, length)
    return payload if len(payload) == length and checksum_matches(header, payload) else None


def _next_sound(window: _Window, offset: int) -> int:
    """Return where the first sound frame behind a damaged one begins, or the end of the segment."""
    length = payload_length(window.get(offset, HEADER_BYTES))
    if length is not None:
        # Only the payload is damaged. It is not searched: a body may hold what looks like a frame.
        behind = offset + HEADER_BYTES + length
        if behind == window.end or payload_length(window.get(min(behind, window.end), HEADER_BYTES)) is not None:
            return behind
    budget = _SEARCH_BYTES
    offset = window.find(MAGIC, offset + 1)
    while offset < window.end and budget > 0:
        length = payload_length(window.get(offset, HEADER_BYTES))
        if length is not None and offset + HEADER_BYTES + length <= window.end:
            if _payload_at(window, offset) is not None:
                return offset
            budget -= length + HEADER_BYTES
        offset = window.find(MAGIC, offset + 1)
    return window.end


def _unlink_finished(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(descriptor)
