"""Same dialect in and out = the same bytes, in both directions, however they are cut, coded or spelled."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import brotli
import pytest
import zstandard

from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock
from rig.peer import Peer, answer, run_peer, stream
from rig.sockets import Caller, WireAnswer, call, chunked, head

KEY = "sk-road-bytes-canary"
JSON = "application/json"

ODD = (
    b'"seed":9007199254740993 ,"temperature":1.0,"top_p":-0.0,"x_big":123456789012345678901234567890,"x_exp":1E2,\r\n'
    b'"x_twice":1,"x_twice":[2],\t"x_escape":"\\u0041\\/\\ud83d\\ude00\\u2028",'
    b'"x_raw":"\xe2\x80\xa8\xe2\x80\xa9\xc2\x85 \xc3\xa9","":null ,"x_nested":{"model":"inner","a":[ ] }'
)
"""Members that a decoder and an encoder between the two sides would change."""


class Case(NamedTuple):
    """An endpoint, a body for it, and whether it can be streamed without a splice."""

    path: str
    model: str
    members: bytes
    events: tuple[bytes, ...] = ()
    """A stream of its dialect, event by event."""

    def body(self, *members: bytes) -> bytes:
        return b'{ "model" : "%b",%b\n}\n' % (self.model.encode(), b",".join((self.members, *members)))


def data(text: str, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + text.encode() + b"\n\n"


CHUNK = '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m", "choices":[%s]%s}'
TEXT = '{"index":0,"delta":{"content":"w\u00f6rd \u2028 \\u0041"},"finish_reason":null}'
USAGE = CHUNK % ("", ',"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"x":1.0}')
CHAT_EVENTS = (
    data(CHUNK % ('{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}', ',"usage":null')),
    b": OPENROUTER PROCESSING\n\n",
    data(CHUNK % (TEXT, ',"usage":null')),
    data(CHUNK % (TEXT, ', "x" : 9007199254740993')),
    data(CHUNK % ('{"index":0,"delta":{},"finish_reason":"stop"}', ',"usage":null')),
    data(USAGE),
    data("[DONE]"),
)
COMPLETION_EVENTS = (
    data('{"id":"c","object":"text_completion","choices":[{"text":" a","index":0,"finish_reason":null}]}'),
    data('{"id":"c","object":"text_completion","choices":[{"text":"","index":0,"finish_reason":"length"}]}'),
    data('{"id":"c","object":"text_completion","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'),
    data("[DONE]"),
)
RESPONSE_EVENTS = (
    data(
        '{"type":"response.created","sequence_number":0,"response":{"id":"r","status":"in_progress"}}',
        "response.created",
    ),
    data('{"type":"response.output_text.delta","sequence_number":1,"delta":"a\u2028"}', "response.output_text.delta"),
    data('{"type":"response.unheard_of","sequence_number":2, "n" : 1.0}', "response.unheard_of"),
    data(
        '{"type":"response.completed","sequence_number":3,"response":{"id":"r","status":"completed",'
        '"usage":{"input_tokens":3,"output_tokens":1,"total_tokens":4}}}',
        "response.completed",
    ),
)
MESSAGE_EVENTS = (
    data('{"type":"message_start","message":{"id":"m","usage":{"input_tokens":3,"output_tokens":1}}}', "message_start"),
    data('{"type": "ping"}', "ping"),
    data(
        '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}   }', "content_block_start"
    ),
    data(
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\u2028"}  }',
        "content_block_delta",
    ),
    data('{"type":"content_block_stop","index":0     }', "content_block_stop"),
    data('{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}', "message_delta"),
    data('{"type":"message_stop"  }', "message_stop"),
)
ASKED = b'"stream":true,"stream_options":{"include_usage":true}'
MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'

CASES = {
    "chat": Case("/v1/chat/completions", "gpt-4o", MESSAGES, CHAT_EVENTS),
    "completions": Case("/v1/completions", "gpt-3.5", b'"prompt":"hi"', COMPLETION_EVENTS),
    "responses": Case("/v1/responses", "gpt-4o", b'"input":"hi"', RESPONSE_EVENTS),
    "embeddings": Case("/v1/embeddings", "text-embedding-3-small", b'"input":["a","b"]'),
    "messages": Case("/v1/messages", "claude-x", b'"max_tokens":9,' + MESSAGES, MESSAGE_EVENTS),
    "count_tokens": Case("/v1/messages/count_tokens", "claude-x", MESSAGES),
}
STREAMED = {name: case for name, case in CASES.items() if case.events}
each_case = pytest.mark.parametrize("name", CASES)
each_stream = pytest.mark.parametrize("name", STREAMED)


def zlib_bare(body: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(body) + engine.flush()


CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip members": ("gzip", lambda body: gzip.compress(body[:50]) + gzip.compress(body[50:])),
    "deflate": ("deflate", zlib.compress),
    "deflate without zlib": ("deflate", zlib_bare),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", lambda body: zstandard.ZstdCompressor().compress(body)),
}
each_coding = pytest.mark.parametrize("coding", CODINGS)


class Stage(NamedTuple):
    gateway: Gateway
    peer: Peer
    mock: Mock

    def post(self, path: str, body: bytes, *headers: tuple[str, str]) -> WireAnswer:
        return call(self.gateway.port, "POST", path, headers, body=body, key=KEY)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_peer() as peer, run_mock() as mock:
        providers = {
            "peer": {"type": "openai", "base_url": peer.url + "/v1", "api_key": "sk-up", "default": True},
            "claude": {"type": "anthropic", "base_url": peer.url, "api_key": "sk-up"},
            "mock": {"type": "openai_compatible", "base_url": mock.url + "/v1", "dialects": ["openai", "anthropic"]},
        }
        models = {"claude-*": "claude/*", "smart": 'peer/gpt-\u00e9"q', "sonnet": "claude/claude-real"}
        settings = {"auth": {"static_keys": [KEY]}, "providers": providers, "models": models}
        with run_gateway(config=settings) as gateway:
            yield Stage(gateway, peer, mock)


# Requests


@each_case
def test_request_bodies_arrive_as_they_were_sent(stage: Stage, name: str) -> None:
    """Numbers, key order, duplicate keys, escapes and white space of a request reach the provider unchanged."""
    case = CASES[name]
    stage.peer.say(answer(b"{}"))
    body = case.body(ODD)
    assert stage.post(case.path, body).status == 200
    assert stage.peer.last.line == f"POST {case.path} HTTP/1.1"
    assert stage.peer.last.body == body


@each_stream
def test_requests_for_a_stream_arrive_as_they_were_sent(stage: Stage, name: str) -> None:
    """A request for a stream whose usage the client asked for itself is not touched."""
    case = STREAMED[name]
    stage.peer.say(*stream(case.events))
    body = case.body(ODD, ASKED)
    assert stage.post(case.path, body).status == 200
    assert stage.peer.last.body == body


@each_case
def test_the_providers_hash_of_the_body_is_the_clients(stage: Stage, name: str) -> None:
    """What the fake provider's ledger holds of a request is the SHA-256 of what the client sent."""
    case = CASES[name]
    tag = f"hash-{name}"
    body = case.body(ODD.replace(b'"seed"', b'"x_seed"'))
    headers = (("x-mock-tag", tag), ("x-upstream-name", "mock"))
    assert stage.post(case.path, body, *headers).status == 200
    (row,) = stage.mock.ended(tag)
    assert row["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert row["operation"] == name


def test_a_chunked_request_arrives_with_its_length(stage: Stage) -> None:
    """A body that came in chunks of one byte is the same body for the provider, and has a length."""
    body = CASES["chat"].body(ODD)
    stage.peer.say(answer(b"{}"))
    request = head("POST", "/v1/chat/completions", [("transfer-encoding", "chunked")], key=KEY)
    with Caller(stage.gateway.port) as caller:
        caller.send(request + chunked(body[i : i + 1] for i in range(len(body))))
        assert caller.read_answer().status == 200
    assert stage.peer.last.body == body
    assert stage.peer.last.values("content-length") == [str(len(body))]


@each_coding
@pytest.mark.parametrize("name", ["chat", "messages", "embeddings"])
def test_compressed_requests_arrive_plain(stage: Stage, name: str, coding: str) -> None:
    """A body that came compressed reaches the provider decoded, without a trace of its coding."""
    case = CASES[name]
    token, encode = CODINGS[coding]
    body = case.body(ODD, b'"x_long":"%b"' % (b"all work and no play " * 500))
    stage.peer.say(answer(b"{}"))
    assert stage.post(case.path, encode(body), ("content-encoding", token)).status == 200
    assert stage.peer.last.body == body
    assert "content-encoding" not in stage.peer.last.names
    assert stage.peer.last.values("content-length") == [str(len(body))]


# Answers


@each_case
@pytest.mark.parametrize("framing", ["length", "chunks", "one byte chunks", "close"])
def test_answers_come_back_as_they_were_said(stage: Stage, name: str, framing: str) -> None:
    """An answer's body, type and status reach the client unchanged, however the provider framed it."""
    case = CASES[name]
    body = b' {"id":"x",\r\n%b}\n\n' % ODD
    kind = "application/json; charset=utf-8"
    if framing == "length":
        stage.peer.say(answer(body, status="201 Created", content_type=kind))
    elif framing == "close":
        stage.peer.say(answer(body, status="201 Created", content_type=kind, length=False), close=True)
    else:
        size = 100 if framing == "chunks" else 1
        pieces = [body[i : i + size] for i in range(0, len(body), size)]
        first, *rest = stream(pieces, content_type=kind)
        stage.peer.say(first.replace(b"200 OK", b"201 Created"), *rest)
    got = stage.post(case.path, case.body())
    assert (got.status, got.body, got.complete) == (201, body, True)
    assert got.header("content-type") == kind


@each_case
@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "422 No", "429 Slow", "500 Oops", "529 Busy"])
def test_error_answers_come_back_as_they_were_said(stage: Stage, name: str, status: str) -> None:
    """An upstream's error keeps its status and its body, whatever that is."""
    case = CASES[name]
    body = b'{"error" : {"message":"no\\u00e9 \xe2\x80\xa8","n":1.0}}\n'
    stage.peer.say(answer(body, status=status, content_type="application/problem+json"))
    got = stage.post(case.path, case.body())
    assert (got.status, got.body) == (int(status[:3]), body)
    assert got.header("content-type") == "application/problem+json"


