"""The request as it is sent upstream: the client's bytes, dressed for the provider.

The body is the one that came, except for byte ranges that must change: the model name where the client's is an alias,
and `stream_options.include_usage` where a stream would otherwise end without its usage.
"""

from __future__ import annotations

from urllib.parse import unquote, unquote_to_bytes

import msgspec

from flumegate.dialects import envelope
from flumegate.dialects.envelope import MODEL_KEY, STREAM_OPTIONS_KEY, Envelope, StreamOptions, Unbounded
from flumegate.dialects.openai.chat.tap import INCLUDE_USAGE_MEMBER, INCLUDE_USAGE_VALUE
from flumegate.dialects.registry import Endpoint
from flumegate.engine.outgoing import Outgoing
from flumegate.errors import INVALID_REQUEST, TOO_LARGE, UNSUPPORTED_ENCODING, GatewayError
from flumegate.exchange import Exchange
from flumegate.providers.sigv4 import Signer, sign
from flumegate.routing.plan import Plan
from flumegate.wire import coding, splice
from flumegate.wire.headers import named_by_connection

_PLAIN_CONNECTION = (None, b"keep-alive", b"Keep-Alive", b"close")


def undo_coding(exchange: Exchange, max_bytes: int) -> None:
    """Decode a body that arrived compressed, once; it is sent on plain.

    Raises:
        GatewayError: 415 for an unknown coding, 400 for damaged data, 413 beyond the limit.
    """
    name = exchange.picked.get(b"content-encoding")
    if name is None or exchange.coding_undone or name.strip().lower() == b"identity":
        return
    try:
        exchange.body = coding.decode_whole(name, exchange.body, max_bytes)
    except coding.UnknownCodingError as error:
        raise GatewayError(
            UNSUPPORTED_ENCODING,
            "unsupported_content_encoding",
            f"The content encoding {str(error)[:40]!r} is not known here; send gzip, deflate, br, zstd or none.",
        ) from None
    except coding.CodingError as error:
        if error.bomb:
            raise GatewayError(
                TOO_LARGE, "body_too_large", f"The body is larger than {max_bytes} bytes once decompressed."
            ) from None
        raise GatewayError(
            INVALID_REQUEST, "invalid_content_encoding", f"The body could not be decompressed: {error}."
        ) from None
    exchange.coding_undone = True


def read_envelope(exchange: Exchange, *, model_required: bool = True) -> Envelope:
    """Read model and stream flag of a JSON body into the exchange.

    Raises:
        GatewayError: 400, see `envelope.read`.
    """
    seen = envelope.read(exchange.body, model_required=model_required)
    exchange.model_requested = seen.model
    endpoint = exchange.endpoint
    exchange.stream = (
        bool(seen.stream) if seen.stream is not None else endpoint is not None and endpoint.streams_by_default
    )
    return seen


class _Targeted(msgspec.Struct):
    target: str | None = None


_decode_target = msgspec.json.Decoder(_Targeted).decode


def read_target(body: bytes) -> bytes | None:
    """Return the upstream that a request to `/response` names itself, or None.

    Raises:
        GatewayError: 400, `target` is no string.
    """
    try:
        target = _decode_target(body).target
    except msgspec.ValidationError:
        raise GatewayError(
            INVALID_REQUEST, "invalid_request_body", "target: It must be a string.", param="target"
        ) from None
    return target.encode("latin-1", "replace") if target else None


def read_path(exchange: Exchange, endpoint: Endpoint) -> Envelope:
    """Read model and stream flag of a request whose path tells both, as Gemini's do.

    Raises:
        GatewayError: 400, the path names no model.
    """
    name = exchange.path.rpartition(b":")[0].partition(b"/models/")[2]
    exchange.model_requested = model = unquote(name.decode("latin-1"))
    if not model or len(model) > envelope.MAX_MODEL_LENGTH:
        raise GatewayError(INVALID_REQUEST, "missing_model", "The path needs a model's name: /v1beta/models/MODEL:…")
    exchange.stream = bool(endpoint.streams)
    # A key in the query would be logged on its way and is never asked for there; here it must not travel on.
    parts = [part for part in exchange.query[1:].split(b"&") if part and _name_of(part) != b"key"]
    exchange.query = b"?" + b"&".join(parts) if parts else b""
    return Unbounded(model=model)


