"""A network and a file system of a test's own: its loopback, its port 53, its name server, none of the machine's.

    with namespace(folder) as enter:
        enter(lambda: ...)   # runs in a thread whose sockets and child processes live in there

Linux gives namespaces to threads: what a thread within starts lives within, too. Where that is not permitted, the test
is skipped and says why.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

_NEW_MOUNTS = 0x0002_0000
_NEW_NETWORK = 0x4000_0000


@contextlib.contextmanager
def namespace(
    folder: Path, *, resolver: str = "nameserver 127.0.0.1\n"
) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Make one with this `/etc/resolv.conf`; yield what runs a function within and raises what that raises."""
    with ThreadPoolExecutor(1) as within:
        refused = within.submit(_unshare).result()
        if refused:
            pytest.skip(f"namespaces are not permitted here: {refused}")
        within.submit(_furnish, folder, resolver).result()
        yield lambda work: within.submit(work).result()


def _unshare() -> str:
    library = ctypes.CDLL(None, use_errno=True)
    return os.strerror(ctypes.get_errno()) if library.unshare(_NEW_MOUNTS | _NEW_NETWORK) else ""


def _furnish(folder: Path, resolver: str) -> None:
    files = {"resolv.conf": resolver, "nsswitch.conf": "hosts: files dns\n", "hosts": "127.0.0.1 localhost\n"}
    commands = [["mount", "--make-rprivate", "/"], ["ip", "link", "set", "lo", "up"]]
    for name, text in files.items():
        (folder / name).write_text(text)
        if Path("/etc", name).exists():
            commands.append(["mount", "--bind", str(folder / name), f"/etc/{name}"])
    for command in commands:
        subprocess.run(command, check=True)
