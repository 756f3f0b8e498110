"""Error bodies of the OpenAI dialect."""

from __future__ import annotations

import json

import openai
import pytest

from flumegate.mock.openai_errors import body
from rig.mock import Mock


@pytest.mark.parametrize(
    ("status", "code", "kind", "shown"),
    [
        (400, "", "invalid_request_error", None),
        (401, "", "invalid_request_error", "invalid_api_key"),
        (404, "", "invalid_request_error", "model_not_found"),
        (429, "", "requests", "rate_limit_exceeded"),
        (429, "insufficient_quota", "insufficient_quota", "insufficient_quota"),
        (400, "context_length_exceeded", "invalid_request_error", "context_length_exceeded"),
        (503, "", "server_error", None),
    ],
)
def test_all_four_keys_are_there(status: int, code: str, kind: str, shown: str | None) -> None:
    """Clients branch on type and code, so each status has its usual pair."""
    error = json.loads(body(status, "why", code))["error"]
    assert error == {"message": "why", "type": kind, "param": None, "code": shown}


def test_the_client_raises_its_own_exception(mock: Mock) -> None:
    """The code reaches the client's exception."""
    with (
        openai.OpenAI(base_url=f"{mock.url}/v1", api_key="any", max_retries=0) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        client.chat.completions.create(
            model="m+status=429,code=insufficient_quota", messages=[{"role": "user", "content": "x"}]
        )
    assert caught.value.code == "insufficient_quota"
