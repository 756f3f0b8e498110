"""OpenAI's own client against every kind of provider: chat, completions, Responses and embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from openai.types.responses import FunctionToolParam, Response, ResponseInputParam

from rig.translation import KEY, WEATHER_PARAMETERS, WITHOUT_EMBEDDINGS, Stage

SAID: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "hello there nonce-tr1"},
]
ECHO = "echo: hello there nonce-tr1"
TOOL: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {"name": "weather", "description": "Weather of a city", "parameters": WEATHER_PARAMETERS},
}
RESPONSES_TOOL: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "parameters": WEATHER_PARAMETERS,
    "strict": False,
}
ECHOES_OF_RAIN = ("echo: rain", 'echo: {"output":"rain"}')
"""Gemini takes objects only as results of tools."""
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Place(pydantic.BaseModel):
    city: str


@pytest.fixture
def client(stage: Stage) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=stage.gateway.url + "/v1", api_key=KEY, max_retries=0) as made:
        yield made


def test_chat(client: openai.OpenAI, provider: str) -> None:
    """An answer comes back whole: text, finish, usage, and the model's name as it was asked for."""
    model = f"{provider}/m1"
    done = client.chat.completions.create(model=model, messages=SAID, max_completion_tokens=100)
    assert done.choices[0].message.content == ECHO
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (5, 4)
    assert done.model in (model, "m1")


def test_chat_stream(client: openai.OpenAI, provider: str) -> None:
    """A stream yields the text in pieces, and its usage when asked."""
    with client.chat.completions.create(
        model=f"{provider}/m1", messages=SAID, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    texts = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert "".join(texts) == ECHO
    assert len(texts) == 4
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4


def test_chat_stream_helper(client: openai.OpenAI, provider: str) -> None:
    """The stream helper's accumulator takes every event."""
    with client.chat.completions.stream(model=f"{provider}/m1", messages=SAID) as stream:
        kinds = {event.type for event in stream}
        done = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert done.choices[0].message.content == ECHO


@pytest.mark.parametrize("streamed", [False, True])
def test_chat_tool_loop(client: openai.OpenAI, provider: str, streamed: bool) -> None:
    """A conversation of several turns with a tool: the call comes, its result goes back, the answer uses it."""
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "use tool for Delft"}]
    if streamed:
        with client.chat.completions.stream(model=f"{provider}/m1", messages=messages, tools=[TOOL]) as stream:
            for _ in stream:
                pass
            choice = stream.get_final_completion().choices[0]
        calls = [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
        finish = choice.finish_reason
    else:
        done = client.chat.completions.create(model=f"{provider}/m1", messages=messages, tools=[TOOL])
        calls = [
            (call.id, call.function.name, call.function.arguments)
            for call in done.choices[0].message.tool_calls or []
            if call.type == "function"
        ]
        finish = done.choices[0].finish_reason
    ((identity, name, arguments),) = calls
    assert (name, json.loads(arguments), finish) == ("weather", {"city": "use tool for Delft"}, "tool_calls")
    messages += [
        {
            "role": "assistant",
            "tool_calls": [{"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}],
        },
        {"role": "tool", "tool_call_id": identity, "content": "rain"},
    ]
    after = client.chat.completions.create(model=f"{provider}/m1", messages=messages, tools=[TOOL])
    assert after.choices[0].message.content in ECHOES_OF_RAIN
    messages += [{"role": "assistant", "content": "rain"}, {"role": "user", "content": "thanks"}]
    last = client.chat.completions.create(model=f"{provider}/m1", messages=messages, tools=[TOOL])
    assert last.choices[0].message.content == "echo: thanks"


def test_chat_structured_output(client: openai.OpenAI, provider: str) -> None:
    """`parse` gets an object of its own type."""
    done = client.chat.completions.parse(
        model=f"{provider}/m1", messages=[{"role": "user", "content": "Delft"}], response_format=Place
    )
    assert done.choices[0].message.parsed == Place(city="Delft")


def test_chat_limits_and_stops(client: openai.OpenAI, provider: str) -> None:
    """The limit of tokens and stop sequences reach the provider, and its reasons come back."""
    short = client.chat.completions.create(model=f"{provider}/m1", messages=SAID, max_completion_tokens=2)
    assert short.choices[0].finish_reason == "length"
    assert (short.choices[0].message.content or "").split() == ["echo:", "hello"]
    stopped = client.chat.completions.create(model=f"{provider}/m1", messages=SAID, stop=["there"])
    assert stopped.choices[0].finish_reason == "stop"
    assert (stopped.choices[0].message.content or "").strip() == "echo: hello"


def test_chat_image(client: openai.OpenAI, provider: str) -> None:
    """An image in the prompt is taken by every kind of provider."""
    done = client.chat.completions.create(
        model=f"{provider}/m1",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is this"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                ],
            }
        ],
    )
    assert done.choices[0].message.content == "echo: what is this"


def test_chat_errors(client: openai.OpenAI, provider: str) -> None:
    """What the provider refuses is the client's own class of error, and its wait travels on."""
    limit = "mock-fault:status=429,retry_after=7"  # no other client's: a target that asked for rest is not asked again
    with pytest.raises(openai.RateLimitError) as limited:
        client.chat.completions.create(model=f"{provider}/{limit}", messages=SAID)
    assert limited.value.response.headers["retry-after"] == "7"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=f"{provider}/mock-fault:status=400", messages=SAID)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=f"{provider}/mock-fault:status=503", messages=SAID)


