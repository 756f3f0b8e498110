"""Opens the database: once to write, by control; read-only, by everybody else.

One process writes, over one connection, so that no two writers ever meet; readers cannot checkpoint. What the database
library raises becomes StoreUnavailable here, with a remedy. After a failure the connection is given up and made anew
at the next use, because the file behind it may have been repaired or replaced meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from flumegate.store.errors import QueryTooSlow, StoreUnavailable
from flumegate.store.tables import SCHEMA_VERSION, meta, metadata

BUSY_SECONDS = 5.0
QUERY_SECONDS = 2.0
_STEPS_BETWEEN_LOOKS = 20_000
_REMEDIES = {
    sqlite3.SQLITE_BUSY: "is locked by another program: close what has it open, a backup or a database browser",
    sqlite3.SQLITE_LOCKED: "is locked by another program: close what has it open, a backup or a database browser",
    sqlite3.SQLITE_READONLY: "cannot be written: give this user write permission on the file and on its folder",
    sqlite3.SQLITE_PERM: "cannot be opened: give this user permission on the file and on its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: give this user permission on the file and on its folder",
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full: free some space",
    sqlite3.SQLITE_IOERR: "cannot be read or written: check the disk and its free space",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore a backup, or move it away and a new one is made",
    sqlite3.SQLITE_NOTADB: "is damaged or no SQLite database: restore a backup, or move it away and a new one is made",
}


class Database:
    """The one connection that writes. Threads take turns; nothing is opened before the first transaction."""

    def __init__(self, url: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        """Take a URL like `sqlite:///./data/flumegate.db`.

        Raises:
            StoreUnavailable: the URL is not that of an SQLite file.
        """
        self.path = database_path(url)
        self._busy_seconds = busy_seconds
        self._engine = _engine(self._connect)
        self._connection: Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._turn = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield the connection; commit at the end, or roll everything back.

        Raises:
            StoreUnavailable: the database cannot be used now.
            IntegrityError: a row breaks a constraint (from SQLAlchemy; the connection stays usable).
        """
        with self._turn:
            try:
                with self._opened().begin() as transaction:
                    connection = transaction.connection
                    yield connection
            except IntegrityError:
                raise
            except (SQLAlchemyError, sqlite3.Error, OSError) as error:
                self._give_up()
                raise _unavailable(error, self.path) from error

    def close(self) -> None:
        """Close the connection; the next transaction opens it again."""
        with self._turn:
            self._give_up()

    def _opened(self) -> Connection:
        if self._connection is not None and self._identity != _identity(self.path):
            # Somebody moved the file away: what is written to it now would be lost.
            self._give_up()
        if self._connection is None:
            _create_private(self.path)
            connection = self._engine.connect()
            try:
                _prepare_schema(connection, self.path)
            except (SQLAlchemyError, StoreUnavailable):
                connection.close()
                raise
            self._connection, self._identity = connection, _identity(self.path)
        return self._connection

    def _give_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError, sqlite3.Error):
                connection.close()

    def _connect(self) -> sqlite3.Connection:
        # Threads take turns by `_turn`, so that the library's own check would only be in the way.
        connection = sqlite3.connect(self.path, timeout=self._busy_seconds, check_same_thread=False)
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute("PRAGMA journal_mode = WAL")
                cursor.execute("PRAGMA synchronous = NORMAL")
                cursor.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error:
            connection.close()
            raise
        return connection


@contextmanager
def read_only(path: Path, *, seconds: float = QUERY_SECONDS) -> Iterator[Connection]:
    """Yield a connection that cannot write and sees one state of the database; each `with` may take so many seconds.

    Raises:
        StoreUnavailable: there is no database yet, or it cannot be read now.
        QueryTooSlow: the time is over.
    """
    try:
        exists = path.is_file()
    except OSError as error:
        raise StoreUnavailable(
            f"the database {path} {_REMEDIES[sqlite3.SQLITE_CANTOPEN]} ({error.strerror})"
        ) from error
    if not exists:
        raise StoreUnavailable(
            f"there is no database at {path} yet: start the gateway with `flumegate serve`, "
            "or name the folder that it writes to with --data-dir"
        )
    until = time.monotonic() + seconds

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        connection.set_progress_handler(lambda: int(time.monotonic() > until), _STEPS_BETWEEN_LOOKS)
        return connection

    try:
        with _engine(connect).connect() as connection:
            connection.exec_driver_sql("BEGIN")  # all queries of one `with` see the same rows
            _refuse_newer(connection, path)
            yield connection
    except (SQLAlchemyError, sqlite3.Error) as error:
        if _result_code(error) == sqlite3.SQLITE_INTERRUPT:
            raise QueryTooSlow(
                f"the query took longer than {seconds:g} seconds: narrow it, with --since or --provider for example"
            ) from error
        raise _unavailable(error, path) from error


def database_path(url: str) -> Path:
    """Return the file that a database URL names.

    Raises:
        StoreUnavailable: the URL is not that of an SQLite file.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.get_backend_name() != "sqlite" or parsed.database in {None, "", ":memory:"}:
        # The URL itself may hold a password, so it is not repeated.
        raise StoreUnavailable(
            "database.url is not one that this release can use: set it to an SQLite file, sqlite:///./data/flumegate.db"
        )
    return Path(str(parsed.database))


def _engine(connect: object) -> Engine:
    return create_engine("sqlite://", creator=connect, poolclass=NullPool)


def _create_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _prepare_schema(connection: Connection, path: Path) -> None:
    with connection.begin():
        meta.create(connection, checkfirst=True)
        _refuse_newer(connection, path)
        metadata.create_all(connection)
        version = sqlite.insert(meta).values(name="schema_version", value=str(SCHEMA_VERSION))
        connection.execute(version.on_conflict_do_nothing(index_elements=["name"]))


def _refuse_newer(connection: Connection, path: Path) -> None:
    version = connection.execute(select(meta.c.value).where(meta.c.name == "schema_version")).scalar()
    if version is not None and not (version.isdecimal() and int(version) <= SCHEMA_VERSION):
        raise StoreUnavailable(
            f"the database {path} has schema {version}, and this release knows {SCHEMA_VERSION} at most: "
            "run the newer release that wrote it, or name another file in database.url"
        )


def _result_code(error: Exception) -> int:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the lowest byte is the primary code


def _unavailable(error: Exception, path: Path) -> StoreUnavailable:
    cause = error.orig if isinstance(error, DBAPIError) else error
    remedy = _REMEDIES.get(_result_code(error))
    if remedy is not None:
        return StoreUnavailable(f"the database {path} {remedy} ({cause})")
    return StoreUnavailable(f"the database {path} cannot be used: {cause}; check the file, its folder and the disk")
