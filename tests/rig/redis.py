"""A Redis server of the tests' own: on a free port, in memory only, and gone with whoever started it.

    with redis_server() as redis:
        redis.url; redis.freeze(); redis.thaw(); redis.flush(); redis.kill(); redis.restart()

Without the binary the test that asks for one is skipped.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START_SECONDS = 20.0


class Redis:
    """A running server."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--maxmemory-policy", "noeviction"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers."""
        with (self._folder / "redis.log").open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=subprocess.STDOUT)
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self.command("PING")
            except OSError:
                alive = self._process.poll() is None and time.monotonic() < until
                assert alive, f"redis-server did not start:\n{(self._folder / 'redis.log').read_text()}"
                time.sleep(0.01)  # it says nothing that could be waited for
            else:
                return

    def command(self, *words: str) -> bytes:
        """Return the raw answer to one command, over a connection of its own."""
        request = b"*%d\r\n" % len(words)
        request += b"".join(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words)
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_SECONDS) as end:
            end.sendall(request)
            answer = end.recv(65536)
        if not answer:
            raise ConnectionResetError
        return answer

    def flush(self) -> None:
        """Forget everything, as an operator's FLUSHALL does."""
        assert self.command("FLUSHALL") == b"+OK\r\n"

    def freeze(self) -> None:
        """Stop the process: it keeps its connections, the kernel takes new ones, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; what it knew is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """End it and start an empty one on the same port."""
        self.kill()
        self.start()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)


@contextlib.contextmanager
def redis_server() -> Iterator[Redis]:
    """Yield a running, empty server, or skip the test where there is no binary."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed (scripts/setup.sh dev installs it, as root)")
    with tempfile.TemporaryDirectory(prefix="redis-", ignore_cleanup_errors=True) as folder:
        server = Redis(binary, Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.kill()


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
