from __future__ import annotations

import json

import pytest

from flumegate import errors
from flumegate.dialects.openai.errors import write_error, write_responses_stream_error, write_stream_error
from flumegate.errors import GatewayError, Kind
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
