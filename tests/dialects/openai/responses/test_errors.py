"""Errors of a Responses provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.dialects.openai.responses.errors import error_members, failure_of, read_error
from flumegate.ir.failure import Failure


def body(**members: Any) -> bytes:
    return json.dumps({"error": members}).encode()


CASES: list[tuple[int, bytes, Failure]] = [
    (
        400,
        body(message="Too long.", type="invalid_request_error", code="context_length_exceeded", param="input"),
        Failure("context_length", "Too long.", "context_length_exceeded", "input", 400),
    ),
    (429, body(message="m", code="insufficient_quota"), Failure("quota", "m", "insufficient_quota", status=429)),
    (429, body(message="m", type="tokens"), Failure("rate_limited", "m", "tokens", status=429)),
    (401, body(message="m", code=401), Failure("authentication", "m", "401", status=401)),
    (500, json.dumps({"error": "Broken."}).encode(), Failure("internal", "Broken.", status=500)),
    (500, json.dumps({"error": [1]}).encode(), Failure("internal", status=500)),
    (404, b'{"detail":"Not Found"}', Failure("not_found", "Not Found", status=404)),
    (503, b'{"message":"busy","detail":[1]}', Failure("overloaded", "busy", status=503)),
    (422, b'{"detail":[{"loc":1}]}', Failure("invalid_request", "", status=422)),
    (502, b"<html>", Failure("internal", "It answered with a page, not with JSON.", status=502)),
]


@pytest.mark.parametrize(("status", "given", "failure"), CASES)
def test_an_error_answer(status: int, given: bytes, failure: Failure) -> None:
    assert read_error(status, given) == failure


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"code": "rate_limit_exceeded"}, "rate_limited"),
        ({"type": "overloaded_error"}, "overloaded"),
        ({"type": "invalid_request_error", "code": "odd"}, "invalid_request"),
        ({"code": 503}, "overloaded"),
        ({"code": 7}, "internal"),
        ({"type": "odd"}, "internal"),
        ({}, "internal"),
    ],
)
def test_inside_a_stream_only_the_words_tell(members: dict[str, Any], reason: str) -> None:
    assert failure_of(json.dumps(members).encode()).reason == reason


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure("context_length", "m", param="input"), "context_length_exceeded"),
        (Failure("rate_limited"), "rate_limit_exceeded"),
        (Failure("authentication"), "server_error"),
        (Failure("quota"), "server_error"),
        (Failure("cut"), "server_error"),
    ],
)
def test_a_client_never_hears_of_the_providers_key(failure: Failure, code: str) -> None:
    members = error_members(failure)
    assert list(members) == ["type", "code", "message", "param"]
    assert members["code"] == code
    assert members["message"]
