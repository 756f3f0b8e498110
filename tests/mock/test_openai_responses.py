"""The official client takes the mock's responses for OpenAI's, streamed and not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import FunctionToolParam, ResponseFunctionToolCall

from rig.mock import Mock

TOOL: FunctionToolParam = {
    "type": "function",
    "name": "look_up",
    "strict": True,
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
}
KEYS = {
    *("id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "previous_response_id"),
    *("instructions", "output", "error", "tools", "tool_choice", "truncation", "parallel_tool_calls", "text", "top_p"),
    *("presence_penalty", "frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage", "store"),
    *("max_output_tokens", "max_tool_calls", "background", "service_tier", "metadata", "safety_identifier"),
    "prompt_cache_key",
}


@pytest.fixture
def client(mock: Mock) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{mock.url}/v1", api_key="any", max_retries=0, _strict_response_validation=True
    ) as opened:
        yield opened


def events_of(mock: Mock, body: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return names and data of a stream's events."""
    found: list[tuple[str, Any]] = []
    for event in mock.post("/v1/responses", body | {"stream": True}).body.decode().split("\n\n"):
        if event:
            name, data = event.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_answer_is_complete(client: openai.OpenAI, mock: Mock) -> None:
    """The object has every key that Open Responses validates, and the client's usage type is satisfied."""
    answer = client.responses.create(model="gpt-5", input="hello nonce-r1", instructions="be brief")
    assert answer.output_text == "echo: hello nonce-r1"
    assert answer.status == "completed"
    assert answer.usage is not None
    assert answer.usage.input_tokens == 4
    assert answer.usage.input_tokens_details.cache_write_tokens == 0
    raw = mock.post("/v1/responses", {"model": "gpt-5", "input": "x", "temperature": 0.5}).json()
    assert set(raw) >= KEYS
    assert raw["temperature"] == 0.5
    assert raw["text"]["format"] == {"type": "text"}


@pytest.mark.parametrize("reasoning", [True, False])
@pytest.mark.parametrize("tools", [True, False])
def test_stream_folds_to_the_unary_answer(client: openai.OpenAI, reasoning: bool, tools: bool) -> None:
    """The client's accumulator, fed with the stream, holds what the answer without streaming says."""
    options: Any = {"model": "gpt-5", "input": "use tool now"}
    if reasoning:
        options |= {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    if tools:
        options |= {"tools": [TOOL]}
    with client.responses.stream(**options) as events:
        streamed = events.get_final_response().to_dict()
    whole = client.responses.create(**options).to_dict()

    def said(answer: dict[str, Any]) -> Any:
        bare = json.loads(json.dumps(answer["output"]), object_hook=without_ids)
        return bare, answer["usage"], answer["status"]

    def without_ids(fields: dict[str, Any]) -> dict[str, Any]:
        dropped = {"id", "call_id", "parsed", "parsed_arguments"}
        return {name: value for name, value in fields.items() if name not in dropped and value is not None}

    assert said(streamed) == said(whole)
    assert [item["type"] for item in whole["output"]] == (["reasoning"] if reasoning else []) + [
        "function_call" if tools else "message"
    ]


def test_tool_call_has_arguments_of_the_prompt(client: openai.OpenAI) -> None:
    """A named tool is called with JSON of its schema; item id and call id are different ids."""
    answer = client.responses.create(
        model="gpt-5", input="find it", tools=[TOOL], tool_choice={"type": "function", "name": "look_up"}
    )
    [call] = answer.output
    assert isinstance(call, ResponseFunctionToolCall)
    assert json.loads(call.arguments) == {"query": "find it"}
    assert call.id != call.call_id


def test_stream_obeys_the_grammar(mock: Mock) -> None:
    """Numbers without gaps, `created` first, one terminal event last, deltas inside their item, ids that stay."""
    events = events_of(mock, {"model": "m", "input": "a b", "reasoning": {"effort": "low"}})
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    assert all(name == data["type"] for name, data in events)
    names = [name for name, _ in events]
    assert names[:2] == ["response.created", "response.in_progress"]
    assert names[-1] == "response.completed"
    assert sum(name in {"response.completed", "response.failed", "response.incomplete"} for name in names) == 1
    items = [data["item"]["id"] for name, data in events if name.startswith("response.output_item.")]
    assert items == [items[0], items[0], items[2], items[2]]
    for name, data in events:
        if name.endswith(".delta"):
            assert data["item_id"] == items[2 * data["output_index"]]
    assert events[-1][1]["response"]["output"][1]["content"][0]["text"] == "echo: a b"


def test_limit_makes_the_answer_incomplete(mock: Mock) -> None:
    """Fewer words than the answer has: status, reason and last event say so."""
    events = events_of(mock, {"model": "m", "input": "a b c", "max_output_tokens": 2})
    name, data = events[-1]
    assert name == "response.incomplete"
    assert data["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert data["response"]["output"][0]["status"] == "incomplete"


def test_error_in_stream_is_followed_by_failed(mock: Mock, client: openai.OpenAI) -> None:
    """The error event nests its error, so that the client raises; `response.failed` ends the stream."""
    events = events_of(mock, {"model": "m+error_in_stream=3", "input": "a"})
    assert [name for name, _ in events[3:]] == ["error", "response.failed"]
    assert [data["sequence_number"] for _, data in events] == [0, 1, 2, 3, 4]
    assert set(events[-1][1]["response"]["error"]) == {"code", "message"}
    with pytest.raises(openai.APIError, match="fail in the stream"):
        list(client.responses.create(model="m+error_in_stream=3", input="a", stream=True))


def test_input_tokens_are_counted(mock: Mock) -> None:
    """The counting endpoint uses the same rule as the answers."""
    counted = mock.post("/v1/responses/input_tokens", {"model": "m", "input": "one two three"}).json()
    assert counted == {"object": "response.input_tokens", "input_tokens": 3}
