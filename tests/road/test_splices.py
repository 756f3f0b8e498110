"""The few bytes of a request that the gateway changes, the one event that it withholds, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from rig.dialect_cases import CASES, CHAT_EVENTS, CHUNK, ODD, STREAMED, cut, data
from rig.gateway import Gateway, run_gateway
from rig.peer import Peer, answer, run_peer, stream
from rig.sockets import WireAnswer, call

KEY = "sk-road-splices-canary"


class Stage(NamedTuple):
    gateway: Gateway
    peer: Peer

    def post(self, path: str, body: bytes) -> WireAnswer:
        return call(self.gateway.port, "POST", path, body=body, key=KEY)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_peer() as peer:
        providers = {
            "peer": {"type": "openai", "base_url": peer.url + "/v1", "api_key": "sk-up", "default": True},
            "claude": {"type": "anthropic", "base_url": peer.url, "api_key": "sk-up"},
        }
        models = {"smart": 'peer/gpt-\u00e9"q', "sonnet": "claude/claude-real"}
        settings = {"auth": {"static_keys": [KEY]}, "providers": providers, "models": models}
        with run_gateway(config=settings) as gateway:
            yield Stage(gateway, peer)


ALIAS = '"gpt-\u00e9\\"q"'.encode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"model":"', b'",%b}' % ODD),
        (
            b'{ "messages":[{"role":"user","content":"smart \\"model\\": \\"smart\\""}] ,%b,\n"model"  :\t"' % ODD,
            b'"  }\n',
        ),
        (b'{"metadata":{"model":"smart"},"x":[{"model":"smart"}],"model":"', b'","y":"model"}'),
        (b'{"x":"\\\\","model":"', b'","z":"}{"}'),
    ],
)
@pytest.mark.parametrize("spelled", [b"smart", b"sm\\u0061rt", b"\\u0073mart"])
def test_an_alias_changes_the_bytes_of_the_name_only(stage: Stage, before: bytes, after: bytes, spelled: bytes) -> None:
    """Where the client's model is an alias, the value of the top-level `model` is replaced and no other byte."""
    stage.peer.say(answer(b"{}"))
    got = stage.post("/v1/chat/completions", before + spelled + after)
    assert got.status == 200, got.body
    assert stage.peer.last.body == before[:-1] + ALIAS + after[1:]
    assert json.loads(stage.peer.last.body)["model"] == 'gpt-\u00e9"q'


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_an_alias_is_replaced_for_anthropic_too(stage: Stage, path: str) -> None:
    """The Messages endpoints replace an alias in the same way."""
    stage.peer.say(answer(b"{}"))
    assert stage.post(path, b'{"model":"sonnet", "n":1.0,"messages":[]}').status == 200
    assert stage.peer.last.body == b'{"model":"claude-real", "n":1.0,"messages":[]}'


ASKS = b'"stream_options":{"include_usage":true}'


@pytest.mark.parametrize("name", ["chat", "completions"])
@pytest.mark.parametrize("size", [1, 9, 100_000])
def test_usage_is_asked_for_and_withheld(stage: Stage, name: str, size: int) -> None:
    """A stream whose client did not ask for usage is asked for with usage, and only the usage event stays behind."""
    case = STREAMED[name]
    stage.peer.say(*stream(cut(b"".join(case.events), size)))
    body = case.body(b'"stream":true')
    got = stage.post(case.path, body)
    assert stage.peer.last.body == body.removesuffix(b"}\n") + b"," + ASKS + b"}\n"
    assert got.body == b"".join((*case.events[:-2], case.events[-1]))
    assert got.complete


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"], ids=["crlf", "cr"])
def test_usage_is_withheld_with_every_line_end(stage: Stage, line_end: bytes) -> None:
    """The usage event is recognised however its lines end, and the event after it stays whole."""
    events = [event.replace(b"\n", line_end) for event in CHAT_EVENTS]
    stage.peer.say(*stream([b"".join(events)]))
    got = stage.post("/v1/chat/completions", CASES["chat"].body(b'"stream":true'))
    assert got.body == b"".join((*events[:-2], events[-1]))


@pytest.mark.parametrize("options", [b"null", b"{}", b"{ }"])
def test_usage_is_asked_for_where_the_options_are_empty(stage: Stage, options: bytes) -> None:
    """Options that say nothing are replaced in their place."""
    case = CASES["chat"]
    stage.peer.say(*stream(case.events))
    before, after = b'"stream":true,"stream_options" : ', b',"x":1.0'
    got = stage.post(case.path, case.body(before + options + after))
    assert stage.peer.last.body == case.body(before + b'{"include_usage":true}' + after)
    assert b'"usage":{' not in got.body


@pytest.mark.parametrize("name", ["chat", "completions"])
@pytest.mark.parametrize("asked", [b"true", b"false"])
def test_who_decides_about_usage_gets_the_stream_as_it_is(stage: Stage, name: str, asked: bytes) -> None:
    """Where the client said whether it wants usage, neither its request nor the stream is touched."""
    case = STREAMED[name]
    stage.peer.say(*stream(case.events))
    body = case.body(b'"stream":true,"stream_options":{"include_usage": %b}' % asked)
    got = stage.post(case.path, body)
    assert stage.peer.last.body == body
    assert got.body == b"".join(case.events)


def test_usage_beside_text_is_not_withheld(stage: Stage) -> None:
    """Only an event without choices is the usage event: one that also says something reaches the client."""
    last = data(
        CHUNK
        % (
            '{"index":0,"delta":{"content":"!"},"finish_reason":"stop"}',
            ',"usage":{"prompt_tokens":1,"completion_tokens":1}',
        )
    )
    stage.peer.say(*stream((CHAT_EVENTS[0], last, data("[DONE]"))))
    got = stage.post("/v1/chat/completions", CASES["chat"].body(b'"stream":true'))
    assert got.body == CHAT_EVENTS[0] + last + data("[DONE]")


@pytest.mark.parametrize("name", ["chat", "completions"])
def test_unary_requests_are_never_asked_for_usage(stage: Stage, name: str) -> None:
    """`stream_options` is only legal in a request for a stream, so it is added to no other."""
    case = CASES[name]
    stage.peer.say(answer(b"{}"))
    body = case.body(b'"stream":false')
    assert stage.post(case.path, body).status == 200
    assert stage.peer.last.body == body


def test_alias_and_usage_together(stage: Stage) -> None:
    """Both splices of one request leave every other byte where it was."""
    stage.peer.say(*stream(CHAT_EVENTS))
    got = stage.post("/v1/chat/completions", b'{"stream" : true, "model":"smart", "n":1.0 ,"messages":[] }')
    assert stage.peer.last.body == (b'{"stream" : true, "model":' + ALIAS + b', "n":1.0 ,"messages":[] ,' + ASKS + b"}")
    assert got.body == b"".join((*CHAT_EVENTS[:-2], CHAT_EVENTS[-1]))
