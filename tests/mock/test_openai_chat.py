"""The official client takes the mock's chat completions for OpenAI's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionToolParam

from rig.mock import Mock

TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["c", "f"]}},
        },
    },
}


@pytest.fixture
def client(mock: Mock) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{mock.url}/v1", api_key="any", max_retries=0, _strict_response_validation=True
    ) as opened:
        yield opened


def test_answer_repeats_the_prompt(client: openai.OpenAI) -> None:
    """A mix-up between two requests is visible: the prompt's text and nonce come back, words are counted."""
    answer = client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello  nonce-1a\nworld"}],
    )
    assert answer.choices[0].message.content == "echo: hello  nonce-1a\nworld"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "gpt-4o"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (5, 4, 9)


@pytest.mark.parametrize("asks", [True, False])
def test_stream_has_usage_only_when_asked(client: openai.OpenAI, asks: bool) -> None:
    """The last chunk of a stream holds usage if the request says so; otherwise the key is nowhere."""
    options: Any = {"stream_options": {"include_usage": True}} if asks else {}
    chunks: list[ChatCompletionChunk] = list(
        client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "one two"}], stream=True, **options
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "echo: one two"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [asks]
    assert all(("usage" in chunk.model_fields_set) == asks for chunk in chunks)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("prompt", "choice"),
    [
        ("please use tool", "auto"),
        ("go", "required"),
        ("go", {"type": "function", "function": {"name": "get_weather"}}),
    ],
)
def test_tool_is_called(client: openai.OpenAI, stream: bool, prompt: str, choice: Any) -> None:
    """A trigger or a demand gets a call of the first or named tool, its arguments made from prompt and schema."""
    other: ChatCompletionToolParam = {"type": "function", "function": {"name": "other", "parameters": {}}}
    tools = [other, TOOL] if isinstance(choice, dict) else [TOOL, other]
    if stream:
        with client.chat.completions.stream(
            model="gpt-4o", messages=[{"role": "user", "content": prompt}], tools=tools, tool_choice=choice
        ) as events:
            message = events.get_final_completion().choices[0]
    else:
        message = client.chat.completions.create(  # type: ignore[assignment] # one is the parsed form of the other
            model="gpt-4o", messages=[{"role": "user", "content": prompt}], tools=tools, tool_choice=choice
        ).choices[0]
    assert message.finish_reason == "tool_calls"
    assert message.message.tool_calls is not None
    [call] = message.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": prompt, "days": len(prompt), "unit": "c"}


def test_tool_result_is_echoed_and_not_called_again(client: openai.OpenAI) -> None:
    """After a tool's result the loop ends: the trigger alone calls nothing more."""
    answer = client.chat.completions.create(
        model="gpt-4o",
        tools=[TOOL],
        messages=[
            {"role": "user", "content": "use tool"},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "it will use tool and rain"},
        ],
    )
    assert answer.choices[0].message.content == "echo: it will use tool and rain"


def test_reasoning_comes_when_asked_for(mock: Mock) -> None:
    """`reasoning_effort` adds reasoning text before the answer and counts its words."""
    body = {"model": "o4-mini", "messages": [{"role": "user", "content": "why"}], "reasoning_effort": "low"}
    answer = mock.post("/v1/chat/completions", body).json()
    assert answer["choices"][0]["message"]["reasoning_content"] == "The prompt says: why"
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 4
    assert answer["usage"]["completion_tokens"] == 6
    quiet = mock.post("/v1/chat/completions", body | {"reasoning_effort": "none"}).json()
    assert "reasoning_content" not in quiet["choices"][0]["message"]


def test_limit_stop_schema_and_choices_are_kept(mock: Mock) -> None:
    """The knobs that change an answer change this one too."""
    body = {"model": "m", "messages": [{"role": "user", "content": "a b STOP c"}]}

    def asked(**fields: Any) -> Any:
        return mock.post("/v1/chat/completions", body | fields).json()["choices"]

    assert asked(max_tokens=2)[0]["message"]["content"] == "echo: a "
    assert asked(max_tokens=2)[0]["finish_reason"] == "length"
    assert asked(stop="STOP")[0]["message"]["content"] == "echo: a b "
    assert [choice["index"] for choice in asked(n=3)] == [0, 1, 2]
    schema = {"type": "object", "properties": {"said": {"type": "string"}, "list": {"type": "array", "items": {}}}}
    shaped = asked(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    assert json.loads(shaped[0]["message"]["content"]) == {"said": "a b STOP c", "list": ["a b STOP c"]}


def test_azure_paths_name_the_model_and_carry_filter_results(mock: Mock) -> None:
    """A deployment path is answered as OpenAI, with Azure's first chunk; the path names the model."""
    body = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    reply = mock.post("/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21", body, api_key="k")
    first, second = [json.loads(line[6:]) for line in reply.body.split(b"\n\n")[:2]]
    assert first["choices"] == []
    assert "prompt_filter_results" in first
    assert second["model"] == "my-gpt"
