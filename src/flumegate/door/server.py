"""The listening side: all client connections of a worker, their limits of time, and the answers that need no key."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from collections.abc import Callable
from time import monotonic

import msgspec

from flumegate import __version__
from flumegate.door import metrics
from flumegate.door.connection import ClientConnection
from flumegate.engine import local
from flumegate.engine.run import Engine
from flumegate.errors import NOT_FOUND, GatewayError
from flumegate.exchange import Exchange
from flumegate.records.counters import Counters
from flumegate.snapshot import Door, Snapshot
from flumegate.wire.headers import Headers

BACKLOG = 4096
MAX_TURNED_AWAY = 256
"""Connections beyond the limit that are told so; one beyond these, too, is just closed."""
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    b"retry-after: 1\r\nconnection: close\r\n\r\n%b"
)
_BUSY_BODY = (
    b'{"error":{"message":"All connections of this gateway are in use (server.max_connections). Try again shortly.",'
    b'"type":"server_error","param":null,"code":"too_many_connections"}}'
)
_encode = msgspec.json.Encoder().encode


class Server:
    """Accepts connections and keeps their clocks. `number` counts requests, from a random start."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, engine: Engine, counters: Callable[[], Counters], totals: dict[str, int]
    ) -> None:
        self.loop = loop
        self.now = monotonic
        self.engine = engine
        self.draining = False
        self.number = int.from_bytes(os.urandom(8), "big")
        self.door = Door()
        self.prefix = b"/proxy"
        self.trusted: tuple[_Network, ...] = ()
        self.connections: set[ClientConnection] = set()
        self._turned_away: set[ClientConnection] = set()
        """They are only read until they have their answer, and count for no limit but their own."""
        self._counters = counters
        self._totals = totals
        self._server: asyncio.Server | None = None
        self._emptied = asyncio.Event()

    def apply(self, snapshot: Snapshot) -> None:
        """Take the door's settings from a new Snapshot; they hold from the next request on."""
        door = snapshot.door
        self.door = door
        self.prefix = door.proxy_prefix.rstrip("/").encode("latin-1")
        self.trusted = tuple(ipaddress.ip_network(entry, strict=False) for entry in door.trusted_proxies)

    async def start(self, sock: socket.socket) -> None:
        """Accept connections from a bound socket.

        Raises:
            OSError: the certificate or key cannot be read.
        """
        context: ssl.SSLContext | None = None
        if self.door.tls_cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
            context.load_cert_chain(self.door.tls_cert, self.door.tls_key or None)
        self._server = await self.loop.create_server(
            lambda: ClientConnection(self),
            sock=sock,
            ssl=context,
            backlog=BACKLOG,
            # Until a handshake is done there is no connection that the sweep could end.
            ssl_handshake_timeout=None if context is None else self.door.header_seconds,
        )

    def opened(self, connection: ClientConnection) -> None:
        """Enter a new connection into the books; one too many is told so and closed."""
        self._totals["connections_accepted"] = self._totals.get("connections_accepted", 0) + 1
        if len(self.connections) < self.door.max_connections:
            self.connections.add(connection)
        elif len(self._turned_away) < MAX_TURNED_AWAY:
            self._turned_away.add(connection)
            connection.turn_away(_BUSY % (len(_BUSY_BODY), _BUSY_BODY))
        else:
            connection.kill()

    def lost(self, connection: ClientConnection) -> None:
        """Strike a connection from the books."""
        self.connections.discard(connection)
        self._turned_away.discard(connection)
        if self.draining and not self.connections:
            self._emptied.set()

    def sweep(self) -> None:
        """Enforce the limits of time of all connections; called several times a second."""
        now = self.now()
        for connection in (*self.connections, *self._turned_away):
            connection.sweep(now)

    async def drain(self, seconds: float) -> None:
        """Accept no more, let what is under way finish, then close what is left."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        for connection in tuple(self.connections):
            connection.drain()
        if self.connections:
            try:
                async with asyncio.timeout(seconds):
                    await self._emptied.wait()
            except TimeoutError:
                pass
        for connection in (*self.connections, *self._turned_away):
            connection.kill()

    def client_of(self, peer: str, headers: Headers) -> str:
        """Return the address of the client: the nearest hop in `x-forwarded-for` that is no trusted proxy."""
        hops = [hop.strip() for name, value in headers if name == b"x-forwarded-for" for hop in value.split(b",")]
        address = peer
        while self._is_trusted(address) and hops:
            address = hops.pop().decode("latin-1")
        try:
            return str(ipaddress.ip_address(address))
        except ValueError:
            return peer

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.trusted)

    def probe(self, exchange: Exchange, kind: str) -> bytes:
        """Return the answer to a health check or to `/metrics`."""
        if kind == "metrics":
            if not self.door.metrics:
                error = GatewayError(NOT_FOUND, "not_found", "Metrics are switched off (telemetry.metrics).")
                return local.refuse(exchange, error, b"")
            return local.answer(exchange, 200, metrics.render(self._counters()), b"", metrics.CONTENT_TYPE)
        status = {
            "status": "ok",
            "version": __version__,
            "snapshot": self.engine.snapshot.version,
            "providers": len(self.engine.snapshot.providers),
        }
        if kind == "root":
            status = {"name": "flumegate", "version": __version__}
        if kind == "ready" and self.draining:
            return local.answer(exchange, 503, _encode({**status, "status": "draining"}), b"retry-after: 1\r\n")
        if kind == "ready" and self.engine.snapshot.keys_are != "current":
            # Still ready: a balancer that took it out would turn away all that is served as ever.
            status |= {"status": "degraded", "keys": self.engine.snapshot.keys_are}
        return local.answer(exchange, 200, _encode(status), b"")

    def preflight(self, exchange: Exchange) -> bytes:
        """Return the answer to a browser's preflight: which origins may send what (Fetch §4.8)."""
        origin = exchange.picked[b"origin"]
        allowed = self.door.cors_origins
        exchange.status, exchange.head_sent = 204, True
        if "*" not in allowed and origin.decode("latin-1") not in allowed:
            return b"HTTP/1.1 204 No Content\r\nvary: origin\r\n\r\n"
        fields = exchange.picked.get(
            b"access-control-request-headers", b"authorization, content-type, x-requested-with"
        )
        return (
            b"HTTP/1.1 204 No Content\r\naccess-control-allow-origin: %b\r\nvary: origin\r\n"
            b"access-control-allow-methods: GET, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
            b"access-control-allow-headers: %b\r\naccess-control-max-age: 86400\r\n\r\n" % (origin, fields)
        )
