"""What is no endpoint of a dialect: any method, path and body, passed on as it is, both ways and with flat memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import quote

import pytest

from flumegate.mock.proofs import BLOCK_BYTES, download
from rig.gateway import Gateway, run_gateway
from rig.memory import forget_peak, memory_of
from rig.mock import Mock, run_mock
from rig.peer import Peer, answer, run_peer, stream
from rig.rows import row_of
from rig.sockets import Caller, WireAnswer, call, chunked, head

KEY = "sk-road-transparent-canary"
ANY_BYTES = bytes(range(256)) * 64
GROWTH_BYTES = 20_000_000
ORIGIN = "https://app.example"
PREFIXES = ["/v1", "/proxy/v1"]
each_prefix = pytest.mark.parametrize("prefix", PREFIXES)


class Stage(NamedTuple):
    gateway: Gateway
    other: Gateway
    """Another prefix, CORS, and a provider that allows little."""
    peer: Peer
    second: Peer
    mock: Mock

    def ask(
        self, method: str, path: str, *headers: tuple[str, str], body: bytes | None = None, key: str = KEY
    ) -> WireAnswer:
        return call(self.gateway.port, method, path, headers, body=body, key=key)

    def growing(self) -> Callable[[], int]:
        """Return what tells by how many bytes the worker's memory has at most grown from here on."""
        (pid,) = self.gateway.worker_pids()
        forget_peak(pid)
        before = memory_of(pid).now_bytes
        return lambda: memory_of(pid).peak_bytes - before


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_peer() as peer, run_peer() as second, run_mock() as mock:
        url = f"{peer.url}/base/v1"
        one = {"type": "openai_compatible", "base_url": url, "api_key": "sk-secret-one", "default": True}
        two = {"type": "openai_compatible", "base_url": second.url + "/v1", "api_key": "sk-secret-two"}
        fake = {"type": "openai_compatible", "base_url": mock.url + "/v1", "api_key": "sk-secret-three"}
        few = one | {"allowed_endpoints": ["/v1/chat", "/v1/files"], "allowed_methods": ["GET", "POST"]}
        auth = {"static_keys": [KEY]}
        settings = {
            "auth": auth,
            "providers": {"one": one, "two": two, "mock": fake},
            "models": {"whisper-1": "two/whisper-large", "dall-e": "two/*"},
        }
        door = {"proxy_prefix": "/my/llm/", "cors_origins": [ORIGIN]}
        others = {"auth": auth, "providers": {"few": few}, "server": door, "models": {"known": "few/known"}}
        with run_gateway(config=settings) as gateway, run_gateway(config=others) as other:
            yield Stage(gateway, other, peer, second, mock)


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


def test_a_chunked_upload_stays_chunked(stage: Stage) -> None:
    """An upload without a length reaches the provider in chunks, piece by piece."""
    pieces = [b"a", b"bc" * 1000, ANY_BYTES]
    fields = [("transfer-encoding", "chunked"), ("content-type", "application/octet-stream")]
    with Caller(stage.gateway.port) as caller:
        caller.send(head("POST", "/v1/upload", fields, key=KEY) + chunked(pieces))
        assert caller.read_answer().status == 200
    assert stage.peer.last.body == b"".join(pieces)
    assert stage.peer.last.values("transfer-encoding") == ["chunked"]
    assert "content-length" not in stage.peer.last.names


def test_an_upload_is_passed_on_before_it_is_whole(stage: Stage) -> None:
    """The provider has the request's head and first bytes while the client still holds the rest back."""
    stage.peer.answers_early = True
    try:
        with Caller(stage.gateway.port) as caller:
            count = len(stage.peer.seen)
            caller.send(head("POST", "/proxy/v1/upload", [("content-length", "100")], key=KEY) + b"first")
            stage.peer.wait_for_requests(count + 1)
            assert caller.read_answer().status == 200
    finally:
        stage.peer.answers_early = False


