"""One outbound connection: an asyncio protocol over llhttp, one call at a time.

A connection returns to its pool only after a whole answer to a whole request; anything else closes it, so that no
answer can ever meet the wrong request. Time limits are plain numbers that the pool's sweep compares with the clock.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic
from typing import TYPE_CHECKING

import httptools

from flumegate.errors import GatewayError
from flumegate.upstream import errors
from flumegate.upstream.call import Call

if TYPE_CHECKING:
    from flumegate.upstream.pool import Pool

MAX_HEAD_BYTES = 131_072
"""An answer's head beyond this is refused; large providers stay below 8 KB."""
WRITE_BUFFER_BYTES = 65_536
READ_BYTES = 65_536
"""Most bytes of one read. What it holds waits in memory for a client that reads slowly, and is translated in one go
while everybody else waits."""
_buffer = bytearray(READ_BYTES)
_view = memoryview(_buffer)  # one for all connections: each read is parsed, and copied by the parser, before the next


class Connection(asyncio.BufferedProtocol):
    """A connection to one origin."""

    __slots__ = (
        "_chunked_upload",
        "_clogged",
        "_dirty",
        "_head_bytes",
        "_headers",
        "_interim",
        "_parser",
        "_paused",
        "call",
        "closed",
        "due",
        "heard",
        "idle_since",
        "pool",
        "transport",
        "uses",
    )

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.transport: asyncio.Transport
        self.call: Call | None = None
        self.closed = False
        self.due = math.inf
        """Loop time at which the connection has been silent for too long."""
        self.heard = False
        """Something came since the last sweep, which sets `due` anew: cheaper than a look at the clock per read."""
        self.idle_since = 0.0
        self.uses = 0
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] | None = []
        """Fields of the head that is being read; None behind it."""
        self._head_bytes = 0
        self._interim = False
        self._clogged = False
        """Much of a request is still on its way out: an answer to it came early."""
        self._paused = False
        self._dirty = False
        self._chunked_upload = False

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # asyncio types the argument as BaseTransport
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio's signature
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        call = self.call
        if call is None:
            self.close()  # bytes that nobody asked for: whatever they are, the connection is no longer clean
            return
        try:
            self._parser.feed_data(_view[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not call.ended:
                self._fail(errors.garbage(call.provider, f"not HTTP/1.1 ({str(error)[:80]})"))
                return
            self._dirty = True
        sink = call.sink
        if sink is None:
            self._begin_answer(call, nbytes)
            return
        pieces = call.pieces
        if pieces:
            call.pieces = []
            self._head_bytes = 0
            sink.push(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        elif not call.ended:
            self._head_bytes += nbytes
            if self._head_bytes > MAX_HEAD_BYTES:
                self._fail(errors.garbage(call.provider, "its trailers are too large"))
                return
        if call.ended:
            self._release(call)
            sink.end()
        else:
            self.heard = True

    def _begin_answer(self, call: Call, size: int) -> None:
        """Wake whoever waits for the head; until then bytes are counted, from then on kept."""
        if call.status == 0:
            call.nothing_received = False
            self._head_bytes += size
            if self._head_bytes > MAX_HEAD_BYTES:
                self._fail(errors.garbage(call.provider, "its headers are too large"))
            return
        if call.ended:
            self._release(call)
        else:
            self.heard = True
        if not call.head.done():
            call.head.set_result(None)
        elif not call.ended:
            self.pause()  # nobody has taken the first read yet: megabytes of a fast answer would pile up behind it

    def eof_received(self) -> bool:
        return False  # close; connection_lost judges what the end means

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.pool.forget(self)
        call = self.call
        if call is None:
            return
        if exc is None and _ends_with_connection(call):
            call.ended = call.unframed = True
            self.call = None
            if call.sink is not None:
                call.sink.end()
            return
        provider = call.provider
        self._fail(errors.closed_unanswered(provider) if call.nothing_received else errors.cut(provider))

    def pause_writing(self) -> None:
        self._clogged = True
        call = self.call
        if call is not None and call.upload_source is not None:
            call.upload_source.pause()
            if call.timeouts.idle is not None:
                self.due = monotonic() + call.timeouts.idle

    def resume_writing(self) -> None:
        self._clogged = False
        call = self.call
        if call is not None and call.upload_source is not None:
            call.upload_source.resume()
            if not call.body_sent:
                self.due = math.inf

    # llhttp

    def on_message_begin(self) -> None:
        if self.call is None or self.call.ended:
            self._dirty = True
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._headers is not None:  # a trailer is dropped: it must not pass for a field of the head
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        call = self.call
        if call is None or call.ended:
            self._dirty = True
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._interim = True
            return
        call.status = status
        call.headers, self._headers = self._headers or [], None
        call.nothing_received = False
        if not self._parser.should_keep_alive():
            self._dirty = True
        if call.headless:
            call.ended = True
            self._dirty = True  # llhttp cannot know that no body follows

    def on_body(self, piece: bytes) -> None:
        call = self.call
        if call is not None and not call.ended:
            call.pieces.append(piece)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            self._head_bytes = 0
            return
        call = self.call
        if call is None or call.ended:
            return
        call.ended = True

    # the pool's and the engine's side

    def send(self, call: Call, head: bytes, body: bytes, now: float) -> None:
        """Begin a call with a whole request, or with its head alone where an upload follows."""
        self.call = call
        call.reused = self.uses > 0
        self.uses += 1
        self._head_bytes = 0
        self.heard = False
        timeouts = call.timeouts
        if call.body_sent and timeouts.first_byte is not None:
            self.due = now + timeouts.first_byte
        else:
            self.due = math.inf
        if len(body) > WRITE_BUFFER_BYTES:
            self.transport.write(head)
            self.transport.write(body)
        else:
            self.transport.write(head + body)

    def begin_upload(self, *, chunked: bool) -> None:
        """Say how the pieces that follow are framed."""
        self._chunked_upload = chunked

    def write_body(self, piece: bytes) -> None:
        """Send one piece of an upload."""
        if self.closed or self.call is None:
            return
        self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked_upload else piece)

    def end_body(self) -> None:
        """Send the end of an upload; from here on the upstream must begin to answer."""
        call = self.call
        if self.closed or call is None:
            return
        call.body_sent = True
        if self._chunked_upload:
            self.transport.write(b"0\r\n\r\n")
        if call.status == 0 and call.timeouts.first_byte is not None:
            self.due = monotonic() + call.timeouts.first_byte

    def pause(self) -> None:
        """Stop reading: the client is slow. The upstream's silence is then no fault of its own."""
        if not self._paused and not self.closed and self.call is not None:
            self._paused = True
            self.transport.pause_reading()
            self.due = math.inf

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self.closed:
            self._paused = False
            self.transport.resume_reading()
            call = self.call
            if call is not None and call.timeouts.idle is not None:
                self.due = monotonic() + call.timeouts.idle

    def sweep(self, now: float) -> None:
        """End a call whose time is up."""
        call = self.call
        if call is None:
            return
        if self.heard:
            self.heard = False
            if not self._paused:
                idle = call.timeouts.idle
                self.due = now + idle if idle is not None else math.inf
        if self.due > now and call.deadline > now:  # the engine may have moved that one since anything was heard
            return
        if now >= call.final_deadline:
            self._fail(errors.out_of_time(call.provider))
        elif now >= call.deadline:
            self._fail(errors.too_slow(call.provider))
        else:
            self._fail(errors.timed_out(call.provider, answered=call.status != 0))

    def close(self) -> None:
        """Close at once; a call that is under way is abandoned without a word."""
        self.call = None
        if not self.closed:
            self.closed = True
            self.pool.forget(self)
            self.transport.abort()

    def _release(self, call: Call) -> None:
        self.call = None
        self.due = math.inf
        if self._dirty or not call.body_sent or self._clogged or self.closed:
            self.close()
            return
        self.resume()
        self.pool.give_back(self)

    def _fail(self, error: GatewayError) -> None:
        call = self.call
        self.close()
        if call is None:
            return
        if call.sink is not None:
            if call.pieces:
                pieces = call.pieces
                call.pieces = []
                call.sink.push(b"".join(pieces))
            call.sink.fail(error)
        elif call.head.done():
            call.error = error
        elif call.status:
            call.error = error
            call.head.set_result(None)
        else:
            call.head.set_exception(error)


def _ends_with_connection(call: Call) -> bool:
    """Tell whether an answer has neither length nor chunks, so that its end is the connection's (RFC 9112 §6.3)."""
    framed = any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in call.headers)
    return call.status != 0 and not framed
