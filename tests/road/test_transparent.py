"""What is no endpoint of a dialect: any method, path and body, passed on as it is, in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

import pytest

from rig.gateway import Gateway, run_gateway
from rig.peer import Peer, answer, run_peer, stream
from rig.rows import row_of
from rig.sockets import Caller, WireAnswer, call, chunked, head

KEY = "sk-road-transparent-canary"
ANY_BYTES = bytes(range(256)) * 64
PREFIXES = ["/v1", "/proxy/v1"]
each_prefix = pytest.mark.parametrize("prefix", PREFIXES)


class Stage(NamedTuple):
    gateway: Gateway
    peer: Peer
    second: Peer

    def ask(
        self, method: str, path: str, *headers: tuple[str, str], body: bytes | None = None, key: str = KEY
    ) -> WireAnswer:
        return call(self.gateway.port, method, path, headers, body=body, key=key)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_peer() as peer, run_peer() as second:
        url = f"{peer.url}/base/v1"
        one = {"type": "openai_compatible", "base_url": url, "api_key": "sk-secret-one", "default": True}
        two = {"type": "openai_compatible", "base_url": second.url + "/v1", "api_key": "sk-secret-two"}
        third = {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": "sk-secret-three"}
        auth = {"static_keys": [KEY]}
        settings = {
            "auth": auth,
            "providers": {"one": one, "two": two, "spare": third},
            "models": {"whisper-1": "two/whisper-large", "dall-e": "two/*"},
        }
        with run_gateway(config=settings) as gateway:
            yield Stage(gateway, peer, second)


@pytest.fixture(autouse=True)
def plain_answers(stage: Stage) -> None:
    stage.peer.say(answer(b'{"ok":true}'))
    stage.second.say(answer(b'{"ok":true}'))


# Methods, paths, bodies


@each_prefix
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND", "REPORT"])
def test_any_method(stage: Stage, method: str, prefix: str) -> None:
    """Every method reaches the provider as it is."""
    got = stage.ask(method, f"{prefix}/files/abc")
    assert got.status == 200
    assert stage.peer.last.line == f"{method} /base/v1/files/abc HTTP/1.1"
    assert stage.peer.last.body == b""
    assert got.header("x-flumegate-lane") == "transparent"


@each_prefix
@pytest.mark.parametrize(
    "path",
    [
        "/files/abc?after=file_1&limit=2&limit=3",
        "/a/b/c/d/e?",
        "/caf%C3%A9/%7Eme/a%20b?q=%2B+%26&x=a=b?c",
        "/files/a:b@c!$&'()*+,;=~",
        "/trailing/",
        "/images/generations?api-version=1",
    ],
)
def test_any_path_and_query(stage: Stage, prefix: str, path: str) -> None:
    """Path and query reach the provider character by character."""
    assert stage.ask("GET", prefix + path).status == 200
    assert stage.peer.last.line == f"GET /base/v1{path} HTTP/1.1"


@each_prefix
@pytest.mark.parametrize(
    "kind", ["application/octet-stream", "audio/wav", "text/plain; charset=latin-1", "application/json"]
)
def test_any_body(stage: Stage, prefix: str, kind: str) -> None:
    """A body that is no JSON reaches the provider byte by byte, whatever its type says."""
    assert stage.ask("POST", f"{prefix}/audio/speech", ("content-type", kind), body=ANY_BYTES).status == 200
    assert stage.peer.last.body == ANY_BYTES
    assert stage.peer.last.values("content-type") == [kind]


@each_prefix
def test_a_coded_body_below_the_prefix_stays_coded(stage: Stage, prefix: str) -> None:
    """A body that nobody needs to read keeps its coding."""
    coded = [("content-encoding", "x-own-coding"), ("content-type", "application/octet-stream")]
    assert stage.ask("POST", f"{prefix}/files", *coded, body=ANY_BYTES).status == 200
    assert stage.peer.last.body == ANY_BYTES
    assert stage.peer.last.values("content-encoding") == ["x-own-coding"]


@each_prefix
@pytest.mark.parametrize("status", ["200 OK", "202 Accepted", "404 Not Found", "418 Teapot", "500 Oops", "599 Odd"])
def test_any_answer(stage: Stage, prefix: str, status: str) -> None:
    """Status, type and bytes of an answer reach the client as they are."""
    stage.peer.say(answer(ANY_BYTES, status=status, content_type="audio/mpeg"))
    got = stage.ask("POST", f"{prefix}/audio/speech", body=b"{}")
    assert (got.status, got.body, got.header("content-type")) == (int(status[:3]), ANY_BYTES, "audio/mpeg")


@each_prefix
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body(stage: Stage, prefix: str, status: str) -> None:
    """A status that has no body has none, and the connection serves on."""
    stage.peer.say(f"HTTP/1.1 {status}\r\netag: x\r\n\r\n".encode())
    with Caller(stage.gateway.port) as caller:
        for _ in range(2):
            caller.send(head("GET", f"{prefix}/files/x", key=KEY))
            got = caller.read_answer()
            assert (got.status, got.header("etag")) == (int(status[:3]), "x")
            assert got.header("content-length") is None


@each_prefix
def test_a_stream_of_another_dialect(stage: Stage, prefix: str) -> None:
    """A stream that no tap understands is relayed as it is, also where it ends without a mark."""
    pieces = [b"data: {}\n\n", b": note\n\nid: 3\nretry: 5\ndata: half", b"\x00\xff no event"]
    stage.peer.say(*stream(pieces))
    got = stage.ask("POST", f"{prefix}/threads/runs", body=b'{"stream":true}')
    assert (got.status, got.body, got.complete) == (200, b"".join(pieces), True)


def test_head_has_the_length_of_the_body(stage: Stage) -> None:
    """The answer to HEAD keeps the length of what GET would bring, and the connection serves on."""
    stage.peer.say(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 12345\r\n\r\n")
    with Caller(stage.gateway.port) as caller:
        for _ in range(2):
            caller.send(head("HEAD", "/proxy/v1/files/x/content", key=KEY))
            assert caller.read_answer(headless=True).header("content-length") == "12345"


# Which provider


def form(model: str, file: bytes = ANY_BYTES) -> tuple[tuple[str, str], bytes]:
    mark = "----form-7MA4YWxk"
    body = (
        f'--{mark}\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n'
        f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    ).encode() + file
    return ("content-type", f"multipart/form-data; boundary={mark}"), body + f"\r\n--{mark}--\r\n".encode()


def test_the_model_in_a_form_selects_the_provider(stage: Stage) -> None:
    """Below /v1 a form's `model` field decides who gets it, and the form arrives byte by byte."""
    kind, body = form("dall-e")
    got = stage.ask("POST", "/v1/audio/transcriptions", kind, body=body)
    assert got.header("x-flumegate-provider") == "two"
    assert stage.second.last.body == body
    assert stage.second.last.values("content-type") == [kind[1]]
    row = row_of(stage.gateway, got.header("x-request-id") or "")
    assert (row["model_requested"], row["request_bytes"]) == ("dall-e", len(body))


