"""Ollama's error shape: `{"error": "text"}`, as a body, or as the last line of a stream."""

from __future__ import annotations

import msgspec

from flumegate.errors import GatewayError
from flumegate.ir.failure import Failure, plain_message, reason_of

_MAX_MESSAGE = 2_000
_CONTEXT_MARKS = ("context length", "context window", "context size", "num_ctx")
"""The server has no codes: how it says that a prompt is too long is all there is."""


class _Body(msgspec.Struct, gc=False):
    error: object = None


class _Wrapped(msgspec.Struct, gc=False):
    error: str


_decode = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode


def message_of(error: object) -> str:
    """Return the words of an `error` member: a string, or what a proxy in front puts there instead."""
    if isinstance(error, dict):
        error = error.get("message") or error
    text = error if isinstance(error, str) else _encode(error).decode()
    return text[:_MAX_MESSAGE]


def failure_of(error: object, status: int = 0) -> Failure:
    """Return what an `error` member means; inside a stream there is no status."""
    message = message_of(error)
    if status in (0, 400, 500) and any(mark in message.lower() for mark in _CONTEXT_MARKS):
        return Failure("context_length", message, status=status)
    return Failure(reason_of(status) if status else "internal", message, status=status)


def read_error(status: int, body: bytes) -> Failure:
    """Return what an error answer means."""
    try:
        error = _decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        error = None
    if not error:
        return Failure(reason_of(status), plain_message(body), status=status)
    return failure_of(error, status)


def write_text(message: str) -> bytes:
    """Return an error with these words."""
    return _encode(_Wrapped(message))


def write_error(error: GatewayError, request_id: str) -> bytes:  # noqa: ARG001 - one signature for every dialect
    """Return the JSON body of an error answer."""
    return write_text(error.message)


def write_stream_error(error: GatewayError, request_id: str) -> bytes:
    """Return the line that ends a broken stream; nothing follows it."""
    return write_error(error, request_id) + b"\n"
