from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flumegate import snapshot
from flumegate.processes import listen, shelf
from flumegate.processes.shelf import Shelf
from rig.gateway import Answer, Gateway, plain_environ

HEAVY = ("pydantic", "ruamel", "sqlalchemy", "fastapi", "rich", "cyclopts")


class Lone:
    """A worker without supervisor and control, and what a supervisor would hold."""

    def __init__(self, folder: Path, *, shelved: bytes | None) -> None:
        self.shelf = shelf.make("test")
        if shelved is not None:
            Shelf(self.shelf).write(shelved)
        (self.socket,) = listen.bind("127.0.0.1", 0, 1)
        self.lifeline, theirs = socket.socketpair()
        self.lifeline.settimeout(30)
        (folder / "spool").mkdir(exist_ok=True)
        # fmt: off
        options = [
            "--fd", str(self.socket.fileno()), "--link", str(folder / "nobody.sock"), "--snapshot-fd", str(self.shelf),
            "--spool", str(folder / "spool"), "--name", "w0", "--lifeline", str(theirs.fileno()),
        ]
        # fmt: on
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flumegate.processes.worker", *options],
            env=plain_environ(),
            pass_fds=[self.socket.fileno(), self.shelf, theirs.fileno()],
            stderr=subprocess.PIPE,
        )
        theirs.close()
        self.gateway = Gateway(folder, self.process, data_dir=folder, config=folder)
        self.gateway.port = self.socket.getsockname()[1]
        assert self.process.stderr
        self.gateway.output.collect(self.process.stderr)

    def wait_up(self) -> None:
        while b"+" not in self.lifeline.recv(4096):
            pass

    def request(self, path: str) -> Answer:
        return self.gateway.request("GET", path)

    def end(self) -> None:
        self.process.kill()
        self.process.wait(30)
        self.socket.close()
        self.lifeline.close()
        os.close(self.shelf)


EMPTY = snapshot.Snapshot(version=5, providers={}, auth_open=True)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Lone]:
    made = Lone(tmp_path, shelved=snapshot.encode(EMPTY))
    try:
        made.wait_up()
        yield made
    finally:
        made.end()


def test_a_worker_serves_from_the_shelf_while_control_is_away(worker: Lone) -> None:
    """Nothing but the inherited descriptors is needed."""
    assert worker.request("/health").json()["snapshot"] == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_ends_it_with_0(worker: Lone, number: signal.Signals) -> None:
    """Orderly, by either signal."""
    worker.process.send_signal(number)
    assert worker.process.wait(30) == 0


def test_the_end_of_the_lifeline_is_the_end(worker: Lone) -> None:
    """A worker whose supervisor is dead says so and goes."""
    worker.lifeline.close()
    assert worker.process.wait(30) == 0
    assert "supervisor_gone" in worker.gateway.logs()


def test_signs_of_life_come_each_second(worker: Lone) -> None:
    """Also while nothing is asked of it."""
    assert worker.lifeline.recv(1) == b"."
    assert worker.lifeline.recv(1) == b"."


def test_a_worker_loads_none_of_the_heavy_libraries(worker: Lone) -> None:
    """Small and quick to start: what control needs stays in control."""
    assert worker.request("/health").status == 200
    mapped = Path(f"/proc/{worker.process.pid}/maps").read_text()
    assert not any(f"/{name}" in mapped for name in HEAVY)
    code = (
        "import sys, flumegate.processes.worker; "
        f"sys.exit(' '.join({set(HEAVY)!r} & {{name.split('.')[0] for name in sys.modules}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_without_any_snapshot_it_waits_and_can_still_be_stopped(tmp_path: Path) -> None:
    """It accepts nothing before it knows what to do, and a stop is not a reason to wait for control."""
    lone = Lone(tmp_path, shelved=None)
    try:
        assert lone.lifeline.recv(1) == b"."
        assert lone.lifeline.recv(1) == b"."
        lone.process.send_signal(signal.SIGTERM)
        assert lone.process.wait(30) == 0
        assert "serving" not in lone.gateway.logs()
    finally:
        lone.end()


def test_a_shelf_that_cannot_be_read_is_refused_and_said(tmp_path: Path) -> None:
    """The worker then waits for control, whose Snapshot it can read."""
    lone = Lone(tmp_path, shelved=b"not a snapshot")
    try:
        lone.gateway.output.wait_for("snapshot_refused")
        lone.process.send_signal(signal.SIGTERM)
        assert lone.process.wait(30) == 0
    finally:
        lone.end()
