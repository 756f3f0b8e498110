"""Where a worker leaves its records: its own segments, one write for all records of a loop turn.

Nothing here raises and nothing waits: what cannot be written is counted and given up, because a full disk must not
stop traffic. A segment always ends with a whole frame. The folder has a hard cap over all its writers; past it the
oldest finished contents go first, then new contents, then new records. Every loss is counted, one by one.
Each worker has one writer, used by its loop's thread; only `sync` may run in another.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from flumegate.spool.segments import (
    CONTENT,
    RECORDS,
    count_frames,
    frame,
    is_finished,
    list_segments,
    load_positions,
    split,
)

__all__ = ["SpoolWriter", "frame"]

STALE_SECONDS = 5.0
"""After this long a segment is finished, so that what is stored can be deleted, also when little happens."""
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_TRIES = 3
"""As it is, with what the reason asks for, and once more."""
_MOST_RETIRED = 64
"""A disk that confirms nothing must not cost a worker all its descriptors."""


class _Lane:
    """The open segment of one kind, and what could not be written to it."""

    __slots__ = ("descriptor", "dropped", "opened_at", "path", "size", "stuck", "suffix")

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix
        self.descriptor = -1
        self.path = ""
        self.size = 0
        self.opened_at: float | None = None
        self.dropped = 0
        self.stuck = False
        """Nothing was left to delete; not looked for again before the next second."""


class SpoolWriter:
    """Appends frames to segments of its own in a folder that it shares with other writers.

    Attributes:
        bytes: size of all segments in the folder, as far as known: counted at least once a second, plus own writes.
        sync_failures: how often the disk refused to confirm what had been written.
    """

    def __init__(self, folder: Path, name: str, *, max_bytes: int, segment_bytes: int = 16 * 1024 * 1024) -> None:
        """Name the folder (made when needed) and the worker; sizes are bytes. Nothing is opened yet."""
        self._folder = folder
        self._name = name
        self.max_bytes = max_bytes
        self._segment_bytes = max(1, min(segment_bytes, max_bytes // 8))
        self._number = 0
        self._records = _Lane(RECORDS)
        self._contents = _Lane(CONTENT)
        self._retired: dict[str, int] = {}
        """Finished segments that are not yet known to be on the disk: path → descriptor."""
        self._retiring = threading.Lock()
        self._unnamed_on_disk = False
        self.sync_failures = 0
        self.bytes = 0
        self._count_bytes()

    @property
    def dropped(self) -> int:
        """Records that could not be written."""
        return self._records.dropped

    @property
    def dropped_content(self) -> int:
        """Contents that could not be written, and contents that were deleted before they were stored."""
        return self._contents.dropped

    def write(self, frames: list[bytes]) -> bool:
        """Append records, each made by `frame`; return False if any of them was lost (and counted)."""
        return self._append(self._records, frames)

    def write_content(self, frames: list[bytes]) -> bool:
        """Append contents, each made by `frame`; return False if any of them was lost (and counted)."""
        return self._append(self._contents, frames)

    def sync(self) -> None:
        """Wait until all that was written so far is on the disk. May run in a thread beside everything else."""
        with self._retiring:
            retired, self._retired = self._retired, {}
            descriptors = list(retired.values())
            # Duplicates, because the loop may finish these segments, and close nothing that is in use here.
            descriptors += [os.dup(lane.descriptor) for lane in (self._records, self._contents) if lane.descriptor >= 0]
            name_is_new, self._unnamed_on_disk = self._unnamed_on_disk, False
        for descriptor in descriptors:
            try:
                os.fdatasync(descriptor)
            except OSError:
                self.sync_failures += 1
            finally:
                os.close(descriptor)
        if name_is_new:
            self._sync_folder()

    def rotate_if_stale(self, now: float) -> None:
        """Finish segments that have been open for long, and count the folder again; to be called once a second.

        Args:
            now: seconds of any clock that never goes back.
        """
        for lane in (self._records, self._contents):
            lane.stuck = False
            if lane.descriptor < 0:
                continue
            if _is_deleted(lane.descriptor):
                self._rescue(lane)
            elif lane.opened_at is None:
                lane.opened_at = now
            elif now - lane.opened_at >= STALE_SECONDS:
                self._retire(lane)
        self._count_bytes()

    def close(self) -> None:
        """Finish all segments and wait until they are on the disk."""
        self._retire(self._records)
        self._retire(self._contents)
        self.sync()

    def _append(self, lane: _Lane, frames: list[bytes]) -> bool:
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        size = len(data)
        if self.bytes + size > self.max_bytes and not self._make_room(lane, size):
            lane.dropped += len(frames)
            return False
        if lane.descriptor < 0 or (lane.size and lane.size + size > self._segment_bytes):
            self._replace(lane)
        written = 0
        with suppress(OSError):
            written = os.write(lane.descriptor, data)
        if written == size:
            lane.size += size
            self.bytes += size
            return True
        return self._salvage(lane, frames, written)

    def _salvage(self, lane: _Lane, frames: list[bytes], written: int) -> bool:
        """Write what a failed write left over, in a new segment or with space made for it, or count it as lost."""
        for _ in range(_TRIES):
            # The rest is tried before it is taken back: a short write does not say why it was short.
            written, reason = _write_rest(lane.descriptor, b"".join(frames), written)
            frames = self._keep_whole(lane, frames, written)
            if not frames:
                return True
            written = 0
            if reason in _NO_SPACE:
                if lane.stuck or not self._free_content(lane):
                    lane.stuck = True
                    break
            elif reason == errno.EFBIG and not lane.size:
                break  # too large for any segment that this process may write
            else:
                self._replace(lane)
        lane.dropped += len(frames)
        return False

    def _keep_whole(self, lane: _Lane, frames: list[bytes], written: int) -> list[bytes]:
        """Cut the segment behind the last whole frame of a short write; return the frames that are not in it."""
        kept = total = 0
        while kept < len(frames) and total + len(frames[kept]) <= written:
            total += len(frames[kept])
            kept += 1
        lane.size += total
        self.bytes += total
        if written > total:
            try:
                os.ftruncate(lane.descriptor, lane.size)
            except OSError:
                # The torn frame stays; a reader takes it for damage once the segment is finished.
                self._retire(lane)
        return frames[kept:]

    def _replace(self, lane: _Lane) -> None:
        """Finish the open segment and open another; without one, the next write fails and tries again."""
        self._retire(lane)
        with suppress(OSError):
            self._open(lane)
            self._count_bytes()

    def _open(self, lane: _Lane) -> None:
        with suppress(FileExistsError):
            self._folder.mkdir(mode=0o700, parents=True)
        while True:
            name = f"{time.time_ns() // 1_000_000:013d}-{self._name}-{os.getpid()}-{self._number:06d}{lane.suffix}"
            self._number += 1
            path, draft = self._folder / name, self._folder / f".{name}"
            if not path.exists():
                break
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            # Locked before it has a name that readers look for: none can take it for finished.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.rename(path)
        except OSError:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
            raise
        with self._retiring:
            lane.descriptor, lane.path, lane.size, lane.opened_at = descriptor, str(path), 0, None
            self._unnamed_on_disk = True

    def _retire(self, lane: _Lane) -> None:
        if lane.descriptor < 0:
            return
        with self._retiring:
            # Unlocked by hand: a duplicate that `sync` works on would keep the lock alive.
            with suppress(OSError):
                fcntl.flock(lane.descriptor, fcntl.LOCK_UN)
            self._retired[lane.path] = lane.descriptor
            lane.descriptor, lane.size = -1, 0
            if len(self._retired) > _MOST_RETIRED:
                os.close(self._retired.pop(next(iter(self._retired))))
                self.sync_failures += 1

    def _rescue(self, lane: _Lane) -> None:
        """Write the records of a segment that somebody deleted to a new one, as long as they can still be read."""
        frames: list[bytes] = []
        with suppress(OSError):
            frames = split(os.pread(lane.descriptor, lane.size, 0))
        self._retire(lane)
        self._count_bytes()
        if frames:
            self._append(lane, frames)

    def _make_room(self, lane: _Lane, size: int) -> bool:
        if lane.stuck:
            return False
        self._count_bytes()
        while self.bytes + size > self.max_bytes:
            if not self._free_content(lane):
                lane.stuck = True
                return False
        return True

    def _free_content(self, lane: _Lane) -> bool:
        """Delete the oldest finished segment of contents; records may also take what is open. False: none left."""
        with suppress(OSError):
            names = list_segments(self._folder, CONTENT)
            if any(self._delete(self._folder / name) for name in names):
                return True
            if lane is self._records and self._contents.descriptor >= 0:
                path = Path(self._contents.path)
                self._retire(self._contents)
                return self._delete(path)
        return False

    def _delete(self, path: Path) -> bool:
        """Delete a segment of contents if it is finished, and count those that were not stored yet."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                if not is_finished(descriptor):
                    return False
                lost = count_frames(descriptor, load_positions(self._folder).get(path.name, 0))
                size = os.fstat(descriptor).st_size
                path.unlink()
            finally:
                os.close(descriptor)
        except OSError:
            return False
        with self._retiring:
            unsynced = self._retired.pop(str(path), None)
        if unsynced is not None:
            os.close(unsynced)  # as long as it is open, the disk has its space not back
        self._contents.dropped += lost
        self.bytes -= size
        return True

    def _count_bytes(self) -> None:
        total = 0
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith((RECORDS, CONTENT)):
                    with suppress(FileNotFoundError):
                        total += entry.stat(follow_symlinks=False).st_size
            self.bytes = total

    def _sync_folder(self) -> None:
        try:
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            self.sync_failures += 1
            return
        try:
            os.fsync(descriptor)
        except OSError:
            self.sync_failures += 1
        finally:
            os.close(descriptor)


def _write_rest(descriptor: int, data: bytes, written: int) -> tuple[int, int]:
    """Return how much of the data is written in the end, and the error number that stopped it, 0 if none did."""
    try:
        while written < len(data):
            step = os.write(descriptor, data[written:])
            if not step:
                return written, errno.EIO  # no file system should do that, and no loop should depend on it
            written += step
    except OSError as error:
        return written, error.errno or errno.EIO
    return written, 0


def _is_deleted(descriptor: int) -> bool:
    try:
        return os.fstat(descriptor).st_nlink == 0
    except OSError:
        return True
