"""Connections to one origin: bounded, last in first out, waiting bounded by the connect timeout.

The one most recently used is reused first, so that surplus connections grow old and are closed. Every path that takes a
place gives it back exactly once: on connect failure, on cancellation, and when the connection is forgotten.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import NamedTuple

from flumegate.errors import GatewayError
from flumegate.snapshot import Provider, Tls
from flumegate.upstream import errors
from flumegate.upstream.connection import Connection
from flumegate.upstream.dial import dial

IDLE_SECONDS = 50.0
"""Below the 60 s after which common load balancers close idle connections."""


class Origin(NamedTuple):
    """What two providers must have in common to share connections."""

    scheme: str
    host: str
    port: int
    tls: Tls
    proxy: str

    @classmethod
    def of(cls, provider: Provider) -> Origin:
        """Return the origin of a provider."""
        return cls(provider.scheme, provider.host, provider.port, provider.tls, provider.proxy)


class Pool:
    """The connections to one origin, shared by all providers that stand there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, origin: Origin, max_connections: int) -> None:
        self.loop = loop
        self.origin = origin
        self.max_connections = max_connections
        self._idle: list[Connection] = []
        self._places = 0
        """Connections open or being opened."""
        self._open: set[Connection] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def places(self) -> int:
        """Connections open or being opened."""
        return self._places

    @property
    def idle(self) -> int:
        """Connections that wait for a call."""
        return len(self._idle)

    def take(self) -> Connection | None:
        """Return an idle connection, or None."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and not connection.transport.is_closing():
                return connection
        return None

    async def acquire(self, provider: str, connect_seconds: float) -> Connection:
        """Return a connection, new if need be; `provider` is the name that error messages use.

        Raises:
            GatewayError: it could not be made in time, or none became free in time.
        """
        until = monotonic() + connect_seconds
        while True:
            connection = self.take()
            if connection is not None:
                return connection
            if self._places < self.max_connections:
                return await self._connect(provider, until - monotonic())
            await self._wait(provider, until - monotonic())

    async def _connect(self, provider: str, seconds: float) -> Connection:
        self._places += 1
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                connection = await dial(self.loop, self.origin, provider, lambda: Connection(self))
        except TimeoutError:
            self._vacate()
            raise errors.connect_timeout(provider) from None
        except OSError as error:
            self._vacate()
            raise errors.connect_failed(provider, error) from None
        except (asyncio.CancelledError, GatewayError):
            self._vacate()
            raise
        if connection.closed:
            self._vacate()
            raise errors.closed_unanswered(provider)
        self._open.add(connection)
        return connection

    async def _wait(self, provider: str, seconds: float) -> None:
        waiter = self.loop.create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                await waiter
        except TimeoutError:
            if waiter.done() and not waiter.cancelled():
                self._wake()
            raise errors.pool_exhausted(provider) from None
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake()  # the place was offered to one who no longer wants it: pass it on
            raise

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _vacate(self) -> None:
        self._places -= 1
        self._wake()

    def give_back(self, connection: Connection) -> None:
        """Take a clean connection back."""
        connection.idle_since = monotonic()
        self._idle.append(connection)
        if self._waiters:
            self._wake()

    def forget(self, connection: Connection) -> None:
        """Strike a closed connection from the books; a second time does nothing."""
        if connection in self._open:
            self._open.discard(connection)
            self._vacate()

    def sweep(self, now: float) -> None:
        """End calls whose time is up, and close connections that were idle for too long."""
        for connection in tuple(self._open):
            connection.sweep(now)
        old = now - IDLE_SECONDS
        while self._idle and (self._idle[0].closed or self._idle[0].idle_since < old):
            self._idle.pop(0).close()

    def close_idle(self) -> None:
        """Close what no call uses; connections in use close after their call."""
        self.max_connections = 0
        while self._idle:
            self._idle.pop().close()

    def close(self) -> None:
        """Close everything."""
        for connection in list(self._open):
            connection.close()
        self._idle.clear()


class Upstream:
    """All pools of a worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._pools: dict[Origin, Pool] = {}
        self._by_provider: dict[str, tuple[Provider, Pool]] = {}

    def pool(self, provider: Provider) -> Pool:
        """Return the pool of a provider."""
        known = self._by_provider.get(provider.name)
        if known is not None and known[0] is provider:
            return known[1]
        origin = Origin.of(provider)
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(self.loop, origin, provider.max_connections)
        pool.max_connections = max(provider.max_connections, 1)
        self._by_provider[provider.name] = (provider, pool)
        return pool

    def keep_only(self, providers: dict[str, Provider]) -> None:
        """Close the idle connections of origins that a new Snapshot no longer names."""
        wanted = {Origin.of(provider) for provider in providers.values()}
        for origin in [origin for origin in self._pools if origin not in wanted]:
            self._pools.pop(origin).close_idle()
        self._by_provider.clear()

    def sweep(self) -> None:
        """Enforce the time limits of all calls; called several times a second."""
        now = monotonic()
        for pool in self._pools.values():
            pool.sweep(now)

    def open_connections(self) -> int:
        """Return how many connections are open or being opened."""
        return sum(pool.places for pool in self._pools.values())

    def close(self) -> None:
        """Close everything."""
        for pool in self._pools.values():
            pool.close()
