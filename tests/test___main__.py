from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rig.gateway import plain_environ

COMMAND = [sys.executable, "-P", "-m", "flumegate"]
CLOSED = "import os, sys; [os.close(int(number)) for number in sys.argv[1]]; os.execv(sys.argv[2], sys.argv[2:])"


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--version",)])
def test_help_and_version_load_no_library(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """They stay quick because they import nothing but the standard library."""
    code = (
        f"import sys; sys.argv[1:] = {list(arguments)!r}; from flumegate.__main__ import main; main(); "
        "sys.exit(bool({'cyclopts', 'rich', 'pydantic', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", ["--help", "--version", "config schema", "config show", "serve --help"])
def test_output_that_cannot_be_written_is_said_in_a_line(tmp_path: Path, line: str) -> None:
    """A full disk behind stdout is an error with its reason, not a traceback."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, *line.split()],
            cwd=tmp_path,
            env=plain_environ(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "flumegate: cannot write: No space left on device\n"


@pytest.mark.parametrize("line", ["--help", "config schema"])
def test_a_reader_that_leaves_is_no_error(tmp_path: Path, line: str) -> None:
    """`flumegate … | head -1` ends quietly."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as nobody:
        done = subprocess.run(
            [*COMMAND, *line.split()],
            cwd=tmp_path,
            env=plain_environ(),
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("line", ["--help", "--version", "config show", "config check"])
def test_closed_streams_are_no_error(tmp_path: Path, line: str) -> None:
    """Started with nothing to read from or to write to, a command does its work and says nothing."""
    command = [sys.executable, "-c", CLOSED, "012", *COMMAND, *line.split()]
    assert subprocess.run(command, cwd=tmp_path, env=plain_environ(), timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("closed", ["0", "012"])
def test_a_gateway_without_standard_streams_keeps_them_apart_from_its_own_files(tmp_path: Path, closed: str) -> None:
    """A closed stream's number never goes to a socket or to the shelf, into which the log would then be written."""
    settings = "server: {listen: '127.0.0.1:0'}\nauth: {mode: open}\n"
    (tmp_path / "flumegate.yaml").write_text(settings)
    process = subprocess.Popen(
        [sys.executable, "-c", CLOSED, closed, *COMMAND, "serve"],
        cwd=tmp_path,
        env=plain_environ(),
        stdout=subprocess.PIPE,
    )
    with process:
        try:
            # Made once the gateway answers.
            while not (tmp_path / "data" / "flumegate.db").exists():
                assert process.poll() is None
                time.sleep(0.02)
            streams = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in closed]
            assert streams == [os.devnull] * len(closed)
        finally:
            process.terminate()
            assert process.wait(30) == 0
