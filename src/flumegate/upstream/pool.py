"""Connections to one origin: bounded, last in first out, waiting bounded by the connect timeout.

The one most recently used is reused first, so that surplus connections grow old and are closed. Every path that takes a
place gives it back exactly once: on connect failure, on cancellation, and when the connection is forgotten.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from time import monotonic
from typing import NamedTuple

from flumegate.snapshot import Provider, Tls
from flumegate.upstream import errors
from flumegate.upstream.connection import Connection
from flumegate.upstream.dial import dial
from flumegate.upstream.resolve import Resolver

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

    def __init__(
        self, loop: asyncio.AbstractEventLoop, resolver: Resolver, origin: Origin, max_connections: int
    ) -> None:
        self.loop = loop
        self.resolver = resolver
        self.origin = origin
        self.max_connections = max_connections
        self._idle: list[Connection] = []
        self._places = 0
        """Connections open or being opened."""
        self._open: set[Connection] = set()
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._retired = False

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

    async def acquire(self, provider: str, connect_seconds: float, *, new: bool = False) -> Connection:
        """Return a connection, new if need be or if `new`; `provider` is the name that error messages use.

        Raises:
            GatewayError: it could not be made in time, or none became free in time.
        """
        until = monotonic() + connect_seconds
        waited = False
        while True:
            if new and self._idle and self._places >= self.max_connections:
                self._idle.pop(0).close()
            connection = None if new else self.take()
            if connection is not None:
                return connection
            if self._places < self.max_connections:
                return await self._connect(provider, until - monotonic())
            await self._wait(provider, until - monotonic(), first=waited)
            waited = True

    async def _connect(self, provider: str, seconds: float) -> Connection:
        self._places += 1
        made = False
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                connection = await dial(self.loop, self.resolver, self.origin, provider, lambda: Connection(self))
            if connection.closed or connection.transport.is_closing():
                raise errors.closed_unanswered(provider)
            self._open.add(connection)
            made = True
        except TimeoutError:
            raise errors.connect_timeout(provider) from None
        except OSError as error:
            raise errors.connect_failed(provider, error) from None
        except UnicodeError:
            raise errors.name_invalid(provider) from None
        finally:
            if not made:
                self._vacate()
        return connection

    async def _wait(self, provider: str, seconds: float, *, first: bool) -> None:
        """Wait for a sign that a place may be free; `first`: it was one's turn already, and another was faster."""
        waiter = self.loop.create_future()
        self._waiters[waiter] = None
        if first:
            self._waiters.move_to_end(waiter, last=False)
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                await waiter
        except (TimeoutError, asyncio.CancelledError) as left:
            if self._waiters.pop(waiter, self) is self:
                self._wake()  # the place was offered to one who no longer wants it: pass it on
            if isinstance(left, TimeoutError):
                raise errors.pool_exhausted(provider) from None
            raise

    def _wake(self) -> None:
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(None)
                return

    def _vacate(self) -> None:
        self._places -= 1
        self._wake()

    def give_back(self, connection: Connection) -> None:
        """Take a clean connection back."""
        if self._retired and not self._waiters:
            connection.close()
            return
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

    def retire(self) -> None:
        """Close what no call uses; connections in use close after their call."""
        self._retired = True
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
        self._resolver = Resolver(loop)
        self._pools: dict[Origin, Pool] = {}
        self._retired: list[Pool] = []
        """Of origins that no Snapshot names any more: calls are under way there, and their times hold."""
        self._by_provider: dict[int, tuple[Provider, Pool]] = {}
        """By identity: one with several credentials is there once for each."""

    def pool(self, provider: Provider) -> Pool:
        """Return the pool of a provider."""
        known = self._by_provider.get(id(provider))
        if known is not None and known[0] is provider:
            return known[1]
        origin = Origin.of(provider)
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(self.loop, self._resolver, origin, provider.max_connections)
        pool.max_connections = max(provider.max_connections, 1)
        self._by_provider[id(provider)] = (provider, pool)
        return pool

    def keep_only(self, providers: dict[str, Provider]) -> None:
        """Retire the pools of origins that a new Snapshot no longer names."""
        wanted = {Origin.of(provider) for provider in providers.values()}
        for origin in [origin for origin in self._pools if origin not in wanted]:
            pool = self._pools.pop(origin)
            pool.retire()
            self._retired.append(pool)
        self._by_provider.clear()

    def sweep(self) -> None:
        """Enforce the time limits of all calls; called several times a second."""
        now = monotonic()
        for pool in self._pools.values():
            pool.sweep(now)
        if self._retired:
            for pool in self._retired:
                pool.sweep(now)
            self._retired = [pool for pool in self._retired if pool.places]

    def open_connections(self) -> int:
        """Return how many connections are open or being opened."""
        return sum(pool.places for pool in (*self._pools.values(), *self._retired))

    def close(self) -> None:
        """Close everything."""
        for pool in (*self._pools.values(), *self._retired):
            pool.close()
