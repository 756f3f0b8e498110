"""Notices when the configuration file, or a secret file that it refers to, has changed and come to rest.

By size, time and inode, polled: that sees edits in place, replacement by rename (editors, Kubernetes secrets) and
deletion alike, on every file system. A change counts once two polls in a row see the same: a file that is still being
written is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

POLL_SECONDS = 0.5

Look = tuple[tuple[str, int, int, int], ...]


class Watch:
    """What the watched files looked like when they were last loaded, and at the last poll."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths: tuple[Path, ...] = tuple(paths)
        self._loaded = self._last = self.look()

    def look(self) -> Look:
        """Return what the files look like now."""
        return tuple(_look(path) for path in self._paths)

    def poll(self) -> bool:
        """Tell whether the files have changed since they were loaded and are at rest."""
        now, before = self.look(), self._last
        self._last = now
        return now == before and now != self._loaded

    def loaded(self, look: Look, paths: Iterable[Path] | None = None) -> None:
        """Note that the files were loaded, or refused, as they looked then; from now on watch these paths."""
        if paths is not None and tuple(paths) != self._paths:
            known = {entry[0]: entry for entry in look}
            self._paths = tuple(paths)
            look = tuple(known.get(str(path)) or _look(path) for path in self._paths)
        self._loaded = look


def _look(path: Path) -> tuple[str, int, int, int]:
    try:
        facts = path.stat()
    except OSError:
        return (str(path), 0, 0, 0)
    return (str(path), facts.st_mtime_ns, facts.st_size, facts.st_ino)
