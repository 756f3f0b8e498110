"""Promise: whatever an upstream does, the client learns the truth in its own dialect, and one Record tells it.

The upstream is scripted byte by byte. A stream that broke off never looks complete.
"""

from __future__ import annotations

import gzip
import itertools
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rig import raw, road
from rig.certificates import self_signed
from rig.gateway import Gateway, run_gateway
from rig.memory import forget_peak
from rig.scripted import Pause, ScriptedUpstream, Step, answer, scripted_upstream, stream

NUMBER = itertools.count()
WHOLE = (
    b'{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}'
)
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DELTA = b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Spoken(NamedTuple):
    """One recorded answer: where it is asked for, how it stands on the wire, and what its end looks like."""

    path: str
    body: dict[str, Any]
    wire: bytes
    whole: str
    """The text that a complete answer says."""


def _event(name: str, **fields: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields}, separators=(',', ':'))}\n\n".encode()


CHAT_STREAM = stream(
    b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"lo"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
)
MESSAGES_STREAM = stream(
    _event("message_start", message={"id": "m", "usage": {"input_tokens": 3, "output_tokens": 1}}),
    _event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hel"}),
    _event("content_block_delta", index=0, delta={"type": "text_delta", "text": "lo"}),
    _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2}),
    _event("message_stop"),
)
RESPONSES_STREAM = stream(
    _event("response.output_text.delta", delta="Hel"),
    _event("response.output_text.delta", delta="lo"),
    _event(
        "response.completed",
        response={"id": "r", "status": "completed", "usage": {"input_tokens": 3, "output_tokens": 1}},
    ),
)
MESSAGE = (
    b'{"id":"m","type":"message","role":"assistant","content":[{"type":"text","text":"Hello"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":1}}'
)
RESPONSE = (
    b'{"id":"r","object":"response","status":"completed","output":[{"type":"message","content":'
    b'[{"type":"output_text","text":"Hello"}]}],"usage":{"input_tokens":3,"output_tokens":1}}'
)
MESSAGES_BODY = {"model": "claude/m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
RECORDED = {
    "chat": Spoken("/v1/chat/completions", road.chat(), answer(WHOLE), "Hello"),
    "messages": Spoken("/v1/messages", MESSAGES_BODY, answer(MESSAGE), "Hello"),
    "responses": Spoken("/v1/responses", {"model": "m", "input": "hi"}, answer(RESPONSE), "Hello"),
    "chat-stream": Spoken("/v1/chat/completions", road.chat(stream=True), CHAT_STREAM, "Hello"),
    "messages-stream": Spoken("/v1/messages", MESSAGES_BODY | {"stream": True}, MESSAGES_STREAM, "Hello"),
    "responses-stream": Spoken(
        "/v1/responses", {"model": "m", "input": "hi", "stream": True}, RESPONSES_STREAM, "Hello"
    ),
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def tls_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ScriptedUpstream, Path]]:
    context, certificate = self_signed(tmp_path_factory.mktemp("tls"))
    with scripted_upstream(context) as running:
        yield running, certificate


@pytest.fixture(scope="module")
def gateway(upstream: ScriptedUpstream, tls_upstream: tuple[ScriptedUpstream, Path]) -> Iterator[Gateway]:
    secured, certificate = tls_upstream
    with socket.create_server(("127.0.0.1", 0)) as closed:
        unused = closed.getsockname()[1]
    tls_url = f"https://127.0.0.1:{secured.port}/v1"
    providers = {
        "up": road.compatible(upstream.port, default=True),
        "claude": road.anthropic(upstream.port),
        "quick": road.compatible(upstream.port, timeouts={"first_byte": 0.3, "idle": 0.3}),
        "brief": road.compatible(upstream.port, timeouts={"first_byte": 30, "idle": 30, "total": 0.5}),
        "refused": road.compatible(unused),
        "unresolved": road.compatible(1) | {"base_url": "https://flumegate-test.invalid/v1"},
        "untrusted": road.compatible(1) | {"base_url": tls_url},
        "trusted": road.compatible(1) | {"base_url": tls_url, "ca_file": str(certificate)},
        "misnamed": road.compatible(1)
        | {"base_url": f"https://localhost:{secured.port}/v1", "ca_file": str(certificate)},
        "silent": road.compatible(1, timeouts={"connect": 0.3}) | {"base_url": f"https://127.0.0.1:{upstream.port}/v1"},
    }
    with run_gateway(config=road.settings(providers)) as running:
        yield running


