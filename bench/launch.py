"""Starting processes and ending them again, whatever happens in between: an error, Ctrl-C or SIGTERM.

Every process is ended by its own id, with everything that descends from it. The descendants are noted with their start
times before the first signal, so that a process id that the kernel gave to somebody else meanwhile is left alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from bench import machine
from bench.problem import BenchError

ROOT = Path(__file__).resolve().parent.parent
END_SECONDS = 8.0
"""How long a process may take to end by itself; the gateway flushes its last records in that time."""
LOG_TAIL_CHARACTERS = 1500


class Launched:
    """A running program: its root process, and where its output goes."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, log: Path) -> None:
        self.process = process
        self.name = name
        self.log = log

    @property
    def pid(self) -> int:
        """The root process."""
        return self.process.pid

    def find(self, part: str) -> int:
        """Return the process below the root (or itself) with this text in its command line.

        Raises:
            BenchError: there is none.
        """
        for pid in machine.descendants(self.pid):
            if any(part in argument for argument in machine.command_line(pid)):
                return pid
        raise BenchError(f"{self.name} has no process with {part!r} in its command line\n{self.last_output()}")

    def last_output(self) -> str:
        """Return the end of what it printed."""
        return self.log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:] if self.log.exists() else ""

    def await_true(self, happened: Callable[[], bool], *, within_seconds: float, what: str) -> None:
        """Wait until the condition holds.

        Raises:
            BenchError: the program ended, or the time is over.
        """
        deadline = time.monotonic() + within_seconds
        while not happened():
            if self.process.poll() is not None:
                raise BenchError(f"{self.name} ended ({self.process.returncode}) before {what}\n{self.last_output()}")
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name}: no {what} within {within_seconds:.0f} s\n{self.last_output()}")
            time.sleep(0.01)


@contextlib.contextmanager
def launched(
    arguments: Sequence[str | Path],
    *,
    name: str,
    folder: Path,
    core: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Launched]:
    """Run a program for the length of the block, pinned to a core, its output in `folder/NAME.log`.

    Raises:
        BenchError: it cannot be started.
    """
    prefix = [] if core is None else ["taskset", "-c", str(core)]
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        try:
            # A session of its own: Ctrl-C must reach this process alone, which then ends the others in order.
            process = subprocess.Popen(
                [*prefix, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, **(environ or {})},
                start_new_session=True,
            )
        except OSError as problem:
            raise BenchError(f"{name} cannot be started: {problem}") from problem
    try:
        yield Launched(process, name, log)
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that descends from it: asked first, killed if that does not help."""
    family = {pid: status for pid in machine.descendants(process.pid) if (status := machine.read_status(pid))}
    if process.poll() is None:
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)
    for pid, status in family.items():
        now = machine.read_status(pid)
        if now and now.started_ticks == status.started_ticks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def output_of(arguments: Sequence[str | Path], *, core: int, within_seconds: float) -> str:
    """Run a program to its end on a core and return what it printed.

    Raises:
        BenchError: it failed or took too long.
    """
    name = Path(arguments[0]).name
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        output, complaint = process.communicate(timeout=within_seconds)
    except subprocess.TimeoutExpired as problem:
        raise BenchError(f"{name} did not end within {within_seconds:.0f} s: is the machine overloaded?") from problem
    finally:
        end(process)
    if process.returncode:
        said = (output + complaint).decode(errors="replace").strip()[-LOG_TAIL_CHARACTERS:]
        raise BenchError(f"{name} failed ({process.returncode}): {said}")
    return output.decode()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as end_point:
        end_point.bind(("127.0.0.1", 0))
        port = end_point.getsockname()[1]
    return int(port)


def listens(port: int) -> bool:
    """Tell whether somebody accepts connections on this port of 127.0.0.1."""
    with socket.socket() as end_point:
        end_point.settimeout(1.0)
        return end_point.connect_ex(("127.0.0.1", port)) == 0


def end_on_signals() -> None:
    """Make SIGTERM, Ctrl-C and a closed terminal all leave through the `finally` blocks."""

    # Said for Ctrl-C too: what a shell starts in the background would ignore it.
    def leave(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
