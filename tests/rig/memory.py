"""How much memory a process of ours has and had, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Memory(NamedTuple):
    """Resident bytes of a process: now, and at most since it started."""

    now_bytes: int
    peak_bytes: int


def memory_of(pid: int) -> Memory:
    """Return the memory of a process (`/proc/PID/status`, proc(5))."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Memory(*(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")))


def forget_peak(pid: int) -> None:
    """Let a process's peak begin anew at what it has now (`/proc/PID/clear_refs`, proc(5))."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
