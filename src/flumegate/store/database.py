"""The database, SQLite or PostgreSQL: one connection that writes, used by threads in turns, and some that only read.

What the database library raises becomes StoreUnavailable here, with a remedy, and nothing waits for ever. After a
failure the connection is given up and made anew at the next use, because what is behind it may have been repaired or
replaced meanwhile. The schema is brought up to date when the writer first opens the database.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError

from flumegate.store.errors import QueryTooSlow, RowRefused, StoreUnavailable
from flumegate.store.schema import NEWER, find_revision, refuse_newer
from flumegate.store.sqlite import SqliteFile
from flumegate.store.tables import HEAD

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

BUSY_SECONDS = 5.0
QUERY_SECONDS = 2.0
STATEMENT_SECONDS = 5.0
TURN_SECONDS = 10.0
"""How long a thread waits for its turn to write."""
_TOO_LARGE = "54"
"""PostgreSQL's class of errors for what is beyond its own limits, the size of an index entry for example."""


class Backend(Protocol):
    """What SQLite and PostgreSQL do each in its own way; `name` is how messages call the database."""

    name: str

    def open(self) -> Connection:
        """Return a new connection that writes."""

    def is_cut(self, connection: Connection, /) -> bool:
        """Tell whether the writer's connection no longer leads to the database."""

    def reader(self, seconds: float) -> AbstractContextManager[Connection]:
        """Yield a connection that sees one state of the database and cannot change it, for at most so long."""

    def migrating(self) -> AbstractContextManager[Connection]:
        """Yield a connection in a transaction that nobody migrates beside; committed at the end."""

    def explain(self, error: Exception, seconds: float) -> StoreUnavailable | QueryTooSlow:
        """Return what a driver's error means."""

    def close(self) -> None:
        """Close what is open beside the writer's connection."""


class Database:
    """One database. Nothing is opened before the first use."""

    def __init__(
        self, url: str, *, busy_seconds: float = BUSY_SECONDS, statement_seconds: float = STATEMENT_SECONDS
    ) -> None:
        """Take a URL like `sqlite:///./data/flumegate.db` or `postgresql://user:password@host/name`.

        Args:
            url: which database.
            busy_seconds: how long to wait for another program that has locked an SQLite file.
            statement_seconds: how long PostgreSQL may take for one statement.

        Raises:
            StoreUnavailable: the URL is neither.
        """
        self.url = url
        self._backend = choose_backend(url, busy_seconds, statement_seconds)
        self._statement_seconds = statement_seconds
        self._connection: Connection | None = None
        self._turn = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield the connection that writes; commit at the end, or roll everything back.

        Raises:
            StoreUnavailable: the database cannot be used now.
            RowRefused: a row breaks a constraint or holds what no column can hold; the connection stays usable.
        """
        if not self._turn.acquire(timeout=TURN_SECONDS):
            raise StoreUnavailable(f"{self._backend.name} is busy: another change has not ended yet; try again")
        try:
            with self._opened().begin() as transaction:
                connection = transaction.connection
                yield connection
        except (IntegrityError, DataError, OverflowError, UnicodeEncodeError) as error:
            raise RowRefused(_first_line(error)) from error
        except (SQLAlchemyError, OSError) as error:
            if _code(error).startswith(_TOO_LARGE):
                raise RowRefused(_first_line(error)) from error
            self._give_up()
            raise self._unavailable(error) from error
        finally:
            self._turn.release()

    @contextmanager
    def reader(self, *, seconds: float = QUERY_SECONDS) -> Iterator[Connection]:
        """Yield a connection that cannot write and sees one state of the database, for at most so many seconds.

        Raises:
            StoreUnavailable: there is no database yet, or it cannot be read now.
            QueryTooSlow: the time is over.
        """
        with _reading(self._backend, seconds) as connection:
            yield connection

    def close(self) -> None:
        """Close the connections; the next use opens them again."""
        with self._turn:
            self._give_up()
        self._backend.close()

    def _opened(self) -> Connection:
        if self._connection is not None and self._backend.is_cut(self._connection):
            self._give_up()
        if self._connection is None:
            self._connection = self._opened_at_head()
        return self._connection

    def _opened_at_head(self) -> Connection:
        connection = self._backend.open()
        try:
            with connection.begin():
                revision = find_revision(connection, self._backend.name)
        except (SQLAlchemyError, StoreUnavailable):
            connection.close()
            raise
        if revision in (HEAD, NEWER):
            return connection
        connection.close()
        from flumegate.store.migrate import upgrade_backend  # noqa: PLC0415 - rarely needed, and as large as psycopg

        upgrade_backend(self._backend)
        return self._backend.open()

    def _give_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        problem = self._backend.explain(error, self._statement_seconds)
        if isinstance(problem, StoreUnavailable):
            return problem
        return StoreUnavailable(
            f"{self._backend.name} took longer than {self._statement_seconds:g} seconds for one change: try again"
        )


@contextmanager
def read_only(where: Path | str, *, seconds: float = QUERY_SECONDS) -> Iterator[Connection]:
    """Yield a connection for one use, like `Database.reader`, to an SQLite file or to what a URL names.

    Raises:
        StoreUnavailable: there is no database yet, or it cannot be read now.
        QueryTooSlow: the time is over.
    """
    if isinstance(where, Path):
        backend: Backend = SqliteFile(where, BUSY_SECONDS)
    else:
        backend = choose_backend(where, BUSY_SECONDS, STATEMENT_SECONDS)
    try:
        with _reading(backend, seconds) as connection:
            yield connection
    finally:
        backend.close()


@contextmanager
def _reading(backend: Backend, seconds: float) -> Iterator[Connection]:
    try:
        with backend.reader(seconds) as connection:
            refuse_newer(connection, backend.name)
            yield connection
    except (SQLAlchemyError, OSError) as error:
        raise backend.explain(error, seconds) from error


def choose_backend(url: str, busy_seconds: float, statement_seconds: float) -> Backend:
    """Return what opens the database of that URL.

    Raises:
        StoreUnavailable: the URL is neither that of an SQLite file nor that of a PostgreSQL server.
    """
    if url.startswith(("postgresql://", "postgres://")):
        from flumegate.store.postgresql import PostgresServer  # noqa: PLC0415 - ten megabytes that SQLite does without

        return PostgresServer(url, statement_seconds)
    return SqliteFile(database_path(url), busy_seconds)


def database_path(url: str) -> Path:
    """Return the file that an SQLite URL names.

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
            "database.url is not one that this release can use: set it to an SQLite file, "
            "sqlite:///./data/flumegate.db, or to PostgreSQL, postgresql://user:password@host/name"
        )
    return Path(str(parsed.database))


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that knows ON CONFLICT, which each engine's dialect has a class of its own for."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - megabytes that SQLite does without

        return postgresql.insert(table)
    return sqlite.insert(table)


def _code(error: Exception) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "") if isinstance(error, DBAPIError) else ""


def _first_line(error: Exception) -> str:
    return str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]
