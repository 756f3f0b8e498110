"""The list of models in both dialects, and one model by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from rig.gateway import Gateway, run_gateway
from rig.rows import row_of
from rig.sockets import WireAnswer, call

KEY = "sk-road-models-canary"
NAMES = ["gpt-4o", "smart", "org/model:7b", "caf\u00e9 \U0001f600", "percent%2Fname"]
PROVIDERS = {
    "up": {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"},
    "claude": {"type": "anthropic", "base_url": "http://127.0.0.1:9", "api_key": "sk-ant"},
}
VERSION = ("anthropic-version", "2023-06-01")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    models = dict.fromkeys(NAMES, "up/real") | {"sonnet": "claude/claude-real", "claude-*": "claude/*"}
    settings = {"auth": {"static_keys": [KEY]}, "providers": PROVIDERS, "models": models}
    with run_gateway(config=json.dumps(settings, ensure_ascii=False)) as running:
        yield running


def get(gateway: Gateway, path: str, *headers: tuple[str, str], key: str = KEY) -> WireAnswer:
    return call(gateway.port, "GET", path, headers, key=key)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/", "/v1/v1/models", "/v1/models?limit=1000"])
def test_the_list_in_openais_shape(gateway: Gateway, path: str) -> None:
    """`GET /v1/models` lists every configured name that is no wildcard, with the provider as its owner."""
    got = get(gateway, path)
    assert got.status == 200
    assert got.header("content-type") == "application/json"
    listed = got.json()
    assert set(listed) == {"object", "data"}
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == [*NAMES, "sonnet"]
    for model in listed["data"]:
        assert set(model) == {"id", "object", "created", "owned_by"}
        assert model["object"] == "model"
        assert isinstance(model["created"], int)
        assert model["owned_by"] == ("claude" if model["id"] == "sonnet" else "up")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models?limit=1000", "/v1/v1/models/"])
def test_the_list_in_anthropics_shape(gateway: Gateway, path: str) -> None:
    """With `anthropic-version` the same list comes in Anthropic's shape."""
    got = get(gateway, path, VERSION)
    assert got.status == 200
    listed = got.json()
    assert set(listed) == {"data", "has_more", "first_id", "last_id"}
    assert listed["has_more"] is False
    assert (listed["first_id"], listed["last_id"]) == ("gpt-4o", "sonnet")
    assert [model["id"] for model in listed["data"]] == [*NAMES, "sonnet"]
    for model in listed["data"]:
        assert model["type"] == "model"
        assert model["display_name"]
        assert model["created_at"].endswith("Z")


@pytest.mark.parametrize("name", [*NAMES, "sonnet"])
def test_one_model(gateway: Gateway, name: str) -> None:
    """A model is found by its name, also where that holds slashes, colons or characters beyond ASCII."""
    for spelled in {quote(name), quote(name, safe="")}:
        assert get(gateway, f"/v1/models/{spelled}").json()["id"] == name
        assert get(gateway, f"/v1/models/{spelled}", VERSION).json() == {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": "1970-01-01T00:00:00Z",
        }


@pytest.mark.parametrize("name", ["nothing", "claude-*", "gpt-4o/x", "GPT-4o", "a" * 5000])
def test_an_unknown_model_is_404(gateway: Gateway, name: str) -> None:
    """A name that is not configured is 404 in the caller's dialect, and the message says where the list is."""
    got = get(gateway, f"/v1/models/{quote(name)}")
    assert got.status == 404
    error = got.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", "model_not_found")
    assert "/v1/models" in error["message"]
    got = get(gateway, f"/v1/models/{quote(name)}", VERSION)
    assert got.status == 404
    assert got.json()["type"] == "error"
    assert got.json()["error"]["type"] == "not_found_error"
    assert got.json()["request_id"] == got.header("request-id")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gpt-4o", "/proxy/v1/upstreams"])
def test_lists_need_a_key(gateway: Gateway, path: str) -> None:
    """Without a valid key nobody learns what is configured."""
    for key in ("", "sk-wrong"):
        got = get(gateway, path, key=key)
        assert got.status == 401
        assert "gpt-4o" not in got.body.decode()


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gpt-4o"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_lists_are_read_only(gateway: Gateway, method: str, path: str) -> None:
    """Another method than GET and HEAD is 405."""
    got = call(gateway.port, method, path, body=b"{}", key=KEY)
    assert got.status == 405
    assert got.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gpt-4o"])
def test_head_has_the_length_of_the_list(gateway: Gateway, path: str) -> None:
    """HEAD answers as GET does, without the body."""
    with_body = get(gateway, path)
    without = call(gateway.port, "HEAD", path, key=KEY)
    assert (without.status, without.body) == (200, b"")
    assert without.header("content-length") == str(len(with_body.body))


def test_lists_are_recorded_as_local(gateway: Gateway) -> None:
    """A list is a request like any other: one record, lane `local`, no provider."""
    got = get(gateway, "/v1/models?x=secret")
    row = row_of(gateway, got.header("x-request-id") or "")
    assert (row["endpoint"], row["lane"], row["provider"], row["status"]) == ("models", "local", "", 200)
    assert row["path"] == "/v1/models"
    assert row["response_bytes"] == len(got.body)
    assert row["attempts"] == []
