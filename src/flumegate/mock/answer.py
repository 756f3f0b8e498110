"""From a request to what is answered, faults of content included. Pure; `delivery` sees to the faults of the wire."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Protocol
from urllib.parse import parse_qs

import msgspec

from flumegate.mock import (
    anthropic,
    bedrock,
    codings,
    gemini,
    ollama,
    openai_chat,
    openai_completions,
    openai_errors,
    openai_lists,
    openai_responses,
    proofs,
    script,
)
from flumegate.mock.asked import Asked, Stamp, nonce_in
from flumegate.mock.faults import Faults
from flumegate.mock.frames import broken
from flumegate.mock.look import Json, text
from flumegate.mock.paths import VERTEX, Dialect, Place

Failure = tuple[int, str, str]
Headers = list[tuple[bytes, bytes]]

JSON = b"application/json"
SSE = b"text/event-stream; charset=utf-8"
LINES = b"application/x-ndjson"
FRAMES = b"application/vnd.amazon.eventstream"
HTML = (
    b"<!DOCTYPE html>\n<html><head><title>Error</title></head><body><h1>This is not an API answer</h1></body></html>\n"
)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it arrived, its body decoded; `sink` holds the measure of a body that was not kept."""

    method: str
    target: str
    place: Place
    headers: Headers
    body: bytes = b""
    sink: proofs.Sink | None = None

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, the last of each name."""
        return {name: values[-1] for name, values in parse_qs(self.target.partition("?")[2]).items()}


class Answer(msgspec.Struct, kw_only=True):
    """What goes back. One of `body` and `pieces` is set; `length` is that of the pieces, if it is to be told."""

    status: int
    media_type: bytes
    body: bytes | None = None
    pieces: Iterator[bytes] | None = None
    length: int | None = None
    headers: Headers = msgspec.field(default_factory=list)
    model: str = ""
    nonce: str = ""
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def stream(self) -> bool:
        """Whether it goes out event by event."""
        return self.pieces is not None


class _Voice(Protocol):
    """What each dialect of words can do; the modules themselves are the voices."""

    def read(self, body: Json, model: str, variant: str) -> Asked: ...
    def unary(self, asked: Asked, script: script.Script, stamp: Stamp, faults: Faults) -> bytes: ...
    def events(self, asked: Asked, script: script.Script, stamp: Stamp, faults: Faults) -> Iterator[bytes]: ...
    def stream_error(self, asked: Asked, stamp: Stamp, emitted: int, failure: Failure) -> Iterator[bytes]: ...


_VOICES: dict[str, _Voice] = {
    "chat": openai_chat,
    "completions": openai_completions,
    "responses": openai_responses,
    "messages": anthropic,
    "ollama": ollama,
    "generate_content": gemini,
    "converse": bedrock,
}
_ERRORS: dict[Dialect, Callable[[int, str, str], bytes]] = {
    "openai": openai_errors.body,
    "anthropic": anthropic.error,
    "ollama": ollama.error,
    "gemini": gemini.error,
    "bedrock": bedrock.error,
}
_LISTS: dict[Dialect, Callable[[], bytes]] = {
    "openai": openai_lists.models,
    "anthropic": anthropic.models,
    "ollama": openai_lists.models,
    "gemini": gemini.models,
    "bedrock": openai_lists.models,
}
_ONE_MODEL: dict[Dialect, Callable[[str], bytes]] = {
    "openai": openai_lists.model,
    "anthropic": anthropic.model,
    "ollama": openai_lists.model,
    "gemini": gemini.model,
    "bedrock": openai_lists.model,
}
_FIXED: dict[str, Callable[[], bytes]] = {
    "tags": ollama.tags,
    "running": ollama.running,
    "version": ollama.version,
    "show": ollama.show,
}
_COUNTED: dict[str, Callable[[Json, str, Faults], tuple[bytes, int]]] = {
    "embeddings": openai_lists.embeddings,
    "input_tokens": lambda body, model, _: _told(openai_responses.read(body, model, ""), openai_responses.input_tokens),
    "count_tokens": lambda body, model, _: _told(anthropic.read(body, model, ""), anthropic.count_tokens),
    "embed": ollama.embed,
    "old_embedding": lambda body, _model, _faults: ollama.old_embedding(body),
    "embed_content": lambda body, _model, _faults: gemini.embed(body),
    "embed_batch": lambda body, _model, _faults: gemini.embed_batch(body),
    "count_gemini": lambda body, model, _: gemini.count_tokens(body, model),
}
_REQUIRED: dict[str, tuple[str, ...]] = {
    "chat": ("model", "messages"),
    "completions": ("model", "prompt"),
    "responses": ("model",),
    "embeddings": ("model", "input"),
    "messages": ("model", "max_tokens", "messages"),
    "count_tokens": ("model", "messages"),
    "ollama": ("model",),
    "generate_content": ("contents",),
    "converse": ("messages",),
}
"""What the real service refuses a request without."""


def refusal(dialect: Dialect, status: int, message: str, code: str = "", stamp: Stamp | None = None) -> Answer:
    """Return an error in the dialect's shape, with the headers of that call if `stamp` names one."""
    answer = Answer(status=status, media_type=JSON, body=_ERRORS[dialect](status, message, code))
    if dialect == "bedrock":
        answer.headers.append((b"x-amzn-errortype", bedrock.kind(status, code).encode()))
    if stamp is not None:
        answer.headers += _headers(dialect, stamp)
    return answer


