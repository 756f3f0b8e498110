from __future__ import annotations

import signal
import socket
import subprocess
import sys


def test_a_module_that_knows_nothing_of_the_supervisor_ends_with_it() -> None:
    """The end of the stream ends the process, by SIGTERM, so that the module can still tidy up."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-P", "-m", "flumegate.processes.tether", str(theirs.fileno()), "http.server"]
        process = subprocess.Popen(
            [*command, "--bind", "127.0.0.1", "0"],
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONUNBUFFERED": "1"},
        )
    with process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"Serving HTTP on 127.0.0.1")
        assert process.poll() is None
        ours.close()
        assert process.wait(30) == -signal.SIGTERM