def cut(block: bytes, size: int) -> list[bytes]:
    return [block[i : i + size] for i in range(0, len(block), size)]


DELIVERIES: dict[str, Callable[[bytes, tuple[bytes, ...]], list[bytes]]] = {
    "event by event": lambda _, events: list(events),
    "all in one": lambda block, _: [block],
    "one byte": lambda block, _: cut(block, 1),
    "seven bytes": lambda block, _: cut(block, 7),
    "two events": lambda _, events: [
        b"".join(pair) for pair in itertools.zip_longest(events[::2], events[1::2], fillvalue=b"")
    ],
}


@each_stream
@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_streams_come_back_as_they_were_said(stage: Stage, name: str, delivery: str, line_end: str) -> None:
    """A stream's bytes reach the client unchanged, with every line end and however the provider cut them."""
    case = STREAMED[name]
    events = tuple(event.replace(b"\n", line_end.encode()) for event in case.events)
    whole = b"".join(events)
    stage.peer.say(*stream(DELIVERIES[delivery](whole, events)))
    got = stage.post(case.path, case.body(ASKED))
    assert got.status == 200
    assert got.body == whole
    assert got.complete
    assert (got.header("content-type") or "").startswith("text/event-stream")
    assert got.header("content-length") is None


@each_stream
def test_no_chunk_ends_inside_an_event(stage: Stage, name: str) -> None:
    """What reaches the client at once is whole events, so that whatever follows cannot land inside one."""
    case = STREAMED[name]
    whole = b"".join(case.events)
    stage.peer.say(*stream(cut(whole, 11)))
    got = stage.post(case.path, case.body(ASKED))
    assert b"".join(got.chunks) == whole
    assert all(chunk.endswith(b"\n\n") for chunk in got.chunks)


