"""The answer on its way to the client: bytes as they came, past a tap that looks at a copy.

One read from the upstream is one write to the client. The last bytes are not written here: settle hands them over once
the Record is safe.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from flumegate.dialects.tap import Tap
from flumegate.engine.events import EventStream
from flumegate.engine.head import AnswerHead
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.routing.plan import Plan
from flumegate.upstream import errors
from flumegate.upstream.call import Call
from flumegate.upstream.connection import Connection
from flumegate.wire import coding

MAX_COPY_BYTES = 262_144
"""How much of an answer in one piece the tap reads; of a larger one it sees the end."""
MAX_ERROR_BYTES = 262_144
"""Error answers are held up to this size, to be looked through for our own credential."""
_REDACTED = b"[redacted]"


class Relay:
    """Passes one answer on.

    Attributes:
        rest: what must still be handed to the client when the answer has ended.
        cut: the answer broke off and nothing could be said about it: the connection must be cut.
    """

    __slots__ = (
        "_chunked",
        "_copy",
        "_copy_bytes",
        "_decoder",
        "_done",
        "_events",
        "_exchange",
        "_extra",
        "_head",
        "_held_error",
        "_loop",
        "_plan",
        "_secret",
        "_tap",
        "cut",
        "rest",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        exchange: Exchange,
        plan: Plan,
        call: Call,
        *,
        withhold: bool,
        extra: bytes,
    ) -> None:
        self._loop = loop
        self._exchange = exchange
        self._plan = plan
        self._extra = extra
        self._chunked = False
        self._done: asyncio.Future[None] | None = None
        self.rest = b""
        self.cut = False
        self._head = head = AnswerHead(call)
        self._decoder = _decoder(head.encoding, plan) if head.encoding and not head.bodiless else None
        self._tap: Tap | None = None
        self._events: EventStream | None = None
        self._copy: list[bytes] | None = None
        self._copy_bytes = 0
        self._held_error: list[bytes] | None = None
        self._secret = b""
        exchange.status = call.status
        endpoint = exchange.endpoint
        if call.status >= 400:
            exchange.outcome = "upstream_error"
            exchange.error_code = f"upstream_{call.status}"
            if plan.provider.credential and not head.sse and not head.bodiless:
                # A provider's error may quote the key that it did not like: ours.
                self._secret = plan.provider.credential.encode("latin-1", "replace")
                self._held_error = []
        elif endpoint is not None:
            self._tap = exchange.tap = endpoint.tap()
            if head.sse:
                self._events = EventStream(self._tap, self._note_first_token, withhold_usage=withhold)
            else:
                self._copy = []

    def _note_first_token(self) -> None:
        self._exchange.first_token = monotonic()

    def whole(self, call: Call) -> bool:
        """Take an answer that is already complete; return whether all of it is now in `rest`."""
        if self._events is not None or call.error is not None or not call.ended:
            return False
        pieces = call.pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self._decoder is not None:
            body = self._decode_whole(self._decoder, body)
        if self._held_error is not None:
            body = body.replace(self._secret, _REDACTED)
        exchange = self._exchange
        if self._tap is not None:
            self._tap.read_whole(body)
        exchange.response_bytes = len(body)
        if exchange.response_body is not None:
            exchange.response_body.append(body)
        head, _ = self._head.write(exchange, self._plan, self._extra, None if self._head.bodiless else len(body))
        self.rest = head + body
        return True

    def _decode_whole(self, decoder: coding.Decoder, body: bytes) -> bytes:
        try:
            decoded = b"".join(decoder.feed(body))
            decoder.finish()
        except coding.CodingError as error:
            raise errors.garbage(self._plan.provider.name, str(error)) from None
        return decoded

    def start(self, call: Call, connection: Connection) -> asyncio.Future[None]:
        """Write the head and what came with it, then take the rest as it comes; the future ends with the answer."""
        self._done = self._loop.create_future()
        self._exchange.reply.feed_from(connection)
        call.sink = self
        pieces, call.pieces = call.pieces, []
        self.push(pieces)
        if call.error is not None:
            self.fail(call.error)
        elif call.ended:
            self.end()
        return self._done

    def push(self, pieces: list[bytes]) -> None:
        """Take the pieces of one read (see `AnswerSink`)."""
        if self._done is None or self._done.done():
            return
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self._decoder is None:
            self._pass(data)
            return
        try:
            for piece in self._decoder.feed(data):
                self._pass(piece)
        except coding.CodingError as error:
            self.fail(errors.garbage(self._plan.provider.name, str(error)))

    def _pass(self, data: bytes) -> None:
        if self._held_error is not None:
            self._hold_error(self._held_error, data)
            return
        if self._events is not None:
            data = self._events.take(data)
        elif self._copy is not None:
            self._keep_copy(self._copy, data)
        exchange = self._exchange
        if not exchange.head_sent:
            head, self._chunked = self._head.write(exchange, self._plan, self._extra, None)
            exchange.reply.write(head + self._frame(data) if data else head)
        elif data:
            exchange.reply.write(self._frame(data))

    def _frame(self, data: bytes) -> bytes:
        exchange = self._exchange
        exchange.response_bytes += len(data)
        if exchange.response_body is not None:
            exchange.response_body.append(data)
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def _hold_error(self, held: list[bytes], data: bytes) -> None:
        held.append(data)
        self._copy_bytes += len(data)
        if self._copy_bytes > MAX_ERROR_BYTES:
            self._held_error = None
            self._head.length = None
            self._pass(b"".join(held).replace(self._secret, _REDACTED))

    def _keep_copy(self, copy: list[bytes], data: bytes) -> None:
        copy.append(data)
        self._copy_bytes += len(data)
        if self._copy_bytes > 2 * MAX_COPY_BYTES:
            copy[:] = [b"".join(copy)[-MAX_COPY_BYTES:]]
            self._copy_bytes = MAX_COPY_BYTES + 1  # past the limit for good: what is kept is an end

    def end(self) -> None:
        """The answer is complete (see `AnswerSink`)."""
        if self._done is None or self._done.done():
            return
        if self._decoder is not None:
            try:
                self._decoder.finish()
            except coding.CodingError as error:
                self.fail(errors.garbage(self._plan.provider.name, str(error)))
                return
        if self._held_error is not None:
            body = b"".join(self._held_error).replace(self._secret, _REDACTED)
            head, self._chunked = self._head.write(self._exchange, self._plan, self._extra, len(body))
            self.rest = head + self._frame(body)
        elif self._events is not None:
            self._end_events(self._events, None)
        else:
            if self._tap is not None and self._copy is not None:
                body = b"".join(self._copy)
                (self._tap.read_tail if self._copy_bytes > MAX_COPY_BYTES else self._tap.read_whole)(body)
            self.rest = b"0\r\n\r\n" if self._chunked else b""
        self._done.set_result(None)

    def fail(self, error: GatewayError) -> None:
        """The answer broke off (see `AnswerSink`): an error event where the dialect has one, else a cut connection."""
        if self._done is None or self._done.done():
            return
        exchange = self._exchange
        if not exchange.head_sent:
            self._done.set_exception(error)
            return
        if self._events is not None:
            self._end_events(self._events, error)
        else:
            exchange.outcome, exchange.error_code = "truncated", error.code
            self.cut = True
        self._done.set_result(None)

    def _end_events(self, events: EventStream, error: GatewayError | None) -> None:
        """Decide how a stream ended; one without its dialect's own end is truncated, however cleanly it closed."""
        exchange, tap, endpoint = self._exchange, self._tap, self._exchange.endpoint
        assert tap is not None  # noqa: S101 - events are framed only for a tap
        assert endpoint is not None  # noqa: S101 - a tap comes from an endpoint
        body = events.close()
        if tap.failed:
            exchange.outcome, exchange.error_code = "upstream_error", "error_in_stream"
        elif not tap.complete:
            error = error or errors.cut(self._plan.provider.name)
            exchange.outcome, exchange.error_code = "truncated", error.code
            exchange.usage_partial = True
            if events.broken:
                self.cut = True
                return
            body = endpoint.write_stream_error(error, exchange.request_id.decode("latin-1"))
        self.rest = self._frame(body) if body else b""
        if self._chunked:
            self.rest += b"0\r\n\r\n"


def _decoder(encoding: bytes, plan: Plan) -> coding.Decoder:
    try:
        return coding.Decoder(encoding)
    except coding.UnknownCodingError as error:
        raise errors.garbage(plan.provider.name, f"the content encoding {str(error)[:40]!r} is not known") from None
