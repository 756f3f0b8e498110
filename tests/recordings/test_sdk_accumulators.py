"""Every recorded stream, translated by a running gateway, is put together by the official clients of other dialects.

The recording is what a provider really sent; the client's own accumulator says whether what we wrote is its dialect.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import anthropic
import ollama
import openai
import pytest
from google import genai
from google.genai import errors, types

from flumegate.dialects.registry import CODECS
from flumegate.ir.answer import Answer
from flumegate.ir.fold import BrokenStreamError, fold
from flumegate.ir.parts import Text, ToolCall
from rig.gateway import Gateway, run_gateway
from rig.recordings import Recorded, load
from rig.scripted import ScriptedUpstream, scripted_upstream

KEY = "sk-accumulators-client-canary"
PROVIDERS = {"openai.chat": "chat", "anthropic.messages": "messages", "gemini.generate": "gemini"}
RECORDED = [one for one in load(*PROVIDERS) if one.stream and one.status == 200]


class Said(NamedTuple):
    """What a client got: its text, and its calls as names and parsed arguments."""

    text: str
    calls: list[tuple[str, Any]]


class Stage(NamedTuple):
    gateway: Gateway
    upstream: ScriptedUpstream


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with scripted_upstream() as upstream:
        base = f"http://127.0.0.1:{upstream.port}"
        providers = {
            "chat": {"type": "sambanova", "base_url": f"{base}/v1", "api_key": "sk-up"},  # it has no Responses
            "messages": {"type": "anthropic", "base_url": base, "api_key": "sk-up"},
            "gemini": {"type": "gemini", "base_url": f"{base}/v1beta", "api_key": "sk-up"},
        }
        with run_gateway(config={"auth": {"static_keys": [KEY]}, "providers": providers}) as gateway:
            yield Stage(gateway, upstream)


def by_chat(url: str, model: str) -> Said:
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client,
        client.chat.completions.stream(model=model, messages=[{"role": "user", "content": "x"}]) as stream,
    ):
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    calls = calls_of([(call.function.name, call.function.arguments) for call in message.tool_calls or ()])
    return Said((message.content or "") + (message.refusal or ""), calls)


def by_responses(url: str, model: str) -> Said:
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client,
        client.responses.create(model=model, input="x", stream=True) as stream,
    ):
        *_, last = list(stream)
    assert last.type in ("response.completed", "response.incomplete")
    done = last.response
    calls = calls_of([(item.name, item.arguments) for item in done.output if item.type == "function_call"])
    texts = [
        part.text if part.type == "output_text" else part.refusal
        for item in done.output
        if item.type == "message"
        for part in item.content
    ]
    return Said("".join(texts), calls)


def by_messages(url: str, model: str) -> Said:
    with (
        anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0) as client,
        client.messages.stream(model=model, max_tokens=99, messages=[{"role": "user", "content": "x"}]) as stream,
    ):
        done = stream.get_final_message()
    calls = [(block.name, block.input) for block in done.content if block.type == "tool_use"]
    return Said("".join(block.text for block in done.content if block.type == "text"), calls)


def by_ollama(url: str, model: str) -> Said:
    client = ollama.Client(host=url, headers={"authorization": f"Bearer {KEY}"})
    try:
        lines = list(client.chat(model=model, messages=[{"role": "user", "content": "x"}], stream=True))
    finally:
        client._client.close()
    assert lines[-1].done
    calls = [
        (call.function.name, dict(call.function.arguments)) for line in lines for call in line.message.tool_calls or ()
    ]
    return Said("".join(line.message.content or "" for line in lines), calls)


def by_gemini(url: str, model: str) -> Said:
    with genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url)) as client:
        chunks = list(client.models.generate_content_stream(model=model, contents="x"))
    parts = [
        part
        for chunk in chunks
        for candidate in (chunk.candidates or ())[:1]
        for part in (candidate.content.parts if candidate.content else None) or ()
    ]
    calls = [(part.function_call.name or "", part.function_call.args or {}) for part in parts if part.function_call]
    return Said("".join(part.text for part in parts if part.text and not part.thought), calls)


CLIENTS: dict[str, Callable[[str, str], Said]] = {
    "chat": by_chat,
    "responses": by_responses,
    "messages": by_messages,
    "ollama": by_ollama,
    "gemini": by_gemini,
}


LENGTH = {"length": openai.LengthFinishReasonError, "context_full": openai.LengthFinishReasonError}


def calls_of(raw: list[tuple[str, str]]) -> list[tuple[str, Any]]:
    """Return calls with their arguments parsed; those that a limit of tokens cut short are left out everywhere."""
    calls = []
    for name, arguments in raw:
        with contextlib.suppress(json.JSONDecodeError):
            calls.append((name, json.loads(arguments or "{}")))
    return calls


def answer_of(one: Recorded) -> Answer:
    """Return what the recording amounts to.

    Raises:
        BrokenStreamError: it is an error, or was cut.
    """
    make = CODECS[PROVIDERS[one.dialect]].stream_reader
    assert make is not None
    reader = make()
    return fold([*reader.feed(one.stream), *reader.close()])


def refusal_of(client: str, reason: str, *, whole: bool) -> type[Exception] | None:
    """Return what a client raises by its own rules; `whole`: every call's arguments are JSON."""
    if client == "chat":
        filtered = reason in ("filter", "refusal")
        return openai.ContentFilterFinishReasonError if filtered else LENGTH.get(reason)
    if whole or reason in LENGTH or client == "responses":
        return None
    # Arguments are objects there: a call that is none must not be run as if it had none.
    return {"messages": anthropic.APIError, "ollama": ollama.ResponseError, "gemini": errors.APIError}[client]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in RECORDED])
def test_the_official_client_puts_it_together(stage: Stage, one: Recorded, client: str) -> None:
    """The same text and the same calls, or an error where the provider sent one; never half an answer."""
    kind = PROVIDERS[one.dialect]
    if kind == client:
        pytest.skip("the same dialect: passed on byte for byte, which other tests prove")
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(one.stream)
    stage.upstream.play(head + one.stream)
    try:
        expected = answer_of(one).choices[0]
    except BrokenStreamError:
        with pytest.raises(Exception, match=r"(?s).+"):
            CLIENTS[client](stage.gateway.url, f"{kind}/m")
        return
    raw = [(part.name, part.arguments) for part in expected.parts if isinstance(part, ToolCall)]
    if error := refusal_of(client, expected.finish.reason, whole=len(calls_of(raw)) == len(raw)):
        with pytest.raises(error):
            CLIENTS[client](stage.gateway.url, f"{kind}/m")
        return
    said = CLIENTS[client](stage.gateway.url, f"{kind}/m")
    text = "".join(part.text for part in expected.parts if isinstance(part, Text))
    assert said.text.startswith(text)
    assert said.calls == calls_of(raw)
