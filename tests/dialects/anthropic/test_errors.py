from __future__ import annotations

import json

import msgspec
import pytest

from flumegate import errors
from flumegate.dialects.anthropic.errors import (
    read_error,
    read_failure,
    write_error,
    write_failure,
    write_stream_error,
)
from flumegate.errors import GatewayError, Kind
from flumegate.ir.failure import Failure, Reason
from flumegate.wire import sse


def wire(kind: str, message: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "r"}).encode()


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
        (Kind("spent", 402, "client"), "billing_error"),
        (Kind("in_conflict", 409, "client"), "conflict_error"),
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


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (400, wire("invalid_request_error", "x: bad"), Failure("invalid_request", "x: bad", "invalid_request_error")),
        (
            400,
            wire("invalid_request_error", "prompt is too long: 9 > 8"),
            Failure("context_length", "prompt is too long: 9 > 8", "invalid_request_error"),
        ),
        (
            400,
            wire("invalid_request_error", "Your credit balance is too low."),
            Failure("quota", "Your credit balance is too low.", "invalid_request_error"),
        ),
        (401, wire("authentication_error", "k"), Failure("authentication", "k", "authentication_error")),
        (402, wire("billing_error", "b"), Failure("quota", "b", "billing_error")),
        (403, wire("permission_error", "p"), Failure("permission", "p", "permission_error")),
        (404, wire("not_found_error", "n"), Failure("not_found", "n", "not_found_error")),
        (409, wire("conflict_error", "c"), Failure("invalid_request", "c", "conflict_error")),
        (413, wire("request_too_large", "l"), Failure("too_large", "l", "request_too_large")),
        (429, wire("rate_limit_error", "r"), Failure("rate_limited", "r", "rate_limit_error")),
        (500, wire("api_error", "a"), Failure("internal", "a", "api_error")),
        (504, wire("timeout_error", "t"), Failure("timeout", "t", "timeout_error")),
        (529, wire("overloaded_error", "o"), Failure("overloaded", "o", "overloaded_error")),
        (503, wire("new_error", "?"), Failure("overloaded", "?", "new_error")),
        (0, wire("new_error", "?"), Failure("internal", "?", "new_error")),
        (418, b'{"error":{}}', Failure("invalid_request")),
        (404, b'{"error":"gone"}', Failure("not_found", "gone")),
        (502, b'{"message":"gone"}', Failure("internal", "gone")),
        (503, b"<html>", Failure("overloaded", "It answered with a page, not with JSON.")),
        (0, b"<html>", Failure("internal", "It answered with a page, not with JSON.")),
        (0, b'{"error":"gone"}', Failure("internal", "gone")),
    ],
)
def test_an_error_answer_is_read(status: int, body: bytes, failure: Failure) -> None:
    """The type tells the reason, then the words, then the status; anything else tells its status alone."""
    assert read_error(status, body) == msgspec.structs.replace(failure, status=status)
    if status == 0:
        assert read_failure(body) == failure


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("invalid_request", "invalid_request_error"),
        ("context_length", "invalid_request_error"),
        ("filtered", "invalid_request_error"),
        ("not_found", "not_found_error"),
        ("too_large", "request_too_large"),
        ("rate_limited", "rate_limit_error"),
        ("overloaded", "overloaded_error"),
        ("timeout", "timeout_error"),
        ("authentication", "api_error"),
        ("quota", "api_error"),
        ("permission", "api_error"),
        ("internal", "api_error"),
        ("cut", "api_error"),
        ("garbage", "api_error"),
    ],
)
def test_a_failure_inside_a_stream(reason: Reason, kind: str) -> None:
    """The class is in the type; what is wrong with the provider's key is no fault of the client's (dialects: §15.3)."""
    (event,) = sse.read(write_failure(Failure(reason, "Why.")))
    assert event.name == b"error"
    assert json.loads(event.data) == {"type": "error", "error": {"type": kind, "message": "Why."}}
    (silent,) = sse.read(write_failure(Failure(reason)))
    assert json.loads(silent.data)["error"]["message"]
