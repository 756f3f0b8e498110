"""An SQLite file as the database: how it is opened, locked, read beside the writer and copied.

One process writes, over one connection, so that no two writers ever meet; readers cannot checkpoint. A transaction
takes the write lock as it begins, so that what it read is still true when it writes. Statements that change the schema
are part of it like all others.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from flumegate.store.errors import QueryTooSlow, StoreUnavailable

MIGRATION_SECONDS = 60.0
"""How long one instance waits for another that is migrating."""
KEPT_BACKUPS = 3
_STEPS_BETWEEN_LOOKS = 20_000
_LOCKED = "is locked by another program: close what has it open, a backup or a database browser"
_REMEDIES = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_READONLY: "cannot be written: give this user write permission on the file and on its folder",
    sqlite3.SQLITE_PERM: "cannot be opened: give this user permission on the file and on its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: give this user permission on the file and on its folder",
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full: free some space",
    sqlite3.SQLITE_IOERR: "cannot be read or written: check the disk and its free space",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore a backup, or move it away and a new one is made",
    sqlite3.SQLITE_NOTADB: "is damaged or no SQLite database: restore a backup, or move it away and a new one is made",
}


class SqliteFile:
    """The file. `name` is how messages call it."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self.path = path
        self.name = f"the database {path}"
        self._busy_seconds = busy_seconds
        self._writers: Engine | None = None
        self._identity: tuple[int, int] | None = None

    def open(self) -> Connection:
        """Return a new connection that writes; a file that is missing is made."""
        _create_private(self.path)
        if self._writers is None:
            self._writers = _engine(lambda: self._connect(self._busy_seconds))
        connection = self._writers.connect()
        self._identity = _identity(self.path)
        return connection

    def is_cut(self, _: Connection) -> bool:
        """Tell whether somebody moved the file away: what is written to it now would be lost."""
        return self._identity != _identity(self.path)

    @contextmanager
    def reader(self, seconds: float) -> Iterator[Connection]:
        """Yield a connection that sees one state of the file and cannot change it, for at most so long."""
        try:
            exists = self.path.is_file()
        except OSError as error:
            remedy = _REMEDIES[sqlite3.SQLITE_CANTOPEN]
            raise StoreUnavailable(f"{self.name} {remedy} ({error.strerror})") from error
        if not exists:
            raise StoreUnavailable(
                f"there is no database at {self.path} yet: start the gateway with `flumegate serve`, "
                "or name the folder that it writes to with --data-dir"
            )
        until = time.monotonic() + seconds

        def connect() -> sqlite3.Connection:
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            connection = sqlite3.connect(uri, uri=True, timeout=seconds, isolation_level=None, check_same_thread=False)
            connection.set_progress_handler(lambda: int(time.monotonic() > until), _STEPS_BETWEEN_LOOKS)
            return connection

        # No event is listened to here: the garbage of one would swallow the Ctrl-C of whoever follows the records.
        with create_engine("sqlite://", creator=connect, poolclass=NullPool).connect() as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that nobody else can write beside; committed at the end."""
        _create_private(self.path)
        engine = _engine(lambda: self._connect(MIGRATION_SECONDS, foreign_keys=False))
        with engine.begin() as connection:
            yield connection

    def back_up(self, label: str) -> Path:
        """Copy what is committed to a file beside this one; the newest three copies are kept.

        Raises:
            StoreUnavailable: it cannot be copied.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        target = self.path.with_name(f"{self.path.name}.before-{label}-{stamp}")
        partial = self.path.with_name(f"{self.path.name}.backup-under-way")
        try:
            partial.unlink(missing_ok=True)
            _create_private(partial)
            with closing(sqlite3.connect(self.path, timeout=MIGRATION_SECONDS, isolation_level=None)) as connection:
                connection.execute("VACUUM INTO ?", (str(partial),))
            partial.rename(target)
            for old in sorted(self.path.parent.glob(f"{self.path.name}.before-*"), key=_written_at)[:-KEPT_BACKUPS]:
                old.unlink()
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(
                f"{self.name} could not be copied before its migration, so nothing was changed: {error}"
            ) from error
        return target

    def explain(self, error: Exception, seconds: float) -> StoreUnavailable | QueryTooSlow:
        """Return what a driver's error means for whoever runs the gateway."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the lowest byte is the primary code
        if code == sqlite3.SQLITE_INTERRUPT:
            return QueryTooSlow(
                f"the query took longer than {seconds:g} seconds: narrow it, with --since or --provider for example"
            )
        remedy = _REMEDIES.get(code)
        if remedy is not None:
            return StoreUnavailable(f"{self.name} {remedy} ({cause})")
        return StoreUnavailable(f"{self.name} cannot be used: {cause}; check the file, its folder and the disk")

    def close(self) -> None:
        """Nothing is kept open beside the writer's connection."""

    def _connect(self, busy_seconds: float, *, foreign_keys: bool = True) -> sqlite3.Connection:
        # Threads take turns, so that the library's own check would only be in the way.
        connection = sqlite3.connect(self.path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
        try:
            _use_write_ahead_log(connection, busy_seconds)
            connection.execute("PRAGMA synchronous = NORMAL").close()
            connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}").close()
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def _engine(connect: Callable[[], sqlite3.Connection]) -> Engine:
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    # The library would begin late, and commit before a statement that changes the schema.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _use_write_ahead_log(connection: sqlite3.Connection, seconds: float) -> None:
    """Set the mode, which two that open a new file together must try in turns: nobody waits for this lock inside."""
    until = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _create_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _written_at(path: Path) -> str:
    return path.name.rpartition("-")[2]


ERRORS = (SQLAlchemyError, sqlite3.Error, OSError)
