from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from flumegate import errors
from flumegate.dialects.openai.errors import (
    read_error,
    type_and_code,
    write_error,
    write_failure,
    write_responses_stream_error,
    write_stream_error,
)
from flumegate.errors import GatewayError, Kind
from flumegate.ir.failure import Failure, Reason
from flumegate.wire import sse

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, Kind)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_all_four_members_are_always_there(kind: Kind) -> None:
    """Clients branch on `type`; `param` and `code` may be null but never missing (dialects: §3.4)."""
    body = json.loads(write_error(GatewayError(kind, "some_code", 'Say "this".', param=None), "req-1"))
    expected = "invalid_request_error"
    if kind.status == 429:
        expected = "rate_limit_exceeded"
    elif kind.status >= 500:
        expected = "server_error"
    assert body == {"error": {"message": 'Say "this".', "type": expected, "param": None, "code": "some_code"}}


def test_the_field_at_fault_is_named() -> None:
    """`param` names the request field."""
    error = GatewayError(errors.INVALID_REQUEST, "missing_model", "…", param="model")
    assert json.loads(write_error(error, ""))["error"]["param"] == "model"


def test_a_broken_chat_stream_ends_with_the_error_and_the_end_marker() -> None:
    """One data event with the error, then `[DONE]` (dialects: §2.2)."""
    error = GatewayError(errors.UPSTREAM_FAILED, "upstream_cut", "a\nb")
    first, second = sse.split(write_stream_error(error, "req-1"))
    assert json.loads(next(sse.read(first)).data) == json.loads(write_error(error, "req-1"))
    assert second == b"data: [DONE]\n\n"


def test_a_broken_responses_stream_ends_with_an_error_event() -> None:
    """The event has its name, its type, and the error nested: the Python SDK raises only on a truthy `error` key."""
    error = GatewayError(errors.UPSTREAM_TIMEOUT, "upstream_idle", "…")
    written = write_responses_stream_error(error, "req-1")
    assert written.endswith(b"\n\n")
    (event,) = sse.read(written)
    assert event.name == b"error"
    assert json.loads(event.data) == {**json.loads(write_error(error, "")), "type": "error"}


READ: list[tuple[int, Any, str, str, str]] = [
    (
        400,
        {"error": {"message": "No.", "type": "invalid_request_error", "param": "n", "code": None}},
        "invalid_request",
        "No.",
        "invalid_request_error",
    ),
    (
        400,
        {"error": {"message": "Long.", "code": "context_length_exceeded"}},
        "context_length",
        "Long.",
        "context_length_exceeded",
    ),
    (
        400,
        {"message": "This model's maximum context length is 9.", "type": "BadRequestError", "code": 400},
        "context_length",
        "This model's maximum context length is 9.",
        "400",
    ),
    (429, {"error": {"message": "Pay.", "code": "insufficient_quota"}}, "quota", "Pay.", "insufficient_quota"),
    (
        429,
        {"error": {"message": "Slow.", "code": 429, "metadata": {"raw": "down"}}},
        "rate_limited",
        "Slow.: down",
        "429",
    ),
    (401, {"error": {"message": "Key.", "code": "invalid_api_key"}}, "authentication", "Key.", "invalid_api_key"),
    (404, {"error": {"message": "Gone.", "code": "DeploymentNotFound"}}, "not_found", "Gone.", "DeploymentNotFound"),
    (
        400,
        {"error": {"message": "Bad.", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        "filtered",
        "Bad.",
        "ResponsibleAIPolicyViolation",
    ),
    (
        402,
        {"error": {"message": "Insufficient Balance", "type": "unknown_error"}},
        "quota",
        "Insufficient Balance",
        "unknown_error",
    ),
    (
        503,
        {"error": {"message": "Loading.", "type": "unavailable_error", "code": 503}},
        "overloaded",
        "Loading.",
        "503",
    ),
    (422, {"detail": [{"loc": ["body"], "msg": "x"}]}, "invalid_request", '[{"loc":["body"],"msg":"x"}]', ""),
    (
        400,
        [{"error": {"message": "In a list.", "status": "INVALID_ARGUMENT"}}],
        "invalid_request",
        "In a list.",
        "INVALID_ARGUMENT",
    ),
    (500, {"error": "bare"}, "internal", "bare", ""),
    (0, {"error": {"message": "Busy.", "code": 503}}, "overloaded", "Busy.", "503"),
    (0, {"error": {"message": "Odd."}}, "internal", "Odd.", ""),
    (400, 5, "invalid_request", "5", ""),
    (500, {"error": {"message": None, "code": True}}, "internal", "", ""),
]


@pytest.mark.parametrize(("status", "body", "reason", "message", "code"), READ, ids=[str(row[1])[:50] for row in READ])
def test_errors_of_all_servers_are_read(status: int, body: Any, reason: str, message: str, code: str) -> None:
    """Whatever form they have: the reason, the words and the code."""
    failure = read_error(status, json.dumps(body).encode())
    assert (failure.reason, failure.message, failure.code, failure.status) == (reason, message, code, status)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>Bad gateway</html>", "It answered with a page, not with JSON."),
        (b" upstream down ", "upstream down"),
        (b"\xff", "\ufffd"),
        (b"", ""),
    ],
)
def test_errors_that_are_no_json(body: bytes, message: str) -> None:
    """A sentence is kept, a page is not."""
    assert read_error(502, body) == Failure("internal", message, status=502)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        ({"message": "Please try again in 1m2.5s."}, 62.5),
        ({"message": "Please try again in 250ms."}, 0.25),
        ({"message": "Please try again in 3s.", "retry_after": 7}, 7.0),
        ({"message": "Later.", "retry_after": -1}, None),
    ],
)
def test_the_body_may_tell_when_to_try_again(error: dict[str, Any], seconds: float | None) -> None:
    """In words, or in a member."""
    assert read_error(429, json.dumps({"error": error}).encode()).retry_after == seconds


@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_failure_can_be_written(reason: Reason) -> None:
    """With the class in type and code, since the status is spent, in the three types that OpenAI has."""
    error = json.loads(write_failure(Failure(reason)))["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert all(error[name] for name in ("message", "type", "code"))
    assert error["type"] in ("rate_limit_exceeded", "server_error", "invalid_request_error")


@pytest.mark.parametrize(
    ("reason", "code", "written"),
    [
        ("overloaded", "server_is_overloaded", "server_is_overloaded"),
        ("internal", "busy", "busy"),
        ("overloaded", "UNAVAILABLE", "upstream_overloaded"),
        ("overloaded", "overloaded_error", "upstream_overloaded"),
        ("internal", "500", "upstream_failed"),
        ("rate_limited", "throttlingException", "rate_limit_exceeded"),
        ("authentication", "invalid_api_key", "upstream_authentication"),
        ("quota", "insufficient_quota", "upstream_quota"),
    ],
)
def test_a_code_is_one_of_openais_words_or_ours(reason: Reason, code: str, written: str) -> None:
    """What clients branch on: never another dialect's word, and never the provider's trouble with our own key."""
    assert type_and_code(Failure(reason, code=code))[1] == written