@each_stream
def test_a_stream_without_chunks_comes_back_whole(stage: Stage, name: str) -> None:
    """A stream that its provider ends by closing the connection is complete where its dialect says so."""
    case = STREAMED[name]
    whole = b"".join(case.events)
    stage.peer.say(answer(whole, content_type="text/event-stream", length=False), close=True)
    got = stage.post(case.path, case.body(ASKED))
    assert (got.status, got.body, got.complete) == (200, whole, True)


@each_stream
@pytest.mark.parametrize("form", ["length", "bom", "trailers", "upper case type", "no last blank line", "http/1.0"])
def test_streams_in_odd_forms_come_back_as_they_were_said(stage: Stage, name: str, form: str) -> None:
    """A stream with a length, a byte order mark, trailers, an odd type or no last blank line keeps its bytes."""
    case = STREAMED[name]
    whole = b"".join(case.events)
    kind = "Text/Event-Stream;charset=UTF-8" if form == "upper case type" else "text/event-stream"
    if form == "bom":
        whole = b"\xef\xbb\xbf" + whole
    elif form == "no last blank line":
        whole = whole.removesuffix(b"\n")
    if form == "length":
        stage.peer.say(answer(whole, content_type=kind))
    elif form == "http/1.0":
        said = answer(whole, content_type=kind, length=False).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        stage.peer.say(said, close=True)
    else:
        *writes, last = stream(cut(whole, 64), content_type=kind)
        trailers = b"0\r\nx-checksum: 1\r\nset-cookie: secret\r\n\r\n"
        stage.peer.say(*writes, trailers if form == "trailers" else last)
    got = stage.post(case.path, case.body(ASKED))
    assert (got.status, got.body, got.complete) == (200, whole, True)
    assert not {"x-checksum", "set-cookie"} & {field for field, _ in got.headers}


