"""Google's error shape: `{"error": {"code", "message", "status", "details"}}`, the status as a word of gRPC's."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.errors import GatewayError
from flumegate.ir.failure import Failure, Reason, plain_message, reason_of

_RPC = "type.googleapis.com/google.rpc."
_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_REASONS: dict[str, Reason] = {
    "INVALID_ARGUMENT": "invalid_request",
    "FAILED_PRECONDITION": "invalid_request",
    "OUT_OF_RANGE": "invalid_request",
    "UNIMPLEMENTED": "invalid_request",
    "UNAUTHENTICATED": "authentication",
    "PERMISSION_DENIED": "permission",
    "NOT_FOUND": "not_found",
    "RESOURCE_EXHAUSTED": "rate_limited",
    "UNAVAILABLE": "overloaded",
    "ABORTED": "overloaded",
    "DEADLINE_EXCEEDED": "timeout",
    "CANCELLED": "internal",
    "INTERNAL": "internal",
    "UNKNOWN": "internal",
    "DATA_LOSS": "internal",
}
_STATUSES: dict[Reason, int] = {
    "invalid_request": 400,
    "context_length": 400,
    "filtered": 400,
    "authentication": 500,
    "quota": 500,
    "permission": 403,
    "not_found": 404,
    "too_large": 413,
    "rate_limited": 429,
    "overloaded": 503,
    "timeout": 504,
}
_CODES: dict[str, Reason] = {"API_KEY_INVALID": "authentication", "API_KEY_EXPIRED": "authentication"}
_LONG = ("exceeds the maximum number of tokens", "input token count", "token limit")
"""How Google says that the input is too long; there is no code for it."""


class _Violation(msgspec.Struct, gc=False):
    field: str | None = None


class _Detail(msgspec.Struct, gc=False):
    reason: str | None = None
    retryDelay: str | None = None  # noqa: N815 - named as on the wire
    fieldViolations: list[_Violation] | None = None  # noqa: N815 - named as on the wire


class _Error(msgspec.Struct, gc=False):
    code: int | None = None
    message: str | None = None
    status: str | None = None
    details: list[_Detail] | None = None


class _Body(msgspec.Struct, gc=False):
    error: _Error


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_list = msgspec.json.Decoder(list[_Body]).decode
_encode = msgspec.json.Encoder().encode


def read_error(status: int, body: bytes) -> Failure:
    """Return what an error answer says; a body that is none of Google's leaves the status alone."""
    try:
        if body.lstrip().startswith(b"["):  # streams without `alt=sse` wrap their errors
            found = _decode_list(body)
            error = found[0].error if found else _Error()
        else:
            error = _decode_body(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Failure(reason_of(status) if status else "internal", plain_message(body), status=status)
    message, word = error.message or "", error.status or ""
    details = error.details or []
    code = next((detail.reason for detail in details if detail.reason), word)
    reason = _REASONS.get(word) or reason_of(error.code or status or 500)
    if reason == "invalid_request":
        lowered = message.lower()
        if code in _CODES or "api key not valid" in lowered:
            reason = "authentication"
        elif any(words in lowered for words in _LONG):
            reason = "context_length"
    fields = (violation.field for detail in details for violation in detail.fieldViolations or ())
    return Failure(
        reason,
        message,
        code,
        next((field for field in fields if field), ""),
        status,
        next((seconds for detail in details if (seconds := _seconds(detail.retryDelay)) is not None), None),
    )


def _seconds(delay: str | None) -> float | None:
    """Return a protobuf duration (`34.4s`) in seconds."""
    try:
        seconds = float((delay or "").removesuffix("s"))
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e9 else None


def word_of(status: int) -> str:
    """Return the name of a status."""
    return _WORDS.get(status) or ("INTERNAL" if status >= 500 else "INVALID_ARGUMENT")


def write_error(error: GatewayError, request_id: str) -> bytes:
    """Return the JSON body of an error answer; our stable `code` stands in the details, as Google's reasons do."""
    details: list[dict[str, Any]] = [
        {"@type": f"{_RPC}ErrorInfo", "reason": error.code.upper(), "domain": "flumegate"},
        {"@type": f"{_RPC}RequestInfo", "requestId": request_id},
    ]
    if error.param:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": f"{_RPC}BadRequest", "fieldViolations": [violation]})
    if error.retry_after is not None:
        details.append({"@type": f"{_RPC}RetryInfo", "retryDelay": f"{error.retry_after}s"})
    body = {"code": error.status, "message": error.message, "status": word_of(error.status), "details": details}
    return _encode({"error": body})


def write_stream_error(error: GatewayError, request_id: str) -> bytes:
    """Return the event that ends a broken stream."""
    return b"data: %b\r\n\r\n" % write_error(error, request_id)


def write_failure(failure: Failure) -> bytes:
    """Return the same body for what an upstream reported within a stream."""
    status = _STATUSES.get(failure.reason, 500)
    message = failure.message or f"The answer broke off ({failure.reason})."
    return _encode({"error": {"code": status, "message": message, "status": word_of(status)}})
