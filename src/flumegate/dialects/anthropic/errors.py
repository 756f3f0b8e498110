"""Anthropic's error shape: `{"type": "error", "error": {"type", "message"}, "request_id"}`, both ways."""

from __future__ import annotations

import msgspec

from flumegate.errors import GatewayError
from flumegate.ir.failure import Failure, Reason, plain_message, reason_of


class _Body(msgspec.Struct):
    type: str
    message: str
    code: str


class _Wrapped(msgspec.Struct, tag_field="type", tag="error"):
    error: _Body
    request_id: str


class _GivenBody(msgspec.Struct, gc=False):
    type: str | None = None
    message: str | None = None


class _Given(msgspec.Struct, gc=False):
    error: _GivenBody | str | None = None
    message: str | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Given).decode

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def _type_of(error: GatewayError) -> str:
    known = _TYPES.get(error.status)
    if known is not None:
        return known
    return "api_error" if error.status >= 500 else "invalid_request_error"


def write_error(error: GatewayError, request_id: str) -> bytes:
    """Return the JSON body of an error answer; our stable `code` stands beside Anthropic's own members."""
    return _encode(_Wrapped(_Body(_type_of(error), error.message, error.code), request_id))


def write_stream_error(error: GatewayError, request_id: str) -> bytes:
    """Return the event that ends a broken stream; no `message_stop` follows it."""
    return b"event: error\ndata: %b\n\n" % write_error(error, request_id)


_REASONS: dict[str, Reason] = {
    "invalid_request_error": "invalid_request",
    "authentication_error": "authentication",
    "billing_error": "quota",
    "permission_error": "permission",
    "not_found_error": "not_found",
    "conflict_error": "invalid_request",
    "request_too_large": "too_large",
    "rate_limit_error": "rate_limited",
    "api_error": "internal",
    "timeout_error": "timeout",
    "overloaded_error": "overloaded",
}
_WORDS: tuple[tuple[str, Reason], ...] = (
    ("prompt is too long", "context_length"),
    ("exceed context limit", "context_length"),
    ("credit balance is too low", "quota"),
    ("blocked by content filtering", "filtered"),
)
"""What only the message of an `invalid_request_error` tells."""
_STREAM_TYPES: dict[Reason, str] = {
    "invalid_request": "invalid_request_error",
    "context_length": "invalid_request_error",
    "filtered": "invalid_request_error",
    "too_large": "request_too_large",
    "not_found": "not_found_error",
    "rate_limited": "rate_limit_error",
    "overloaded": "overloaded_error",
    "timeout": "timeout_error",
}
"""Others are nothing that the client could mend, the provider's key least of all: `api_error`."""


def read_error(status: int, body: bytes) -> Failure:
    """Return what an error answer says; of one that is no JSON, its words."""
    try:
        given = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Failure(reason_of(status) if status else "internal", plain_message(body), status=status)
    error = given.error
    if not isinstance(error, _GivenBody):
        return Failure(reason_of(status) if status else "internal", error or given.message or "", status=status)
    kind, message = error.type or "", error.message or ""
    reason = _REASONS.get(kind) or (reason_of(status) if status else "internal")
    if reason == "invalid_request":
        lowered = message.lower()
        reason = next((better for words, better in _WORDS if words in lowered), reason)
    return Failure(reason, message, kind, status=status)


def read_failure(event: bytes) -> Failure:
    """Return what an `error` event inside a stream says."""
    return read_error(0, event)


def write_failure(failure: Failure) -> bytes:
    """Return the event that ends a stream which broke off; no `message_stop` follows it."""
    kind = _STREAM_TYPES.get(failure.reason, "api_error")
    message = failure.message or "The provider's answer broke off."
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return b"event: error\ndata: %b\n\n" % _encode(body)
