"""The head of an answer, judged and written: what travels on, what is added, how the body is framed."""

from __future__ import annotations

from http import HTTPStatus

from flumegate.exchange import Exchange
from flumegate.routing.plan import Plan
from flumegate.upstream.call import Call
from flumegate.wire.headers import answer_verdicts, named_by_connection

_VERDICTS = answer_verdicts()
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
_BODILESS = frozenset((204, 304))
_USUAL_CONNECTION = (b"keep-alive", b"Keep-Alive", b"close")
_NO_BUFFERING = b"x-accel-buffering: no"
_NO_STORE = b"cache-control: no-store"
ENOUGH = b"x-should-retry: false\r\n"
"""Tells the official clients that we have tried often enough for both of us."""


def status_line(status: int) -> bytes:
    """Return the status line for any three-digit status."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d Status\r\n" % status


def counted_marks(plan: Plan, attempts: int) -> bytes:
    """Return the header lines that say who served, with the number of attempts that it took."""
    return plan.marks.replace(b"x-flumegate-attempts: 1", b"x-flumegate-attempts: %d" % attempts)


class AnswerHead:
    """What an upstream's head means for the relay.

    Attributes:
        length: value of `content-length` where the body is passed on as it is, else None.
        encoding: content coding to undo, or empty.
        media_type: in lower case, with its parameters.
        sse: the body is a stream of server-sent events.
        streamed: the body is a stream of events, server-sent or a JSON document a line.
        bodiless: no body follows, whatever the head says (204, 304, HEAD).
    """

    __slots__ = ("_headless", "_lines", "bodiless", "encoding", "length", "media_type", "sse", "status", "streamed")

    def __init__(self, call: Call) -> None:
        self.status = call.status
        self.length: bytes | None = None
        self.encoding = b""
        self._headless = call.headless
        self.bodiless = call.headless or call.status in _BODILESS
        lines: list[bytes] = []
        media_type = b""
        hops: frozenset[bytes] = frozenset()
        for name, value in call.headers:
            verdict = _VERDICTS[name]
            if not verdict:
                lower = name.lower()
                if lower == b"content-length":
                    self.length = value
                elif lower == b"connection" and value not in _USUAL_CONNECTION:
                    hops |= named_by_connection(value)
                continue
            if verdict == b"content-type: ":
                media_type = value
            elif verdict == b"content-encoding: ":
                self.encoding = b"" if value.strip().lower() == b"identity" else value
                continue
            lines.append(verdict + value)
        if hops:
            lines = [line for line in lines if line.partition(b":")[0] not in hops]
        self.media_type = media_type.lower()
        self.sse = self.media_type[:17] == b"text/event-stream"
        self.streamed = self.sse or self.media_type[:20] == b"application/x-ndjson"
        if self.streamed:
            self.length = None
            lines.append(_NO_BUFFERING)
        elif self.encoding:
            self.length = None
        lines.append(b"")
        self._lines = lines

    def field(self, name: bytes) -> bytes:
        """Return the value of a field that travels on, or empty; `name` in lower case."""
        start = name + b": "
        return next((line[len(start) :] for line in self._lines if line.startswith(start)), b"")

    @classmethod
    def written(cls, status: int, lines: list[bytes], *, sse: bool) -> AnswerHead:
        """Return the head of an answer that was written here; `lines` are its own fields without line ends."""
        head = cls.__new__(cls)
        head.status = status
        head.length = None
        head.encoding = b""
        head.bodiless = head._headless = False  # noqa: SLF001 - its own attribute
        head.media_type = b""
        head.sse = head.streamed = sse
        head._lines = [*lines, *((_NO_STORE, _NO_BUFFERING) if sse else ()), b""]  # noqa: SLF001 - its own attribute
        return head

    def write(self, exchange: Exchange, plan: Plan, extra: bytes, length: int | None) -> tuple[bytes, bool]:
        """Return the head for the client and whether the body must be framed in chunks.

        `length` is the size of the body where all of it is at hand; `extra` holds finished header lines of our own.
        """
        reply = exchange.reply
        chunked = False
        if self.status in _BODILESS:
            framing = b""
        elif length is not None:
            framing = b"content-length: %d\r\n" % length
        elif self.length is not None:
            framing = b"content-length: %b\r\n" % self.length
        elif self._headless:
            framing = b""
        elif reply.http11:
            framing = b"transfer-encoding: chunked\r\n"
            chunked = True
        else:
            framing = b""
            reply.keep_alive = False
        exchange.head_sent = True
        request_id = exchange.request_id
        head = b"%b%b%b%bx-request-id: %b\r\nrequest-id: %b\r\nx-upstream-response-time: %d\r\n%b%b\r\n" % (
            status_line(self.status),
            b"\r\n".join(self._lines),
            framing,
            plan.marks if len(exchange.attempts) <= 1 else counted_marks(plan, len(exchange.attempts)),
            request_id,
            request_id,
            ((exchange.first_byte or 0.0) - (exchange.sent or 0.0)) * 1000,
            b"" if reply.keep_alive else b"connection: close\r\n",
            extra,
        )
        return head, chunked