@pytest.mark.parametrize("fault", ["error_in_stream", "cut=900", "no_done"])
def test_chat_broken_stream(client: openai.OpenAI, provider: str, fault: str) -> None:
    """A stream that breaks never ends as if it were whole: the client raises, whatever broke it."""
    if fault == "no_done" and provider in ("openai", "compatible"):
        pytest.skip("OpenAI's own end marker is a hint: a finish reason ends a stream")
    with (
        pytest.raises((openai.APIError, openai.APIConnectionError)),
        client.chat.completions.create(model=f"{provider}/m1+{fault},tokens=40", messages=SAID, stream=True) as stream,
    ):
        list(stream)


def test_completions(client: openai.OpenAI, provider: str) -> None:
    """Legacy completions, whole and streamed."""
    done = client.completions.create(model=f"{provider}/m1", prompt="once upon", max_tokens=50)
    assert done.choices[0].text == "echo: once upon"
    with client.completions.create(model=f"{provider}/m1", prompt="once upon", stream=True) as stream:
        assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices) == "echo: once upon"


def test_responses(client: openai.OpenAI, provider: str) -> None:
    """A response comes back whole, with usage."""
    done = client.responses.create(model=f"{provider}/m1", instructions="Be brief.", input="hello there")
    assert done.output_text == "echo: hello there"
    assert done.status == "completed"
    assert done.usage is not None
    assert done.usage.output_tokens == 3


def test_responses_stream(client: openai.OpenAI, provider: str) -> None:
    """The stream helper of Responses takes every event, in its order."""
    with client.responses.stream(model=f"{provider}/m1", input="hello there") as stream:
        kinds = [event.type for event in stream]
        done = stream.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert done.output_text == "echo: hello there"


@pytest.mark.parametrize("streamed", [False, True])
def test_responses_tool_loop(client: openai.OpenAI, provider: str, streamed: bool) -> None:
    """A tool's call and its result through Responses."""
    asked: ResponseInputParam = [{"role": "user", "content": "use tool for Delft"}]
    if streamed:
        with client.responses.stream(model=f"{provider}/m1", input=asked, tools=[RESPONSES_TOOL]) as stream:
            for _ in stream:
                pass
            answer: Response = stream.get_final_response()
    else:
        answer = client.responses.create(model=f"{provider}/m1", input=asked, tools=[RESPONSES_TOOL])
    calls = [item for item in answer.output if item.type == "function_call"]
    (call,) = calls
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "use tool for Delft"})
    again: ResponseInputParam = [
        *asked,
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
    ]
    after = client.responses.create(model=f"{provider}/m1", input=again, tools=[RESPONSES_TOOL])
    assert after.output_text in ECHOES_OF_RAIN


def test_responses_parse(client: openai.OpenAI, provider: str) -> None:
    """`parse` gets an object of its own type."""
    done = client.responses.parse(model=f"{provider}/m1", input="Delft", text_format=Place)
    assert done.output_parsed == Place(city="Delft")


def test_embeddings(client: openai.OpenAI, provider: str) -> None:
    """Vectors come back in order, as base64 where the client asks for that in silence; two dialects have none."""
    if provider in WITHOUT_EMBEDDINGS:
        with pytest.raises(openai.BadRequestError, match="embeddings"):
            client.embeddings.create(model=f"{provider}/m1", input="a")
        return
    done = client.embeddings.create(model=f"{provider}/m1", input=["a", "b"])
    plain = client.embeddings.create(model=f"{provider}/m1", input=["a", "b"], encoding_format="float")
    assert [each.index for each in done.data] == [0, 1]
    for ours, theirs in zip(done.data, plain.data, strict=True):
        assert ours.embedding == pytest.approx(theirs.embedding, rel=1e-6)
    assert done.data[0].embedding != done.data[1].embedding
