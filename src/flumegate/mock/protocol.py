"""One connection of the mock: HTTP/1.1 in by llhttp, one answer after the other out.

Pipelined requests wait for their turn. Reading goes on while an answer leaves, because only a read sees that the
caller has left.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import cast

import httptools
import msgspec

from flumegate.mock.answer import JSON, Answer, Request, refusal
from flumegate.mock.asked import nonce_in
from flumegate.mock.delivery import Delivery
from flumegate.mock.faults import Faults
from flumegate.mock.ledger import BODY_BYTES_MAX, OPEN, Row
from flumegate.mock.paths import Place, find, own
from flumegate.mock.proofs import Sink
from flumegate.mock.stage import Stage

WRITE_BUFFER_BYTES = 64 << 10
BODY_BYTES_LIMIT = 64 << 20
PIPELINED_MAX = 64
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Incoming(msgspec.Struct, kw_only=True):
    """A request on its way in; `row` is None for the mock's own addresses, `sink` None for a body that is kept."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    http11: bool
    keep_alive: bool
    own: str
    place: Place
    row: Row | None
    sink: Sink | None
    body: bytearray


class Connection(asyncio.Protocol):
    """A caller's connection."""

    def __init__(self, stage: Stage) -> None:
        self.carries_calls = True
        self._stage = stage
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._incoming: _Incoming | None = None
        self._waiting: deque[_Incoming] = deque()
        self._current: _Incoming | None = None
        self._delivery: Delivery | None = None
        self._reader_is_slow = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in."""
        # uvloop's transports have the methods of asyncio's class without being of it.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._stage.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note how the calls of this connection ended that had not."""
        del exc
        self._stage.connections.discard(self)
        self._transport = None
        self._left()

    def eof_received(self) -> None:
        """Take the caller's end of the connection for the end of all of it."""
        self._left()

    def pause_writing(self) -> None:
        """Make the answer wait: the caller reads slowly."""
        self._reader_is_slow = True
        if self._delivery is not None:
            self._delivery.pause()

    def resume_writing(self) -> None:
        """Let the answer go on."""
        self._reader_is_slow = False
        if self._delivery is not None:
            self._delivery.resume()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # RFC 9110 §7.8 lets a server ignore an upgrade: it answers as usual, then the connection ends
        except httptools.HttpParserError as problem:
            self._refuse(f"The request is not valid HTTP/1.1: {problem}")

    def abort(self) -> None:
        """Drop the connection: the mock ends."""
        if self._transport is not None:
            self._transport.abort()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        """Take a part of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Decide where the request goes and what becomes of its body."""
        method = self._parser.get_method().decode()
        target = self._url.decode("latin-1")
        if target.startswith("http://"):
            target = "/" + target.partition("://")[2].partition("/")[2]
        path, _, query = target.partition("?")
        fields = dict(self._headers)
        ours = own(method, path)
        row: Row | None = None
        sink: Sink | None = None
        place = find(method, path, query, fields)
        if not ours:
            row = self._stage.ledger.begin(
                Row(
                    seq=0,
                    method=method,
                    target=target,
                    dialect=place.dialect,
                    operation=place.operation,
                    started_at=time.time(),
                    headers=self._headers,
                    connection=id(self),
                    model=place.model,
                    tag=fields.get(b"x-mock-tag", b"").decode("latin-1"),
                )
            )
            if place.operation == "upload":
                sink = Sink(BODY_BYTES_MAX)
        self.carries_calls = not ours
        self._incoming = _Incoming(
            method=method,
            target=target,
            headers=self._headers,
            http11=self._parser.get_http_version() == "1.1",
            keep_alive=self._parser.should_keep_alive() and not self._parser.should_upgrade(),
            own=ours,
            place=place,
            row=row,
            sink=sink,
            body=bytearray(),
        )
        if fields.get(b"expect", b"").lower() == b"100-continue" and self._current is None and self._transport:
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; beyond the limit only its first bytes are kept, and it is refused at the end."""
        incoming = self._incoming
        if incoming is None:
            return
        if incoming.sink is not None:
            incoming.sink.feed(body)
        elif len(incoming.body) <= BODY_BYTES_LIMIT:
            incoming.body += body

    def on_message_complete(self) -> None:
        """Answer the request, now or when its turn has come."""
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            return
        if self._current is None:
            self._serve(incoming)
            return
        self._waiting.append(incoming)
        if len(self._waiting) >= PIPELINED_MAX and self._transport is not None:
            self._transport.pause_reading()

    def _serve(self, incoming: _Incoming) -> None:
        self._current = incoming
        answer, faults = self._answer(incoming)
        if self._transport is None:
            return
        self._delivery = Delivery(
            self._transport,
            answer,
            faults,
            self._ended,
            http11=incoming.http11,
            keep_alive=incoming.keep_alive,
            head_only=incoming.method == "HEAD",
        )
        if self._reader_is_slow:
            self._delivery.pause()
        self._delivery.start()

    def _answer(self, incoming: _Incoming) -> tuple[Answer, Faults]:
        row = incoming.row
        if row is None:
            return Answer(status=200, media_type=JSON, body=self._stage.own(incoming.own, incoming.target)), Faults()
        body = bytes(incoming.body)
        ledger = self._stage.ledger
        if incoming.sink is not None:
            ledger.keep_body(row, bytes(incoming.sink.kept), incoming.sink.sha256(), incoming.sink.size)
        else:
            ledger.keep_body(row, body)
        place = incoming.place
        if len(body) > BODY_BYTES_LIMIT:
            answer, faults = (
                refusal(place.dialect, 413, "The request body is over 64 MiB: send less, or /v1/upload"),
                Faults(),
            )
        else:
            request = Request(
                method=incoming.method,
                target=incoming.target,
                place=place,
                headers=incoming.headers,
                body=body,
                sink=incoming.sink,
            )
            answer, faults = self._stage.answer(request, row.seq)
        row.status = answer.status
        row.model = answer.model or row.model
        row.stream = answer.stream
        row.input_tokens = answer.input_tokens
        row.output_tokens = answer.output_tokens
        row.nonce = answer.nonce or nonce_in(incoming.target)
        return answer, faults

    def _ended(self, outcome: str) -> None:
        """Close the book on the current call and serve the next one, on a turn of its own so that none nests."""
        current, delivery = self._current, self._delivery
        if current is not None and current.row is not None and delivery is not None:
            current.row.bytes_out = delivery.sent_bytes
            self._stage.ledger.end(current.row, outcome, time.time())
        if delivery is not None and not delivery.keep_alive:
            return
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._current = self._delivery = None
        if self._waiting and self._transport is not None:
            following = self._waiting.popleft()
            self._transport.resume_reading()
            self._serve(following)

    def _left(self) -> None:
        """Note that the caller has left; what it was waiting for stops."""
        delivery, now = self._delivery, time.time()
        pending = [one for one in (self._current, *self._waiting, self._incoming) if one is not None]
        if delivery is not None:
            delivery.stop()
        for one in pending:
            row = one.row
            if row is None or row.outcome != OPEN:
                continue
            current = one is self._current and delivery is not None
            if current and delivery is not None:
                row.bytes_out = delivery.sent_bytes
            self._stage.ledger.eof(row, now)
            hung = current and delivery is not None and delivery.hanging
            self._stage.ledger.end(row, "hang" if hung else "client_closed", now)
        self._waiting.clear()
        self._incoming = None

    def _refuse(self, message: str) -> None:
        """Answer a request that cannot be parsed, and close: its end is not known."""
        if self._transport is None:
            return
        if self._current is None:
            body = refusal("openai", 400, message).body or b""
            head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            self._transport.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        self._transport.close()
