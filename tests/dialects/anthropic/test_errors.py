from __future__ import annotations

import json

import pytest

from flumegate import errors
from flumegate.dialects.anthropic.errors import write_error, write_stream_error
from flumegate.errors import GatewayError, Kind
from flumegate.wire import sse


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (errors.INVALID_REQUEST, "invalid_request_error"),
        (errors.UNAUTHENTICATED, "authentication_error"),
        (errors.FORBIDDEN, "permission_error"),
        (errors.NOT_FOUND, "not_found_error"),
        (errors.METHOD_NOT_ALLOWED, "invalid_request_error"),
        (errors.CLIENT_TIMEOUT, "invalid_request_error"),
        (errors.TOO_LARGE, "request_too_large"),
        (errors.UNSUPPORTED_ENCODING, "invalid_request_error"),
        (errors.RATE_LIMITED, "rate_limit_error"),
        (errors.INTERNAL, "api_error"),
        (errors.UPSTREAM_CONNECT, "api_error"),
        (errors.UNAVAILABLE, "overloaded_error"),
        (errors.UPSTREAM_TIMEOUT, "timeout_error"),
    ],
    ids=lambda value: value.name if isinstance(value, Kind) else value,
)
def test_the_type_is_anthropics(kind: Kind, expected: str) -> None:
    """Anthropic's own names, the request id beside them, and our stable code (dialects: §6)."""
    body = json.loads(write_error(GatewayError(kind, "some_code", "Do this."), "req-1"))
    assert body == {
        "type": "error",
        "error": {"type": expected, "message": "Do this.", "code": "some_code"},
        "request_id": "req-1",
    }


def test_a_broken_stream_ends_with_an_error_event() -> None:
    """The SDK skips events without a name, so it is there; no `message_stop` follows."""
    error = GatewayError(errors.UPSTREAM_FAILED, "upstream_cut", "…")
    written = write_stream_error(error, "req-1")
    assert written.endswith(b"\n\n")
    assert list(sse.read(written)) == [sse.Event(b"error", write_error(error, "req-1"))]