def test_an_early_answer_ends_the_upload(stage: Stage) -> None:
    """An answer that comes while the upload is still on its way reaches the client, and the connection ends."""
    stage.peer.say(answer(b'{"error":"too large"}', status="413 Too Large"))
    stage.peer.answers_early = True
    try:
        with Caller(stage.gateway.port) as caller:
            fields = [("content-length", str(1 << 30)), ("content-type", "application/octet-stream")]
            caller.send(head("POST", "/v1/upload", fields, key=KEY) + bytes(1 << 20))
            got = caller.read_answer()
            assert (got.status, got.body) == (413, b'{"error":"too large"}')
            assert got.header("connection") == "close" or caller.read_end() == b""
    finally:
        stage.peer.answers_early = False
    row = row_of(stage.gateway, got.header("x-request-id") or "")
    assert (row["status"], row["outcome"]) == (413, "upstream_error")


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


def test_an_upload_waits_for_its_turn(stage: Stage) -> None:
    """An upload that begins while the answer before it is on its way is neither lost nor answered out of turn."""
    fields = [("transfer-encoding", "chunked"), ("content-type", "application/octet-stream")]
    with Caller(stage.gateway.port) as caller:
        caller.send(
            head("GET", "/v1/files/first", key=KEY) + head("POST", "/v1/upload", fields, key=KEY) + b"1\r\na\r\n"
        )
        assert caller.read_answer().status == 200
        caller.send(chunked([b"bc"]))
        assert caller.read_answer().status == 200
    assert stage.peer.last.body == b"abc"


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
    assert "mock, one, two" in error["message"]
    assert len(stage.peer.seen) + len(stage.second.seen) == count


@pytest.mark.parametrize("path", ["/proxy/v1/upstreams", "/proxy/v1/upstreams/"])
def test_the_list_of_upstreams(stage: Stage, path: str) -> None:
    """The list names every provider, its kind and the default, and never a key or an address."""
    got = stage.ask("GET", path)
    assert got.json() == {
        "upstreams": [
            {"name": name, "provider": "openai_compatible", "is_default": name == "one"}
            for name in ("one", "two", "mock")
        ]
    }
    assert b"secret" not in got.body
    assert b"127.0.0.1" not in got.body


# Another prefix, and what a provider allows


def test_another_prefix(stage: Stage) -> None:
    """The prefix is the configured one and no other, and the rest of the paths does not move."""
    port = stage.other.port
    assert call(port, "GET", "/my/llm/v1/files/1?a=b", key=KEY).status == 200
    assert stage.peer.last.line == "GET /base/v1/files/1?a=b HTTP/1.1"
    assert call(port, "GET", "/my/llm/v1/upstreams", key=KEY).json()["upstreams"][0]["name"] == "few"
    assert call(port, "GET", "/proxy/v1/files/1", key=KEY).status == 404
    assert call(port, "GET", "/api/health").status == 200
    assert call(port, "GET", "/v1/files/1", key=KEY).status == 200


@pytest.mark.parametrize("prefix", ["/v1", "/my/llm/v1"])
def test_allowed_endpoints(stage: Stage, prefix: str) -> None:
    """A path outside `allowed_endpoints` is 403; the match goes by whole segments."""
    port, count = stage.other.port, len(stage.peer.seen)
    for path in ("/filesystem", "/embeddings", "/chatty", "/files/../embeddings", "/files/%2e%2e/embeddings"):
        got = call(port, "POST", prefix + path, body=b'{"model":"m","input":"x"}', key=KEY)
        assert got.status in (400, 403)
        assert got.json()["error"]["code"] in ("endpoint_not_allowed", "invalid_path")
    assert len(stage.peer.seen) == count
    for path in ("/files", "/files/1", "/chat/completions"):
        assert call(port, "POST", prefix + path, body=b'{"model":"m","messages":[]}', key=KEY).status == 200


@pytest.mark.parametrize("prefix", ["/v1", "/my/llm/v1"])
@pytest.mark.parametrize("method", ["DELETE", "PUT", "HEAD"])
def test_allowed_methods(stage: Stage, method: str, prefix: str) -> None:
    """A method outside `allowed_methods` is 405 and does not reach the provider."""
    count = len(stage.peer.seen)
    assert call(stage.other.port, method, prefix + "/files/1", key=KEY).status == 405
    assert len(stage.peer.seen) == count