@pytest.mark.parametrize(
    ("asked", "sent"), [("whisper-1", "whisper-large"), ("two/other", "other"), ("dall-e", "dall-e"), ("two/", "two/")]
)
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_an_alias_in_a_form_is_replaced(stage: Stage, asked: str, sent: str, framing: str) -> None:
    """Where the form's model is an alias, the provider gets its own name for it and every other byte as it was."""
    kind, body = form(asked)
    if framing == "length":
        got = stage.ask("POST", "/v1/audio/transcriptions", kind, body=body)
    else:
        with Caller(stage.gateway.port) as caller:
            fields = [kind, ("transfer-encoding", "chunked")]
            caller.send(head("POST", "/v1/audio/transcriptions", fields, key=KEY) + chunked([body[:50], body[50:]]))
            got = caller.read_answer()
    assert got.status == 200
    peer = stage.peer if got.header("x-flumegate-provider") == "one" else stage.second
    assert peer.last.body == form(sent)[1]
    assert row_of(stage.gateway, got.header("x-request-id") or "")["request_bytes"] == len(body)


@pytest.mark.parametrize("pieces", [1, 5])
def test_a_form_that_arrives_late_selects_the_provider_too(stage: Stage, pieces: int) -> None:
    """A form's model is found also where the form arrives after its head, or in chunks."""
    kind, body = form("dall-e")
    before = len(stage.second.seen)
    size = -(-len(body) // pieces)
    fields = [kind, ("expect", "100-continue"), ("transfer-encoding", "chunked")]
    with Caller(stage.gateway.port) as caller:
        caller.send(head("POST", "/v1/audio/transcriptions", fields, key=KEY))
        assert caller.read_head() == (100, [])
        for i in range(0, len(body), size):
            caller.send(chunked([body[i : i + size]]).removesuffix(b"0\r\n\r\n"))
        caller.send(b"0\r\n\r\n")
        assert caller.read_answer().header("x-flumegate-provider") == "two"
    assert len(stage.second.seen) == before + 1
    assert stage.second.last.body == body


def test_a_large_form_selects_the_provider_by_its_beginning(stage: Stage) -> None:
    """A form of megabytes is passed on as soon as its beginning is there, in which its model stands."""
    kind, body = form("dall-e", bytes(5_000_000))
    assert stage.ask("POST", "/v1/images/edits", kind, body=body).header("x-flumegate-provider") == "two"
    assert stage.second.last.body == body


def test_the_model_in_json_selects_the_provider(stage: Stage) -> None:
    """Below /v1 the model of a JSON body decides, and an alias is replaced by its bytes only."""
    got = stage.ask("POST", "/v1/audio/speech", body=b'{"input":1.0 , "model" : "whisper-1"}')
    assert got.header("x-flumegate-provider") == "two"
    assert got.header("x-flumegate-model") == "whisper-large"
    assert stage.second.last.body == b'{"input":1.0 , "model" : "whisper-large"}'


def test_below_the_prefix_nobody_looks_at_the_model(stage: Stage) -> None:
    """Below the proxy prefix the body decides nothing and is not changed."""
    body = b'{"model" : "whisper-1"}'
    got = stage.ask("POST", "/proxy/v1/audio/speech", body=body)
    assert got.header("x-flumegate-provider") == "one"
    assert stage.peer.last.body == body


@each_prefix
def test_the_name_of_an_upstream_selects_it(stage: Stage, prefix: str) -> None:
    """`X-Upstream-Name` decides, and does not travel."""
    got = stage.ask("GET", f"{prefix}/files", ("X-Upstream-Name", "two"))
    assert got.header("x-flumegate-provider") == "two"
    assert stage.second.last.line == "GET /v1/files HTTP/1.1"
    assert "x-upstream-name" not in stage.second.last.names


@pytest.mark.parametrize("path", ["/v1/files", "/proxy/v1/files", "/proxy/v1/chat/completions", "/v1/chat/completions"])
@pytest.mark.parametrize("name", ["three", "", "ONE", "one,two"])
def test_an_unknown_upstream_is_400(stage: Stage, path: str, name: str) -> None:
    """An unknown name is 400, and the message holds the permitted ones."""
    count = len(stage.peer.seen) + len(stage.second.seen)
    got = stage.ask("POST", path, ("x-upstream-name", name), body=b'{"model":"m","messages":[]}')
    if not name:
        assert got.status == 200  # an empty name names nobody
        return
    assert got.status == 400
    error = got.json()["error"]
    assert error["code"] == "unknown_upstream"
    assert "one, spare, two" in error["message"]
    assert len(stage.peer.seen) + len(stage.second.seen) == count


@pytest.mark.parametrize("path", ["/proxy/v1/upstreams", "/proxy/v1/upstreams/"])
def test_the_list_of_upstreams(stage: Stage, path: str) -> None:
    """The list names every provider, its kind and the default, and never a key or an address."""
    got = stage.ask("GET", path)
    assert got.json() == {
        "upstreams": [
            {"name": name, "provider": "openai_compatible", "is_default": name == "one"}
            for name in ("one", "two", "spare")
        ]
    }
    assert b"secret" not in got.body
    assert b"127.0.0.1" not in got.body


def test_a_name_that_is_quoted_stays_quoted(stage: Stage) -> None:
    """Reserved characters in a segment stay encoded, so that they cannot become separators."""
    name = quote("a/b?c#d", safe="")
    assert stage.ask("GET", f"/v1/files/{name}").status == 200
    assert stage.peer.last.line == f"GET /base/v1/files/{name} HTTP/1.1"