def ask(
    gateway: Gateway, spoken: Spoken | None = None, *, model: str = "m", stream: bool = False
) -> tuple[raw.Answer, str]:
    """Send one request; return its answer and its id."""
    name = f"failing-{next(NUMBER)}"
    path, body = (spoken.path, spoken.body) if spoken else ("/v1/chat/completions", road.chat(model, stream=stream))
    return raw.ask(gateway.port, raw.request(path, body, key=road.KEY, headers=[("x-request-id", name)])), name


def check_refusal(gateway: Gateway, got: tuple[raw.Answer, str], status: int, code: str) -> dict[str, Any]:
    """Check an error answer of the gateway's own and the record of it, which is returned."""
    found, name = got
    assert (found.status, found.code) == (status, code)
    assert found.complete
    assert road.CREDENTIAL.encode() not in found.body
    row = road.record(gateway, name)
    assert (row["status"], row["outcome"], row["error_code"]) == (status, "failed", code)
    attempts = json.loads(row["attempts"])
    assert len(attempts) == 1
    assert attempts[0]["outcome"] == code
    return row


# Connections that are never made


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("refused/m", "upstream_connect_failed"),
        ("unresolved/m", "upstream_dns_failed"),
        ("untrusted/m", "upstream_tls_failed"),
        ("misnamed/m", "upstream_tls_failed"),
    ],
)
def test_a_connection_that_cannot_be_made_is_502(
    gateway: Gateway, upstream: ScriptedUpstream, tls_upstream: tuple[ScriptedUpstream, Path], model: str, code: str
) -> None:
    """The code says which step failed, and no request left the gateway."""
    upstream.play(answer(WHOLE))
    tls_upstream[0].play(answer(WHOLE))
    check_refusal(gateway, ask(gateway, model=model), 502, code)
    assert not tls_upstream[0].requests
    assert not any(b"chat/completions" in request for request in upstream.requests)


def test_a_private_authority_is_trusted_where_it_is_named(
    gateway: Gateway, tls_upstream: tuple[ScriptedUpstream, Path]
) -> None:
    """The same server, once its certificate stands in ca_file."""
    tls_upstream[0].play(answer(WHOLE))
    assert ask(gateway, model="trusted/m")[0].body == WHOLE


# Silence


@pytest.mark.parametrize(
    ("model", "steps", "code"),
    [
        ("quick/m", [Step.HANG], "upstream_first_byte_timeout"),
        ("quick/m", [b"HTTP/1.1 200 OK\r\nconte", Step.HANG], "upstream_first_byte_timeout"),
        ("quick/m", [b"HTTP/1.1 103 Early Hints\r\n\r\n", Step.HANG], "upstream_first_byte_timeout"),
        ("brief/m", [Step.HANG], "deadline_exceeded"),
        ("silent/m", [], "upstream_connect_timeout"),
    ],
)
def test_silence_before_the_head_is_504(
    gateway: Gateway, upstream: ScriptedUpstream, model: str, steps: list[bytes | Step], code: str
) -> None:
    """Whether nothing came, half a head, an interim answer, or half a TLS handshake; the connection is closed."""
    upstream.hang_up()
    upstream.play(*steps)
    check_refusal(gateway, ask(gateway, model=model), 504, code)
    upstream.wait_for(open_sockets=0)


@pytest.mark.parametrize(("model", "code"), [("quick/m", "upstream_idle_timeout"), ("brief/m", "deadline_exceeded")])
def test_silence_within_a_stream_ends_it_with_an_error_event(
    gateway: Gateway, upstream: ScriptedUpstream, model: str, code: str
) -> None:
    """What came is delivered, then the dialect's error and its end; the record says truncated."""
    upstream.play(SSE_HEAD, chunk(DELTA), Step.HANG)
    found, name = ask(gateway, model=model, stream=True)
    assert (found.status, found.complete) == (200, True)
    assert found.body.startswith(DELTA)
    assert code.encode() in found.body
    row = road.record(gateway, name)
    assert (row["status"], row["outcome"], row["error_code"]) == (200, "truncated", code)