# Expect: 100-continue


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/upload", "/proxy/v1/upload"])
@pytest.mark.parametrize("framing", [("content-length", "32"), ("transfer-encoding", "chunked")])
def test_a_body_is_invited_behind_the_key(stage: Stage, path: str, framing: tuple[str, str]) -> None:
    """`100 Continue` comes once the key was accepted, and the body that follows arrives."""
    body = b'{"model":"gpt-4o","messages":[]}'
    fields = [framing, ("expect", "100-continue"), ("content-type", "application/json")]
    with Caller(stage.gateway.port) as caller:
        caller.send(head("POST", path, fields, key=KEY))
        assert caller.read_head() == (100, [])
        caller.send(chunked([body]) if framing[1] == "chunked" else body)
        got = caller.read_answer()
    assert stage.peer.last.body == body
    assert (got.status, got.interim) == (200, [])
    assert "expect" not in stage.peer.last.names


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/upload", "/proxy/v1/upload"])
@pytest.mark.parametrize("key", ["sk-wrong", ""])
@pytest.mark.parametrize("framing", [("content-length", "32"), ("transfer-encoding", "chunked")])
def test_a_wrong_key_is_refused_instead(stage: Stage, path: str, key: str, framing: tuple[str, str]) -> None:
    """Whoever has no valid key gets 401 instead of the invitation, and nothing reaches the provider."""
    count = len(stage.peer.seen)
    with Caller(stage.gateway.port) as caller:
        caller.send(head("POST", path, [framing, ("expect", "100-continue")], key=key))
        got = caller.read_answer()
        assert (got.status, got.interim) == (401, [])
        assert caller.read_end() == b""
    assert len(stage.peer.seen) == count


# CORS


def preflight(port: int, origin: str, path: str = "/v1/chat/completions") -> WireAnswer:
    wanted = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization, anthropic-version, x-stainless-os"),
    ]
    return call(port, "OPTIONS", path, wanted)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/my/llm/v1/files", "/v1/models", "/health"])
def test_a_preflight_needs_no_key(stage: Stage, path: str) -> None:
    """A browser's preflight from a configured origin is answered 204 with what it asked for."""
    got = preflight(stage.other.port, ORIGIN, path)
    assert got.status == 204
    assert got.header("access-control-allow-origin") == ORIGIN
    assert got.header("access-control-allow-headers") == "authorization, anthropic-version, x-stainless-os"
    assert "POST" in (got.header("access-control-allow-methods") or "")
    assert got.header("access-control-max-age") == "86400"
    assert "origin" in (got.header("vary") or "").lower()


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil", "http://app.example", "null"])
def test_a_foreign_origin_gets_nothing(stage: Stage, origin: str) -> None:
    """Another origin than the configured ones is allowed nothing, in the preflight and in the answer."""
    assert preflight(stage.other.port, origin).header("access-control-allow-origin") is None
    got = call(stage.other.port, "GET", "/v1/models", [("origin", origin)], key=KEY)
    assert got.status == 200
    assert got.header("access-control-allow-origin") is None


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("GET", "/v1/models", KEY, 200),
        ("GET", "/v1/files", KEY, 200),
        ("POST", "/v1/chat/completions", KEY, 200),
        ("GET", "/v1/models", "sk-wrong", 401),
        ("GET", "/v1/models/unknown", KEY, 404),
        ("GET", "/nowhere", KEY, 404),
        ("DELETE", "/v1/files/1", KEY, 405),
    ],
)
def test_answers_and_errors_can_be_read_by_a_browser(
    stage: Stage, method: str, path: str, key: str, status: int
) -> None:
    """Relayed answers and the gateway's own errors carry the origin and expose what a client reads."""
    body = b'{"model":"m","messages":[]}' if method == "POST" else None
    got = call(stage.other.port, method, path, [("origin", ORIGIN)], body=body, key=key)
    assert got.status == status
    assert got.header("access-control-allow-origin") == ORIGIN
    assert "origin" in (got.header("vary") or "").lower()
    assert "x-request-id" in (got.header("access-control-expose-headers") or "")


