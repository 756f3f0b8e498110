"""The whole gateway as a user runs it: the real command on a free port, in a folder and a process group of its own.

Nothing of the caller's environment reaches it but what finds the interpreter. Every process it ever started is ended
by process id, whatever the test did to it; on failure what it printed is shown.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

START_SECONDS = 30.0
STOP_SECONDS = 30.0
Settings = str | dict[str, Any] | None
SINGLE: dict[str, Any] = {"retry": {"max_retries": 0}, "breaker": {"enabled": False}}
"""`routing` of every tree of settings that has none of its own: what most tests promise is the fate of one attempt, and
another one, or a target that is left alone after failures on purpose, would hide it. Tests of routing say theirs."""


class Answer(NamedTuple):
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Output:
    """What a process prints, collected by a thread, so that a test can wait for a line without polling."""

    def __init__(self) -> None:
        self._text = ""
        self._grown = threading.Condition()
        self._open = 0

    def collect(self, stream: IO[bytes]) -> None:
        self._open += 1
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while data := os.read(stream.fileno(), 65536):
                with self._grown:
                    self._text += data.decode("utf-8", "replace")
                    self._grown.notify_all()
        with self._grown:
            self._open -= 1
            self._grown.notify_all()

    @property
    def text(self) -> str:
        with self._grown:
            return self._text

    def wait_for(self, text: str, *, count: int = 1, seconds: float = START_SECONDS) -> str:
        """Return everything printed once `text` has been printed `count` times.

        Raises:
            AssertionError: it was not, within that time or before the output ended.
        """
        with self._grown:
            self._grown.wait_for(lambda: self._text.count(text) >= count or not self._open, seconds)
            assert self._text.count(text) >= count, f"{text!r} was not printed {count} times:\n{self._text}"
            return self._text


class Gateway:
    """A running gateway."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], *, data_dir: Path, config: Path) -> None:
        self.folder = folder
        self.process = process
        self.pid = process.pid
        self.data_dir = data_dir
        self.config = config
        self.output = Output()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """The generated client key."""
        return (self.data_dir / "client.key").read_text().strip()

    @property
    def admin_token(self) -> str:
        """The generated token of the console."""
        return (self.data_dir / "admin.token").read_text().strip()

    def wait_console(self, *, count: int = 1) -> str:
        """Return the console's URL once it has been opened so many times."""
        self.output.wait_for("console_open", count=count)
        return (self.data_dir / "console.url").read_text().strip()

    def logs(self) -> str:
        """Return everything printed so far, stdout and stderr."""
        return self.output.text

    def wait_ready(self) -> None:
        text = self.output.wait_for("flumegate ready on ")
        self.port = int(text.split("flumegate ready on ")[1].split("\n")[0].rsplit(":", 1)[1])

    # Processes

    def processes(self) -> list[int]:
        """Return the ids of all live processes of this gateway: those that run in its folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if (entry / "cwd").resolve() == self.folder and (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return sorted(found)

    def pids_of(self, module: str) -> list[int]:
        found = []
        for pid in self.processes():
            with contextlib.suppress(OSError):
                if f"\0{module}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def worker_pids(self) -> list[int]:
        return self.pids_of("flumegate.processes.worker")

    def control_pid(self) -> int:
        (pid,) = self.pids_of("flumegate.processes.control")
        return pid

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Send a signal to one of our processes; wait for its end if the signal is SIGKILL."""
        gone = Gone(pid)
        os.kill(pid, number)
        if number == signal.SIGKILL:
            gone.wait()

    # Settings

    def write_config(self, settings: Settings) -> None:
        """Replace the configuration file by rename, as editors do."""
        beside = self.config.with_suffix(".new")
        beside.write_text(as_text(settings))
        beside.replace(self.config)

    def reload(self) -> None:
        """Ask for a reload as `kill -HUP` does."""
        os.kill(self.pid, signal.SIGHUP)

    # Requests

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        raw: bytes | None = None,
        key: str | None = None,
        fields: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request on a connection of its own: `body` as JSON or `raw` as it is, with further header fields."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = ({"authorization": f"Bearer {key}"} if key else {}) | (fields or {})
        data: str | bytes | None = raw
        if body is not None:
            headers["content-type"] = "application/json"
            data = json.dumps(body)
        with contextlib.closing(connection):
            connection.request(method, path, body=data, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def records(self) -> list[dict[str, Any]]:
        """Return the rows of the records database, oldest first."""
        path = self.data_dir / "flumegate.db"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            try:
                rows = database.execute("SELECT * FROM requests ORDER BY started_at, id").fetchall()
            except sqlite3.OperationalError:
                return []
            return [dict(row) for row in rows]

    # End

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the gateway as a user does; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def end(self) -> list[int]:
        """End everything that still runs; return the processes that outlived the supervisor's orderly end."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.stop()
        left = self.processes()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                self.kill(pid)
        self.process.wait(STOP_SECONDS)
        return left


class Gone:
    """Waits for the end of a process that need not be our child."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._descriptor = -1

    def wait(self, seconds: float = STOP_SECONDS) -> None:
        if self._descriptor < 0:
            return
        try:
            assert select.select([self._descriptor], [], [], seconds)[0], f"process {self.pid} is still there"
        finally:
            os.close(self._descriptor)


def as_text(settings: Settings) -> str:
    """Return settings as the text of a file; JSON is YAML. A tree without `routing` makes single attempts."""
    return settings if isinstance(settings, str) else json.dumps({"routing": SINGLE} | (settings or {}))


def plain_environ(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment without anything of the caller's that could change what the gateway does."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ", "COVERAGE_PROCESS_START") if name in os.environ}
    return kept | dict(extra or {})


def start(
    folder: Path,
    *,
    config: Settings = None,
    env: Mapping[str, str] | None = None,
    data_dir: Path | None = None,
    args: Sequence[str] = (),
    log_file: Path | None = None,
) -> Gateway:
    """Start the command and return at once; the caller waits and ends it."""
    folder = folder.resolve()
    path = folder / "flumegate.yaml"
    command = [sys.executable, "-P", "-m", "flumegate", "serve", "--data-dir", str(data_dir or folder / "data")]
    if config is not None:
        path.write_text(as_text(config))
        command += ["--config", str(path)]
    if "--listen" not in args and "listen" not in as_text(config):
        command += ["--listen", "127.0.0.1:0"]
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            [*command, *args],
            cwd=folder,
            # Two gateways of one test would want the same port for their consoles.
            env={"FLUMEGATE_CONSOLE__LISTEN": "127.0.0.1:0"} | plain_environ(env) | {"HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if log_file is None else stack.enter_context(log_file.open("ab")),
            process_group=0,
        )
    gateway = Gateway(folder, process, data_dir=data_dir or folder / "data", config=path)
    assert process.stdout
    gateway.output.collect(process.stdout)
    if process.stderr is not None:
        gateway.output.collect(process.stderr)
    return gateway


@contextlib.contextmanager
def run_gateway(
    *,
    config: Settings = None,
    env: Mapping[str, str] | None = None,
    data_dir: Path | None = None,
    args: Sequence[str] = (),
    wait: bool = True,
    log_file: Path | None = None,
) -> Iterator[Gateway]:
    """Run a gateway for the length of a `with` block.

    Args:
        config: text or tree of the configuration file; None = none.
        env: what its environment holds besides the path.
        data_dir: where it keeps its data; None = a folder that is deleted afterwards.
        args: further arguments of `flumegate serve`.
        wait: return only once it is ready.
        log_file: where its log goes; None = to `output`, beside what it prints.
    """
    with tempfile.TemporaryDirectory(prefix="flumegate-test-") as name:
        gateway = start(Path(name), config=config, env=env, data_dir=data_dir, args=args, log_file=log_file)
        try:
            if wait:
                gateway.wait_ready()
            yield gateway
        except BaseException:
            print(gateway.logs(), file=sys.stderr)
            raise
        finally:
            gateway.end()
