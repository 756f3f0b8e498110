"""Promise: a record keeps the client's view of a translated exchange; what the gateway answers itself is kept, too."""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from rig.road import chat, eventually, record
from rig.translation import KEY, UPSTREAM_KEY, Stage, run_stage

STRICT = {"strict": {"targets": [{"use": "anthropic/m1"}], "translation": "strict"}}


@pytest.fixture(scope="module")
def full() -> Iterator[Stage]:
    with run_stage(records={"content": "full"}, models=STRICT) as running:
        yield running


def content(stage: Stage, record_id: str) -> tuple[bytes, bytes]:
    """Return the request and the answer that were kept, once they are."""

    def look() -> list[Any]:
        path = stage.gateway.data_dir / "flumegate.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
            return database.execute(
                "SELECT request_body, response_body FROM contents WHERE id = ?", (record_id,)
            ).fetchall()

    ((request, response),) = eventually(look, f"the content of {record_id}")
    return bytes(request), bytes(response)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", ["anthropic", "gemini", "ollama", "bedrock"])
def test_contents_are_the_clients(full: Stage, provider: str, stream: bool) -> None:
    """The request as the client sent it and the answer as it got it, not what was said to the provider."""
    body = chat(f"{provider}/m1", "hello there", stream=stream, seed=7)
    answer = full.gateway.request("POST", "/v1/chat/completions", body=body, key=KEY)
    kept = record(full.gateway, answer.headers["x-request-id"])
    request, response = content(full, kept["id"])
    assert json.loads(request) == body
    assert response == answer.body
    assert kept["response_bytes"] == len(answer.body)
    assert kept["request_bytes"] == len(json.dumps(body))
    assert (kept["lane"], kept["provider"], kept["model"]) == ("translated", provider, "m1")
    assert (kept["first_token_us"] is not None) == stream
    assert UPSTREAM_KEY not in json.dumps(kept)
    assert UPSTREAM_KEY.encode() not in answer.body


def test_what_the_gateway_says_itself_is_kept(full: Stage) -> None:
    """An estimate of tokens and a refusal are answers like others."""
    body = {"model": "gemini/m1", "messages": [{"role": "user", "content": "hello"}]}
    counted = full.gateway.request("POST", "/v1/messages/count_tokens", body=body, key=KEY)
    kept = record(full.gateway, counted.headers["x-request-id"])
    assert content(full, kept["id"])[1] == counted.body
    refused = full.gateway.request("POST", "/v1/chat/completions", body=chat("strict", seed=7, max_tokens=9), key=KEY)
    assert (refused.status, json.loads(refused.body)["error"]["param"]) == (400, "seed")
    kept = record(full.gateway, refused.headers["x-request-id"])
    assert (kept["outcome"], kept["error_code"]) == ("refused", "not_translatable")
    assert content(full, kept["id"])[1] == refused.body


def test_strict_routes_pass_what_loses_nothing(full: Stage) -> None:
    """Only a loss is refused."""
    body = chat("strict", max_tokens=9)
    assert full.gateway.request("POST", "/v1/chat/completions", body=body, key=KEY).status == 200


@pytest.mark.parametrize(
    ("path", "more", "reason"),
    [
        ("/api/chat", {}, "load"),
        ("/api/chat", {"messages": [], "keep_alive": 0}, "unload"),
        ("/api/generate", {}, "load"),
        ("/api/generate", {"prompt": "", "stream": True}, "load"),
    ],
)
def test_a_model_that_is_only_loaded(full: Stage, path: str, more: dict[str, Any], reason: str) -> None:
    """Other providers load nothing: it is answered here, and they are not asked."""
    before = len(full.mock.ledger())
    answer = full.gateway.request("POST", path, body={"model": "anthropic/m1", **more}, key=KEY)
    said = json.loads(answer.body)
    assert (answer.status, said["model"], said["done"], said["done_reason"]) == (200, "anthropic/m1", True, reason)
    kept = record(full.gateway, answer.headers["x-request-id"])
    assert (kept["outcome"], kept["lane"], kept["provider"]) == ("ok", "translated", "anthropic")
    assert len(full.mock.ledger()) == before


IMAGE = "data:image/png;base64,iVBORw0KGgo="


def test_response_fields(full: Stage) -> None:
    """Every public field of `/response` has its place in the chat request."""
    tag = "nonce-response1"
    body = {
        "model": "openai/m1",
        "instructions": "Be brief.",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "one"}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": {"content": "rain"}},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It rains."}]},
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": tag}, {"type": "input_image", "image_url": IMAGE}],
            },
        ],
        "tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}],
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "top_p": 0.5,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "stop": ["x"],
        "user": "u1",
        "max_output_tokens": 55,
        "metadata": {"a": "b"},
        "whatever": {"c": 1},
    }
    answer = full.gateway.request("POST", "/response", body=body, key=KEY)
    assert answer.status == 200, answer.body
    done = json.loads(answer.body)
    assert (done["object"], done["status"], done["model"]) == ("response", "completed", "openai/m1")
    assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + done["usage"]["output_tokens"]
    (row,) = full.mock.ended(tag)
    asked = json.loads(base64.b64decode(row["body"]))
    assert asked["model"] == "m1"
    roles = [message["role"] for message in asked["messages"]]
    assert roles[0] in ("system", "developer")
    assert roles[1:] == ["user", "assistant", "tool", "assistant", "user"]
    assert asked["messages"][2]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert asked["messages"][5]["content"][1]["image_url"]["url"] == IMAGE
    assert asked["tools"][0]["function"]["name"] == "f"
    names = ("parallel_tool_calls", "temperature", "top_p", "presence_penalty", "frequency_penalty", "stop", "user")
    assert {name: asked.get(name) for name in names} == {name: body[name] for name in names}
    assert 55 in (asked.get("max_tokens"), asked.get("max_completion_tokens"))
    assert not {"target", "metadata", "whatever", "store", "input", "instructions"} & set(asked)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"target": 5}, "target"),
    ],
)
def test_response_refuses_what_needs_a_memory(full: Stage, more: dict[str, Any], param: str) -> None:
    """400 with a message that names the field."""
    body = {"model": "m1", "target": "openai", "input": "hello"} | more
    answer = full.gateway.request("POST", "/response", body=body, key=KEY)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["param"]) == (400, param), error


def test_response_needs_a_known_target(full: Stage) -> None:
    """An unknown one is named; the permitted ones, too."""
    answer = full.gateway.request("POST", "/response", body={"model": "m", "target": "nobody", "input": "a"}, key=KEY)
    assert answer.status == 400
    assert b"nobody" in answer.body
