"""One client connection: HTTP/1.1 in, answers out, in the order of the requests.

llhttp runs without leniencies; what it lets pass and we do not is checked in `head.py`. A connection never waits: every
limit of time is a number that the server's sweep compares with the clock.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import httptools

from flumegate.door import head as heads
from flumegate.door.routes import PROBES, Route, find
from flumegate.door.upload import Upload
from flumegate.errors import CLIENT_TIMEOUT, INVALID_REQUEST, GatewayError
from flumegate.exchange import Exchange, Source

if TYPE_CHECKING:
    from flumegate.door.server import Server
    from flumegate.gates.authenticate import Known

_READ = heads.READ.get
WRITE_BUFFER_BYTES = 65_536
MAX_WAITING = 32
"""Pipelined requests that wait for their turn before reading stops."""
EARLY_CHECK_BYTES = 65_536
"""A body announced as larger than this is not read before the gates have agreed."""
RATE_GRACE_SECONDS = 10.0
LINGER_SECONDS = 2.0
STALL_SECONDS = 120.0
"""A client that reads nothing for so long is gone."""


class _Turn(NamedTuple):
    """A request that was read and waits for its turn; `error` is how the door itself answers it."""

    exchange: Exchange
    route: Route | None
    keep_alive: bool
    error: GatewayError | None = None


class ClientConnection(asyncio.Protocol):
    """A client connection; it is the `Reply` of the exchange whose turn it is."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_body_since",
        "_conflict",
        "_due",
        "_ended_now",
        "_exchange",
        "_expects",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_lingering",
        "_parser",
        "_picked",
        "_read_bytes",
        "_reading",
        "_reading_route",
        "_server",
        "_source",
        "_special",
        "_task",
        "_transport",
        "_trusted",
        "_upload",
        "_url",
        "_waiting",
        "_write_due",
        "client",
        "closed",
        "held",
        "http11",
        "keep_alive",
        "known",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._headers: list[tuple[bytes, bytes]] = []
        self._picked: dict[bytes, bytes] = {}
        self._url = b""
        self._conflict = b""
        self._special = False
        self._in_head = False
        self._ended_now = False
        """A request ended within the read that is being parsed."""
        self._head_bytes = 0
        self._read_bytes = 0
        self._reading: Exchange | None = None
        """The request whose body is being read."""
        self._reading_route: Route | None = None
        self._expects = False
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._body_since = 0.0
        self._upload: Upload | None = None
        self._exchange: Exchange | None = None
        """The request whose turn it is."""
        self._task: asyncio.Task[None] | None = None
        self._waiting: deque[_Turn] = deque()
        self._source: Source | None = None
        self._lingering = False
        self._due = math.inf
        self._write_due = math.inf
        self.client = ""
        self.closed = False
        self.held = False
        self.http11 = True
        self.keep_alive = True
        self.known: Known | None = None

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # asyncio types the argument as BaseTransport
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if isinstance(peer, tuple) else "unix"
        server = self._server
        self._due = server.now() + server.door.header_seconds
        server.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        self._read_bytes = len(data)
        self._ended_now = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse_upgrade()
            return
        except httptools.HttpParserError as error:
            if self._may_answer():
                self._refuse_framing(str(error))
            return
        if self._in_head:
            self._measure_unfinished_head(len(data))

    def _measure_unfinished_head(self, size: int) -> None:
        if self._lingering:
            return
        if not self._ended_now:
            self._head_bytes += size  # a head that began behind another request's end counts from the next read on
        if self._head_bytes > self._server.door.max_header_bytes:
            self._refuse_head(heads.too_large(self._server.door))

    def _may_answer(self) -> bool:
        """Tell whether bytes that are no HTTP deserve an answer; behind a last request they are only noise."""
        if self._lingering:
            return False
        return self.keep_alive or self._in_head or self._reading is not None

    def eof_received(self) -> bool:
        return False  # a client that closes its side has left

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.closed = True
        self._due = self._write_due = math.inf
        self._server.lost(self)
        for turn in self._waiting:
            self._server.engine.abandon(turn.exchange)
        self._waiting.clear()
        reading, self._reading = self._reading, None
        if reading is not None and reading is not self._exchange:
            self._server.engine.abandon(reading)
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._write_due = self._server.now() + STALL_SECONDS
        if self._source is not None:
            self._source.pause()

    def resume_writing(self) -> None:
        self._write_due = math.inf
        if self._source is not None:
            self._source.resume()

    # llhttp

    def on_message_begin(self) -> None:
        self._headers = []
        self._picked = {}
        self._url = b""
        self._conflict = b""
        self._special = False
        self._in_head = True
        self._head_bytes = 0
        if self._exchange is None:
            self._due = self._server.now() + self._server.door.header_seconds

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer: nothing that decides anything may arrive behind the body
        name = name.lower()
        self._headers.append((name, value))
        special = _READ(name)
        if special is not None:
            picked = self._picked
            if name in picked and picked[name] != value:
                if name == b"connection":
                    value = picked[name] + b"," + value
                else:
                    self._conflict = name
            picked[name] = value
            if special:
                self._special = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._lingering:
            return
        server = self._server
        path, mark, query = self._url.partition(b"?")
        exchange = Exchange(self, self._parser.get_method(), path, mark + query)
        self._reading = exchange
        self._reading_route = None
        exchange.headers = self._headers
        exchange.picked = picked = self._picked
        exchange.snapshot = server.engine.snapshot
        exchange.started = server.now()
        exchange.started_at = time.time()
        exchange.client = self.client if not server.trusted else server.client_of(self.client, self._headers)
        server.number += 1
        record_id = "%016x" % (server.number & 0xFFFFFFFFFFFFFFFF)
        exchange.record_id = record_id
        exchange.request_id = (self._special and heads.request_id(picked)) or record_id.encode()
        exchange.special = self._special
        self._body = []
        self._body_bytes = 0
        self._upload = None
        try:
            if self._head_bytes + self._read_bytes > server.door.max_header_bytes:
                heads.check_size(self._headers, server.door)
            length = heads.check(
                self._parser, self._headers, picked, self._conflict, server.door, special=self._special
            )
            route, exchange.path = find(
                exchange.method, path if path[:1] == b"/" else heads.plain_path(path), server.prefix
            )
        except GatewayError as error:
            exchange.kind = "malformed" if error.close else "unknown"
            if b"anthropic-version" in picked or path.startswith(b"/v1/messages"):
                exchange.family = "anthropic"
            self._turn_away(exchange, error)
            return
        exchange.kind = route.kind
        exchange.family = "anthropic" if b"anthropic-version" in picked else route.family
        exchange.endpoint = route.endpoint
        self._reading_route = route
        if length == 0:
            return  # on_message_complete follows at once
        self._body_since = exchange.started
        self._due = exchange.started + RATE_GRACE_SECONDS
        if length is None or length > EARLY_CHECK_BYTES or self._special or route.endpoint is None:
            self._expect_body(exchange, route, length)

    def _expect_body(self, exchange: Exchange, route: Route, length: int | None) -> None:
        """Decide how a body is taken, before any of it is."""
        server = self._server
        self._expects = heads.expects_continue(exchange.picked)
        try:
            if length is not None and length > server.door.max_body_bytes and not _streams(exchange, route, length):
                raise heads.body_too_large(server.door)
            if length is None or length > EARLY_CHECK_BYTES or self._expects:
                server.engine.admit(exchange)
        except GatewayError as error:
            self._turn_away(exchange, error)
            return
        if _streams(exchange, route, length) or (length or 0) > server.door.max_body_bytes:
            self._upload = exchange.upload = Upload(self, length)
            self._enqueue(_Turn(exchange, route, self._parser.should_keep_alive()))
        elif self._exchange is None:
            self.invite()

    def on_body(self, piece: bytes) -> None:
        exchange = self._reading
        if exchange is None or self._lingering:
            return
        size = len(piece)
        exchange.request_bytes += size
        if self._upload is not None:
            self._body_bytes += size
            self._upload.push(piece)
            return
        self._body_bytes += size
        if self._body_bytes > self._server.door.max_body_bytes:
            self._turn_away(exchange, heads.body_too_large(self._server.door))
            return
        self._body.append(piece)

    def on_message_complete(self) -> None:
        self._ended_now = True
        exchange, self._reading = self._reading, None
        if exchange is None:
            return
        if self._exchange is None or self._upload is not None:
            self._due = math.inf
        if self._upload is not None:
            self._upload.end()
            self._upload = None
            return
        body = self._body
        exchange.body = body[0] if len(body) == 1 else b"".join(body)
        self._enqueue(_Turn(exchange, self._reading_route, self._parser.should_keep_alive()))

    # turns

    def _enqueue(self, turn: _Turn) -> None:
        if self._exchange is None:
            self._start(turn)
            return
        self._waiting.append(turn)
        if len(self._waiting) >= MAX_WAITING:
            self.hold()

    def _start(self, turn: _Turn) -> None:
        exchange = turn.exchange
        server = self._server
        self._exchange = exchange
        self.http11 = self._parser.get_http_version() == "1.1"
        self.keep_alive = turn.keep_alive and not server.draining
        if self._reading is None:
            self._due = math.inf
        if turn.error is not None:
            server.engine.refuse(exchange, turn.error)
        elif turn.route is not None and turn.route.kind in PROBES:
            self.finish(server.probe(exchange, turn.route.kind))
        elif exchange.special and exchange.method == b"OPTIONS" and heads.is_preflight(exchange.picked):
            self.finish(server.preflight(exchange))
        else:
            self._task = server.loop.create_task(server.engine.run(exchange))

    def _turn_away(self, exchange: Exchange, error: GatewayError) -> None:
        """Answer a request whose body is not wanted; what still comes of it is thrown away."""
        self._reading = None
        self._upload = None
        self._body = []
        error.close = True
        self._lingering = self._exchange is None
        if self._exchange is not None:
            self.hold()
        self._enqueue(_Turn(exchange, None, keep_alive=False, error=error))

    def _stand_in(self, kind: str) -> Exchange:
        """Return an exchange for something that never became a request."""
        server = self._server
        path = self._url.partition(b"?")[0]
        exchange = Exchange(self, b"-", path, b"")
        exchange.headers = self._headers
        exchange.picked = self._picked
        exchange.snapshot = server.engine.snapshot
        exchange.started = server.now()
        exchange.started_at = time.time()
        exchange.client = self.client
        server.number += 1
        exchange.record_id = "%016x" % (server.number & 0xFFFFFFFFFFFFFFFF)
        exchange.request_id = exchange.record_id.encode()
        exchange.kind = kind
        if b"anthropic-version" in self._picked or path.startswith(b"/v1/messages"):
            exchange.family = "anthropic"
        return exchange

    def _refuse_head(self, error: GatewayError) -> None:
        self._in_head = False
        self._turn_away(self._stand_in("malformed"), error)

    def _refuse_framing(self, detail: str) -> None:
        reading = self._reading
        error = GatewayError(
            INVALID_REQUEST, "malformed_request", f"The request is not valid HTTP/1.1: {detail[:100]}.", close=True
        )
        if reading is not None and reading.upload is not None:
            self.abort()  # its turn has begun: the cut ends it
            return
        self._in_head = False
        self._turn_away(reading or self._stand_in("malformed"), error)

    def _refuse_upgrade(self) -> None:
        """Serve the request that asks for an upgrade as plain HTTP; nothing can follow it on this connection."""
        if self._waiting:
            self._waiting[-1] = self._waiting[-1]._replace(keep_alive=False)
        else:
            self.keep_alive = False
        self._lingering = self._exchange is None

    # Reply

    def write(self, data: bytes) -> None:
        """See `Reply`."""
        if data and not self.closed:
            self._transport.write(data)

    def finish(self, data: bytes) -> None:
        """See `Reply`."""
        self._exchange = None
        self._task = None
        self._source = None
        if self.closed:
            return
        if data:
            self._transport.write(data)
        if self._reading is not None and self._upload is not None:
            self._upload = None
            self._reading = None
            self._lingering = True
        elif self.keep_alive and not self._server.draining:
            if self._waiting:
                if self.held and len(self._waiting) < MAX_WAITING // 2:
                    self.release()
                self._start(self._waiting.popleft())
            elif self._in_head or self._reading is not None:
                self._due = min(self._due, self._server.now() + self._server.door.header_seconds)
                if self._expects:
                    self.invite()
            else:
                self._due = self._server.now() + self._server.door.keep_alive_seconds
            return
        self._close_gently()

    def _close_gently(self) -> None:
        """Close so that the answer arrives: what the client still sends is read for a moment and thrown away."""
        if self._lingering and self._transport.can_write_eof():
            self._transport.write_eof()
            self.release()
            self._due = self._server.now() + LINGER_SECONDS
        else:
            self._transport.close()

    def abort(self) -> None:
        """See `Reply`."""
        self._exchange = None
        self._task = None
        self._source = None
        if self.closed:
            return
        if self.http11:
            self._transport.close()  # a missing last chunk or a short body shows the cut
        else:
            self._transport.abort()

    def feed_from(self, source: Source | None) -> None:
        """See `Reply`."""
        self._source = source
        if source is not None and self._write_due is not math.inf:
            source.pause()

    # the client's side of an upload

    def hold(self) -> None:
        """Stop reading from the client."""
        if not self.held and not self.closed:
            self.held = True
            self._transport.pause_reading()

    def release(self) -> None:
        """Read on."""
        if self.held and not self.closed:
            self.held = False
            self._body_since = self._server.now()  # the client could not send meanwhile
            self._body_bytes = 0 if self._upload is not None else self._body_bytes
            self._transport.resume_reading()

    def invite(self) -> None:
        """Answer `Expect: 100-continue`."""
        if self._expects and not self.closed and self.http11:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._expects = False

    # the server's side

    def sweep(self, now: float) -> None:
        """Enforce the limits of time."""
        if self._write_due <= now:
            self._transport.abort()
        elif self._due <= now:
            self._expire(now)

    def _expire(self, now: float) -> None:
        if self._reading is not None and not self._lingering:
            self._check_rate(self._reading, now)
        elif self._in_head and self._exchange is None and not self._lingering and (self._url or self._headers):
            self._refuse_head(
                GatewayError(CLIENT_TIMEOUT, "header_timeout", "The request's head did not arrive in time.", close=True)
            )
        else:
            self._due = math.inf
            self._transport.abort() if self._lingering else self._transport.close()

    def _check_rate(self, exchange: Exchange, now: float) -> None:
        elapsed = now - self._body_since
        if self.held or elapsed < RATE_GRACE_SECONDS or self._body_bytes >= elapsed * self._server.door.min_body_rate:
            self._due = now + RATE_GRACE_SECONDS / 2
            return
        if self._upload is not None:
            self._transport.abort()
            return
        self._turn_away(
            exchange,
            GatewayError(
                CLIENT_TIMEOUT,
                "body_timeout",
                "The request's body arrived too slowly (server.min_body_rate).",
                close=True,
            ),
        )

    def drain(self) -> None:
        """Close as soon as nothing is being answered."""
        if self._exchange is None and self._reading is None and not self.closed:
            self._transport.close()

    def kill(self) -> None:
        """Close at once."""
        if not self.closed:
            self._transport.abort()


def _streams(exchange: Exchange, route: Route, length: int | None) -> bool:
    """Tell whether a body is passed on while it arrives: no dialect's endpoint, and nothing in it to look for first."""
    if route.endpoint is not None or route.kind != "transparent":
        return False
    if length is None or not exchange.picked.get(b"content-type", b"").startswith(b"application/json"):
        return True
    return not exchange.path.startswith(b"/v1/")
