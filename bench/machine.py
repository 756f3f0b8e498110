"""What the kernel tells about processes and cores, and what the machine is: everything read from /proc.

Processor time is utime + stime of /proc/PID/stat (proc(5)): it counts what a process used, whatever else the machine
did meanwhile, so it is the figure that survives noisy neighbours.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Cores(NamedTuple):
    """Which core does what."""

    subject: int
    load: int


class CoreTimes(NamedTuple):
    """What one core has done since the machine started, in seconds."""

    working: float
    idle: float
    stolen: float


class Status(NamedTuple):
    """One line of /proc/PID/stat, as far as we need it."""

    parent: int
    cpu_seconds: float
    started_ticks: int


def choose_cores() -> Cores:
    """Return the first two cores that this process may use; the same one twice where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[1] if len(usable) > 1 else usable[0])


def read_status(pid: int) -> Status | None:
    """Return what /proc says of a process; None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold spaces and parentheses: count from its end.
    fields = text.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return Status(int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND, int(fields[19]))


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time that these processes have used so far; one that has ended counts as 0."""
    return sum(status.cpu_seconds for pid in pids if (status := read_status(pid)))


def exact_cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far, to the nanosecond; 0 if it has ended.

    The kernel's own name for that clock, as clock_getcpuclockid(3) makes it; /proc counts hundredths only.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def core_times(core: int) -> CoreTimes:
    """Return user, nice and system time of a core together, its idle time, and what the hypervisor took from it."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            fields = [int(field) / TICKS_PER_SECOND for field in line.split()[1:]]
            return CoreTimes(sum(fields[:3]), sum(fields[3:5]), fields[7])
    return CoreTimes(0.0, 0.0, 0.0)


def command_line(pid: int) -> list[str]:
    """Return a process's arguments; none if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(root: int) -> list[int]:
    """Return the process and all below it that are alive, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (status := read_status(int(entry.name))):
            children.setdefault(status.parent, []).append(int(entry.name))
    found = [root] if read_status(root) else []
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process in MB (10^6 bytes); 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS:")), 0.0)


def pin(pid: int, core: int) -> None:
    """Pin a running process with all its threads to one core; a thread started later inherits it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def yield_to_others(pid: int) -> None:
    """Give a running process with all its threads the lowest priority; a thread started later inherits it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(task.name), 19)


def run_when_idle(pid: int) -> None:
    """Let a running process with all its threads have its core only while nobody else wants it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setscheduler(int(task.name), os.SCHED_IDLE, os.sched_param(0))


def describe() -> dict[str, str]:
    """Return what a reader must know to judge the figures: processor, cores, memory, kernel."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith(("model name", "Hardware"))
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": model,
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
