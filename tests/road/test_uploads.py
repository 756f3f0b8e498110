"""Bodies that are passed on while they arrive: invited behind the key, in order, of any size, with flat memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from flumegate.mock.proofs import BLOCK_BYTES, download
from rig.gateway import Gateway, run_gateway
from rig.memory import forget_peak, memory_of
from rig.mock import run_mock
from rig.peer import Peer, answer, run_peer
from rig.rows import row_of
from rig.sockets import Caller, WireAnswer, call, chunked, head

KEY = "sk-road-uploads-canary"
ANY_BYTES = bytes(range(256)) * 64
GROWTH_BYTES = 20_000_000


class Stage(NamedTuple):
    gateway: Gateway
    peer: Peer

    def ask(self, method: str, path: str, *headers: tuple[str, str], body: bytes | None = None) -> WireAnswer:
        return call(self.gateway.port, method, path, headers, body=body, key=KEY)

    def growing(self) -> Callable[[], int]:
        """Return what tells by how many bytes the worker's memory has at most grown from here on."""
        (pid,) = self.gateway.worker_pids()
        forget_peak(pid)
        before = memory_of(pid).now_bytes
        return lambda: memory_of(pid).peak_bytes - before


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_peer() as peer, run_mock() as mock:
        providers = {
            "one": {"type": "openai_compatible", "base_url": peer.url + "/v1", "api_key": "sk-up", "default": True},
            "mock": {"type": "openai_compatible", "base_url": mock.url + "/v1"},
        }
        with run_gateway(config={"auth": {"static_keys": [KEY]}, "providers": providers}) as gateway:
            yield Stage(gateway, peer)


@pytest.fixture(autouse=True)
def plain_answers(stage: Stage) -> None:
    stage.peer.say(answer(b'{"ok":true}'))


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
