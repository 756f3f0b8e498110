"""OpenAI's error shape: `{"error": {"message", "type", "param", "code"}}`, all four always present when we write it.

Readers take what servers that claim the shape send instead: numbers for codes, a bare string, the members at the top
level (vLLM, Mistral), a list around all (Google), `detail` (FastAPI), `innererror` (Azure), or no JSON at all.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from flumegate.errors import GatewayError
from flumegate.ir.failure import Failure, Reason, plain_message, reason_of


class _Body(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class _Wrapped(msgspec.Struct):
    error: _Body


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_OWN_CODE = re.compile(r"(?!.*_error$)[a-z][a-z0-9_]*")
"""What a code of OpenAI's looks like; what ends in `_error` is a type, OpenAI's or Anthropic's."""
_NOT_THE_CLIENTS: tuple[Reason, ...] = ("authentication", "quota", "permission")
_MAX_TEXT = 2_000
"""Characters of a message that are searched for a time to wait."""

_BY_CODE: dict[str, Reason] = {
    "context_length_exceeded": "context_length",
    "exceed_context_size_error": "context_length",
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "exceeded_current_quota_error": "quota",
    "invalid_api_key": "authentication",
    "invalid_authentication_error": "authentication",
    "authentication_error": "authentication",
    "permission_error": "permission",
    "model_not_found": "not_found",
    "deploymentnotfound": "not_found",
    "not_found_error": "not_found",
    "rate_limit_exceeded": "rate_limited",
    "rate_limit_reached_error": "rate_limited",
    "content_filter": "filtered",
    "content_policy_violation": "filtered",
    "responsibleaipolicyviolation": "filtered",
    "overloaded_error": "overloaded",
    "server_overloaded": "overloaded",
    "engine_overloaded_error": "overloaded",
    "unavailable_error": "overloaded",
    "invalid_request_error": "invalid_request",
    "badrequesterror": "invalid_request",
}
_VAGUE = ("invalid_request", "internal")
"""Reasons that words in the message may make precise."""
_CONTEXT_WORDS = ("maximum context length", "context window", "context length", "context size", "too many tokens")
_WAIT = re.compile(r"try again in (?:(\d{1,4})m)?(\d{1,6}(?:\.\d{1,6})?)(ms|s)\b")


def _type_of(error: GatewayError) -> str:
    if error.status == 429:
        return "rate_limit_exceeded"
    if error.status >= 500:
        return "server_error"
    return "invalid_request_error"


def write_error(error: GatewayError, request_id: str) -> bytes:  # noqa: ARG001 - one signature for every dialect
    """Return the JSON body of an error answer."""
    return _encode(_Wrapped(_Body(error.message, _type_of(error), error.param, error.code)))


def write_stream_error(error: GatewayError, request_id: str) -> bytes:
    """Return the events that end a broken chat or completions stream: the error, then the end marker."""
    return b"data: %b\n\ndata: [DONE]\n\n" % write_error(error, request_id)


def write_responses_stream_error(error: GatewayError, request_id: str) -> bytes:
    """Return the event that ends a broken Responses stream.

    No `response.failed` follows: it would have to repeat a response object that the verbatim lane never built.
    """
    body = msgspec.json.decode(write_error(error, request_id))
    body["type"] = "error"
    return b"event: error\ndata: %b\n\n" % _encode(body)


_WRITTEN: dict[Reason, tuple[str, str]] = {
    "invalid_request": ("invalid_request_error", "invalid_request"),
    "context_length": ("invalid_request_error", "context_length_exceeded"),
    "authentication": ("server_error", "upstream_authentication"),
    "quota": ("server_error", "upstream_quota"),
    "permission": ("server_error", "upstream_permission"),
    "not_found": ("invalid_request_error", "model_not_found"),
    "too_large": ("invalid_request_error", "request_too_large"),
    "rate_limited": ("rate_limit_exceeded", "rate_limit_exceeded"),
    "overloaded": ("server_error", "upstream_overloaded"),
    "timeout": ("server_error", "upstream_timeout"),
    "filtered": ("invalid_request_error", "content_filter"),
    "internal": ("server_error", "upstream_failed"),
    "cut": ("server_error", "upstream_cut"),
    "garbage": ("server_error", "upstream_garbage"),
}
"""Type and code of a failure inside a stream: the HTTP status is spent, so the class must stand here (§15.3)."""


def type_and_code(failure: Failure) -> tuple[str, str]:
    """Return OpenAI's `type` for a failure, and its `code`: the upstream's own where it is one of OpenAI's words.

    Other dialects' codes (`RESOURCE_EXHAUSTED`, `overloaded_error`) and numbers mean nothing to OpenAI's clients, and
    those that tell of the provider's own key or account would be taken for the client's.
    """
    kind, code = _WRITTEN[failure.reason]
    own = _OWN_CODE.fullmatch(failure.code) is not None and failure.reason not in _NOT_THE_CLIENTS
    return kind, failure.code if own else code


def write_failure(failure: Failure) -> bytes:
    """Return a failure inside a stream as an error object."""
    kind, code = type_and_code(failure)
    message = failure.message or f"The upstream failed ({failure.reason})."
    return _encode(_Wrapped(_Body(message, kind, failure.param or None, code)))


def read_error(status: int, body: bytes) -> Failure:
    """Return what an error answer says; `status` 0 = it stood inside a stream. Never raises."""
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Failure(_by_status(status), plain_message(body), status=status)
    if isinstance(found, list) and found:
        found = found[0]
    outer: dict[str, Any] = found if isinstance(found, dict) else {"error": found}
    inner = outer.get("error") or outer
    fields: dict[str, Any] = inner if isinstance(inner, dict) else {"message": inner}
    message = _message(fields)
    codes = _codes(fields)
    return Failure(
        _reason(status, codes, message),
        message,
        code=codes[0] if codes else "",
        param=_text(fields.get("param")),
        status=status,
        retry_after=_wait(fields, message),
    )


def _by_status(status: int) -> Reason:
    return reason_of(status) if status >= 400 else "internal"


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _message(fields: dict[str, Any]) -> str:
    said = fields.get("message") or fields.get("detail")
    metadata = fields.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    text = said if isinstance(said, str) else _encode(said).decode() if said else ""
    return f"{text}: {raw}" if isinstance(raw, str) and raw else text


def _codes(fields: dict[str, Any]) -> list[str]:
    """Return the codes that an error carries, the most telling one first."""
    inner = fields.get("innererror") or fields.get("inner_error")
    found = [_text(fields.get(name)) for name in ("code", "type", "status")]
    if isinstance(inner, dict):
        found.append(_text(inner.get("code")))
    return [code for code in found if code]


def _reason(status: int, codes: list[str], message: str) -> Reason:
    found = next((_BY_CODE[code.lower()] for code in codes if code.lower() in _BY_CODE), None)
    if found is None or found in _VAGUE:
        number = next((int(code) for code in codes if code.isdigit() and code.isascii() and len(code) == 3), status)
        by_status = _by_status(status or number)
        found = by_status if found is None or by_status not in _VAGUE else found
    if found in _VAGUE and any(words in message.lower() for words in _CONTEXT_WORDS):
        return "context_length"
    return found


def _wait(fields: dict[str, Any], message: str) -> float | None:
    said = fields.get("retry_after")
    if isinstance(said, int | float) and not isinstance(said, bool) and 0 <= said < 1e9:
        return float(said)
    match = _WAIT.search(message[:_MAX_TEXT])
    if match is None:
        return None
    minutes, number, unit = match.groups()
    return int(minutes or 0) * 60 + float(number) / (1000 if unit == "ms" else 1)
