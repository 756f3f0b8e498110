"""Errors of a Responses provider, read into our vocabulary, and said again to a client.

The provider's troubles with its own key, quota or billing are never told as the client's (dialects: §15.3).
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.ir.failure import Failure, Reason, plain_message, reason_of

_BY_CODE: dict[str, Reason] = {
    "context_length_exceeded": "context_length",
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "rate_limit_exceeded": "rate_limited",
    "invalid_api_key": "authentication",
    "model_not_found": "not_found",
    "content_filter": "filtered",
    "content_policy_violation": "filtered",
    "server_is_overloaded": "overloaded",
    "slow_down": "overloaded",
    "invalid_prompt": "invalid_request",
}
_BY_TYPE: dict[str, Reason] = {
    "invalid_request_error": "invalid_request",
    "authentication_error": "authentication",
    "permission_error": "permission",
    "not_found_error": "not_found",
    "rate_limit_error": "rate_limited",
    "rate_limit_exceeded": "rate_limited",
    "tokens": "rate_limited",
    "requests": "rate_limited",
    "insufficient_quota": "quota",
    "overloaded_error": "overloaded",
    "timeout_error": "timeout",
}
_SAID: dict[Reason, tuple[str, str]] = {
    "invalid_request": ("invalid_request_error", "invalid_request"),
    "context_length": ("invalid_request_error", "context_length_exceeded"),
    "not_found": ("invalid_request_error", "model_not_found"),
    "too_large": ("invalid_request_error", "request_too_large"),
    "filtered": ("invalid_request_error", "content_filter"),
    "rate_limited": ("rate_limit_exceeded", "rate_limit_exceeded"),
    "overloaded": ("server_error", "overloaded"),
    "timeout": ("server_error", "timeout"),
}
_SERVER = ("server_error", "server_error")


class _Error(msgspec.Struct, gc=False):
    message: object = None
    type: object = None
    code: object = None
    param: object = None


class _Body(msgspec.Struct, gc=False):
    error: msgspec.Raw = msgspec.Raw(b"null")
    message: object = None
    detail: object = None


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_error = msgspec.json.Decoder(_Error).decode
_decode_text = msgspec.json.Decoder(str).decode
_FAILURES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_error(status: int, body: bytes) -> Failure:
    """Return what an error answer says."""
    try:
        decoded = _decode_body(body)
    except _FAILURES:
        return Failure(reason_of(status), plain_message(body), status=status)
    if bytes(decoded.error) != b"null":
        return failure_of(bytes(decoded.error), status)
    return Failure(reason_of(status), _text(decoded.message) or _text(decoded.detail), status=status)


def failure_of(raw: bytes, status: int = 0) -> Failure:
    """Return what an `error` object says; one that is a bare string is the message."""
    try:
        error = _decode_error(raw)
    except _FAILURES:
        return Failure(_reason(status, "", ""), _bare(raw), status=status)
    code, kind = _text(error.code), _text(error.type)
    return Failure(_reason(status, code, kind), _text(error.message), code or kind, _text(error.param), status=status)


def _bare(raw: bytes) -> str:
    try:
        return _decode_text(raw)
    except _FAILURES:
        return ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""


def _reason(status: int, code: str, kind: str) -> Reason:
    by_code = _BY_CODE.get(code)
    if by_code is not None:
        return by_code
    if status:
        return reason_of(status)
    by_type = _BY_TYPE.get(kind)
    if by_type is not None:
        return by_type
    return reason_of(int(code)) if code.isascii() and code.isdigit() and 400 <= int(code) < 600 else "internal"


def error_members(failure: Failure) -> dict[str, Any]:
    """Return the `error` object that a client gets inside a stream."""
    kind, code = _SAID.get(failure.reason, _SERVER)
    message = failure.message or "The provider's answer broke off."
    return {"type": kind, "code": code, "message": message, "param": failure.param or None}
