"""Answers that the gateway makes itself: lists of models and upstreams, and errors in every dialect."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec

from flumegate.dialects.ollama import lists as ollama_lists
from flumegate.dialects.registry import ERROR_WRITERS
from flumegate.engine.head import status_line
from flumegate.errors import INVALID_REQUEST, NOT_FOUND, GatewayError
from flumegate.exchange import Exchange
from flumegate.snapshot import Snapshot

_encode = msgspec.json.Encoder().encode
_EPOCH = "1970-01-01T00:00:00Z"
"""No upstream was asked, so no creation date is known; the dialects demand one."""


def answer(
    exchange: Exchange, status: int, body: bytes, extra: bytes, content_type: bytes = b"application/json"
) -> bytes:
    """Return head and body of a finished answer, and note it in the exchange."""
    reply = exchange.reply
    exchange.status = status
    exchange.head_sent = True
    headless = exchange.method == b"HEAD"
    exchange.response_bytes = 0 if headless else len(body)
    if exchange.response_body is not None and not headless:
        exchange.response_body.append(body)
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\nrequest-id: %b\r\n%b%b\r\n%b" % (
        status_line(status),
        content_type,
        len(body),
        exchange.request_id,
        exchange.request_id,
        b"" if reply.keep_alive else b"connection: close\r\n",
        extra,
        b"" if headless else body,
    )


def refuse(exchange: Exchange, error: GatewayError, extra: bytes) -> bytes:
    """Return an error answer in the caller's dialect."""
    exchange.error_code = error.code
    asked = exchange.sent is not None or (error.kind.origin == "upstream" and exchange.attempts)
    exchange.outcome = "failed" if asked else "refused"
    if error.close:
        exchange.reply.keep_alive = False
    if error.retry_after is not None:
        extra = b"retry-after: %d\r\n%b" % (error.retry_after, extra)
    write = ERROR_WRITERS[exchange.family]
    return answer(exchange, error.status, write(error, exchange.request_id.decode("latin-1")), extra)


def list_upstreams(exchange: Exchange, extra: bytes) -> bytes:
    """Return the providers' names and types, and which one is the default; never a credential or a host."""
    snapshot = exchange.snapshot
    upstreams = [
        {"name": provider.name, "provider": provider.type, "is_default": provider.name == snapshot.default_provider}
        for provider in snapshot.providers.values()
    ]
    return answer(exchange, 200, _encode({"upstreams": upstreams}), extra)


def list_models(exchange: Exchange, extra: bytes) -> bytes:
    """Return the configured models in the caller's dialect; wildcards are no names and are left out."""
    names = exchange.snapshot.models
    if exchange.family == "ollama":
        return answer(exchange, 200, ollama_lists.write_tags([(name, 0) for name in names]), extra)
    if exchange.family == "gemini":
        return answer(exchange, 200, _encode({"models": [_gemini_model(name) for name in names]}), extra)
    if exchange.family == "anthropic":
        data: list[dict[str, object]] = [_anthropic_model(name) for name in names]
        ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
        body = _encode({"data": data, "has_more": False, **ends})
    else:
        body = _encode({"object": "list", "data": [_openai_model(exchange.snapshot, name) for name in names]})
    return answer(exchange, 200, body, extra)


def show_model(exchange: Exchange, quoted: str, extra: bytes) -> bytes:
    """Return one configured model.

    Raises:
        GatewayError: 404 for a name that is not configured.
    """
    name = unquote(quoted)
    if exchange.family == "ollama":
        name = _named_in_body(exchange)
    if name not in exchange.snapshot.models:
        raise GatewayError(
            NOT_FOUND, "model_not_found", f"No model {name[:100]!r} is configured here. GET /v1/models lists them."
        )
    match exchange.family:
        case "ollama":
            body = ollama_lists.write_show(name)
        case "gemini":
            body = _encode(_gemini_model(name))
        case "anthropic":
            body = _encode(_anthropic_model(name))
        case _:
            body = _encode(_openai_model(exchange.snapshot, name))
    return answer(exchange, 200, body, extra)


class _Named(msgspec.Struct, gc=False):
    model: str = ""
    name: str = ""
    """Its older spelling."""


_decode_named = msgspec.json.Decoder(_Named).decode


def _named_in_body(exchange: Exchange) -> str:
    try:
        named = _decode_named(exchange.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise GatewayError(
            INVALID_REQUEST, "missing_model", "The body needs a non-empty string 'model'.", param="model"
        ) from None
    return named.model or named.name


def show_ollama(exchange: Exchange, extra: bytes) -> bytes:
    """Return what Ollama's clients ask about the server itself: its version, or what is loaded (never anything)."""
    body = ollama_lists.write_ps() if exchange.kind == "ollama_ps" else ollama_lists.write_version()
    return answer(exchange, 200, body, extra)


def _openai_model(snapshot: Snapshot, name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": snapshot.models[name].targets[0].provider}


def _gemini_model(name: str) -> dict[str, object]:
    verbs = ["generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"]
    return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": verbs}


def _anthropic_model(name: str) -> dict[str, object]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _EPOCH}
