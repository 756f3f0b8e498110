"""Same dialect in and out = the same bytes, in both directions, however they are cut, coded or spelled."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import brotli
import pytest
import zstandard

from rig.dialect_cases import ASKED, CASES, ODD, STREAMED, cut
from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock
from rig.peer import Peer, answer, run_peer, stream
from rig.sockets import Caller, WireAnswer, call, chunked, head

KEY = "sk-road-bytes-canary"
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
        models = {"claude-*": "claude/*"}
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