def test_silence_within_a_plain_answer_cuts_the_connection(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """Nothing can be said within a JSON body, so its end is seen to be missing."""
    upstream.play(answer(WHOLE)[:-9], Step.HANG)
    found, name = ask(gateway, model="quick/m")
    assert not found.complete
    assert road.record(gateway, name)["outcome"] == "truncated"


# Bytes that are no answer


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([b"SSH-2.0-OpenSSH_9.6\r\n", Step.FIN], id="another protocol"),
        pytest.param([b"HTTP/1.1 abc OK\r\n\r\n", Step.FIN], id="status no number"),
        pytest.param([b"HTTP/1.1 99 Low\r\ncontent-length: 0\r\n\r\n", Step.FIN], id="status of two digits"),
        pytest.param([b"HTTP/1.1 2000 High\r\ncontent-length: 0\r\n\r\n", Step.FIN], id="status of four digits"),
        pytest.param([b"HTTP/9.9 200 OK\r\ncontent-length: 0\r\n\r\n", Step.FIN], id="unknown version"),
        pytest.param([b"HTTP/1.1 200 OK\r\nx: " + b"y" * (1 << 20) + b"\r\n\r\n", Step.HANG], id="header of 1 MB"),
        pytest.param([b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000, Step.HANG], id="50,000 headers"),
        pytest.param([b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Step.FIN], id="header without a colon"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Step.FIN],
            id="length and chunks",
        ),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde", Step.FIN], id="two lengths"
        ),
        pytest.param([b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nabcde", Step.FIN], id="negative length"),
        pytest.param(
            [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", Step.HANG], id="101"
        ),
    ],
)
def test_what_is_no_http_is_502(gateway: Gateway, upstream: ScriptedUpstream, steps: list[bytes | Step]) -> None:
    """One code for all garbage, and the worker's memory does not keep it."""
    upstream.play(*steps)
    (worker,) = gateway.worker_pids()
    before = road.resident_kib(worker)
    check_refusal(gateway, ask(gateway), 502, "upstream_garbage")
    assert road.resident_kib(worker) - before < 16 * 1024


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([Step.FIN], "upstream_closed"),
        ([Step.RESET], "upstream_closed"),
        ([b"HTTP/1.1 200", Step.FIN], "upstream_cut"),
        ([b"HTTP/1.1 200", Step.RESET], "upstream_cut"),
        ([b"HTTP/1.1 200 OK\r\nx: y\r\n", Step.FIN], "upstream_cut"),
        ([b"HTTP/1.1 103 Early Hints\r\n\r\n", Step.FIN], "upstream_cut"),
    ],
)
def test_a_connection_that_ends_before_the_head_is_502(
    gateway: Gateway, upstream: ScriptedUpstream, steps: list[bytes | Step], code: str
) -> None:
    """Before any byte it was closed, after one it was cut; on a new connection neither is tried again."""
    upstream.hang_up()
    upstream.wait_for(open_sockets=0)
    upstream.play(*steps)
    check_refusal(gateway, ask(gateway), 502, code)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"zstd", b"deflate"])
def test_a_damaged_coding_is_502(gateway: Gateway, upstream: ScriptedUpstream, coding: bytes) -> None:
    """Bytes that cannot be unfolded are no answer."""
    upstream.play(answer(b"this is not compressed at all", headers=b"content-encoding: %b\r\n" % coding))
    check_refusal(gateway, ask(gateway), 502, "upstream_garbage")


