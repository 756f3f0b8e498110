"""How much memory a process has and may have."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from flumegate.engine import memory

MEMINFO = "MemTotal:        8000 kB\nMemFree:         1000 kB\n"
TWO = "0::/user/worker\n"
ONE = "9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/\n"


def kernel(folder: Path, **files: str) -> Path:
    """Write what a kernel would tell; two underscores stand for a slash and one for a dot, as in `a__memory_max`."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, 0),
        ({"proc__meminfo": MEMINFO}, 8_192_000),
        ({"proc__meminfo": "MemTotal:\n"}, 0),
        ({"proc__meminfo": MEMINFO, "proc__self__cgroup": TWO}, 8_192_000),
        ({"proc__meminfo": MEMINFO, "proc__self__cgroup": TWO, "sys__fs__cgroup__memory_max": "max\n"}, 8_192_000),
        ({"proc__self__cgroup": TWO, "sys__fs__cgroup__user__worker__memory_max": "5000\n"}, 5000),
        (
            {
                "proc__self__cgroup": TWO,
                "sys__fs__cgroup__user__worker__memory_max": "5000\n",
                "sys__fs__cgroup__user__memory_max": "4000\n",
            },
            4000,
        ),
    ],
)
def test_the_tightest_limit_counts(tmp_path: Path, files: dict[str, str], limit: int) -> None:
    """The machine's memory, the own group's limit, or that of a group around it."""
    assert memory.available_bytes(kernel(tmp_path, **files)) == limit


@pytest.mark.parametrize("group", ["", "docker/abc"])
def test_the_older_kind_of_groups_is_read_as_well(tmp_path: Path, group: str) -> None:
    """Inside of a container its group is often mounted as if it were the outermost."""
    path = kernel(tmp_path, proc__self__cgroup=ONE) / "sys/fs/cgroup/memory" / group
    path.mkdir(parents=True)
    (path / "memory.limit_in_bytes").write_text("6000\n")
    assert memory.available_bytes(tmp_path) == 6000


@pytest.mark.parametrize(
    ("kib", "workers", "share"),
    [(1 << 20, 1, (1024 - 192) << 20), (1 << 20, 4, (1024 - 192) << 18), (256 << 10, 2, 64 << 20), (0, 3, 0)],
)
def test_workers_share_what_the_other_processes_leave(tmp_path: Path, kib: int, workers: int, share: int) -> None:
    """Supervisor and control live in the same container; in a small one they get no more than half."""
    assert memory.share_of(workers, kernel(tmp_path, proc__meminfo=f"MemTotal: {kib} kB\n")) == share


def test_memory_in_use_is_seen(tmp_path: Path) -> None:
    """What was written to counts; where the kernel does not tell, nothing does."""
    before = memory.resident_bytes()
    with mmap.mmap(-1, 64 << 20) as block:
        block.write(b"x" * len(block))
        assert memory.resident_bytes() - before > 32 << 20
    assert memory.resident_bytes(tmp_path) == 0


def test_what_is_free_is_given_back() -> None:
    """Hundreds of freed blocks do not count as used for ever."""
    blocks = [bytes(100_000) for _ in range(1000)]
    used = memory.resident_bytes()
    del blocks
    memory.give_back()
    assert memory.resident_bytes() < used
