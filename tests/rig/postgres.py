"""A PostgreSQL cluster of the tests' own: in a temporary folder, on loopback and a socket, gone with its starter.

    with postgres_cluster() as cluster:
        url = cluster.create_database()
        cluster.freeze(); cluster.thaw(); cluster.kill(); cluster.start(); cluster.crowd(); cluster.disperse()

PostgreSQL refuses to run as root, so root starts it as the user that Debian's package brings. Without the binaries the
test that asks for one is skipped.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rig.redis import free_port

START_SECONDS = 60.0
USER = "flumegate"
PLAIN_USER = "somebody"
"""Owns databases and is no superuser: connections that are kept for those are not for them."""
PASSWORD = "made-up-pass/word@1"
_PASSWORD_IN_URL = "made-up-pass%2Fword%401"
_UNPRIVILEGED = "postgres"
_SETTINGS = {
    # The machine outlives every test, so nothing waits for a disk; what is committed survives a kill all the same.
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "40",
    "listen_addresses": "127.0.0.1",
    "log_statement": "none",
}


class Postgres:
    """One cluster; each test makes a database of its own in it."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self._binaries = binaries
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._others: list[psycopg.Connection] = []
        self._password_file = folder / "password"
        self._password_file.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(folder, _UNPRIVILEGED)
            shutil.chown(self._password_file, _UNPRIVILEGED)
        self._run("initdb", "--no-sync", "--auth=scram-sha-256", f"--username={USER}", "--encoding=UTF8", "--locale=C",
                  f"--pwfile={self._password_file}", f"--pgdata={folder / 'data'}")  # fmt: skip

    def start(self) -> None:
        """Start it, and return when it answers."""
        command = [str(self._binaries / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        command += ["-k", str(self.folder)]
        for name, value in _SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, cwd=self.folder, user=_user(), group=_user()
            )
        until = time.monotonic() + START_SECONDS
        while self._answers() != 0:
            alive = self._process.poll() is None and time.monotonic() < until
            assert alive, f"postgres did not start:\n{(self.folder / 'log').read_text()}"
            time.sleep(0.02)  # it says nothing that could be waited for

    def create_database(self, *, plain: bool = False) -> str:
        """Return the URL of a new, empty database, of the superuser or of a plain user."""
        name = f"test_{next(self._numbers)}"
        user = PLAIN_USER if plain else USER
        if plain and not self.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{user}'", database="postgres"):  # noqa: S608 - the test's own words
            self.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'", database="postgres")
        self.execute(f"CREATE DATABASE {name} OWNER {user}", database="postgres")
        return self.url(name, user=user)

    def url(self, database: str, *, user: str = USER, password: str = _PASSWORD_IN_URL) -> str:
        """Return the URL of a database, which need not exist; the password as it stands in a URL."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, *, database: str) -> str:
        """Return what `psql` prints for a statement, run by the cluster's owner over the socket."""
        return self._run("psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder),
                         "-p", str(self.port), "-U", USER, "-d", database, "-c", statement)  # fmt: skip

    def dump(self, database: str) -> str:
        """Return everything that a database holds, as text; bytes are hexadecimal."""
        return self._run("pg_dump", "-h", str(self.folder), "-p", str(self.port), "-U", USER, database)

    def freeze(self) -> None:
        """Stop all its processes: connections stay, the kernel takes new ones, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        self._signal(signal.SIGCONT)

    def crowd(self) -> None:
        """Let other clients take every connection that a plain user may have, the gateway's as well."""
        url = self.url("postgres", user=PLAIN_USER)
        named = "FROM pg_stat_activity WHERE application_name = 'flumegate'"
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    self._others.append(psycopg.connect(url, application_name="others"))
            if self.execute(f"SELECT count(*) {named}", database="postgres") == "0":
                return
            # Waiting for its end: until then its place is not free, and whoever comes first would have it.
            self.execute(f"SELECT pg_terminate_backend(pid, 5000) {named}", database="postgres")

    def disperse(self) -> None:
        """Let the others go."""
        while self._others:
            self._others.pop().close()

    def _signal(self, number: int) -> None:
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):  # one that served a connection may end at any moment
                os.kill(pid, number)

    def stop(self) -> None:
        """End it in order, but at once: whoever is connected is cut off."""
        if self._process is not None:
            self.thaw()
            self._process.send_signal(signal.SIGINT)
            self._process.wait(START_SECONDS)
            self._process = None

    def kill(self) -> None:
        """End all its processes by SIGKILL; `start` recovers what was committed."""
        if self._process is not None:
            for pid in self._processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(START_SECONDS)
            self._process = None

    def _processes(self) -> list[int]:
        """Return the pids of the postmaster and its children, the postmaster first so that it starts no more."""
        assert self._process is not None, "it does not run"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [self._process.pid, *map(int, children.split())]

    def _answers(self) -> int:
        command = [str(self._binaries / "pg_isready"), "-q", "-h", str(self.folder), "-p", str(self.port)]
        return subprocess.run([*command, "-d", "postgres"], check=False).returncode

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            cwd=self.folder,
            user=_user(),
            group=_user(),
            env={**os.environ, "PGPASSWORD": PASSWORD, "PGCONNECT_TIMEOUT": "20"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return done.stdout.strip()


@contextlib.contextmanager
def postgres_cluster() -> Iterator[Postgres]:
    """Yield a running cluster, or skip the test where there are no binaries."""
    binaries = _find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (scripts/setup.sh dev installs it, as root)")
    if os.geteuid() == 0 and not _is_user(_UNPRIVILEGED):
        pytest.skip(f"PostgreSQL refuses to run as root, and there is no user named {_UNPRIVILEGED}")
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        cluster = Postgres(binaries, Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


def _find_binaries() -> Path | None:
    """Return the folder of `initdb`: Debian keeps it off the PATH, newest version last."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = [path for path in folders if (path / "initdb").exists()]
    on_path = shutil.which("initdb")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    return found[-1] if found else None


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _user() -> str | None:
    """Return whom to run as; None = as this process."""
    return _UNPRIVILEGED if os.geteuid() == 0 else None
