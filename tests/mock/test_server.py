"""The process: its one line, its signals, its exit codes."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys

import pytest

from rig.mock import run_mock

COMMAND = [sys.executable, "-m", "flumegate.mock"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_at_once(number: signal.Signals) -> None:
    """Exit code 0, even while a stream hangs, and exactly one line on stdout."""
    with subprocess.Popen(
        [*COMMAND, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        port = int(line.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as end:
            end.sendall(b"GET /v1/download?bytes=9 HTTP/1.1\r\nhost: m\r\nx-mock-hang: 0\r\n\r\n")
            assert end.recv(4096)
            process.send_signal(number)
            rest, said = process.communicate(timeout=30)
    assert line == f"mock listening on http://127.0.0.1:{port}\n"
    assert (process.returncode, rest) == (0, b"")
    assert b"/mock/ledger" in said


def test_inherited_socket() -> None:
    """`--fd` serves on a socket that somebody else has bound, and does not tell them where that is."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        number = listening.fileno()
        with subprocess.Popen(
            [*COMMAND, "--fd", str(number), "--quiet"], stdout=subprocess.PIPE, pass_fds=(number,)
        ) as process:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request("GET", "/health")
                assert connection.getresponse().read() == b'{"status":"ok"}'
                connection.close()
            finally:
                process.terminate()
            assert process.communicate(timeout=30)[0] == b""


def test_a_reader_of_the_ready_line_that_leaves_does_not_end_it() -> None:
    """`flumegate mock | head -1` serves on."""
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen([*COMMAND, "--listen", "127.0.0.1:0"], stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        assert process.stderr is not None
        # Follows on the line that nobody could take.
        assert b"/mock/ledger" in process.stderr.readline()
        process.terminate()
        assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == 0


def test_remote_addresses_need_a_word() -> None:
    """Exit code 2 and what to do instead."""
    done = subprocess.run([*COMMAND, "--listen", "0.0.0.0:0"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--allow-remote" in done.stderr
    assert done.stdout == ""


def test_taken_address_is_told() -> None:
    """Exit code 1 and what to do instead."""
    with run_mock() as running:
        done = subprocess.run(
            [*COMMAND, "--listen", f"127.0.0.1:{running.port}"], capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    assert "port 0" in done.stderr


def test_it_loads_nothing_of_the_gateway() -> None:
    """The mock proves something only if it shares no code with what it is to prove."""
    script = (
        "import sys, flumegate.mock.server\n"
        "print(*sorted(name for name in sys.modules if name.startswith('flumegate.')"
        " and not name.startswith('flumegate.mock')), *(name for name in ('pydantic', 'rich') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""
