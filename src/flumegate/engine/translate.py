"""The translated lane: the client's request read and written anew for the provider, its answer read and written back.

What cannot be said is a loss. A request that would lose content is refused before anything is sent; hints that are
lost are named in `x-flumegate-losses` and in the record.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from time import time

from flumegate.dialects import gemini
from flumegate.dialects.codecs import RequestReader
from flumegate.dialects.node import ReadError
from flumegate.dialects.ollama.load import write_load
from flumegate.dialects.openai.responses.read_plain import read_plain_request
from flumegate.dialects.registry import CODECS, COUNTS, EMBEDDING_CODECS
from flumegate.engine import local
from flumegate.engine.head import AnswerHead
from flumegate.engine.pipe import Pipe
from flumegate.engine.refusals import error_of, unreadable
from flumegate.engine.request import is_asked_as_events
from flumegate.engine.seen import Seen
from flumegate.engine.stored_responses import with_storage
from flumegate.errors import INVALID_REQUEST, GatewayError
from flumegate.exchange import Exchange
from flumegate.ir import estimate
from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Asked
from flumegate.ir.failure import Failure
from flumegate.ir.fold import BrokenStreamError, Fold, unfold
from flumegate.ir.grammar import Grammar, GrammarError
from flumegate.ir.loss import Loss
from flumegate.ir.request import Request
from flumegate.ir.restore import Restorer, restore_answer
from flumegate.routing import lanes
from flumegate.routing.plan import Plan
from flumegate.upstream import errors
from flumegate.wire.dates import retry_after_of
from flumegate.wire.headers import as_header_value

MAX_NAMED_LOSSES = 20
"""In the header; the record has all."""


def name_losses(exchange: Exchange) -> bytes:
    """Return the value of `x-flumegate-losses`."""
    losses = tuple(dict.fromkeys(exchange.losses))
    return b", ".join(as_header_value(loss) for loss in losses[:MAX_NAMED_LOSSES])


def answer_head(exchange: Exchange, media_type: str) -> AnswerHead:
    """Return the head of an answer that was written here."""
    lines = [b"content-type: " + media_type.encode("latin-1")]
    if exchange.losses:
        lines.append(b"x-flumegate-losses: " + name_losses(exchange))
    return AnswerHead.written(200, lines, sse=media_type.startswith("text/event-stream"))


def finish(exchange: Exchange, plan: Plan, media_type: str, body: bytes, extra: bytes) -> bytes:
    """Return head and body of an answer that was written here, and note it in the exchange."""
    exchange.status = 200
    exchange.response_bytes = len(body)
    if exchange.response_body is not None:
        exchange.response_body.append(body)
    return answer_head(exchange, media_type).write(exchange, plan, extra, len(body))[0] + body


def comes_as_stream(head: AnswerHead, media_type: str) -> bool:
    """Tell whether an answer is a stream, of events or of what else the dialect streams."""
    return head.sse or head.media_type.startswith(media_type.partition(";")[0].encode())


def check_status(head: AnswerHead, body: bytes, read_error: Callable[[int, bytes], Failure] | None, plan: Plan) -> None:
    """Raise what an error answer means to the client.

    Raises:
        GatewayError: the status is no success.
    """
    if 200 <= head.status < 300 and not head.bodiless:
        return
    if head.status < 400:
        raise errors.garbage(plan.provider.name, f"status {head.status} where an answer is expected")
    assert read_error is not None  # noqa: S101 - codecs that can be asked read errors
    error = error_of(read_error(head.status, body), plan.provider)
    named = [(name, head.field(name)) for name in (b"retry-after-ms", b"retry-after")]
    wait = retry_after_of([field for field in named if field[1]], time())
    if wait is not None:
        error.retry_after = math.ceil(wait)
    raise error


class Translation:
    """One exchange between two dialects.

    Attributes:
        client: the codec that the client speaks.
        server: the codec that the provider is asked in.
        asked: what a writer of the answer must know of the question.
        seen: what the record will hold of the answer.
        body: the request for the provider.
        losses: of the request, as codes.
    """

    def __init__(self, exchange: Exchange, plan: Plan) -> None:
        """Read the client's request and put the provider's in its place.

        Raises:
            GatewayError: 400, the request is not of its dialect, or cannot be said in the provider's.
        """
        endpoint = exchange.endpoint
        assert endpoint is not None  # noqa: S101 - only endpoints are planned for translation
        self._exchange = exchange
        self._plan = plan
        self.client = CODECS[endpoint.codec]
        if endpoint.streams and not is_asked_as_events(exchange.query):
            self.client = gemini.ARRAY_CODEC
        self.server = CODECS[plan.codec]
        plain = endpoint.always_translated
        request = _read(read_plain_request if plain else self.client.read_request, exchange)
        if plain and request.store:
            raise GatewayError(
                INVALID_REQUEST, "not_translatable", "Nothing is stored here; leave 'store' out.", param="store"
            )
        asked, request = with_storage(exchange, request)
        self.asked = Asked(asked, exchange.record_id, int(exchange.started_at))
        assert self.server.write_request is not None  # noqa: S101 - lanes.py names codecs that can be asked
        assert plan.abilities is not None  # noqa: S101 - a plan with a codec has them
        written = self.server.write_request(request, plan.abilities)
        self._renames = written.renames
        self.losses = _judge(plan, written.losses, self.client.names)
        self.body = written.body
        exchange.stream = request.stream
        self.seen = Seen(request)

    def whole(self, head: AnswerHead, body: bytes, extra: bytes) -> bytes:
        """Return head and body for the client, of an answer that is complete and decoded.

        Raises:
            GatewayError: the upstream refused, or sent what cannot be used.
        """
        check_status(head, body, self.server.read_error, self._plan)
        answer = restore_answer(
            self._read_stream(body) if comes_as_stream(head, self.server.media_type) else self._read_json(body),
            self._renames,
        )
        self.seen.note(answer)
        exchange = self._exchange
        if self.asked.request.stream:
            media_type, out = self.client.media_type, self._as_stream(answer)
        else:
            assert self.client.write_answer is not None  # noqa: S101 - clients are answered in their codec
            out, losses = self.client.write_answer(answer, self.asked)
            _refuse_answer(losses, self._plan)
            exchange.losses += tuple(loss.code for loss in losses)
            media_type = "application/json"
        return finish(exchange, self._plan, media_type, out, extra)

    def _read_json(self, body: bytes) -> Answer:
        assert self.server.read_answer is not None  # noqa: S101 - codecs that can be asked read answers
        try:
            return self.server.read_answer(body)
        except ReadError as error:
            raise unreadable(self._plan.provider, error) from None

    def _read_stream(self, body: bytes) -> Answer:
        """Read a stream that nobody asked for."""
        assert self.server.stream_reader is not None  # noqa: S101 - codecs that can be asked read streams
        reader = self.server.stream_reader()
        grammar, folding = Grammar(), Fold()
        try:
            for event in (*reader.feed(body), *reader.close()):
                grammar.check(event)
                folding.take(event)
                if isinstance(event, e.Ended | e.Failed):
                    break
            return folding.answer()
        except GrammarError as broken:
            raise errors.garbage(self._plan.provider.name, f"its events are out of order ({broken})") from None
        except BrokenStreamError as broken:
            raise error_of(broken.failure, self._plan.provider) from None

    def _as_stream(self, answer: Answer) -> bytes:
        """Write a stream for a client who wants one, of an answer that came whole."""
        assert self.client.stream_writer is not None  # noqa: S101 - clients are answered in their codec
        writer = self.client.stream_writer(self.asked)
        out = b"".join(writer.write(event) for event in unfold(answer))
        self._exchange.losses += tuple(loss.code for loss in writer.losses.found)
        return out

    def pipe(self) -> Pipe:
        """Return what turns the provider's stream into the client's."""
        assert self.server.stream_reader is not None  # noqa: S101 - codecs that can be asked read streams
        assert self.client.stream_writer is not None  # noqa: S101 - clients are answered in their codec
        reader, writer = self.server.stream_reader(), self.client.stream_writer(self.asked)
        return Pipe(reader, writer, Restorer(self._renames), self.seen, self._plan.provider)

    def note_losses(self, pipe: Pipe) -> None:
        """Keep for the record what the answer lost on its way."""
        self._exchange.losses += tuple(loss.code for loss in pipe.losses)


def _read(read_request: RequestReader | None, exchange: Exchange) -> Request:
    assert read_request is not None  # noqa: S101 - clients are read in their codec
    try:
        return read_request(exchange.body, model=exchange.model_requested, stream=exchange.stream)
    except ReadError as error:
        raise GatewayError(INVALID_REQUEST, "invalid_request_body", str(error), param=error.path or None) from None


def _judge(plan: Plan, losses: tuple[Loss, ...], names: Mapping[str, str]) -> tuple[str, ...]:
    """Refuse a request that would lose what may not be lost; return the rest as codes."""
    named = [Loss(loss.kind, names.get(loss.path, loss.path), loss.reason) for loss in losses]
    refused = next((loss for loss in named if loss.kind == "refused" or plan.strict), None)
    if refused is not None:
        what = refused.path or "the request"
        raise GatewayError(
            INVALID_REQUEST,
            "not_translatable",
            f"{plan.provider.name!r} is asked in another dialect ({plan.codec}), in which {what} cannot be said: "
            f"{refused.reason} Leave it out, or use a model of a provider that speaks this endpoint's dialect.",
            param=refused.path or None,
        )
    return tuple(dict.fromkeys(loss.code for loss in named))


def _refuse_answer(losses: tuple[Loss, ...], plan: Plan) -> None:
    refused = next((loss for loss in losses if loss.kind == "refused"), None)
    if refused is not None:
        raise errors.garbage(plan.provider.name, f"{refused.path or 'it'} cannot be passed on. {refused.reason}")


class EmbeddingTranslation:
    """An embeddings request between two dialects; it is never streamed."""

    def __init__(self, exchange: Exchange, plan: Plan) -> None:
        """Read the client's request and put the provider's in its place.

        Raises:
            GatewayError: 400, as for `Translation`.
        """
        endpoint = exchange.endpoint
        assert endpoint is not None  # noqa: S101 - only endpoints are planned for translation
        self._exchange = exchange
        self._plan = plan
        self.client = EMBEDDING_CODECS[endpoint.codec]
        self.server = EMBEDDING_CODECS[plan.codec]
        assert self.client.read_request is not None  # noqa: S101 - clients are read in their codec
        assert self.server.write_request is not None  # noqa: S101 - lanes.py names codecs that can be asked
        assert plan.abilities is not None  # noqa: S101 - a plan with a codec has them
        try:
            self.request = self.client.read_request(exchange.body, model=exchange.model_requested)
        except ReadError as error:
            raise GatewayError(INVALID_REQUEST, "invalid_request_body", str(error), param=error.path or None) from None
        written = self.server.write_request(self.request, plan.abilities)
        self.losses = _judge(plan, written.losses, {})
        self.body = written.body
        exchange.stream = False
        self.seen = Seen()

    def whole(self, head: AnswerHead, body: bytes, extra: bytes) -> bytes:
        """Return head and body for the client.

        Raises:
            GatewayError: the upstream refused, or sent what cannot be used.
        """
        check_status(head, body, self.server.read_error, self._plan)
        assert self.server.read_answer is not None  # noqa: S101 - lanes.py names codecs that can be asked
        assert self.client.write_answer is not None  # noqa: S101 - clients are answered in their codec
        try:
            answer = self.server.read_answer(body)
        except ReadError as error:
            raise unreadable(self._plan.provider, error) from None
        self.seen.model, self.seen.usage = answer.model, answer.usage
        out = self.client.write_answer(answer, self.request)
        return finish(self._exchange, self._plan, "application/json", out, extra)


def begin(exchange: Exchange, plan: Plan) -> Translation | EmbeddingTranslation:
    """Put the provider's request in the place of the client's.

    Raises:
        GatewayError: 400, the request is not of its dialect, or cannot be said in the provider's.
    """
    endpoint = exchange.endpoint
    if endpoint is not None and endpoint.does == "embed":
        return EmbeddingTranslation(exchange, plan)
    return Translation(exchange, plan)


def _count(exchange: Exchange, plan: Plan, extra: bytes) -> bytes:
    """Answer a question for a request's tokens with an estimate: the provider cannot count them.

    Raises:
        GatewayError: 400, the request is not of its dialect.
    """
    endpoint = exchange.endpoint
    assert endpoint is not None  # noqa: S101 - only endpoints are planned
    reader, write = COUNTS[endpoint.codec]
    tokens = estimate.input_tokens(_read(reader, exchange))
    exchange.losses = ("approximated:input_tokens",)
    exchange.lane = "translated"
    lines = b"%bx-flumegate-losses: approximated:input_tokens\r\n%b" % (plan.marks, extra)
    return local.answer(exchange, 200, write(tokens), lines)


def answer_here(exchange: Exchange, plan: Plan, extra: bytes) -> bytes:
    """Answer what the provider need not, or cannot, be asked; empty for any other request.

    Raises:
        GatewayError: 400, the request is not of its dialect.
    """
    exchange.plan, exchange.lane = plan, "translated"
    if plan.codec == lanes.ESTIMATE:
        return _count(exchange, plan, extra)
    return _load(exchange, plan, extra)


def _load(exchange: Exchange, plan: Plan, extra: bytes) -> bytes:
    """Answer a request of Ollama's that only loads a model, which other providers' need not be; empty for any other."""
    endpoint = exchange.endpoint
    assert endpoint is not None  # noqa: S101 - only endpoints are planned
    body = write_load(endpoint.codec, exchange.body, exchange.model_requested, int(exchange.started_at))
    return local.answer(exchange, 200, body, plan.marks + extra) if body is not None else b""