def write(request: Request, body: Json, faults: Faults, stamp: Stamp) -> Answer:
    """Return the answer to a request whose JSON body, if it has one, is `body`."""
    place = request.place
    if faults.status >= 300 and not faults.html:
        answer = refusal(place.dialect, faults.status, f"The mock was asked for status {faults.status}", faults.code)
    elif not place.operation:
        answer = _nowhere(request)
    else:
        answer = _missing(request, body) or _served(request, body, faults, stamp)
    answer.model = answer.model or place.model or text(body.get("model"))
    answer.nonce = answer.nonce or nonce_in(request.body[: 64 << 10].decode("utf-8", "replace"))
    answer.headers += _headers(place.dialect, stamp)
    return _spoilt(answer, faults)


def _served(request: Request, body: Json, faults: Faults, stamp: Stamp) -> Answer:
    place = request.place
    operation = place.operation
    model = place.model or text(body.get("model"))
    if operation in _VOICES:
        return _spoken(operation, _VOICES[operation].read(body, model, place.variant), faults, stamp)
    if operation in _COUNTED:
        written, tokens = _COUNTED[operation](body, model, faults)
        return Answer(status=200, media_type=JSON, body=written, input_tokens=tokens)
    if operation in {"models", "model"}:
        listed = _LISTS[place.dialect]() if operation == "models" else _ONE_MODEL[place.dialect](model)
        return Answer(status=200, media_type=JSON, body=listed)
    return _proof(request)


def _proof(request: Request) -> Answer:
    operation = request.place.operation
    if operation == "root":
        return Answer(status=200, media_type=b"text/plain; charset=utf-8", body=b"Ollama is running")
    if operation == "download":
        query = request.query
        size = query.get("bytes", "0")
        if not size.isdigit():
            return refusal("openai", 400, "`bytes` takes a whole number, as in /v1/download?bytes=1000")
        length = int(size) if query.get("length") == "1" else None
        pieces = proofs.download(int(size))
        return Answer(status=200, media_type=b"application/octet-stream", pieces=pieces, length=length)
    if operation == "upload" and request.sink:
        written = proofs.uploaded(request.method, request.headers, request.sink)
    elif operation == "reflect":
        written = proofs.reflection(request.method, request.target, request.headers, request.body)
    else:
        written = _FIXED[operation]()
    return Answer(status=200, media_type=JSON, body=written)


def _spoken(operation: str, asked: Asked, faults: Faults, stamp: Stamp) -> Answer:
    voice = _VOICES[operation]
    said = script.write(asked, faults)
    answer = Answer(
        status=200,
        media_type=JSON,
        model=asked.model,
        nonce=nonce_in(asked.last_text),
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
    )
    streamed = asked.stream or asked.variant in {"sse", gemini.ARRAY}
    if not streamed:
        answer.body = voice.unary(asked, said, stamp, faults)
        return answer
    if operation == "ollama":
        answer.media_type = LINES
    elif operation == "converse":
        answer.media_type = FRAMES
    elif asked.variant != gemini.ARRAY:
        answer.media_type = SSE
        answer.headers.append((b"cache-control", b"no-cache"))
    events = voice.events(asked, said, stamp, faults)
    if faults.error_in_stream >= 0:
        failure = (500, "The mock was asked to fail in the stream", faults.code)
        emitted = faults.error_in_stream
        events = itertools.chain(itertools.islice(events, emitted), voice.stream_error(asked, stamp, emitted, failure))
    answer.pieces = _paced(events, faults, is_binary=answer.media_type == FRAMES)
    return answer


