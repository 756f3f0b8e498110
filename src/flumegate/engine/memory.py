"""How much memory this process has and may have, as the kernel tells; where it does not, there is no limit to watch."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

OTHERS_BYTES = 192 << 20
"""What supervisor and control need, who share the container with the workers."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(root: Path = Path("/")) -> int:
    """Return the memory that this process has in use; 0 where the kernel does not tell (proc(5), statm)."""
    try:
        return int((root / "proc/self/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def available_bytes(root: Path = Path("/")) -> int:
    """Return what the container or else the machine leaves to all its processes; 0 where nobody tells.

    A group of processes is bound by its own limit and by those of all groups around it (cgroups(7)): the tightest.
    """
    limits = [*_machine(root), *_groups(root)]
    return min(limits, default=0)


def share_of(workers: int, root: Path = Path("/")) -> int:
    """Return what one of so many workers may have of what is available; 0 where nobody tells."""
    available = available_bytes(root)
    return max(available - OTHERS_BYTES, available // 2) // workers


def give_back() -> None:
    """Return to the kernel what is free: the C library keeps it otherwise, and it would count as used for ever."""
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return  # another C library than glibc
    trim(0)


def _machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemTotal" and value.split()[:1]:
            yield int(value.split()[0]) * 1024


def _groups(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            yield from _limits(root / "sys/fs/cgroup", path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes")


def _limits(mount: Path, path: str, name: str) -> Iterator[int]:
    """Yield the limits of a group and of all around it; a container may see its own group as the mount itself."""
    inner = PurePosixPath(path.lstrip("/"))
    for group in (inner, *inner.parents):
        for line in _lines(mount / group / name):
            if line.isdigit():  # `max` is none
                yield int(line)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
