"""Promise: whatever an upstream does, a client of another dialect learns the truth, and one Record tells it.

A broken answer never ends as if it were whole, and nothing that an upstream sends is a failure of the gateway.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from rig import raw
from rig.gateway import Gateway, run_gateway
from rig.mock import run_mock
from rig.road import KEY, chat, compatible, record, settings
from rig.scripted import ScriptedUpstream, Step, scripted_upstream

TEXT = "hello there"
NUMBER = itertools.count()
UPSTREAMS = ("openai", "anthropic", "ollama", "gemini", "bedrock")
CLIENTS = {"chat": "openai", "messages": "anthropic", "ollama": "ollama", "gemini": "gemini"}
ENDS = {"messages": b"message_stop", "ollama": b'"done":true', "gemini": b'"finishReason"'}
"""A chat client's stream ends with [DONE] even after an error; there the error itself must be seen."""
PAIRS = [(client, upstream) for client, own in CLIENTS.items() for upstream in UPSTREAMS if own != upstream]


class Scene(NamedTuple):
    gateway: Gateway
    scripted: ScriptedUpstream


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with run_mock() as mock, scripted_upstream() as scripted:
        patience = {"first_byte": 1, "idle": 1}
        bases = {"openai": f"{mock.url}/v1", "gemini": f"{mock.url}/v1beta/openai"}
        providers: dict[str, Any] = {
            name: {"type": name, "base_url": bases.get(name, mock.url), "api_key": "k", "timeouts": patience}
            for name in UPSTREAMS
        }
        providers["script"] = compatible(scripted.port)
        with run_gateway(config=settings(providers, records={"content": "full"})) as gateway:
            yield Scene(gateway, scripted)


