"""Anthropic's error shape: `{"type": "error", "error": {"type", "message"}, "request_id"}`."""

from __future__ import annotations

import msgspec

from flumegate.errors import GatewayError


class _Body(msgspec.Struct):
    type: str
    message: str
    code: str


class _Wrapped(msgspec.Struct, tag_field="type", tag="error"):
    error: _Body
    request_id: str


_encode = msgspec.json.Encoder().encode

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
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
