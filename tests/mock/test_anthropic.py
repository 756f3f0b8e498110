"""The official client takes the mock's messages for Anthropic's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic.types import ToolParam

from rig.mock import Mock

TOOL: ToolParam = {
    "name": "get_time",
    "input_schema": {"type": "object", "properties": {"zone": {"type": "string"}, "exact": {"type": "boolean"}}},
}


@pytest.fixture
def client(mock: Mock) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=mock.url, api_key="any", max_retries=0, _strict_response_validation=True
    ) as opened:
        yield opened


def ask(prompt: str, **fields: Any) -> Any:
    return {
        "model": "claude-mock",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": prompt}],
        **fields,
    }


def test_answer_repeats_the_prompt(client: anthropic.Anthropic) -> None:
    """Text, stop reason and words are those of the echo."""
    answer = client.messages.create(**ask("hello nonce-a1", system="be brief"))
    assert [block.to_dict() for block in answer.content] == [{"type": "text", "text": "echo: hello nonce-a1"}]
    assert answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (4, 3)


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("tools", [True, False])
def test_stream_folds_to_the_unary_answer(client: anthropic.Anthropic, thinking: bool, tools: bool) -> None:
    """The client's accumulator, fed with the stream, holds what the answer without streaming says."""
    fields: Any = {"thinking": {"type": "enabled", "budget_tokens": 1024}} if thinking else {}
    if tools:
        fields |= {"tools": [TOOL], "tool_choice": {"type": "any"}}
    with client.messages.stream(**ask("what time", **fields)) as events:
        streamed = events.get_final_message()
    whole = client.messages.create(**ask("what time", **fields))

    def said(message: anthropic.types.Message) -> Any:
        blocks = [{name: value for name, value in block.to_dict().items() if name != "id"} for block in message.content]
        return blocks, message.stop_reason, message.usage.output_tokens, message.usage.output_tokens_details

    assert said(streamed) == said(whole)
    kinds = [block.type for block in whole.content]
    assert kinds == (["thinking"] if thinking else []) + ["tool_use" if tools else "text"]
    if tools:
        assert whole.content[-1].to_dict()["input"] == {"zone": "what time", "exact": True}
        assert whole.stop_reason == "tool_use"


def test_stream_obeys_the_grammar(mock: Mock) -> None:
    """Every event has its name; blocks open, fill and close in turn, with a ping; `message_stop` is last."""
    body = ask("hi", stream=True, thinking={"type": "adaptive"})
    reply = mock.post("/v1/messages?beta=true", body, anthropic_version="2023-06-01")
    events = [event.split("\n") for event in reply.body.decode().split("\n\n") if event]
    names = [name.removeprefix("event: ") for name, _ in events]
    assert [json.loads(data[6:])["type"] for _, data in events] == names
    shape = [name for place, name in enumerate(names) if place == 0 or name != names[place - 1]]
    block = ["content_block_start", "content_block_delta", "content_block_stop"]
    assert shape == ["message_start", block[0], "ping", *block[1:], *block, "message_delta", "message_stop"]
    assert reply.headers["request-id"]


def test_cached_tokens_stand_outside_the_input(mock: Mock) -> None:
    """Anthropic counts exclusively: cache reads and writes are taken out of `input_tokens`."""
    body = ask("one two three four five", model="m+cached=2,cache_write=1")
    usage = mock.post("/v1/messages", body, anthropic_version="2023-06-01").json()["usage"]
    assert usage["input_tokens"] == 2
    assert usage["cache_read_input_tokens"] == 2
    assert usage["cache_creation_input_tokens"] == 1


def test_tokens_are_counted(client: anthropic.Anthropic) -> None:
    """The counting endpoint uses the same rule as the answers."""
    counted = client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "one two three"}])
    assert counted.input_tokens == 3


def test_tool_result_is_echoed(client: anthropic.Anthropic) -> None:
    """The text inside a tool result comes back, and the tool is not called again."""
    answer = client.messages.create(
        model="m",
        max_tokens=50,
        tools=[TOOL],
        messages=[
            {"role": "user", "content": "use tool"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "get_time", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "use tool: noon"}]}
                ],
            },
        ],
    )
    assert answer.content[0].to_dict()["text"] == "echo: use tool: noon"


def test_limits_and_stops_are_named(client: anthropic.Anthropic) -> None:
    """`max_tokens` and a stop sequence end the answer with their own reasons."""
    short = client.messages.create(**ask("a b c d") | {"max_tokens": 2})
    assert short.stop_reason == "max_tokens"
    stopped = client.messages.create(**ask("a STOP b", stop_sequences=["STOP"]))
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "STOP")


def test_what_the_service_demands_is_demanded(mock: Mock) -> None:
    """A request without `max_tokens` or without a version is refused in Anthropic's shape."""
    bare = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    for body, headers in ((bare, {"anthropic_version": "2023-06-01"}), (bare | {"max_tokens": 1}, {})):
        reply = mock.post("/v1/messages", body, **headers)
        assert reply.status == 400
        assert reply.json()["error"]["type"] == "invalid_request_error"


def test_errors_raise_the_clients_own_exceptions(client: anthropic.Anthropic) -> None:
    """Statuses carry Anthropic's error types; an error event inside a stream is raised too."""
    with pytest.raises(anthropic.RateLimitError, match="rate_limit_error"):
        client.messages.create(**ask("x", model="m+status=429"))
    with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
        client.messages.create(**ask("x", model="m+status=529"))
    with pytest.raises(anthropic.APIStatusError, match="fail in the stream"):
        list(client.messages.create(**ask("x", model="m+error_in_stream", stream=True)))


def test_models_are_listed_in_its_shape(client: anthropic.Anthropic) -> None:
    """`GET /v1/models` with a version header answers as Anthropic does, and any name is a model."""
    assert "claude-sonnet-4-5" in [model.id for model in client.models.list()]
    assert client.models.retrieve("claude-x").id == "claude-x"


def test_vertex_wants_the_version_in_the_body_and_the_model_in_the_path(mock: Mock) -> None:
    """No header, no `model`; what is answered names the path's model."""
    path = "/v1/projects/p/locations/global/publishers/anthropic/models/claude-x@1:rawPredict"
    body = {"max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}
    version = {"anthropic_version": "vertex-2023-10-16"}
    assert mock.post(path, body).status == 400
    assert mock.post(path, body | version | {"model": "m"}).status == 400
    answer = mock.post(path, body | version)
    assert (answer.status, answer.json()["model"]) == (200, "claude-x@1")