def test_an_unknown_coding_is_502(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """A client that asked for identity could not read it either."""
    upstream.play(answer(WHOLE, headers=b"content-encoding: rot13\r\n"))
    check_refusal(gateway, ask(gateway), 502, "upstream_garbage")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", b"application/json"),
        (b"<html>Welcome to the hotel's network</html>", b"text/html"),
        (b"OK", b"text/plain"),
    ],
)
def test_a_200_that_is_no_answer_of_the_dialect_is_502(
    gateway: Gateway, upstream: ScriptedUpstream, body: bytes, content_type: bytes
) -> None:
    """A captive portal or a health page is not passed off as a completion."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (content_type, len(body))
    upstream.play(head + body)
    check_refusal(gateway, ask(gateway), 502, "upstream_garbage")


def test_a_page_in_several_reads_is_502_too(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """Also where the answer is passed on while it comes."""
    pause = Pause()
    upstream.play(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 500\r\n\r\n<html>", pause, b"x" * 494)
    pause.set()
    check_refusal(gateway, ask(gateway), 502, "upstream_garbage")


BODILESS = [
    b"HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\netag: x\r\ncontent-length: 9\r\n\r\n",
]


@pytest.mark.parametrize("said", BODILESS)
@pytest.mark.parametrize("case", list(RECORDED))
def test_a_status_without_a_body_is_no_answer(
    gateway: Gateway, upstream: ScriptedUpstream, case: str, said: bytes
) -> None:
    """It is a failure of the upstream, as an empty 200 is, whether or not a stream was asked for."""
    upstream.play(said)
    check_refusal(gateway, ask(gateway, RECORDED[case]), 502, "upstream_garbage")


def test_a_stream_without_a_body_is_no_answer(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """Also where its head promises events."""
    upstream.play(b"HTTP/1.1 204 No Content\r\ncontent-type: text/event-stream\r\n\r\n")
    check_refusal(gateway, ask(gateway, stream=True), 502, "upstream_cut")


@pytest.mark.parametrize("said", BODILESS)
def test_what_is_passed_on_as_it_is_may_have_no_body(gateway: Gateway, upstream: ScriptedUpstream, said: bytes) -> None:
    """Below the proxy prefix, and for requests that are no question to a model: a file that was deleted."""
    upstream.play(said)
    name = f"failing-{next(NUMBER)}"
    headers = [("x-request-id", name), ("x-upstream-name", "up")]
    for method, path in (("DELETE", "/v1/files/x"), ("POST", "/proxy/v1/chat/completions")):
        found = raw.ask(gateway.port, raw.request(path, road.chat(), key=road.KEY, headers=headers, method=method))
        assert (found.status, found.body) == (int(said[9:12]), b"")


def test_an_empty_stream_is_an_error(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """A stream that ends without saying anything has not answered."""
    upstream.play(SSE_HEAD + b"0\r\n\r\n")
    found, name = ask(gateway, stream=True)
    assert b"upstream_cut" in found.body
    assert road.record(gateway, name)["outcome"] in ("truncated", "failed")


def test_an_error_within_a_200_stream_is_passed_on_and_recorded(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """The provider's own words arrive; nothing is added, and the record does not say ok."""
    event = b'data: {"error":{"message":"overloaded","type":"server_error","param":null,"code":null}}\n\n'
    upstream.play(SSE_HEAD + chunk(DELTA) + chunk(event) + b"0\r\n\r\n")
    found, name = ask(gateway, stream=True)
    assert found.body == DELTA + event
    row = road.record(gateway, name)
    assert (row["outcome"], row["error_code"]) == ("upstream_error", "error_in_stream")


