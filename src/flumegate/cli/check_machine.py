"""What `flumegate doctor` finds out about the machine: files and their modes, disk, memory, descriptors, ports."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from flumegate.cli.checkup import Check, failed, ok, skipped, warning
from flumegate.config.address import read_listen
from flumegate.config.load import Loaded
from flumegate.engine.memory import available_bytes

_PRIVATE = ("pepper", "client.key", "admin.token", "master.key", "console.url", "state.sealed", "flumegate.db")
_LEAST_DISK = 1 << 30
_LEAST_MEMORY = 256 << 20
_PER_CONNECTION = 2
"""Descriptors: the client's and the provider's."""


def check_machine(loaded: Loaded, *, running: bool) -> Iterator[Check]:
    """Yield what is found; `running`: a gateway has this folder, and so the ports."""
    config = loaded.config
    folder = config.server.data_dir
    yield _check_folder(folder)
    yield _check_files(folder)
    yield _check_disk(folder)
    yield _check_descriptors(config.server.workers, config.server.max_connections)
    yield _check_memory(config.server.workers)
    yield _check_processors(config.server.workers)
    yield _check_port("client port", "server.listen", config.server.listen, running=running)
    yield _check_port("console port", "console.listen", config.console.listen, running=running)


def _check_folder(folder: Path) -> Check:
    name = "data folder"
    if not folder.is_dir():
        return warning(name, f"{folder} is not there", "the first start makes it; or name another with --data-dir")
    facts = folder.stat()
    if facts.st_uid not in {os.geteuid(), 0}:
        return failed(name, f"{folder} belongs to user {facts.st_uid}", "run the gateway as that user, or chown it")
    if not os.access(folder, os.W_OK):
        return failed(name, f"{folder} cannot be written", "give this user write permission, or name another folder")
    return ok(name, str(folder.resolve()))


def _check_files(folder: Path) -> Check:
    name = "private files"
    open_ones = [
        each for each in _PRIVATE if (folder / each).exists() and stat.S_IMODE((folder / each).stat().st_mode) & 0o077
    ]
    if open_ones:
        paths = " ".join(str(folder / each) for each in open_ones)
        return failed(name, f"others can read {', '.join(open_ones)}", f"chmod 600 {paths}")
    return ok(name, "nobody else can read them")


def _check_disk(folder: Path) -> Check:
    name = "disk space"
    place = folder if folder.exists() else Path()
    free = shutil.disk_usage(place).free
    found = f"{free >> 20:,} MiB free at {place.resolve()}"
    if free < _LEAST_DISK:
        return warning(name, found, "free some: records wait in the spool, then contents are dropped, when it is full")
    return ok(name, found)


def _check_descriptors(workers: int, connections: int) -> Check:
    name = "file descriptors"
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections * _PER_CONNECTION + 100
    found = f"{soft:,} for each process, {workers} workers of up to {connections:,} connections"
    if soft < wanted:
        return warning(name, found, f"raise the limit to {wanted:,} (ulimit -n), or lower server.max_connections")
    return ok(name, found)


def _check_memory(workers: int) -> Check:
    name = "memory"
    each = available_bytes() // workers
    found = f"{each >> 20:,} MiB for each of {workers} workers"
    if each < _LEAST_MEMORY:
        return warning(name, found, "give the machine or the container more, or have fewer server.workers")
    return ok(name, found)


def _check_processors(workers: int) -> Check:
    name = "processors"
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = f"{count} for {workers} workers"
    if workers > count:
        return warning(name, found, f"server.workers: {count} serves as much with less memory")
    return ok(name, found)


def _check_port(name: str, setting: str, address: str, *, running: bool) -> Check:
    listen = read_listen(address)
    if listen.port == 0:
        return ok(name, "any free one")
    if running:
        return skipped(name, f"{address}: the running gateway has it")
    try:
        with socket.socket(socket.AF_INET6 if ":" in listen.host else socket.AF_INET) as end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            end.bind((listen.host, listen.port))
    except OSError as problem:
        return failed(name, f"{address}: {problem.strerror}", f"stop what has it, or set {setting} to another")
    return ok(name, f"{address} is free")