def _paced(events: Iterator[bytes], faults: Faults, *, is_binary: bool) -> Iterator[bytes]:
    if faults.malformed >= 0:
        events = (broken(one) if place == faults.malformed else one for place, one in enumerate(events))
    if faults.line_end != "\n" and not is_binary:
        end = faults.line_end.encode()
        events = (one.replace(b"\n", end) for one in events)
    if faults.chunk > 1:
        events = _grouped(events, faults.chunk)
    return events


def _grouped(events: Iterator[bytes], size: int) -> Iterator[bytes]:
    while group := b"".join(itertools.islice(events, size)):
        yield group


def _missing(request: Request, body: Json) -> Answer | None:
    place = request.place
    for name in _REQUIRED.get(place.operation, ()):
        if body.get(name) in (None, "", []) and not (name == "model" and place.model):
            return refusal(place.dialect, 400, f"`{name}` is required: add it to the request body")
    if place.variant == VERTEX:
        # The real service refuses members that it does not know, and the model stands in the path.
        faulty = "model" in body or body.get("anthropic_version") != "vertex-2023-10-16"
        wrong = "anthropic_version: it must be vertex-2023-10-16, and there must be no model"
        return refusal("anthropic", 400, wrong) if faulty else None
    if place.dialect == "anthropic" and not any(name == b"anthropic-version" for name, _ in request.headers):
        return refusal("anthropic", 400, "anthropic-version: header is required, as in 2023-06-01")
    return None


def _nowhere(request: Request) -> Answer:
    place = request.place
    path = request.target.partition("?")[0]
    if place.allow:
        answer = refusal(
            place.dialect, 405, f"{request.method} is not allowed on {path}: use {place.allow}", "method_not_allowed"
        )
        answer.headers.append((b"allow", place.allow.encode()))
        return answer
    code = "unknown_url" if place.dialect == "openai" else ""
    return refusal(place.dialect, 404, f"The mock serves nothing at {request.method} {path}: see docs/mock.md", code)


def _headers(dialect: Dialect, stamp: Stamp) -> Headers:
    request_id = stamp.name("req_").encode()
    headers = [(b"x-mock-call", str(stamp.number).encode())]
    if dialect == "anthropic":
        return [*headers, (b"request-id", request_id)]
    if dialect == "bedrock":
        return [*headers, (b"x-amzn-requestid", request_id)]
    if dialect == "openai":
        return [*headers, (b"x-request-id", request_id), (b"openai-version", b"2020-10-01")]
    return headers


def _spoilt(answer: Answer, faults: Faults) -> Answer:
    """Return the answer after the faults that change its head or its body as a whole."""
    if 200 <= faults.status < 300 or (faults.html and faults.status):
        answer.status = faults.status
    if faults.retry_after >= 0:
        answer.headers.append((b"retry-after", str(faults.retry_after).encode()))
    if faults.big_header:
        answer.headers.append((b"x-mock-big", b"a" * faults.big_header))
    if faults.empty or faults.html:
        answer.body, answer.pieces, answer.length = (HTML if faults.html else b""), None, None
        if faults.html:
            answer.media_type = b"text/html; charset=utf-8"
    elif faults.malformed >= 0 and answer.body is not None:
        answer.body = answer.body[: len(answer.body) // 2]
    if faults.coding and not faults.empty:
        answer.headers.append((b"content-encoding", faults.coding.encode()))
        if answer.pieces is not None:
            answer.pieces, answer.length = codings.encode(answer.pieces, faults.coding), None
        else:
            answer.body = b"".join(codings.encode([answer.body or b""], faults.coding))
    return answer


def _told(asked: Asked, told: Callable[[Asked], bytes]) -> tuple[bytes, int]:
    return told(asked), asked.words
