"""How one answer leaves, under every fault of the wire: delays, stalls, cuts, resets, drips. Nothing here blocks.

Each event is one `transport.write`. While the reader is slow nothing is made up in advance, so memory stays flat. The
`outcome` that `on_end` gets is `complete`, `cut`, `rst`, `garbage` or `closed`; a connection that is lost first is the
protocol's to name, and `hanging` tells whether this side had stopped for good.
"""

from __future__ import annotations

import asyncio
import http
import socket
import struct
from collections.abc import Callable, Iterator

from flumegate.mock.answer import Answer
from flumegate.mock.faults import Faults

GARBAGE = b"\x00\x16\x03\x01 this is not HTTP \xff\xfe\r\n\r\n"
EVENTS_A_TURN = 32
"""So many events leave in one turn of the loop where no pace was asked for; then other streams have theirs."""

_DRIP_SECONDS = 0.02
_FLUSH_SECONDS = 0.005
_LINGER_NONE = struct.pack("ii", 1, 0)
_REASONS = {status.value: status.phrase.encode() for status in http.HTTPStatus}


class Delivery:
    """One answer on its way out."""

    def __init__(
        self,
        transport: asyncio.Transport,
        answer: Answer,
        faults: Faults,
        on_end: Callable[[str], None],
        *,
        http11: bool,
        keep_alive: bool,
        head_only: bool,
    ) -> None:
        self.hanging = False
        self.sent_bytes = 0
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._answer = answer
        self._faults = faults
        self._on_end = on_end
        self._keep_alive = keep_alive
        self._head_only = head_only
        known = answer.length if answer.body is None else (None if faults.no_length else len(answer.body))
        self._length = known
        self._chunked = known is None and http11
        if known is None and not http11:
            self._keep_alive = False  # HTTP/1.0 knows no chunks: the end of the connection is the end of the body
        self._pieces: Iterator[bytes] = iter(())
        self._events = 0
        self._stalled = faults.stall_ms <= 0
        self._drip = b""
        self._paused = False
        self._waiting = False
        self._due = 0.0
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None

    @property
    def keep_alive(self) -> bool:
        """Whether the connection serves on after this answer."""
        return self._keep_alive

    def start(self) -> None:
        """Begin; `on_end` may be called before this returns."""
        if self._faults.latency_ms:
            self._later(self._faults.latency_ms / 1000, self._open)
        else:
            self._open()

    def stop(self) -> None:
        """Give up, because the connection is gone; `on_end` will not be called."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause(self) -> None:
        """Write nothing more until `resume`: the reader is slow."""
        self._paused = True

    def resume(self) -> None:
        """Write on."""
        self._paused = False
        if self._waiting:
            self._waiting = False
            self._soon(self._step)

    def _open(self) -> None:
        answer, faults = self._answer, self._faults
        if faults.close_before_head or faults.garbage:
            if faults.garbage:
                self._transport.write(GARBAGE)
            self._leave("garbage" if faults.garbage else "closed", reset=faults.rst >= 0)
            return
        head = self._head()
        if self._head_only or (answer.body is not None and faults.whole):
            body = b"" if self._head_only or answer.body is None else answer.body
            self.sent_bytes = len(body)
            self._transport.write(head + body)
            self._complete()
            return
        self._transport.write(head)
        self._pieces = answer.pieces if answer.pieces is not None else _halves(answer.body or b"", faults)
        if faults.first_byte_ms:
            self._later(faults.first_byte_ms / 1000, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        self._due = self._loop.time()
        self._step()

    def _head(self) -> bytes:
        answer = self._answer
        lines = [
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\n"
            % (answer.status, _REASONS.get(answer.status, b"Status"), answer.media_type)
        ]
        lines += [name + b": " + value + b"\r\n" for name, value in answer.headers]
        if self._length is not None:
            lines.append(b"content-length: %d\r\n" % self._length)
        elif self._chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n" if self._keep_alive else b"connection: close\r\n\r\n")
        return b"".join(lines)

    def _step(self) -> None:
        """Send the events whose time has come, then see to it that this is called again."""
        self._timer = None
        faults = self._faults
        for _ in range(EVENTS_A_TURN):
            if self._holds():
                return
            piece = next(self._pieces, None)
            if piece is None:
                self._finish()
                return
            self._events += 1
            if faults.one_byte or faults.rate:
                self._drip = piece
                self._drop()
                return
            if not self._put(piece):
                return
            if faults.interval_ms and self._answer.pieces is not None:
                self._next_event()
                return
        self._soon(self._step)

    def _holds(self) -> bool:
        """Whether nothing is to leave now; whatever wakes the stream again, if anything does, is seen to."""
        faults = self._faults
        if self._paused:
            self._waiting = True
        elif not self._stalled and self._events == faults.stall_at:
            self._stalled = True
            self._later(faults.stall_ms / 1000, self._begin)
        elif self._events == faults.hang:
            self.hanging = True
        else:
            return False
        return True

    def _next_event(self) -> None:
        """Wait for the next event's moment on a fixed beat, so that one late turn does not slow the stream."""
        self._due += self._faults.interval_ms / 1000
        self._timer = self._loop.call_at(self._due, self._step)

    def _drop(self) -> None:
        """Send the next slice of a piece that leaves slowly."""
        self._timer = None
        if self._paused:
            self._later(_DRIP_SECONDS, self._drop)
            return
        faults = self._faults
        size = max(1, int(faults.rate * _DRIP_SECONDS)) if faults.rate and not faults.one_byte else 1
        slice_, self._drip = self._drip[:size], self._drip[size:]
        if slice_ and not self._put(slice_):
            return
        after = self._drop if self._drip else self._step
        if faults.rate:
            self._later(len(slice_) / faults.rate, after)
        elif not self._drip and faults.interval_ms:
            self._next_event()
        else:
            self._soon(after)

    def _put(self, piece: bytes) -> bool:
        """Send bytes of the body; False if a fault ended the answer with them."""
        limit = max(self._faults.cut, self._faults.rst)
        ends = 0 <= limit <= self.sent_bytes + len(piece)
        if ends:
            piece = piece[: limit - self.sent_bytes]
        self.sent_bytes += len(piece)
        if piece:
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)
        if ends:
            self._break()
        return not ends

    def _finish(self) -> None:
        if self._faults.hang >= 0:
            self.hanging = True
        elif max(self._faults.cut, self._faults.rst) >= 0:
            self._break()
        else:
            if self._chunked:
                self._transport.write(b"0\r\n\r\n")
            self._complete()

    def _break(self) -> None:
        reset = self._faults.rst >= 0
        self._leave("rst" if reset else "cut", reset=reset)

    def _complete(self) -> None:
        if not self._keep_alive:
            self._transport.close()
        self._on_end("complete")

    def _leave(self, outcome: str, *, reset: bool) -> None:
        self._keep_alive = False
        if reset:
            self._later(_FLUSH_SECONDS, self._reset)
        else:
            self._transport.close()
            self._on_end(outcome)

    def _reset(self) -> None:
        """Reset the connection once everything before it has left; a reset would throw away what is still here."""
        if self._transport.get_write_buffer_size():
            self._later(_FLUSH_SECONDS, self._reset)
            return
        self._timer = None
        end = self._transport.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self._transport.abort()
        self._on_end("rst")

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self._timer = self._loop.call_later(seconds, what)

    def _soon(self, what: Callable[[], None]) -> None:
        self._timer = self._loop.call_soon(what)


def _halves(body: bytes, faults: Faults) -> Iterator[bytes]:
    """Yield a body that is known in full: in two halves where the answer is to stop between them."""
    if faults.hang >= 0 or faults.stall_ms:
        middle = len(body) // 2
        yield body[:middle]
        yield body[middle:]
    else:
        yield body
