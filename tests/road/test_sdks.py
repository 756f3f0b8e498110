"""The official clients, as their users call them, against the gateway in front of the fake provider."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import anthropic
import openai
import pytest
from anthropic.types import MessageParam, ToolParam
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam

from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock

KEY = "sk-road-sdks-canary"
UPSTREAM_KEY = "sk-road-upstream-canary"
SAID: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello there nonce-sdk1"}]
ECHO = "echo: hello there nonce-sdk1"
TOOL: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ANTHROPIC_SAID: list[MessageParam] = [{"role": "user", "content": "hello there nonce-sdk1"}]
ANTHROPIC_TOOL: ToolParam = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class Stage(NamedTuple):
    gateway: Gateway
    mock: Mock


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_mock("--key", UPSTREAM_KEY) as mock:
        providers = {
            "openai": {"type": "openai", "base_url": mock.url + "/v1", "api_key": UPSTREAM_KEY},
            "anthropic": {"type": "anthropic", "base_url": mock.url, "api_key": UPSTREAM_KEY},
        }
        models = {
            "gpt-4o": "openai/gpt-4o",
            "embed": "openai/text-embedding-3-small",
            "claude": "anthropic/claude-sonnet-4-5",
            "slow-down": "openai/mock-fault:status=429,retry_after=7",
            "claude-slow-down": "anthropic/mock-fault:status=429,retry_after=7",
        }
        settings = {"auth": {"static_keys": [KEY]}, "providers": providers, "models": models}
        with run_gateway(config=settings) as gateway:
            yield Stage(gateway, mock)


@pytest.fixture
def client(stage: Stage) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=stage.gateway.url + "/v1", api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture
async def async_client(stage: Stage) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=stage.gateway.url + "/v1", api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture
def claude(stage: Stage) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=stage.gateway.url, api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture
async def async_claude(stage: Stage) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=stage.gateway.url, api_key=KEY, max_retries=0) as made:
        yield made


# OpenAI


def test_chat(client: openai.OpenAI) -> None:
    """A chat completion comes back whole, with usage and the gateway's request id."""
    done = client.chat.completions.create(model="gpt-4o", messages=SAID)
    assert done.choices[0].message.content == ECHO
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (3, 4)
    assert done._request_id
    assert len(done._request_id) == 16


def test_chat_stream(client: openai.OpenAI) -> None:
    """A stream yields the text piece by piece, and no usage that nobody asked for."""
    with client.chat.completions.create(model="gpt-4o", messages=SAID, stream=True) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ECHO
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


def test_chat_stream_with_usage(client: openai.OpenAI) -> None:
    """A client that asks for usage gets it in the last chunk."""
    with client.chat.completions.create(
        model="gpt-4o", messages=SAID, stream=True, stream_options={"include_usage": True}
    ) as stream:
        last = list(stream)[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 4


def test_chat_stream_helper(client: openai.OpenAI) -> None:
    """The stream helper's accumulator accepts every event and assembles the whole completion."""
    with client.chat.completions.stream(model="gpt-4o", messages=SAID) as stream:
        kinds = {event.type for event in stream}
        done = stream.get_final_completion()
    assert "content.delta" in kinds
    assert done.choices[0].message.content == ECHO


def test_chat_tools(client: openai.OpenAI) -> None:
    """Tool calls come back, unary and streamed, and their results can be sent."""
    asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": "use tool for Delft"}]
    done = client.chat.completions.create(model="gpt-4o", messages=asked, tools=[TOOL])
    assert done.choices[0].finish_reason == "tool_calls"
    (call,) = done.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather"
    with client.chat.completions.stream(model="gpt-4o", messages=asked, tools=[TOOL]) as stream:
        for _ in stream:
            pass
        (streamed,) = stream.get_final_completion().choices[0].message.tool_calls or []
    assert streamed.function.arguments == call.function.arguments
    again: list[ChatCompletionMessageParam] = [
        *asked,
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": "weather", "arguments": call.function.arguments},
                }
            ],
        },
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    after = client.chat.completions.create(model="gpt-4o", messages=again, tools=[TOOL])
    assert after.choices[0].message.content == "echo: rain"


def test_completions(client: openai.OpenAI) -> None:
    """Legacy completions work, unary and streamed."""
    done = client.completions.create(model="gpt-4o", prompt="once upon")
    assert done.choices[0].text == "echo: once upon"
    with client.completions.create(model="gpt-4o", prompt="once upon", stream=True) as stream:
        assert "".join(chunk.choices[0].text for chunk in stream) == "echo: once upon"