def _name_of(parameter: bytes) -> bytes:
    """Return a query parameter's name as its reader sees it."""
    return unquote_to_bytes(parameter.partition(b"=")[0].replace(b"+", b" ")).strip().lower()


def is_asked_as_events(query: bytes) -> bool:
    """Tell whether Gemini's stream is wanted as events (`alt=sse`); its default is one JSON array."""
    values = [part.partition(b"=")[2] for part in query[1:].split(b"&") if _name_of(part) in (b"alt", b"$alt")]
    return values[-1:] == [b"sse"]


def edit_body(exchange: Exchange, outgoing: Outgoing, plan: Plan, seen: Envelope) -> None:
    """Splice into the body what must change, and note whether the stream's usage event is to be withheld."""
    if plan.splice:
        span = splice.find_value(outgoing.body, MODEL_KEY)  # the envelope has proven that it is there, once
        outgoing.body = splice.replace(outgoing.body, span, plan.splice)
    endpoint = exchange.endpoint
    if not (seen.stream and endpoint is not None and endpoint.may_ask_usage and plan.provider.stream_usage):
        return
    options = seen.stream_options
    if options is None or options.include_usage is None:
        outgoing.withhold = _ask_usage(outgoing, options)


def _ask_usage(outgoing: Outgoing, options: StreamOptions | None) -> bool:
    """Ask for usage where `stream_options` is absent, null or empty; anything else in it is the client's decision."""
    body = outgoing.body
    seen = options is not None or body.rfind(STREAM_OPTIONS_KEY) >= 0
    spans = splice.find_values(body, STREAM_OPTIONS_KEY) if seen else []
    if not spans:
        outgoing.body = splice.append(body, INCLUDE_USAGE_MEMBER)
        return True
    if len(spans) > 1 or b"".join(body[slice(*spans[0])].split()) not in (b"null", b"{}"):
        return False
    outgoing.body = splice.replace(body, spans[0], INCLUDE_USAGE_VALUE)
    return True


def write_head(exchange: Exchange, outgoing: Outgoing, plan: Plan, framing: bytes) -> bytes:
    """Return the request's head; `framing` is its last field line between line ends, or only the line ends."""
    verdicts = plan.verdicts
    headers = outgoing.headers
    if exchange.picked.get(b"connection") not in _PLAIN_CONNECTION:
        extra = named_by_connection(exchange.picked[b"connection"])
        headers = [field for field in headers if field[0] not in extra]
    if exchange.coding_undone:
        headers = [field for field in headers if field[0] != b"content-encoding"]
    lines = [prefix + value for name, value in headers if (prefix := verdicts[name])]
    for name, line in plan.defaults:
        if not any(field[0] == name for field in headers):
            lines.append(line[:-2])
    path, query = plan.path, exchange.query
    if plan.codec:
        path, query = plan.stream_path if exchange.stream else path, b""
    elif query and b"?" in path:
        # Azure's plan names an API version already; a second one of the client's would contradict it.
        query = b"".join(b"&" + part for part in query[1:].split(b"&") if not part.startswith(b"api-version="))
    return b"%b %b%b HTTP/1.1\r\n%b%b%b" % (
        exchange.method,
        path,
        query,
        plan.head,
        b"\r\n".join(lines),
        framing if lines else framing[2:],
    )


def signature_lines(exchange: Exchange, outgoing: Outgoing, plan: Plan, signer: Signer, unix_seconds: int) -> bytes:
    """Return the header lines that prove who sends this request, each with its line end before it."""
    target, query = plan.path, exchange.query
    media_type = next((value for name, value in outgoing.headers if name.lower() == b"content-type"), b"")
    if plan.codec:
        target, query, media_type = plan.stream_path if exchange.stream else target, b"", b"application/json"
    headers = {"host": signer.host}
    if media_type:
        headers["content-type"] = media_type.decode("latin-1")
    added = sign(
        exchange.method.decode("latin-1"),
        target.decode("latin-1"),
        query=query[1:].decode("latin-1"),
        headers=headers,
        body=outgoing.body,
        credentials=signer.credentials,
        scope=signer.scope,
        unix_seconds=unix_seconds,
    )
    return "".join(f"\r\n{name}: {value}" for name, value in added.items()).encode("latin-1")