def asked(client: str, model: str, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """Return path and body of one client's question."""
    said = [{"role": "user", "content": TEXT}]
    match client:
        case "chat":
            return "/v1/chat/completions", {"model": model, "messages": said, "stream": stream}
        case "messages":
            return "/v1/messages", {"model": model, "messages": said, "stream": stream, "max_tokens": 99}
        case "ollama":
            return "/api/chat", {"model": model, "messages": said, "stream": stream}
        case _:
            verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
            return f"/v1beta/models/{quote(model, safe='')}:{verb}", {"contents": [{"parts": [{"text": TEXT}]}]}


class Told(NamedTuple):
    """What one client got, and what the record says."""

    client: str
    upstream: str
    answer: raw.Answer
    kept: dict[str, Any]


def send(scene: Scene, client: str, model: str, *, stream: bool) -> tuple[raw.Answer, str]:
    """Return one answer and the id of its request."""
    path, body = asked(client, model, stream=stream)
    request_id = f"fault-{next(NUMBER)}"
    data = raw.request(path, body, key=KEY, headers=[("x-request-id", request_id)])
    return raw.ask(scene.gateway.port, data), request_id


def ask(scene: Scene, client: str, model: str, *, stream: bool) -> tuple[raw.Answer, dict[str, Any]]:
    """Return one answer and its record."""
    answer, request_id = send(scene, client, model, stream=stream)
    return answer, record(scene.gateway, request_id)


def ask_all(scene: Scene, fault: str, *, stream: bool) -> list[Told]:
    """Let every client ask every upstream of another dialect: first all questions, then all records."""
    sent = [(pair, send(scene, pair[0], f"{pair[1]}/m1+{fault}", stream=stream)) for pair in PAIRS]
    return [Told(*pair, answer, record(scene.gateway, request_id)) for pair, (answer, request_id) in sent]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("html", "upstream_garbage"),
        ("garbage", "upstream_garbage"),
        ("close", "upstream_closed"),
        ("cut=30", "upstream_cut"),
        ("rst=0", "upstream_cut"),
        ("status=204", "upstream_garbage"),
        ("status=301", "upstream_garbage"),
        ("status=500", "upstream_failed"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_no_answer(scene: Scene, fault: str, code: str, stream: bool) -> None:
    """Nothing usable came: an error with a status, the same whether a stream was asked for or not."""
    for client, upstream, answer, kept in ask_all(scene, fault, stream=stream):
        assert (answer.status, answer.complete, kept["status"]) == (502, True, 502), (client, upstream)
        assert (kept["outcome"], kept["error_code"], kept["lane"]) == ("failed", code, "translated"), (client, upstream)
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("fault", ["cut=900", "rst=900", "malformed=4", "error_in_stream=4", "no_done"])
def test_broken_streams(scene: Scene, fault: str) -> None:
    """A stream that broke off ends with the client's own form of an error, and without its sign of a good end."""
    for client, upstream, answer, kept in ask_all(scene, f"{fault},tokens=9", stream=True):
        if (fault, upstream) == ("no_done", "openai"):
            continue  # a chat stream has ended with its finish reason; [DONE] is a hint
        assert kept["outcome"] == ("truncated" if answer.status == 200 else "failed"), (client, upstream)
        assert b"error" in answer.body, (client, upstream)
        assert ENDS.get(client, b'"finish_reason":"stop"') not in answer.body, (client, upstream)
        assert answer.complete
        if answer.status == 200:
            assert kept["usage_source"] in ("partial", "estimated"), (client, upstream)


@pytest.mark.parametrize("how", ["error_in_stream=60", "malformed=60", "cut=20000"])
def test_what_came_before_a_stream_broke_off_is_counted(scene: Scene, how: str) -> None:
    """Also of a provider that began with a count of one token."""
    for client, upstream, answer, kept in ask_all(scene, f"{how},tokens=95,event_bytes=200", stream=True):
        told = (answer.status, kept["outcome"], kept["usage_source"])
        assert told == (200, "truncated", "estimated"), (client, upstream)
        assert kept["input_tokens"] > 0
        assert 1_000 < kept["output_tokens"] < 5_000, (client, upstream)


@pytest.mark.parametrize(
    "fault", ["gzip", "br", "zstd", "one_byte", "crlf", "event_bytes=200000", "chunk=100", "no_length"]
)
@pytest.mark.parametrize("stream", [False, True])
def test_odd_but_whole(scene: Scene, fault: str, stream: bool) -> None:
    """Codings, single bytes, other line ends, events of 200 KB: the answer is whole."""
    for client, upstream, answer, kept in ask_all(scene, fault, stream=stream):
        seen = (answer.status, answer.complete, kept["outcome"], kept["usage_source"])
        assert seen == (200, True, "ok", "upstream"), (client, upstream)
        assert "content-encoding" not in answer.headers
        assert ENDS.get(client, b'"finish_reason":"stop"') in answer.body or not stream, (client, upstream)


@pytest.mark.parametrize("stream", [False, True])
def test_usage_that_nobody_said(scene: Scene, stream: bool) -> None:
    """It is estimated from the texts, and the record says so."""
    for client, upstream, answer, kept in ask_all(scene, "no_usage,tokens=40", stream=stream):
        seen = (answer.status, kept["outcome"], kept["usage_source"])
        assert seen == (200, "ok", "estimated"), (client, upstream)
        assert 2 <= kept["input_tokens"] <= 20
        assert 10 <= kept["output_tokens"] <= 100


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_silence(scene: Scene, upstream: str) -> None:
    """An upstream that says nothing more is given up: with a status before the first word, with an error behind it."""
    client = "messages" if upstream != "anthropic" else "chat"
    answer, kept = ask(scene, client, f"{upstream}/m1+hang=0", stream=True)
    assert (answer.status, kept["outcome"]) == (504, "failed")
    answer, kept = ask(scene, client, f"{upstream}/m1+hang=6,tokens=12,interval=1", stream=True)
    assert (answer.status, kept["outcome"], kept["error_code"]) == (200, "truncated", "upstream_idle_timeout")
    assert answer.complete


def event(**fields: Any) -> bytes:
    """Return one event of a chat stream."""
    return b"data: " + json.dumps(fields, separators=(",", ":")).encode() + b"\n\n"


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
SAID = event(id="c", model="m", choices=[{"index": 0, "delta": {"role": "assistant", "content": "Hel"}}])
MORE = event(choices=[{"index": 0, "delta": {"content": "lo"}}])
STOP = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
USED = event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
DONE = b"data: [DONE]\n\n"
STREAM = SAID + MORE + STOP + USED + DONE
NEVER_OVER = HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(STREAM), STREAM)


@pytest.mark.parametrize("client", ["messages", "gemini", "ollama"])
def test_an_end_is_not_waited_for(scene: Scene, client: str) -> None:
    """An upstream that keeps its connection open behind the end of its stream keeps no client waiting."""
    scene.scripted.play(NEVER_OVER, Step.HANG)
    answer, kept = ask(scene, client, "script/m", stream=True)
    assert (answer.status, answer.complete, kept["outcome"], kept["output_tokens"]) == (200, True, "ok", 2)
    assert ENDS[client] in answer.body
    assert kept["duration_us"] < 30_000_000


@pytest.mark.parametrize("client", ["messages", "gemini", "ollama"])
def test_cut_at_every_byte(scene: Scene, client: str) -> None:
    """A stream whose connection closes at any byte before its finish reason is over is never whole."""
    good = ENDS[client]
    for size in range(0, len(SAID + MORE + STOP) - 2, 5):
        scene.scripted.play(HEAD + b"connection: close\r\n\r\n" + STREAM[:size], Step.FIN)
        path, body = asked(client, "script/m", stream=True)
        answer = raw.ask(scene.gateway.port, raw.request(path, body, key=KEY))
        assert good not in answer.body, size
        assert b"error" in answer.body, size
        assert answer.complete, size


@pytest.mark.parametrize("client", ["messages", "gemini", "ollama"])
def test_a_stream_that_nobody_asked_for(scene: Scene, client: str) -> None:
    """It is put together; one in an impossible order is no answer."""
    scene.scripted.play(HEAD + b"content-length: %d\r\n\r\n" % len(STREAM) + STREAM)
    answer, kept = ask(scene, client, "script/m", stream=False)
    assert (answer.status, kept["outcome"], kept["output_tokens"]) == (200, "ok", 2)
    assert b"Hello" in answer.body
    half = STREAM[: len(SAID)]
    scene.scripted.play(HEAD + b"content-length: %d\r\n\r\n" % len(half) + half)
    answer, kept = ask(scene, client, "script/m", stream=False)
    assert (answer.status, kept["error_code"]) == (502, "upstream_cut")


def test_a_code_of_the_upstream_stays_inside(scene: Scene) -> None:
    """An error within a stream is told in our words: an upstream's code is free text, and may hold anything."""
    bad = event(error={"message": "no", "type": "server_error", "code": "sk-inside-canary"})
    body = SAID + bad
    scene.scripted.play(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
    for client in ("messages", "gemini", "ollama"):
        answer, kept = ask(scene, client, "script/m", stream=True)
        assert (answer.status, kept["outcome"]) == (200, "truncated")
        assert b"sk-inside-canary" not in answer.body


def test_a_client_that_leaves_is_recorded(scene: Scene) -> None:
    """In the middle of a stream: the upstream is let go, and what was said so far is counted."""
    scene.scripted.play(HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(SAID), SAID), Step.HANG)
    path, body = asked("messages", "script/m", stream=True)
    request_id = f"fault-{next(NUMBER)}"
    with raw.wire(scene.gateway.port) as wire:
        wire.send(raw.request(path, body, key=KEY, headers=[("x-request-id", request_id)]))
        wire.until(b"Hel")
    kept = record(scene.gateway, request_id)
    assert (kept["outcome"], kept["client_abort"], kept["usage_source"]) == ("cancelled", 1, "estimated")
    assert kept["output_tokens"] == 1
    scene.scripted.wait_for(open_sockets=0)


def test_nothing_was_a_failure_of_the_gateway(scene: Scene) -> None:
    """After all of the above its log knows of no bug, and it serves on."""
    answer = scene.gateway.request("POST", "/v1/chat/completions", body=chat("gemini/m1"), key=KEY)
    assert answer.status == 200
    assert "request failed" not in scene.gateway.output.text
    assert "Traceback" not in scene.gateway.output.text
