"""A PostgreSQL server as the database: how it is reached, and what is done when it does not answer.

A frozen server keeps its connections and takes new ones, so no limit that the server itself would keep is enough: each
wait for it ends here. A connection that was cut while nobody used it is noticed before it is used.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, Pool, PoolProxiedConnection, QueuePool

from flumegate.store.errors import QueryTooSlow, StoreUnavailable

CONNECT_SECONDS = 3
READERS = 4
MIGRATION_SECONDS = 300.0
MIGRATION_LOCK_SECONDS = 60
"""How long one instance waits for another that is migrating."""
_IDLE_TRANSACTION_MILLISECONDS = 30_000
_MIGRATION_LOCK = 0x666C756D65676174
"""Any number that nobody else on the server takes."""
_T = TypeVar("_T")
_REMEDIES = {
    "25006": "cannot be written: it is read-only, or a standby; name the primary in database.url",
    "28000": "refuses this user: check database.url and the server's pg_hba.conf",
    "28P01": "refuses the user or its password: check database.url",
    "3D000": "does not exist: create it, or name another in database.url",
    "40P01": "was waited for by another instance; try again",
    "42501": "denies this user a right: make it the owner of the database",
    "42P01": "has no tables of ours yet: start the gateway with `flumegate serve`",
    "53100": "cannot grow, its disk is full: free some space",
    "53300": "has no connection left: raise max_connections, or close what has them",
    "55P03": "is locked by another program: another instance is migrating it, or somebody left a transaction open",
}


class PatientConnection(psycopg.Connection[Any]):
    """A connection that waits for no answer longer than it may."""

    patience = 5.0
    """Seconds for one answer."""
    until = math.inf
    """When all of them must be there, by the monotonic clock."""

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        """Wait for the server; a connection that gave no answer in time is closed, since nobody knows its state."""
        left = min(self.patience, self.until - time.monotonic(), math.inf if timeout is None else timeout)
        over = time.monotonic() + left
        try:
            return super().wait(gen, interval, max(0.0, left))
        except psycopg.OperationalError:
            if time.monotonic() >= over:
                self.pgconn.finish()
            raise


class PostgresServer:
    """A database on a server. `name` is how messages call it, without what its URL keeps secret."""

    def __init__(self, url: str, statement_seconds: float) -> None:
        """Take a URL as libpq does, `?sslmode=…` and all that included.

        Raises:
            StoreUnavailable: libpq does not understand the URL.
        """
        try:
            self._given = conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            # What libpq says repeats the URL, and so its password.
            raise StoreUnavailable(
                "database.url is not understood: write postgresql://user:password@host:5432/name, "
                "with %40 for an @ and %2F for a / in the password"
            ) from None
        host, database = self._given.get("host"), self._given.get("dbname")
        self.name = f"the database {database or ''} on {host or 'this machine'}"
        self._seconds = statement_seconds
        self._writers = _engine(lambda: self._connect(statement_seconds), NullPool)
        self._readers = _engine(
            lambda: self._connect(statement_seconds),
            QueuePool,
            pool_size=READERS,
            max_overflow=0,
            pool_timeout=CONNECT_SECONDS,
        )
        event.listen(self._readers, "checkout", _refuse_cut)

    def open(self) -> Connection:
        """Return a new connection that writes."""
        return self._writers.connect()

    def is_cut(self, connection: Connection) -> bool:
        """Tell whether the server ended the connection while nobody used it."""
        return connection.invalidated or _is_cut(_driver(connection))

    @contextmanager
    def reader(self, seconds: float) -> Iterator[Connection]:
        """Yield a connection that sees one state of the database and cannot change it, for at most so long."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._readers.connect().execution_options(**options) as connection:
            driver = _driver(connection)
            # The server stops a query by itself and says so; this is for one that says nothing.
            driver.until = time.monotonic() + seconds + 0.5
            try:
                limit = max(1, int(min(seconds, self._seconds * 0.9) * 1000))
                connection.execute(text(f"SET LOCAL statement_timeout = {limit}"))
                yield connection
                connection.rollback()
            finally:
                driver.until = math.inf

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that no other instance migrates beside; committed at the end."""
        engine = _engine(lambda: self._connect(MIGRATION_SECONDS), NullPool)
        with engine.begin() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{MIGRATION_LOCK_SECONDS}s'"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            yield connection

    def explain(self, error: Exception, seconds: float) -> StoreUnavailable | QueryTooSlow:
        """Return what a driver's error means for whoever runs the gateway."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(cause, "sqlstate", None)
        if code == "57014":
            return QueryTooSlow(f"the query took longer than {seconds:g} seconds: narrow it, in time for example")
        if isinstance(error, PoolTimeoutError):
            return StoreUnavailable(f"{self.name} answers too slowly: all {READERS} connections for reading are taken")
        said = str(cause).strip().partition("\n")[0]
        remedy = _REMEDIES.get(code or "", f"cannot be used: check that the server runs, and database.url ({said})")
        return StoreUnavailable(f"{self.name} {remedy}")

    def close(self) -> None:
        """Close the connections that read."""
        self._readers.dispose()

    def _connect(self, seconds: float) -> PatientConnection:
        milliseconds = int(seconds * 900)  # before our own patience is over, so that the server can say what it was
        options = f"{self._given.get('options') or ''} -c statement_timeout={milliseconds}"
        options += f" -c idle_in_transaction_session_timeout={_IDLE_TRANSACTION_MILLISECONDS}"
        given = {"application_name": "flumegate", "connect_timeout": CONNECT_SECONDS, **self._given}
        connection = PatientConnection.connect(make_conninfo("", **{**given, "options": options.strip()}))
        connection.patience = seconds
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            connection.close()
            raise StoreUnavailable(
                f"{self.name} holds text as {encoding}, which has no sign for most of what people write: "
                "create one with ENCODING 'UTF8' TEMPLATE template0"
            )
        return connection


def _engine(connect: Callable[[], PatientConnection], pool: type[Pool], **sizes: int) -> Engine:
    return create_engine("postgresql+psycopg://", creator=connect, poolclass=pool, use_native_hstore=False, **sizes)


def _driver(connection: Connection) -> PatientConnection:
    driver = connection.connection.driver_connection
    if not isinstance(driver, PatientConnection):
        raise TypeError("not one of the connections that this module makes")
    return driver


def _is_cut(connection: PatientConnection) -> bool:
    """Tell whether an idle connection has something to say: nearly always that is its end."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _refuse_cut(connection: PatientConnection, _: ConnectionPoolEntry, __: PoolProxiedConnection) -> None:
    if _is_cut(connection):
        raise DisconnectionError
