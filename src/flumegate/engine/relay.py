"""The answer on its way to the client: bytes as they came, past a tap that looks at a copy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

import msgspec

from flumegate.dialects.tap import Tap
from flumegate.engine.events import EventStream, LineStream
from flumegate.engine.head import AnswerHead
from flumegate.engine.passage import Passage
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.routing.plan import Plan
from flumegate.upstream import errors
from flumegate.upstream.call import Call
from flumegate.wire import coding

MAX_COPY_BYTES = 262_144
"""How much of an answer in one piece the tap reads; of a larger one it sees the end."""
MAX_ERROR_BYTES = 262_144
"""Error answers are held up to this size, to be looked through for our own credential."""
MAX_START_BYTES = 4_194_304
"""How much of a stream is held before its first meaningful event: start-up events repeat instructions and tools."""
FREE_BYTES = 4_194_304
"""How much of a compressed answer is not compared with what it came in: one read may unfold to so much at once."""
END_SECONDS = 1.0
"""How long a stream may stay open behind the error that it has reported."""
_REDACTED = b"[redacted]"
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode


def whole(exchange: Exchange, plan: Plan, call: Call, head: AnswerHead, extra: bytes) -> bytes:
    """Return an answer that is already complete, head and body, and note what the tap sees of it.

    Raises:
        GatewayError: its content coding is unknown or damaged, or it is no answer of the dialect.
    """
    pieces = call.pieces
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if head.encoding and not head.bodiless:
        body = _decode(_decoder(head.encoding, plan), body, plan)
    status = exchange.status = head.status
    if status >= 400:
        _note_error(exchange, status)
        body = _without_credential(body, plan)
    elif exchange.endpoint is not None:
        if exchange.lane == "verbatim":
            _check_json(body, plan, _opening(exchange))
            if call.unframed and not _is_whole_json(body):
                raise errors.cut(plan.provider.name)
        tap = exchange.tap = exchange.endpoint.tap()
        tap.read_whole(body)
        if tap.unreadable and _is_judged(exchange, head):
            raise errors.garbage(plan.provider.name, "it is no JSON document")
    exchange.response_bytes = len(body)
    if exchange.response_body is not None:
        exchange.response_body.append(body)
    return head.write(exchange, plan, extra, None if head.bodiless else len(body))[0] + body


def _note_error(exchange: Exchange, status: int) -> None:
    exchange.outcome, exchange.error_code = "upstream_error", f"upstream_{status}"


def _opening(exchange: Exchange) -> bytes:
    """Return how an answer in one piece begins: Gemini's stream without `alt=sse` is an array of answers."""
    endpoint = exchange.endpoint
    return b"[" if endpoint is not None and endpoint.streams else b"{"


def _is_judged(exchange: Exchange, head: AnswerHead) -> bool:
    """Tell whether a body must be JSON from its beginning to its end; what says that it is something else need not."""
    return exchange.lane == "verbatim" and b"json" in head.media_type


def _check_json(body: bytes, plan: Plan, opening: bytes) -> None:
    """Refuse what no client of the dialect can read: nothing (a 204), the page of a captive portal, a check's OK.

    Raises:
        GatewayError: it does not begin as its JSON does (white space before it keeps connections alive).
    """
    if body[:1] != opening and body.lstrip()[:1] != opening:
        what = f"it begins with {body.lstrip()[:20]!r} where JSON is expected" if body else "it is empty"
        raise errors.garbage(plan.provider.name, what)


