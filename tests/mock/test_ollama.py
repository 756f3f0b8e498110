"""Ollama's own API by plain HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rig.mock import Mock

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {"x": {}}}}}


def lines(mock: Mock, path: str, body: dict[str, Any]) -> list[Any]:
    reply = mock.post(path, body)
    assert reply.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in reply.body.splitlines()]


def chat(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"model": "llama3.2", "messages": [{"role": "user", "content": prompt}], **fields}


def test_chat_streams_unless_told_otherwise(mock: Mock) -> None:
    """Lines of JSON, the last one with `done`, its reason and the counts."""
    said = lines(mock, "/api/chat", chat("hello you"))
    assert "".join(line["message"]["content"] for line in said) == "echo: hello you"
    assert [line["done"] for line in said] == [False] * (len(said) - 1) + [True]
    assert said[-1]["done_reason"] == "stop"
    assert (said[-1]["prompt_eval_count"], said[-1]["eval_count"]) == (2, 3)


def test_unary_chat_is_one_object(mock: Mock) -> None:
    """`stream: false` gives everything at once."""
    reply = mock.post("/api/chat", chat("hi", stream=False))
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["message"] == {"role": "assistant", "content": "echo: hi"}
    assert reply.json()["done"] is True


@pytest.mark.parametrize("stream", [True, False])
def test_tool_call_is_whole_and_its_arguments_an_object(mock: Mock, stream: bool) -> None:
    """A call comes in one line; the reason stays `stop`."""
    body = chat("use tool", tools=[TOOL], stream=stream)
    said = lines(mock, "/api/chat", body) if stream else [mock.post("/api/chat", body).json()]
    assert said[0]["message"]["tool_calls"] == [{"function": {"name": "add", "arguments": {"x": "use tool"}}}]
    assert said[-1]["done_reason"] == "stop"


def test_thinking_comes_when_asked_for(mock: Mock) -> None:
    """`think` adds the thoughts before the answer."""
    said = lines(mock, "/api/chat", chat("hi", think=True))
    assert "".join(line["message"].get("thinking", "") for line in said) == "The prompt says: hi"
    assert "".join(line["message"]["content"] for line in said) == "echo: hi"


def test_generate_answers_in_response(mock: Mock) -> None:
    """The old form has `response` in the place of a message."""
    said = lines(mock, "/api/generate", {"model": "m", "prompt": "a b c", "options": {"num_predict": 2}})
    assert "".join(line["response"] for line in said) == "echo: a "
    assert said[-1]["done_reason"] == "length"


def test_embeddings_in_both_forms(mock: Mock) -> None:
    """The new form takes a list, the old one a prompt; equal texts have equal vectors."""
    new = mock.post("/api/embed", {"model": "m", "input": ["a", "b c"]}).json()
    old = mock.post("/api/embeddings", {"model": "m", "prompt": "a"}).json()
    assert new["embeddings"][0] == old["embedding"]
    assert new["prompt_eval_count"] == 3


def test_what_clients_probe_is_there(mock: Mock) -> None:
    """Tags, version, running models, facts of one, and the greeting."""
    assert "llama3.2:latest" in [row["name"] for row in mock.get("/api/tags").json()["models"]]
    assert mock.get("/api/version").json()["version"]
    assert mock.get("/api/ps").json() == {"models": []}
    assert "tools" in mock.post("/api/show", {"model": "m"}).json()["capabilities"]
    assert mock.get("/").body == b"Ollama is running"
    assert mock.request("HEAD", "/api/tags").status == 200


def test_errors_are_plain_strings(mock: Mock) -> None:
    """Before the stream and inside it."""
    reply = mock.post("/api/chat", chat("x", model="m+status=404"))
    assert reply.status == 404
    assert isinstance(reply.json()["error"], str)
    said = lines(mock, "/api/chat", chat("x", model="m+error_in_stream=1"))
    assert list(said[-1]) == ["error"]
