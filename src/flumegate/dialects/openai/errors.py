"""OpenAI's error shape: `{"error": {"message", "type", "param", "code"}}`, all four always present."""

from __future__ import annotations

import msgspec

from flumegate.errors import GatewayError


class _Body(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class _Wrapped(msgspec.Struct):
    error: _Body


_encode = msgspec.json.Encoder().encode


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