@each_stream
def test_an_old_client_gets_the_same_bytes(stage: Stage, name: str) -> None:
    """A client of HTTP/1.0 gets the stream without chunks, and its end is the connection's."""
    case = STREAMED[name]
    stage.peer.say(*stream(case.events))
    body = case.body(ASKED)
    fields = [("content-length", str(len(body))), ("content-type", "application/json")]
    request = head("POST", case.path, fields, key=KEY).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    with Caller(stage.gateway.port) as caller:
        caller.send(request + body)
        got = caller.read_answer()
    assert (got.status, got.chunks, got.body) == (200, [], b"".join(case.events))


@each_case
def test_pipelined_requests_are_answered_in_their_order(stage: Stage, name: str) -> None:
    """Ten requests sent at once are ten answers in their order, byte for byte."""
    case = CASES[name]
    body = b'{"n":1.0}'
    stage.peer.say(answer(body))
    ids = [f"pipelined-{name}-{number}" for number in range(10)]
    sent = case.body()
    with Caller(stage.gateway.port) as caller:
        for each in ids:
            fields = [("content-length", str(len(sent))), ("x-request-id", each)]
            caller.send(head("POST", case.path, fields, key=KEY) + sent)
        for each in ids:
            got = caller.read_answer()
            assert (got.status, got.body, got.header("x-request-id")) == (200, body, each)


@each_stream
def test_a_large_event_comes_back_whole(stage: Stage, name: str) -> None:
    """An event of 5 MB (an image) is relayed byte for byte, and so is what stands around it."""
    case = STREAMED[name]
    large = b'data: {"type":"x_image","choices":[],"x":"%b"}\n\n' % (b"QUJD" * (5 << 18))
    whole = b"".join((*case.events[:-1], large, case.events[-1]))
    stage.peer.say(*stream(cut(whole, 50_000)))
    got = stage.post(case.path, case.body(ASKED))
    assert len(got.body) == len(whole)
    assert hashlib.sha256(got.body).digest() == hashlib.sha256(whole).digest()


@pytest.mark.parametrize("name", ["chat", "messages"])
def test_an_event_beyond_what_is_held_comes_back_whole(stage: Stage, name: str) -> None:
    """An event of 12 MB, more than the gateway holds back, is relayed byte for byte."""
    case = STREAMED[name]
    large = b'data: {"type":"x_image","choices":[],"x":"%b"}\r\n\r\n' % (b"QUJD" * (3 << 20))
    whole = b"".join((*case.events[:-1], large, case.events[-1]))
    stage.peer.say(*stream(cut(whole, 200_000)))
    got = stage.post(case.path, case.body(ASKED))
    assert got.complete
    assert hashlib.sha256(got.body).digest() == hashlib.sha256(whole).digest()


@each_case
@each_coding
def test_compressed_answers_come_back_plain(stage: Stage, name: str, coding: str) -> None:
    """An answer that came compressed reaches the client decoded, with the length of what it now is."""
    case = CASES[name]
    token, encode = CODINGS[coding]
    body = b'{"id":"x",%b,"x_long":"%b"}' % (ODD, b"the old mill gate " * 3000)
    stage.peer.say(answer(encode(body), ("content-encoding", token), ("vary", "accept-encoding")))
    got = stage.post(case.path, case.body())
    assert (got.status, got.body, got.complete) == (200, body, True)
    assert got.header("content-encoding") is None
    assert got.header("content-length") in (None, str(len(body)))


@each_coding
def test_compressed_errors_come_back_plain(stage: Stage, coding: str) -> None:
    """An error that came compressed reaches the client decoded."""
    token, encode = CODINGS[coding]
    body = b'{"error":{"message":"no such thing, no such thing, no such thing"}}'
    stage.peer.say(answer(encode(body), ("content-encoding", token), status="404 Not Found"))
    got = stage.post("/v1/chat/completions", CASES["chat"].body())
    assert (got.status, got.body) == (404, body)
    assert got.header("content-encoding") is None


@each_stream
@each_coding
@pytest.mark.parametrize("size", [1, 1000])
def test_compressed_streams_come_back_plain(stage: Stage, name: str, coding: str, size: int) -> None:
    """A stream that came compressed reaches the client decoded, also when it is cut into single bytes."""
    case = STREAMED[name]
    token, encode = CODINGS[coding]
    whole = b"".join(case.events)
    stage.peer.say(*stream(cut(encode(whole), size), ("content-encoding", token)))
    got = stage.post(case.path, case.body(ASKED))
    assert (got.status, got.body, got.complete) == (200, whole, True)
    assert got.header("content-encoding") is None
    assert got.header("content-length") is None


# What is changed, and nothing else

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
