"""One client connection: requests in through its reader, answers out in their order.

A connection never waits: every limit of time is a number that the server's sweep compares with the clock.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections import deque
from typing import TYPE_CHECKING

from flumegate.door import head as heads
from flumegate.door.reader import RequestReader
from flumegate.door.routes import PROBES
from flumegate.door.turn import Turn
from flumegate.exchange import Exchange, Source

if TYPE_CHECKING:
    from flumegate.door.server import Server
    from flumegate.gates.authenticate import Known

WRITE_BUFFER_BYTES = 16_384
"""What may wait here for a client that reads slowly, beside what the kernel holds; then its upstream is paused. Four
times as much made no stream faster, and cost 500 slow readers half as much memory again."""
MAX_WAITING = 32
"""Pipelined requests that wait for their turn before reading stops."""
LINGER_SECONDS = 2.0
_ESTABLISHED = 1
"""First byte of TCP_INFO: both sides may still send (tcp(7))."""
STALL_SECONDS = 120.0
"""A client that reads nothing for so long is gone."""


class ClientConnection(asyncio.Protocol):
    """A client connection; it is the `Reply` of the exchange whose turn it is.

    Attributes:
        lingering: nothing that still arrives counts: the last answer is on its way, or the connection is ending.
        held: reading is paused.
        known: who used this connection last (see `gates.authenticate`).
    """

    __slots__ = (
        "_exchange",
        "_reader",
        "_server",
        "_source",
        "_task",
        "_transport",
        "_waiting",
        "_write_due",
        "client",
        "closed",
        "held",
        "http11",
        "keep_alive",
        "known",
        "lingering",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._reader = RequestReader(self, server)
        self._transport: asyncio.Transport
        self._exchange: Exchange | None = None
        """The request whose turn it is."""
        self._task: asyncio.Task[None] | None = None
        self._waiting: deque[Turn] = deque()
        self._source: Source | None = None
        self._write_due = math.inf
        self.client = ""
        self.closed = False
        self.held = False
        self.lingering = False
        self.http11 = True
        self.keep_alive = True
        self.known: Known | None = None

    @property
    def idle(self) -> bool:
        """No request is being answered."""
        return self._exchange is None

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # asyncio types the argument as BaseTransport
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if isinstance(peer, tuple) else "unix"
        server = self._server
        self._reader.due = server.now() + server.door.header_seconds
        server.opened(self)

    def data_received(self, data: bytes) -> None:
        if not self.lingering:
            self._reader.feed(data)

    def eof_received(self) -> bool:
        return False  # a client that closes its side has left

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.closed = True
        self._reader.due = self._write_due = math.inf
        self._server.lost(self)
        unanswered = [turn.exchange for turn in self._waiting]
        self._waiting.clear()
        reading, self._reader.reading = self._reader.reading, None
        if reading is not None and reading is not self._exchange and reading not in unanswered:
            unanswered.append(reading)
        for exchange in unanswered:
            self._server.engine.abandon(exchange)
        if self._task is not None:
            self._task.cancel()
            if self._exchange is not None:
                # A task that is cancelled before its first step never runs: then this is what records its exchange.
                self._server.loop.call_soon(self._server.engine.abandon, self._exchange)

    def pause_writing(self) -> None:
        self._write_due = self._server.now() + STALL_SECONDS
        if self._source is not None:
            self._source.pause()

    def resume_writing(self) -> None:
        self._write_due = math.inf
        if self._source is not None:
            self._source.resume()

    # turns

    def enqueue(self, turn: Turn) -> None:
        """Start a request, or let it wait for those before it."""
        if self._exchange is None:
            self._start(turn)
            return
        self._waiting.append(turn)
        if len(self._waiting) >= MAX_WAITING or len(turn.exchange.body) > WRITE_BUFFER_BYTES:
            self.hold()

    def last_turn(self, turn: Turn) -> None:
        """Take a turn behind which nothing can follow on this connection."""
        self.lingering = True
        self.enqueue(turn)

    def _start(self, turn: Turn) -> None:
        exchange = turn.exchange
        server = self._server
        self._exchange = exchange
        self.keep_alive = turn.keep_alive and not server.draining
        self.http11 = turn.http11
        if turn.error is not None:
            server.engine.refuse(exchange, turn.error)
        elif turn.route is not None and turn.route.kind in PROBES:
            self.finish(server.probe(exchange, turn.route.kind))
        elif exchange.special and exchange.method == b"OPTIONS" and heads.is_preflight(exchange.picked):
            self.finish(server.preflight(exchange))
        else:
            self._task = server.loop.create_task(server.engine.run(exchange))

    def refuse_upgrade(self) -> None:
        """Serve the request that asks for an upgrade as plain HTTP; nothing can follow it on this connection."""
        if self._exchange is None:
            self._transport.close()  # it has its answer already
        elif self._waiting:
            self._waiting[-1] = self._waiting[-1]._replace(keep_alive=False)
        else:
            self.keep_alive = False
        self.lingering = True

    # Reply

    def write(self, data: bytes) -> None:
        """See `Reply`."""
        if data and not self.closed:
            self._transport.write(data)

    def finish(self, data: bytes) -> None:
        """See `Reply`."""
        answered, self._exchange = self._exchange, None
        self._task = None
        self._source = None
        if self.closed:
            return
        if data:
            self._transport.write(data)
        if self.held and len(self._waiting) < MAX_WAITING // 2:
            self.release()
        reader, server = self._reader, self._server
        if reader.abandon_upload(answered):
            self.lingering = True
            self._close_gently()
        elif self._waiting and not server.draining and self.keep_alive:
            self._start(self._waiting.popleft())
        elif not self.keep_alive or server.draining or self.lingering:
            self._close_gently()
        elif reader.in_head or reader.reading is not None:
            reader.due = min(reader.due, server.now() + server.door.header_seconds)
            self.invite()
        else:
            reader.due = server.now() + server.door.keep_alive_seconds

    def turn_away(self, answer: bytes) -> None:
        """Answer a connection that is one too many; what it sends is not looked at."""
        self.lingering = True
        self.write(answer)
        self._close_gently()

    def _close_gently(self) -> None:
        """Close so that the answer arrives: what the client still sends is read for a moment and thrown away."""
        if self.lingering and self._transport.can_write_eof():
            self._transport.write_eof()
            self.release()
            self._reader.due = self._server.now() + LINGER_SECONDS
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
            self._reader.pardon()
            self._transport.resume_reading()

    def invite(self) -> None:
        """Answer `Expect: 100-continue`, if the client did expect it."""
        reader = self._reader
        if reader.expects:
            reader.expects = False
            if reader.http11:
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # the server's side

    def sweep(self, now: float) -> None:
        """Enforce the limits of time."""
        if self._write_due <= now or (self.held and self._has_left()):
            self._transport.abort()
        elif self._reader.due <= now:
            self._reader.due = math.inf
            if self.lingering:
                self._transport.abort()
            elif self._reader.expire(now):
                self._transport.close()

    def _has_left(self) -> bool:
        """Ask the kernel whether the client is still there: while reading is paused, its leaving is seen by no read."""
        end = self._transport.get_extra_info("socket")
        try:
            state: int = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        except (AttributeError, OSError, ValueError):
            return False  # no TCP, a kernel that does not tell, or a socket that is just being closed
        return state != _ESTABLISHED

    def drain(self) -> None:
        """Close as soon as nothing is being answered."""
        if self._exchange is None and self._reader.reading is None and not self.closed:
            self._transport.close()

    def kill(self) -> None:
        """Close at once."""
        if not self.closed:
            self._transport.abort()
