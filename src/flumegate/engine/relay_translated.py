"""The answer of a translated exchange on its way to the client: gathered whole, or piped event by event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from flumegate.engine.head import AnswerHead
from flumegate.engine.passage import Passage
from flumegate.engine.pipe import Pipe
from flumegate.engine.translate import EmbeddingTranslation, Translation, answer_head, comes_as_stream
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.routing.plan import Plan
from flumegate.upstream import errors
from flumegate.upstream.call import Call
from flumegate.wire import coding

MAX_ANSWER_BYTES = 33_554_432
"""An answer in one piece beyond this is no answer of a model."""
FREE_BYTES = 4_194_304
"""How much of a compressed stream is not compared with what it came in: one read may unfold to so much at once."""
END_SECONDS = 1.0
"""How long a connection may stay open behind the end that its stream has said, before the client gets its own end."""


def decoded(head: AnswerHead, body: bytes, provider: str) -> bytes:
    """Return a whole body without its content coding.

    Raises:
        GatewayError: the coding is unknown, or the data damaged.
    """
    if not head.encoding or head.bodiless:
        return body
    try:
        decoder = coding.Decoder(head.encoding, max_bytes=MAX_ANSWER_BYTES)
        plain = b"".join(decoder.feed(body))
        decoder.finish()
    except (coding.UnknownCodingError, coding.CodingError) as error:
        raise errors.garbage(provider, f"its content encoding cannot be undone ({str(error)[:60]})") from None
    return plain


def _refuse_page(head: AnswerHead, plan: Plan) -> None:
    """Refuse the page of a captive portal in place of an answer, however long it goes on.

    Raises:
        GatewayError: it is one.
    """
    if head.status < 400 and head.media_type.startswith(b"text/html"):
        raise errors.garbage(plan.provider.name, "it is a page of HTML")


def whole_translated(
    translation: Translation | EmbeddingTranslation, plan: Plan, call: Call, head: AnswerHead, extra: bytes
) -> bytes:
    """Return an answer that is already complete, head and body, in the client's dialect.

    Raises:
        GatewayError: the upstream refused, or sent what cannot be used.
    """
    _refuse_page(head, plan)
    pieces = call.pieces
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return translation.whole(head, decoded(head, body, plan.provider.name), extra)


class TranslatedRelay(Passage):
    """Takes the answer of one translated exchange."""

    __slots__ = ("_decoder", "_extra", "_head", "_pieces", "_pipe", "_size", "_translation")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        exchange: Exchange,
        plan: Plan,
        head: AnswerHead,
        begun: Callable[[], None],
        translation: Translation | EmbeddingTranslation,
        extra: bytes,
    ) -> None:
        super().__init__(loop, exchange, plan, begun)
        _refuse_page(head, plan)
        self._head = head
        self._translation = translation
        self._extra = extra
        self._decoder: coding.Decoder | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._pipe: Pipe | None = None
        streamed = exchange.stream and _streams(head, translation)
        if streamed and isinstance(translation, Translation):
            self._pipe = translation.pipe()
            if head.encoding:
                try:
                    self._decoder = coding.Decoder(head.encoding, free_bytes=FREE_BYTES)
                except coding.UnknownCodingError as error:
                    name = plan.provider.name
                    raise errors.garbage(name, f"the content encoding {str(error)[:40]!r} is not known") from None

    def push(self, data: bytes) -> None:
        """Take the bytes of one read."""
        if self._done.done():
            return
        if self._pipe is None:
            self._call.deadline = self._call.final_deadline
            self._pieces.append(data)
            self._size += len(data)
            if self._size > MAX_ANSWER_BYTES:
                self.fail(errors.garbage(self._plan.provider.name, f"it is larger than {MAX_ANSWER_BYTES} bytes"))
            return
        try:
            for plain in (data,) if self._decoder is None else self._decoder.feed(data):
                self._hand_out(self._pipe, self._pipe.feed(plain))
        except coding.CodingError as error:
            self.fail(errors.garbage(self._plan.provider.name, str(error)))
        except GatewayError as error:
            self._exchange.usage_partial = True
            self._give_up(error)

    def _hand_out(self, pipe: Pipe, data: bytes) -> None:
        exchange = self._exchange
        if pipe.meaningful and exchange.first_token is None:
            exchange.first_token = monotonic()
        if pipe.over:
            self.rest += data  # its end waits for the record
            self._call.deadline = min(self._call.deadline, monotonic() + END_SECONDS)
        elif not data:
            return
        elif exchange.head_sent:
            exchange.reply.write(self._frame(data))
        else:
            exchange.reply.write(self._begin() + self._frame(data))

    def _begin(self) -> bytes:
        exchange = self._exchange
        self._commit()
        exchange.status = 200
        assert isinstance(self._translation, Translation)  # noqa: S101 - embeddings are never streamed
        head = answer_head(exchange, self._translation.client.media_type)
        line, self._chunked = head.write(exchange, self._plan, self._extra, None)
        return line

    def end(self) -> None:
        """The upstream's answer is complete."""
        if self._done.done():
            return
        try:
            if self._pipe is None:
                pieces, self._pieces = self._pieces, []
                body = decoded(self._head, b"".join(pieces), self._plan.provider.name)
                self.rest = self._translation.whole(self._head, body, self._extra)
            else:
                if self._decoder is not None:
                    self._decoder.finish()
                self._hand_out(self._pipe, self._pipe.close())
                self._finish_stream(self._pipe)
        except coding.CodingError as error:
            self.fail(errors.garbage(self._plan.provider.name, str(error)))
        except GatewayError as error:
            self._give_up(error)
        else:
            self._done.set_result(None)

    def fail(self, error: GatewayError) -> None:
        """The upstream's answer broke off."""
        if self._done.done():
            return
        self._pieces = []
        pipe = self._pipe
        if pipe is None or not (pipe.over or self._exchange.head_sent):
            self._give_up(error)
            return
        self.rest += pipe.fail(error)  # nothing, if the stream had said its end before the connection broke
        self._finish_stream(pipe)
        self._done.set_result(None)

    def _finish_stream(self, pipe: Pipe) -> None:
        exchange = self._exchange
        self._translation.seen.close()
        if isinstance(self._translation, Translation):
            self._translation.note_losses(pipe)
        if pipe.error is not None:
            exchange.outcome, exchange.error_code = "truncated", pipe.error.code
            exchange.usage_partial = True
        begin = b"" if exchange.head_sent else self._begin()
        rest = self._frame(self.rest) if self.rest else b""
        self.rest = begin + rest + (b"0\r\n\r\n" if self._chunked else b"")


def _streams(head: AnswerHead, translation: Translation | EmbeddingTranslation) -> bool:
    """Tell whether a stream comes back; a 200 in one piece is also an answer to a request for one."""
    if head.status != 200 or isinstance(translation, EmbeddingTranslation):
        return False
    return comes_as_stream(head, translation.server.media_type)