def test_responses(client: openai.OpenAI) -> None:
    """A response comes back whole, with usage."""
    done = client.responses.create(model="gpt-4o", input="hello there")
    assert done.output_text == "echo: hello there"
    assert done.status == "completed"
    assert done.usage is not None
    assert done.usage.output_tokens == 3


def test_responses_stream(client: openai.OpenAI) -> None:
    """The stream helper of Responses accepts every event and assembles the whole response."""
    with client.responses.stream(model="gpt-4o", input="hello there") as stream:
        kinds = [event.type for event in stream]
        done = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert done.output_text == "echo: hello there"


def test_embeddings(stage: Stage, client: openai.OpenAI) -> None:
    """Embeddings come back as numbers, although the client asks for base64 when its caller says nothing."""
    done = client.embeddings.create(model="embed", input=["a", "b"], extra_headers={"x-mock-tag": "sdk-embeddings"})
    assert [each.index for each in done.data] == [0, 1]
    assert all(isinstance(number, float) for number in done.data[0].embedding)
    plain = client.embeddings.create(model="embed", input=["a", "b"], encoding_format="float")
    assert plain.data[1].embedding == pytest.approx(done.data[1].embedding, rel=1e-6)
    (row,) = stage.mock.ended("sdk-embeddings")
    assert b'"encoding_format":"base64"' in base64.b64decode(row["body"]).replace(b" ", b"")


def test_models(client: openai.OpenAI) -> None:
    """The list of models and one model of it."""
    assert "embed" in [model.id for model in client.models.list()]
    assert client.models.retrieve("embed").owned_by == "openai"


async def test_async_chat(async_client: openai.AsyncOpenAI) -> None:
    """The asynchronous client works as the other one does, unary and streamed."""
    done = await async_client.chat.completions.create(model="gpt-4o", messages=SAID)
    assert done.choices[0].message.content == ECHO
    stream = await async_client.chat.completions.create(model="gpt-4o", messages=SAID, stream=True)
    async with stream:
        text = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(text) == ECHO


async def test_async_responses_and_the_rest(async_client: openai.AsyncOpenAI) -> None:
    """Responses, completions, embeddings and models of the asynchronous client."""
    async with async_client.responses.stream(model="gpt-4o", input="hello there") as stream:
        async for _ in stream:
            pass
        assert (await stream.get_final_response()).output_text == "echo: hello there"
    assert (await async_client.responses.create(model="gpt-4o", input="hi")).output_text == "echo: hi"
    done = await async_client.completions.create(model="gpt-4o", prompt="hi")
    assert done.choices[0].text == "echo: hi"
    assert len((await async_client.embeddings.create(model="embed", input="a")).data) == 1
    assert "gpt-4o" in [model.id async for model in async_client.models.list()]


def test_openai_errors(stage: Stage, client: openai.OpenAI) -> None:
    """A wrong key, an unknown model and a limit are the errors that the client has classes for."""
    with (
        openai.OpenAI(base_url=stage.gateway.url + "/v1", api_key="sk-wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        stranger.chat.completions.create(model="gpt-4o", messages=SAID)
    assert refused.value.code == "invalid_api_key"
    assert refused.value.request_id
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="unheard-of", messages=SAID)
    assert unknown.value.code == "model_not_found"
    assert unknown.value.param == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("unheard-of")
    with pytest.raises(openai.RateLimitError) as limited:
        client.chat.completions.create(model="slow-down", messages=SAID)
    assert limited.value.response.headers["retry-after"] == "7"
    with pytest.raises(openai.BadRequestError) as malformed:
        client.post("/chat/completions", body=[1], cast_to=object)
    assert malformed.value.code == "invalid_json"


@pytest.mark.parametrize("stream", [False, True])
def test_openai_errors_of_streams(client: openai.OpenAI, stream: bool) -> None:
    """A refusal before the first event is an error answer, also for a request for a stream."""
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model="openai/mock-fault:status=429", input="x", stream=stream)


# Anthropic


def test_messages(claude: anthropic.Anthropic) -> None:
    """A message comes back whole, with usage."""
    done = claude.messages.create(model="claude", max_tokens=99, messages=ANTHROPIC_SAID)
    assert done.content[0].type == "text"
    assert done.content[0].text == ECHO
    assert done.stop_reason == "end_turn"
    assert (done.usage.input_tokens, done.usage.output_tokens) == (3, 4)
    assert done._request_id
    assert len(done._request_id) == 16