def test_without_cors_nothing_is_allowed(stage: Stage) -> None:
    """CORS is off unless configured: neither preflight nor answer names an origin."""
    got = preflight(stage.gateway.port, ORIGIN)
    assert not [name for name, _ in got.headers if name.startswith("access-control-")]
    got = stage.ask("GET", "/v1/models", ("origin", ORIGIN))
    assert not [name for name, _ in got.headers if name.startswith("access-control-")]


def test_options_without_an_origin_is_passed_on(stage: Stage) -> None:
    """OPTIONS that is no preflight is a method like any other: it needs a key and reaches the provider."""
    assert stage.ask("OPTIONS", "/v1/files", key="").status == 401
    assert stage.ask("OPTIONS", "/v1/files").status == 200
    assert stage.peer.last.line == "OPTIONS /base/v1/files HTTP/1.1"


# Large bodies

SIZES = [100_000_000, pytest.param(1_000_000_000, marks=pytest.mark.faults)]
MOCK = ("x-upstream-name", "mock")


def digest(size: int) -> str:
    total = hashlib.sha256()
    for block in download(size):
        total.update(block)
    return total.hexdigest()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", ["/v1/upload", "/proxy/v1/upload"])
def test_a_large_upload_takes_no_memory(stage: Stage, path: str, size: int) -> None:
    """An upload of any size arrives whole while the worker's memory stays flat."""
    stage.ask("POST", path, MOCK, ("content-type", "application/octet-stream"), body=bytes(1_000_000))
    growth_bytes = stage.growing()
    fields = [MOCK, ("content-type", "application/octet-stream"), ("content-length", str(size))]
    with Caller(stage.gateway.port) as caller:
        caller.send(head("POST", path, fields, key=KEY))
        for block in download(size):
            caller.send(block)
        got = caller.read_answer()
    assert got.json()["bytes"] == size
    assert got.json()["sha256"] == digest(size)
    assert growth_bytes() < GROWTH_BYTES
    assert row_of(stage.gateway, got.header("x-request-id") or "")["request_bytes"] == size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_large_download_takes_no_memory(stage: Stage, framing: str, size: int) -> None:
    """A download of any size arrives whole while the worker's memory stays flat."""
    path = f"/proxy/v1/download?bytes=%d&length={int(framing == 'length')}"
    stage.ask("GET", path % 1_000_000, MOCK)
    growth_bytes = stage.growing()
    total = hashlib.sha256()
    with Caller(stage.gateway.port) as caller:
        caller.send(head("GET", path % size, [MOCK], key=KEY))
        status, headers = caller.read_head()
        assert status == 200
        for piece in pieces_of(caller, size, chunks=framing == "chunks"):
            total.update(piece)
    assert total.hexdigest() == digest(size)
    assert growth_bytes() < GROWTH_BYTES
    assert row_of(stage.gateway, dict(headers)["x-request-id"])["response_bytes"] == size


def pieces_of(caller: Caller, size: int, *, chunks: bool) -> Iterator[bytes]:
    """Yield a body piece by piece, so that the test's own memory stays flat too."""
    if not chunks:
        for start in range(0, size, BLOCK_BYTES):
            yield caller.read_bytes(min(BLOCK_BYTES, size - start))
        return
    while length := int(caller.read_line(), 16):
        yield caller.read_bytes(length)
        assert caller.read_line() == b"\r\n"


def test_a_json_upload_beyond_the_limit_is_413_but_a_file_is_not(stage: Stage) -> None:
    """The body limit holds for what is read whole; what is only passed on has none."""
    size = 33_554_433
    with Caller(stage.gateway.port) as caller:
        caller.send(head("POST", "/v1/chat/completions", [("content-length", str(size))], key=KEY))
        assert caller.read_answer().status == 413
    text = json.dumps({"x": "y" * 100}).encode()
    got = stage.ask("POST", "/proxy/v1/upload", MOCK, ("content-type", "application/json"), body=text + b" " * size)
    assert got.json()["bytes"] == size + len(text)


def test_a_name_that_is_quoted_stays_quoted(stage: Stage) -> None:
    """Reserved characters in a segment stay encoded, so that they cannot become separators."""
    name = quote("a/b?c#d", safe="")
    assert stage.ask("GET", f"/v1/files/{name}").status == 200
    assert stage.peer.last.line == f"GET /base/v1/files/{name} HTTP/1.1"
