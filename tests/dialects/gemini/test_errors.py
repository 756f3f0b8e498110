"""Google's errors, read and written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.dialects.gemini.errors import read_error, word_of, write_error, write_stream_error
from flumegate.errors import INVALID_REQUEST, RATE_LIMITED, UPSTREAM_FAILED, GatewayError
from flumegate.ir.failure import Failure

RPC = "type.googleapis.com/google.rpc."


def body(status: str, message: str = "m", **members: Any) -> bytes:
    return json.dumps({"error": {"code": 400, "message": message, "status": status} | members}).encode()


@pytest.mark.parametrize(
    ("status", "raw", "failure"),
    [
        (400, body("INVALID_ARGUMENT"), Failure("invalid_request", "m", "INVALID_ARGUMENT", status=400)),
        (400, body("FAILED_PRECONDITION"), Failure("invalid_request", "m", "FAILED_PRECONDITION", status=400)),
        (401, body("UNAUTHENTICATED"), Failure("authentication", "m", "UNAUTHENTICATED", status=401)),
        (403, body("PERMISSION_DENIED"), Failure("permission", "m", "PERMISSION_DENIED", status=403)),
        (404, body("NOT_FOUND"), Failure("not_found", "m", "NOT_FOUND", status=404)),
        (500, body("INTERNAL"), Failure("internal", "m", "INTERNAL", status=500)),
        (503, body("UNAVAILABLE"), Failure("overloaded", "m", "UNAVAILABLE", status=503)),
        (504, body("DEADLINE_EXCEEDED"), Failure("timeout", "m", "DEADLINE_EXCEEDED", status=504)),
        (400, b'{"error":{"code":404}}', Failure("not_found", status=400)),
        (418, b'{"error":{"message":"tea"}}', Failure("invalid_request", "tea", status=418)),
        (503, b"<html>", Failure("overloaded", "It answered with a page, not with JSON.", status=503)),
        (0, b"<html>", Failure("internal", "It answered with a page, not with JSON.")),
        (500, b"[]", Failure("internal", status=500)),
        (429, b"[%b]" % body("RESOURCE_EXHAUSTED"), Failure("rate_limited", "m", "RESOURCE_EXHAUSTED", status=429)),
        (
            400,
            body("INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens allowed (8)."),
            Failure(
                "context_length",
                "The input token count (9) exceeds the maximum number of tokens allowed (8).",
                "INVALID_ARGUMENT",
                status=400,
            ),
        ),
        (
            400,
            body("INVALID_ARGUMENT", "API key not valid."),
            Failure("authentication", "API key not valid.", "INVALID_ARGUMENT", status=400),
        ),
        (
            400,
            body("INVALID_ARGUMENT", details=[{"reason": "API_KEY_INVALID"}]),
            Failure("authentication", "m", "API_KEY_INVALID", status=400),
        ),
        (
            400,
            body("INVALID_ARGUMENT", details=[{"fieldViolations": [{}, {"field": "contents"}]}]),
            Failure("invalid_request", "m", "INVALID_ARGUMENT", "contents", 400),
        ),
        (
            429,
            body("RESOURCE_EXHAUSTED", details=[{"retryDelay": "soon"}, {"@type": RPC, "retryDelay": "34.4s"}]),
            Failure("rate_limited", "m", "RESOURCE_EXHAUSTED", "", 429, 34.4),
        ),
    ],
)
def test_an_error_tells_its_reason(status: int, raw: bytes, failure: Failure) -> None:
    """By Google's word, else by its code, else by the status; where it tells, the field and the delay."""
    assert read_error(status, raw) == failure


@pytest.mark.parametrize(
    ("error", "code", "word", "details"),
    [
        (GatewayError(INVALID_REQUEST, "bad", "No.", param="p"), 400, "INVALID_ARGUMENT", 3),
        (GatewayError(RATE_LIMITED, "slow", "Wait.", retry_after=3), 429, "RESOURCE_EXHAUSTED", 3),
        (GatewayError(UPSTREAM_FAILED, "broken", "Oh."), 502, "INTERNAL", 2),
    ],
)
def test_our_errors_are_in_googles_shape(error: GatewayError, code: int, word: str, details: int) -> None:
    """Code, message and status word; our own code and the request's id stand in the details."""
    written = json.loads(write_error(error, "req1"))["error"]
    assert (written["code"], written["message"], written["status"]) == (code, error.message, word)
    assert len(written["details"]) == details
    assert written["details"][0]["reason"] == error.code.upper()
    assert written["details"][1]["requestId"] == "req1"
    assert write_stream_error(error, "req1") == b"data: " + write_error(error, "req1") + b"\r\n\r\n"
    again = read_error(code, write_error(error, "req1"))
    assert again.param == (error.param or "")
    assert again.retry_after == error.retry_after


def test_every_status_has_a_word() -> None:
    """Also those that Google does not name."""
    assert [word_of(status) for status in (415, 599)] == ["INVALID_ARGUMENT", "INTERNAL"]