def test_messages_stream(claude: anthropic.Anthropic) -> None:
    """The stream helper accepts every event and assembles the whole message."""
    with claude.messages.stream(model="claude", max_tokens=99, messages=ANTHROPIC_SAID) as stream:
        assert "".join(stream.text_stream) == ECHO
        done = stream.get_final_message()
    assert done.stop_reason == "end_turn"
    assert done.usage.output_tokens == 4


def test_messages_tools(claude: anthropic.Anthropic) -> None:
    """Tool use comes back, unary and streamed, and its result can be sent."""
    asked: list[MessageParam] = [{"role": "user", "content": "use tool for Delft"}]
    done = claude.messages.create(model="claude", max_tokens=99, messages=asked, tools=[ANTHROPIC_TOOL])
    assert done.stop_reason == "tool_use"
    use = done.content[-1]
    assert use.type == "tool_use"
    assert use.name == "weather"
    with claude.messages.stream(model="claude", max_tokens=99, messages=asked, tools=[ANTHROPIC_TOOL]) as stream:
        streamed = stream.get_final_message().content[-1]
    assert streamed.type == "tool_use"
    assert streamed.input == use.input
    again: list[MessageParam] = [
        *asked,
        {"role": "assistant", "content": [{"type": "tool_use", "id": use.id, "name": "weather", "input": use.input}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "rain"}]},
    ]
    after = claude.messages.create(model="claude", max_tokens=99, messages=again, tools=[ANTHROPIC_TOOL])
    assert after.content[0].type == "text"
    assert after.content[0].text == "echo: rain"


def test_count_tokens(claude: anthropic.Anthropic) -> None:
    """Tokens are counted without a message being made."""
    assert claude.messages.count_tokens(model="claude", messages=ANTHROPIC_SAID).input_tokens == 3


def test_anthropic_models(claude: anthropic.Anthropic) -> None:
    """The list of models in Anthropic's shape, and one model of it."""
    assert "claude" in [model.id for model in claude.models.list()]
    assert claude.models.retrieve("claude").display_name == "claude"


async def test_async_messages(async_claude: anthropic.AsyncAnthropic) -> None:
    """The asynchronous client works as the other one does, unary, streamed and counting."""
    done = await async_claude.messages.create(model="claude", max_tokens=99, messages=ANTHROPIC_SAID)
    assert done.content[0].type == "text"
    assert done.content[0].text == ECHO
    async with async_claude.messages.stream(model="claude", max_tokens=99, messages=ANTHROPIC_SAID) as stream:
        assert "".join([text async for text in stream.text_stream]) == ECHO
    assert (await async_claude.messages.count_tokens(model="claude", messages=ANTHROPIC_SAID)).input_tokens == 3


def test_anthropic_bearer(stage: Stage) -> None:
    """The client's other way to send a key, as a bearer token, is accepted too."""
    with anthropic.Anthropic(base_url=stage.gateway.url, auth_token=KEY, api_key=None, max_retries=0) as client:
        assert client.messages.count_tokens(model="claude", messages=ANTHROPIC_SAID).input_tokens == 3


def test_anthropic_errors(stage: Stage, claude: anthropic.Anthropic) -> None:
    """A wrong key, an unknown model and a limit are the errors that the client has classes for."""
    with (
        anthropic.Anthropic(base_url=stage.gateway.url, api_key="sk-wrong", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError) as refused,
    ):
        stranger.messages.create(model="claude", max_tokens=9, messages=ANTHROPIC_SAID)
    assert refused.value.type == "authentication_error"
    assert refused.value.request_id
    with pytest.raises(anthropic.NotFoundError) as unknown:
        claude.messages.create(model="unheard-of", max_tokens=9, messages=ANTHROPIC_SAID)
    assert unknown.value.type == "not_found_error"
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("unheard-of")
    with pytest.raises(anthropic.RateLimitError) as limited:
        claude.messages.create(model="claude-slow-down", max_tokens=9, messages=ANTHROPIC_SAID)
    assert limited.value.response.headers["retry-after"] == "7"
    with (
        pytest.raises(anthropic.RateLimitError),
        claude.messages.stream(model="claude-slow-down", max_tokens=9, messages=ANTHROPIC_SAID),
    ):
        pass


def test_every_call_reached_the_provider_with_its_own_key(stage: Stage, client: openai.OpenAI) -> None:
    """The provider, which refuses any other key, saw its own; the client's never left the gateway."""
    client.chat.completions.create(model="gpt-4o", messages=SAID, extra_headers={"x-mock-tag": "sdk-key"})
    (row,) = stage.mock.ended("sdk-key")
    assert ["authorization", f"Bearer {UPSTREAM_KEY}"] in row["headers"]
    assert all(KEY not in value for each in stage.mock.ledger() for _, value in each["headers"])
