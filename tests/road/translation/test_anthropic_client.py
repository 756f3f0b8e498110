"""Anthropic's own client against every kind of provider: messages, streams, tools, thinking and token counts."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import pytest
from anthropic.types import Message, MessageParam, ToolParam

from rig.translation import KEY, WEATHER_PARAMETERS, Stage, thinker

SAID: list[MessageParam] = [{"role": "user", "content": "hello there nonce-tr2"}]
ECHO = "echo: hello there nonce-tr2"
TOOL: ToolParam = {"name": "weather", "description": "Weather of a city", "input_schema": WEATHER_PARAMETERS}


@pytest.fixture
def client(stage: Stage) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=stage.gateway.url, api_key=KEY, max_retries=0) as made:
        yield made


def test_message(client: anthropic.Anthropic, provider: str) -> None:
    """A message comes back whole: text, stop reason, usage."""
    done = client.messages.create(model=f"{provider}/m1", max_tokens=100, system="Be brief.", messages=SAID)
    assert [block.text for block in done.content if block.type == "text"] == [ECHO]
    assert (done.stop_reason, done.role, done.type) == ("end_turn", "assistant", "message")
    assert (done.usage.input_tokens, done.usage.output_tokens) == (5, 4)


def test_stream(client: anthropic.Anthropic, provider: str) -> None:
    """The stream helper's accumulator takes every event, and usage comes at the end."""
    with client.messages.stream(model=f"{provider}/m1", max_tokens=100, messages=SAID) as stream:
        text = list(stream.text_stream)
        done = stream.get_final_message()
    assert "".join(text) == ECHO
    assert len(text) == 4
    assert done.stop_reason == "end_turn"
    assert (done.usage.input_tokens, done.usage.output_tokens) == (3, 4)


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_loop(client: anthropic.Anthropic, provider: str, streamed: bool) -> None:
    """A conversation of several turns with a tool."""
    messages: list[MessageParam] = [{"role": "user", "content": "use tool for Delft"}]
    if streamed:
        with client.messages.stream(model=f"{provider}/m1", max_tokens=100, messages=messages, tools=[TOOL]) as stream:
            done: Message = stream.get_final_message()
    else:
        done = client.messages.create(model=f"{provider}/m1", max_tokens=100, messages=messages, tools=[TOOL])
    (call,) = [block for block in done.content if block.type == "tool_use"]
    assert (call.name, call.input, done.stop_reason) == ("weather", {"city": "use tool for Delft"}, "tool_use")
    messages += [
        {"role": "assistant", "content": [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"}]},
    ]
    after = client.messages.create(model=f"{provider}/m1", max_tokens=100, messages=messages, tools=[TOOL])
    (text,) = [block.text for block in after.content if block.type == "text"]
    assert text in ("echo: rain", 'echo: {"output":"rain"}')  # Gemini takes objects only


def test_thinking(client: anthropic.Anthropic, provider: str) -> None:
    """Thinking comes back as a block of its own before the text, whole and streamed."""
    done = client.messages.create(
        model=thinker(provider),
        max_tokens=4000,
        thinking={"type": "enabled", "budget_tokens": 2000},
        messages=SAID,
    )
    kinds = [block.type for block in done.content]
    assert kinds == ["thinking", "text"]
    with client.messages.stream(
        model=thinker(provider), max_tokens=4000, thinking={"type": "enabled", "budget_tokens": 2000}, messages=SAID
    ) as stream:
        streamed = stream.get_final_message()
    assert [block.type for block in streamed.content] == kinds
    # It goes back in the next turn, signature and all.
    again = client.messages.create(
        model=thinker(provider),
        max_tokens=4000,
        messages=[
            *SAID,
            {"role": "assistant", "content": streamed.content},
            {"role": "user", "content": "thanks"},
        ],
    )
    assert [block.text for block in again.content if block.type == "text"] == ["echo: thanks"]


def test_count_tokens(client: anthropic.Anthropic, provider: str) -> None:
    """A count is never refused and never nothing."""
    counted = client.messages.count_tokens(model=f"{provider}/m1", system="Be brief.", messages=SAID, tools=[TOOL])
    assert counted.input_tokens > 0


def test_errors(client: anthropic.Anthropic, provider: str) -> None:
    """What the provider refuses is the client's own class of error."""
    limit = "mock-fault:status=429,retry_after=8"  # no other client's: a target that asked for rest is not asked again
    with pytest.raises(anthropic.RateLimitError) as limited:
        client.messages.create(model=f"{provider}/{limit}", max_tokens=100, messages=SAID)
    assert limited.value.response.headers["retry-after"] == "8"
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model=f"{provider}/mock-fault:status=400", max_tokens=100, messages=SAID)


@pytest.mark.parametrize("fault", ["error_in_stream", "cut=900", "no_done"])
def test_broken_stream(client: anthropic.Anthropic, provider: str, fault: str) -> None:
    """A stream that breaks never ends as if it were whole: there is no `message_stop`."""
    if fault == "no_done" and provider in ("openai", "compatible"):
        pytest.skip("OpenAI's own end marker is a hint: a finish reason ends a stream")
    kinds = []
    with (
        pytest.raises((anthropic.APIError, anthropic.APIConnectionError)),
        client.messages.create(
            model=f"{provider}/m1+{fault},tokens=40", max_tokens=100, messages=SAID, stream=True
        ) as stream,
    ):
        kinds += [event.type for event in stream]
    assert "message_stop" not in kinds