def test_our_credential_is_never_quoted_to_a_client(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """A provider that repeats the key it did not like tells it to nobody, in one read or in many."""
    quoted = b'{"error":{"message":"Incorrect API key provided: %b.","type":"x","param":null,"code":"invalid_api_key"}}'
    body = quoted % road.CREDENTIAL.encode()
    whole = answer(body, status=b"401 Unauthorized")
    middle = whole.index(road.CREDENTIAL.encode()) + 5
    pause = Pause()
    pause.set()
    for steps in ([whole], [whole[:middle], pause, whole[middle:]], [whole[:-1], pause, whole[-1:]]):
        upstream.play(*steps)
        found, name = ask(gateway)
        assert found.status == 401
        assert road.CREDENTIAL.encode() not in found.body
        assert b"Incorrect API key provided" in found.body
        assert road.record(gateway, name)["outcome"] == "upstream_error"


@pytest.mark.parametrize("name", ["chat-stream", "messages-stream", "responses-stream"])
def test_a_cut_stream_ends_as_its_dialect_demands(gateway: Gateway, upstream: ScriptedUpstream, name: str) -> None:
    """The events that came, then the dialect's error and no sign of a complete answer."""
    spoken = RECORDED[name]
    cut = spoken.wire.index(b"Hel") + len(b"Hel")
    upstream.play(spoken.wire[: spoken.wire.index(b"\n\n", cut) + 2], Step.RESET)
    found, request_id = ask(gateway, spoken)
    *came, last = found.body.removesuffix(b"data: [DONE]\n\n").removesuffix(b"\n\n").split(b"\n\n")
    assert found.complete
    assert b"Hel" in b"".join(came)
    lines = last.decode().split("\n")
    error = json.loads(lines[-1].removeprefix("data: "))
    if name == "chat-stream":
        assert len(lines) == 1
        assert found.body.endswith(b"data: [DONE]\n\n")
        assert sorted(error["error"]) == ["code", "message", "param", "type"]
        assert (error["error"]["code"], error["error"]["type"]) == ("upstream_cut", "server_error")
    else:
        assert lines[0] == "event: error"
        assert error["type"] == "error"
    if name == "messages-stream":
        assert error["error"]["type"] == "api_error"
        assert error["request_id"] == request_id
        assert b"message_stop" not in found.body
    if name == "responses-stream":
        assert error["error"]["code"] == "upstream_cut"
        assert b"response.completed" not in found.body


# Answers without end or measure


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_bomb_of_an_answer_is_not_unfolded(gateway: Gateway, upstream: ScriptedUpstream, framing: str) -> None:
    """A few hundred KB that stand for hundreds of MB end the answer, not the worker."""
    packed = gzip.compress(b'{"choices":[' + b" " * (64 << 20), compresslevel=1)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
    length = b"content-length: %d\r\n\r\n" % len(packed) + packed
    upstream.play(head + (length if framing == "length" else b"transfer-encoding: chunked\r\n\r\n" + chunk(packed)))
    (worker,) = gateway.worker_pids()
    forget_peak(worker)
    before = road.peak_kib(worker)
    name = f"failing-{next(NUMBER)}"
    headers = [("x-request-id", name), ("connection", "close")]
    (found,) = raw.talk(gateway.port, raw.request(body=road.chat(), key=road.KEY, headers=headers)).answers
    assert found.status == 502 or not found.complete
    assert road.peak_kib(worker) - before < 64 * 1024
    assert road.record(gateway, name)["error_code"] == "upstream_garbage"


@pytest.mark.parametrize(
    "fields", [b"content-type: text/html\r\n", b"content-type: application/json\r\ncontent-encoding: gzip\r\n"]
)
def test_an_endless_answer_that_cannot_be_used_is_ended(
    gateway: Gateway, upstream: ScriptedUpstream, fields: bytes
) -> None:
    """Once it is clear that no client can read it, nobody waits for the rest of it."""
    upstream.hang_up()
    head = b"HTTP/1.1 200 OK\r\n" + fields + b"transfer-encoding: chunked\r\n\r\n"
    upstream.play(head + chunk(b"<html>"), Step.HANG)
    check_refusal(gateway, ask(gateway), 502, "upstream_garbage")
    upstream.wait_for(open_sockets=0)


# Kept-open connections


def test_a_stale_connection_is_replaced_once_without_a_word(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """The upstream closed it while our request was on its way: the request is sent again on a new one."""
    upstream.play(answer(WHOLE))
    ask(gateway)
    upstream.requests.clear()
    upstream.play_once(Step.FIN)
    found, name = ask(gateway)
    assert found.body == WHOLE
    assert len(upstream.requests) == 2
    assert road.record(gateway, name)["outcome"] == "ok"


def test_a_connection_closed_while_idle_is_not_used(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """The next request goes out once, on a new connection."""
    upstream.play(answer(WHOLE))
    ask(gateway)
    upstream.hang_up()
    upstream.wait_for(open_sockets=0)
    upstream.requests.clear()
    assert ask(gateway)[0].body == WHOLE
    assert len(upstream.requests) == 1


def test_bytes_that_nobody_asked_for_end_an_idle_connection(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """They answer nobody's request."""
    upstream.play(answer(WHOLE))
    ask(gateway)
    upstream.say(answer(b'{"stolen":true}'))
    upstream.wait_for(open_sockets=0)
    assert ask(gateway)[0].body == WHOLE


def test_bytes_behind_an_answer_reach_nobody(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """An upstream that answers twice loses its connection; the second answer meets no request."""
    upstream.play(answer(WHOLE))
    for extra in (answer(b'{"stolen":true}'), b"x", b"\r\n\r\n garbage"):
        upstream.play_once(answer(WHOLE) + extra)
        assert ask(gateway)[0].body == WHOLE
        assert ask(gateway)[0].body == WHOLE


def test_interim_answers_are_passed_over(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """Any number of them, with headers, in any cut; the client sees only the final one."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 3
    pause = Pause()
    pause.set()
    for steps in (
        [interim + answer(WHOLE)],
        [interim, pause, answer(WHOLE)],
        [interim[:30], pause, interim[30:] + answer(WHOLE)],
    ):
        upstream.play(*steps)
        found, _ = ask(gateway)
        assert (found.status, found.body) == (200, WHOLE)
        assert "link" not in found.headers


def test_an_answer_without_length_ends_with_its_connection(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """It arrives whole, and its length is told to the client where it is known."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
    upstream.play(head + WHOLE, Step.FIN)
    found, name = ask(gateway)
    assert (found.body, found.complete) == (WHOLE, True)
    assert road.record(gateway, name)["outcome"] == "ok"


def test_an_answer_without_length_is_cut_where_its_json_is(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """Where HTTP cannot tell the end, the body itself must: half an object is no answer."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
    for end in (len(WHOLE) // 2, WHOLE.index(b"}") + 1, len(WHOLE) - 1):
        upstream.play(head + WHOLE[:end], Step.FIN)
        found, name = ask(gateway)
        assert found.status == 502 or not found.complete
        assert road.record(gateway, name)["outcome"] in ("failed", "truncated")


def test_half_a_document_in_whole_framing_is_502(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """Something between the provider and us has cut it and counted it anew; nothing of it has been passed on yet."""
    upstream.play(answer(WHOLE[:-9]))
    check_refusal(gateway, ask(gateway), 502, "upstream_garbage")


def test_half_a_document_that_has_begun_is_cut(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """Its head is with the client already: the client must not take it for whole, nor the record."""
    pause = Pause()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    upstream.play(head + chunk(WHOLE[:20]), pause, chunk(WHOLE[20:-9]) + chunk(b""))
    name = f"failing-{next(NUMBER)}"
    with raw.wire(gateway.port) as wire:
        wire.send(raw.request(body=road.chat(), key=road.KEY, headers=[("x-request-id", name)]))
        wire.until(WHOLE[:20])
        pause.set()
        (found,) = wire.answers(1)
    assert (found.status, found.complete) == (200, False)
    row = road.record(gateway, name)
    assert (row["outcome"], row["error_code"]) == ("truncated", "upstream_cut")


@pytest.mark.parametrize("content_type", [b"text/plain", b"application/json"])
def test_what_most_clients_read_is_passed_on(gateway: Gateway, upstream: ScriptedUpstream, content_type: bytes) -> None:
    """NaN is no JSON, and many servers' libraries write it all the same."""
    body = WHOLE[:-1] + b',"logprob":NaN}'
    upstream.play(
        b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (content_type, len(body)) + body
    )
    found, name = ask(gateway)
    assert (found.status, found.body) == (200, body)
    assert road.record(gateway, name)["outcome"] == "ok"


def test_what_does_not_say_that_it_is_json_is_not_judged(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """Beyond its beginning: whatever it is, it is as the provider says."""
    body = WHOLE[:-9]
    upstream.play(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    found, _ = ask(gateway)
    assert (found.status, found.body) == (200, body)


def test_a_page_is_refused_at_once_where_it_would_be_translated(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """Nobody waits for its end, nor keeps it, in one read or in several."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\n"
    body = {"model": "up/m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    chunked = b"transfer-encoding: chunked\r\n\r\n"
    for steps in ([b"content-length: 6\r\n\r\n<html>"], [chunked + chunk(b"<html>"), Step.HANG]):
        upstream.play(head, *steps)
        name = f"failing-{next(NUMBER)}"
        request = raw.request("/v1/messages", body, key=road.KEY, headers=[("x-request-id", name)])
        assert raw.ask(gateway.port, request).status == 502
        assert road.record(gateway, name)["error_code"] == "upstream_garbage"
    upstream.wait_for(open_sockets=0)


@pytest.mark.parametrize("framing", [b"", b"transfer-encoding: chunked\r\n"])
def test_a_cut_coding_is_a_cut_answer(gateway: Gateway, upstream: ScriptedUpstream, framing: bytes) -> None:
    """Compressed bytes that stop early are noticed even where HTTP's framing is whole."""
    packed = gzip.compress(WHOLE)[:-9]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n" + framing + b"\r\n"
    upstream.play(head + (chunk(packed) + b"0\r\n\r\n" if framing else packed), Step.FIN)
    found, name = ask(gateway)
    assert found.status == 502 or not found.complete
    assert road.record(gateway, name)["outcome"] in ("failed", "truncated")


# Cuts


@pytest.mark.parametrize("end", [Step.FIN, Step.RESET], ids=["fin", "rst"])
@pytest.mark.parametrize("name", RECORDED)
def test_an_answer_cut_at_any_byte_never_looks_complete(
    gateway: Gateway, upstream: ScriptedUpstream, name: str, end: Step
) -> None:
    """At every offset of head and body: what ends cleanly without an error says all; the rest is recorded as broken."""
    spoken = RECORDED[name]
    upstream.play(spoken.wire)
    (whole, _) = ask(gateway, spoken)
    assert _says(whole) == spoken.whole
    names: dict[str, bool] = {}
    for offset in range(len(spoken.wire)):
        upstream.play(spoken.wire[:offset], end)
        found, request_id = ask(gateway, spoken)
        looks_complete = found.status == 200 and found.complete and b'"error"' not in found.body
        assert not looks_complete or _says(found) == spoken.whole, f"cut at {offset}: {found}"
        assert found.status in (200, 502)
        names[request_id] = looks_complete
    first, last = (int(list(names)[at].rpartition("-")[2]) for at in (0, -1))
    asked = [f"failing-{number}" for number in range(first, last + 1)]

    def stored() -> dict[str, str]:
        found = road.rows(gateway, "request_id LIKE 'failing-%'")
        outcomes = {row["request_id"]: row["outcome"] for row in found if row["request_id"] in names}
        return outcomes if len(outcomes) == len(names) else {}

    outcomes = road.eventually(stored, "all records")
    assert sorted(outcomes) == sorted(asked)
    wrong = {name for name in names if (outcomes[name] == "ok") != names[name]}
    assert not wrong, [(name, outcomes[name], names[name]) for name in wrong]


def _says(found: raw.Answer) -> str:
    """Return the text of an answer whose dialect's own end was seen, else nothing."""
    if found.headers["content-type"].startswith("application/json"):
        body = found.json()
        if "choices" in body:
            return str(body["choices"][0]["message"]["content"])
        return str((body.get("content") or body["output"][0]["content"])[0]["text"])
    events = [json.loads(line[6:]) for line in found.body.decode().splitlines() if line.startswith("data: {")]
    said, ended = "", False
    for event in events:
        choice = (event.get("choices") or [{}])[0]
        delta = choice.get("delta") or event.get("delta") or {}
        said += delta if isinstance(delta, str) else delta.get("content") or delta.get("text") or ""
        ended |= bool(choice.get("finish_reason")) or event.get("type") in ("message_stop", "response.completed")
    return said if ended else ""


def test_nothing_of_this_left_a_mark(gateway: Gateway) -> None:
    """The same worker serves on, no connection is left over, and nothing was logged as a bug."""
    assert len(gateway.worker_pids()) == 1
    assert gateway.logs().count('"serving"') == 1
    assert "request failed" not in gateway.logs()
    assert "Traceback" not in gateway.logs()
