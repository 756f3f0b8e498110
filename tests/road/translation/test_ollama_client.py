"""Ollama's own client against every kind of provider: chat, generate, embeddings and lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ollama
import pytest

from rig.translation import KEY, WEATHER_PARAMETERS, WITHOUT_EMBEDDINGS, Stage, thinker

SAID = [{"role": "user", "content": "hello there nonce-tr3"}]
ECHO = "echo: hello there nonce-tr3"
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "Weather of a city", "parameters": WEATHER_PARAMETERS},
}


@pytest.fixture
def client(stage: Stage) -> Iterator[ollama.Client]:
    made = ollama.Client(host=stage.gateway.url, headers={"authorization": f"Bearer {KEY}"})
    yield made
    made._client.close()


def test_chat(client: ollama.Client, provider: str) -> None:
    """An answer comes back whole."""
    done = client.chat(model=f"{provider}/m1", messages=SAID)
    assert done.message.content == ECHO
    assert (done.done, done.done_reason) == (True, "stop")
    assert (done.prompt_eval_count, done.eval_count) == (3, 4)


def test_chat_stream(client: ollama.Client, provider: str) -> None:
    """A stream yields the text in pieces, and its last line says that it is the last."""
    lines = list(client.chat(model=f"{provider}/m1", messages=SAID, stream=True))
    assert "".join(line.message.content or "" for line in lines) == ECHO
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1].eval_count == 4


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_loop(client: ollama.Client, provider: str, streamed: bool) -> None:
    """A conversation of several turns with a tool."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "use tool for Delft"}]
    if streamed:
        lines = list(client.chat(model=f"{provider}/m1", messages=messages, tools=[TOOL], stream=True))
        calls = [call for line in lines for call in line.message.tool_calls or ()]
    else:
        calls = list(client.chat(model=f"{provider}/m1", messages=messages, tools=[TOOL]).message.tool_calls or ())
    (call,) = calls
    assert (call.function.name, dict(call.function.arguments)) == ("weather", {"city": "use tool for Delft"})
    messages += [
        {
            "role": "assistant",
            "tool_calls": [{"function": {"name": "weather", "arguments": dict(call.function.arguments)}}],
        },
        {"role": "tool", "tool_name": "weather", "content": "rain"},
    ]
    after = client.chat(model=f"{provider}/m1", messages=messages, tools=[TOOL])
    assert after.message.content in ("echo: rain", 'echo: {"output":"rain"}')  # Gemini takes objects only


def test_generate(client: ollama.Client, provider: str) -> None:
    """A bare prompt, whole and streamed."""
    assert client.generate(model=f"{provider}/m1", prompt="once upon").response == "echo: once upon"
    lines = list(client.generate(model=f"{provider}/m1", prompt="once upon", stream=True))
    assert "".join(line.response or "" for line in lines) == "echo: once upon"
    assert lines[-1].done


def test_thinking(client: ollama.Client, provider: str) -> None:
    """Thinking comes back beside the text."""
    done = client.chat(model=thinker(provider), messages=SAID, think="high")
    assert done.message.thinking
    assert done.message.content == ECHO


def test_embed(client: ollama.Client, provider: str) -> None:
    """Vectors come back in order; Anthropic and Bedrock have none."""
    if provider in WITHOUT_EMBEDDINGS:
        with pytest.raises(ollama.ResponseError):
            client.embed(model=f"{provider}/m1", input=["a"])
        return
    done = client.embed(model=f"{provider}/m1", input=["a", "b"])
    assert len(done.embeddings) == 2
    assert list(done.embeddings[0]) != list(done.embeddings[1])


def test_errors(client: ollama.Client, provider: str) -> None:
    """What the provider refuses comes as Ollama's own error."""
    with pytest.raises(ollama.ResponseError) as refused:
        client.chat(model=f"{provider}/mock-fault:status=429", messages=SAID)
    assert refused.value.status_code == 429


def test_broken_stream(client: ollama.Client, provider: str) -> None:
    """A stream that breaks never ends with `done`."""
    lines = []
    with pytest.raises(Exception, match=r".+"):
        lines += list(client.chat(model=f"{provider}/m1+cut=900,tokens=40", messages=SAID, stream=True))
    assert not any(line.done for line in lines)


def test_lists(client: ollama.Client) -> None:
    """The configured models, as Ollama lists its own."""
    names = [model.model for model in client.list().models]
    assert "listed" in names
    assert client.show("listed") is not None
    assert client.ps().models == []