def _is_whole_json(body: bytes) -> bool:
    """Tell whether the body itself ends: all that is left to go by where HTTP's framing does not tell."""
    try:
        _decode_raw(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _without_credential(body: bytes, plan: Plan) -> bytes:
    """Return an error answer without our own key, which a provider may quote when it did not like it."""
    credential = plan.provider.credential
    return body.replace(credential.encode("latin-1", "replace"), _REDACTED) if credential else body


class Relay(Passage):
    """Passes one answer on.

    Events before the first meaningful one are held: until that has come, another target can still be asked.
    """

    __slots__ = (
        "_copy",
        "_copy_bytes",
        "_decoder",
        "_events",
        "_extra",
        "_head",
        "_held",
        "_held_bytes",
        "_held_error",
        "_judged",
        "_take",
        "_tap",
        "_write",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        exchange: Exchange,
        plan: Plan,
        head: AnswerHead,
        begun: Callable[[], None],
        *,
        withhold: bool,
        extra: bytes,
    ) -> None:
        super().__init__(loop, exchange, plan, begun)
        self._extra = extra
        self._write = exchange.reply.write
        self._take: Callable[[bytes], bytes] | None = None
        self._head = head
        self._decoder = _decoder(head.encoding, plan) if head.encoding and not head.bodiless else None
        self._tap: Tap | None = None
        self._events: EventStream | None = None
        self._copy: list[bytes] | None = None
        self._copy_bytes = 0
        self._judged = exchange.lane == "verbatim"
        self._held_error: list[bytes] | None = None
        self._held: list[bytes] | None = None
        self._held_bytes = 0
        status = exchange.status = head.status
        endpoint = exchange.endpoint
        if status >= 400:
            _note_error(exchange, status)
            if plan.provider.credential and not head.streamed and not head.bodiless:
                self._held_error = []
        elif endpoint is not None:
            self._tap = exchange.tap = endpoint.tap()
            if head.streamed:
                stream = EventStream if head.sse else LineStream
                self._events = stream(self._tap, self._note_first_token, withhold_usage=withhold)
                self._held = []
            else:
                self._copy = []

    def _note_first_token(self) -> None:
        self._exchange.first_token = monotonic()

    def push(self, data: bytes) -> None:
        """Take the bytes of one read (see `AnswerSink`)."""
        take = self._take
        if take is not None:
            # A stream under way, which is what most reads are: whole events in, one write out.
            data = take(data)
            if data:
                self._write(self._frame(data))
        elif not self._done.done():
            self._push_slowly(data)

    def _push_slowly(self, data: bytes) -> None:
        try:
            if self._decoder is None:
                self._pass(data)
                return
            for piece in self._decoder.feed(data):
                self._pass(piece)
        except coding.CodingError as error:
            self.fail(errors.garbage(self._plan.provider.name, str(error)))
        except GatewayError as error:
            self.fail(error)

    def _pass(self, data: bytes) -> None:
        if self._held_error is not None:
            self._hold_error(self._held_error, data)
            return
        if self._events is not None:
            data = self._events.take(data)
            if self._held is not None:
                data = self._hold_start(self._held, data)
                if self._held is not None:
                    return
        elif self._copy is not None:
            self._keep_copy(self._copy, data)
            if self._judged and not self._exchange.head_sent:
                if not data:
                    return  # what this is shows only in its first bytes
                if not data.isspace():
                    _check_json(data, self._plan, _opening(self._exchange))
        exchange = self._exchange
        if not exchange.head_sent:
            self._commit()
            head, self._chunked = self._head.write(exchange, self._plan, self._extra, None)
            exchange.reply.write(head + self._frame(data) if data else head)
            if self._events is not None and self._decoder is None:
                self._take = self._events.take
        elif data:
            exchange.reply.write(self._frame(data))

    def _hold_start(self, held: list[bytes], data: bytes) -> bytes:
        """Keep what says nothing yet; return all that was kept once something meaningful has come."""
        held.append(data)
        self._held_bytes += len(data)
        tap = self._tap
        assert tap is not None  # noqa: S101 - events are framed only for a tap
        if tap.failed and not tap.started:
            self._call.deadline = min(self._call.deadline, monotonic() + END_SECONDS)
            return b""
        if not tap.started and self._held_bytes <= MAX_START_BYTES:
            return b""
        self._held = None
        return held[0] if len(held) == 1 else b"".join(held)

    def _hold_error(self, held: list[bytes], data: bytes) -> None:
        held.append(data)
        self._copy_bytes += len(data)
        if self._copy_bytes > MAX_ERROR_BYTES:
            self._held_error = None
            self._head.length = None
            self._pass(_without_credential(b"".join(held), self._plan))

    def _keep_copy(self, copy: list[bytes], data: bytes) -> None:
        copy.append(data)
        self._copy_bytes += len(data)
        if self._copy_bytes > 2 * MAX_COPY_BYTES:
            copy[:] = [b"".join(copy)[-MAX_COPY_BYTES:]]
            self._copy_bytes = MAX_COPY_BYTES + 1  # past the limit for good: what is kept is an end

    def end(self) -> None:
        """The answer is complete (see `AnswerSink`)."""
        if self._done.done():
            return
        if self._decoder is not None:
            try:
                self._decoder.finish()
            except coding.CodingError as error:
                self.fail(errors.garbage(self._plan.provider.name, str(error)))
                return
            if not self._exchange.head_sent and self._held_error is None and self._held is None:
                self._pass(b"")  # it unfolded to nothing, and the head is still owed
        if self._held_error is not None:
            body = _without_credential(b"".join(self._held_error), self._plan)
            head, self._chunked = self._head.write(self._exchange, self._plan, self._extra, len(body))
            self.rest = head + self._frame(body)
        elif self._events is not None:
            if self._held is not None:
                self._end_unbegun(self._events, self._held)
                return
            self._end_events(self._events, None)
        else:
            if wrong := self._read_copy():
                self.fail(wrong)
                return
            self.rest = b"0\r\n\r\n" if self._chunked else b""
        self._done.set_result(None)

    def _read_copy(self) -> GatewayError | None:
        """Show the tap what was kept of an answer; return what is wrong with one that HTTP takes for complete."""
        tap, copy = self._tap, self._copy
        if tap is None or copy is None:
            return None
        body = b"".join(copy)
        if missing := self._missing_end(body):
            return missing
        if self._copy_bytes > MAX_COPY_BYTES:
            tap.read_tail(body)
            return None
        tap.read_whole(body)
        return (
            errors.cut(self._plan.provider.name) if tap.unreadable and _is_judged(self._exchange, self._head) else None
        )

    def _missing_end(self, copy: bytes) -> GatewayError | None:
        """Return what is wrong with an answer whose end, or all of it, is missing."""
        provider = self._plan.provider.name
        if self._judged and not self._exchange.head_sent:
            return errors.garbage(provider, "it is empty")
        if self._judged and self._call.unframed:
            whole = copy.rstrip().endswith(b"}") if self._copy_bytes > MAX_COPY_BYTES else _is_whole_json(copy)
            return None if whole else errors.cut(provider)
        return None

    def fail(self, error: GatewayError) -> None:
        """The answer broke off (see `AnswerSink`): an error event where the dialect has one, else a cut connection."""
        if self._done.done():
            return
        exchange = self._exchange
        if not exchange.head_sent:
            if self._held is not None and self._events is not None:
                self._end_unbegun(self._events, self._held, error)
            else:
                self._give_up(error)
            return
        if self._events is not None:
            self._end_events(self._events, error)
        else:
            exchange.outcome, exchange.error_code = "truncated", error.code
            self.cut = True
        self._done.set_result(None)

    def _end_unbegun(self, events: EventStream, held: list[bytes], error: GatewayError | None = None) -> None:
        """Decide about a stream that ended before anything meaningful came: an answer that says nothing, or none."""
        tap, provider = self._tap, self._plan.provider.name
        assert tap is not None  # noqa: S101 - events are framed only for a tap
        held.append(events.close())
        if tap.failed:
            self._give_up(errors.failed_in_stream(provider))
        elif not tap.complete:
            self._held = None
            self._give_up(error or errors.cut(provider))
        elif not (tap.finish_reason or tap.started):
            self._give_up(errors.empty(provider))
        else:
            self._commit()
            self._write_unbegun(held)
            self._done.set_result(None)

    def _write_unbegun(self, held: list[bytes]) -> None:
        self._held = None
        body = b"".join(held)
        head, self._chunked = self._head.write(self._exchange, self._plan, self._extra, None)
        self.rest = head + (self._frame(body) if body else b"") + (b"0\r\n\r\n" if self._chunked else b"")

    def as_it_came(self) -> bool:
        """See `Passage`: an error event in a 200, or a stream without content, is the upstream's answer."""
        if self._held is None or self._tap is None:
            return False
        if self._tap.failed:
            self._exchange.outcome, self._exchange.error_code = "upstream_error", "error_in_stream"
        self._write_unbegun(self._held)
        return True

    def _end_events(self, events: EventStream, error: GatewayError | None) -> None:
        """Decide how a stream ended; one without its dialect's own end is truncated, however cleanly it closed."""
        exchange, tap, endpoint = self._exchange, self._tap, self._exchange.endpoint
        assert tap is not None  # noqa: S101 - events are framed only for a tap
        assert endpoint is not None  # noqa: S101 - a tap comes from an endpoint
        body = events.close()
        if tap.failed:
            exchange.outcome, exchange.error_code = "upstream_error", "error_in_stream"
            exchange.usage_partial = True
            tap.estimate(exchange.body, exchange.response_bytes)
        elif events.broken or not tap.complete:
            error = error or errors.cut(self._plan.provider.name)
            exchange.outcome, exchange.error_code = "truncated", error.code
            exchange.usage_partial = True
            tap.estimate(exchange.body, exchange.response_bytes)
            if events.broken:
                self.cut = True
                return
            body = endpoint.write_stream_error(error, exchange.request_id.decode("latin-1"))
        self.rest = self._frame(body) if body else b""
        if self._chunked:
            self.rest += b"0\r\n\r\n"


def _decode(decoder: coding.Decoder, body: bytes, plan: Plan) -> bytes:
    try:
        decoded = b"".join(decoder.feed(body))
        decoder.finish()
    except coding.CodingError as error:
        raise errors.garbage(plan.provider.name, str(error)) from None
    return decoded


def _decoder(encoding: bytes, plan: Plan) -> coding.Decoder:
    try:
        return coding.Decoder(encoding, free_bytes=FREE_BYTES)
    except coding.UnknownCodingError as error:
        raise errors.garbage(plan.provider.name, f"the content encoding {str(error)[:40]!r} is not known") from None
