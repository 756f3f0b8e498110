"""Promise: no two parsers can read a message that we pass on differently (RFC 9112 §11.2).

The mock's count of calls is the oracle: what was refused has never been seen there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from rig import raw, road
from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock

HEAD = b"host: gateway.test\r\nauthorization: Bearer " + road.KEY.encode() + b"\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\n" + HEAD
BODY = json.dumps(road.chat("m", "smuggled")).encode()
LENGTH = b"content-length: %d\r\n" % len(BODY)
CHUNK = b"%x\r\n%b\r\n" % (len(BODY), BODY)
CHUNKED = b"transfer-encoding: chunked\r\n"
SECOND = b"GET /v1/smuggled HTTP/1.1\r\n" + HEAD + b"\r\n"


def post(fields: bytes, body: bytes = BODY) -> bytes:
    return POST + fields + b"\r\n" + body


AMBIGUOUS = {
    "CL.TE": post(LENGTH + CHUNKED, CHUNK + b"0\r\n\r\n" + SECOND),
    "TE.CL": post(CHUNKED + LENGTH, CHUNK + b"0\r\n\r\n" + SECOND),
    "CL.TE with a zero chunk first": post(b"content-length: 6\r\n" + CHUNKED, b"0\r\n\r\nG"),
    "TE.TE twice chunked": post(CHUNKED + CHUNKED, CHUNK + b"0\r\n\r\n"),
    "TE.TE chunked and identity": post(CHUNKED + b"transfer-encoding: identity\r\n", CHUNK + b"0\r\n\r\n"),
    "TE.TE identity and chunked": post(b"transfer-encoding: identity\r\n" + CHUNKED, CHUNK + b"0\r\n\r\n"),
    "TE list": post(b"transfer-encoding: gzip, chunked\r\n", CHUNK + b"0\r\n\r\n"),
    "TE chunked not last": post(b"transfer-encoding: chunked, gzip\r\n", CHUNK + b"0\r\n\r\n"),
    "TE identity": post(b"transfer-encoding: identity\r\n" + LENGTH),
    "TE unknown": post(b"transfer-encoding: xchunked\r\n", CHUNK + b"0\r\n\r\n"),
    "TE empty": post(b"transfer-encoding: \r\n" + LENGTH),
    "TE quoted": post(b'transfer-encoding: "chunked"\r\n', CHUNK + b"0\r\n\r\n"),
    "TE with a vertical tab": post(b"transfer-encoding: \x0bchunked\r\n", CHUNK + b"0\r\n\r\n"),
    "TE with a parameter": post(b"transfer-encoding: chunked;q=1\r\n", CHUNK + b"0\r\n\r\n"),
    "TE folded": post(b"transfer-encoding:\r\n chunked\r\n", CHUNK + b"0\r\n\r\n"),
    "TE with a space before the colon": post(b"transfer-encoding : chunked\r\n", CHUNK + b"0\r\n\r\n"),
    "CL with a space before the colon": post(b"content-length : %d\r\n" % len(BODY)),
    "CL with a tab before the colon": post(b"content-length\t: %d\r\n" % len(BODY)),
    "CL with a plus": post(b"content-length: +%d\r\n" % len(BODY)),
    "CL negative": post(b"content-length: -1\r\n"),
    "CL hexadecimal": post(b"content-length: 0x%x\r\n" % len(BODY)),
    "CL with an underscore": post(b"content-length: 1_0\r\n"),
    "CL with a fraction": post(b"content-length: 10.0\r\n"),
    "CL empty": post(b"content-length: \r\n"),
    "CL with inner space": post(b"content-length: 1 0\r\n"),
    "CL as a list of equals": post(b"content-length: %d, %d\r\n" % (len(BODY), len(BODY))),
    "CL as a list of others": post(b"content-length: 5, 6\r\n"),
    "CL twice, equal": post(LENGTH + LENGTH),
    "CL twice, different": post(LENGTH + b"content-length: 5\r\n"),
    "CL twice, 0 first": post(b"content-length: 0\r\n" + LENGTH),
    "CL beyond 64 bits": post(b"content-length: 18446744073709551626\r\n"),
    "CL of 100 digits": post(b"content-length: " + b"9" * 100 + b"\r\n"),
    "CL in another script's digits": post(b"content-length: \xd9\xa1\xd9\xa0\r\n"),
    "folded header": post(LENGTH + b"x-fold: a\r\n b\r\n"),
    "folded first header": b"POST /v1/chat/completions HTTP/1.1\r\n x: y\r\n" + HEAD + LENGTH + b"\r\n" + BODY,
    "header without a colon": post(LENGTH + b"nocolon\r\n"),
    "header without a name": post(LENGTH + b": value\r\n"),
    "space in a header's name": post(LENGTH + b"x y: z\r\n"),
    "NUL in a header's name": post(LENGTH + b"x\x00y: z\r\n"),
    "NUL in a header's value": post(LENGTH + b"x-y: a\x00b\r\n"),
    "control character in a header's value": post(LENGTH + b"x-y: a\x01b\r\n"),
    "DEL in a header's value": post(LENGTH + b"x-y: a\x7fb\r\n"),
    "high bytes in a header's name": post(LENGTH + b"x-\xff: z\r\n"),
    "bare LF behind the request line": POST.replace(b"1.1\r\n", b"1.1\n") + LENGTH + b"\r\n" + BODY,
    "bare LF behind a header": post(LENGTH + b"x-y: z\n"),
    "bare LF as a hidden header": post(LENGTH + b"x-y: z\ntransfer-encoding: chunked\r\n"),
    "bare LF for the blank line": POST + LENGTH + b"\n" + BODY,
    "bare CR in a header's value": post(LENGTH + b"x-y: a\rb\r\n"),
    "bare CR as a line end": post(LENGTH + b"x-y: a\rtransfer-encoding: chunked\r\n"),
    "bare CR for the blank line": POST + LENGTH + b"\r" + BODY,
    "host missing": b"POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer "
    + road.KEY.encode()
    + b"\r\n"
    + LENGTH
    + b"\r\n"
    + BODY,
    "host twice": post(b"host: other.test\r\n" + LENGTH),
    "host twice, equal": post(b"host: gateway.test\r\n" + LENGTH),
    "HTTP/1.0 with chunks": post(CHUNKED, CHUNK + b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "HTTP/0.9": b"GET /v1/models\r\n\r\n",
    "HTTP/1.2": post(LENGTH).replace(b"HTTP/1.1", b"HTTP/1.2", 1),
    "HTTP/2.0 on the wire of 1.1": post(LENGTH).replace(b"HTTP/1.1", b"HTTP/2.0", 1),
    "HTTP/1.1 in small letters": post(LENGTH).replace(b"HTTP/1.1", b"http/1.1", 1),
    "HTTP/01.1": post(LENGTH).replace(b"HTTP/1.1", b"HTTP/01.1", 1),
    "space in the target": post(LENGTH).replace(b"/chat/", b"/ch at/", 1),
    "tab in the request line": post(LENGTH).replace(b"POST /", b"POST\t/", 1),
    "NUL in the target": post(LENGTH).replace(b"/chat/", b"/ch\x00at/", 1),
    "unknown method": post(LENGTH).replace(b"POST", b"SMUGGLE", 1),
    "method in small letters": post(LENGTH).replace(b"POST", b"post", 1),
    "CONNECT": b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n" + HEAD + b"\r\n",
    "CONNECT with a length": b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n" + HEAD + LENGTH + b"\r\n" + BODY,
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "TLS to a plain port": bytes.fromhex("16030100f8010000f40303") + b"\x00" * 64,
    "no HTTP at all": b"\x00\x01\x02\x03 hello\r\n\r\n",
    "chunk size not hexadecimal": post(CHUNKED, b"zz\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk size with 0x": post(CHUNKED, b"0x%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"),
    "chunk size negative": post(CHUNKED, b"-1\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk size with a plus": post(CHUNKED, b"+%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"),
    "chunk size empty": post(CHUNKED, b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk size beyond 64 bits": post(CHUNKED, b"ffffffffffffffff1\r\n" + BODY),
    "chunk size with a leading space": post(CHUNKED, b" %x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"),
    "chunk longer than its size": post(CHUNKED, b"%x\r\n" % (len(BODY) - 1) + BODY + b"\r\n0\r\n\r\n"),
    "chunk without its line end": post(CHUNKED, b"%x\r\n" % len(BODY) + BODY + b"0\r\n\r\n"),
    "chunk with a bare LF behind its size": post(CHUNKED, b"%x\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"),
    "chunk with a bare LF behind its data": post(CHUNKED, b"%x\r\n" % len(BODY) + BODY + b"\n0\r\n\r\n"),
    "chunk with a bare CR behind its size": post(CHUNKED, b"%x\r" % len(BODY) + BODY + b"\r\n0\r\n\r\n"),
    "chunk extension with a bare LF": post(CHUNKED, b"%x;a\nb\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"),
    "chunk extension with a bare CR": post(CHUNKED, b"%x;a\rb\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"),
    "chunk extension with a NUL": post(CHUNKED, b"%x;a\x00b\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"),
    "trailer with a space before the colon": post(CHUNKED, CHUNK + b"0\r\nx : y\r\n\r\n"),
    "trailer folded": post(CHUNKED, CHUNK + b"0\r\nx: y\r\n z\r\n\r\n"),
}


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(mock: Mock) -> Iterator[Gateway]:
    with run_gateway(
        config=road.settings({"up": road.compatible(mock.port, default=True)}, models={"listed": "up/listed"})
    ) as running:
        yield running


def calls(mock: Mock) -> int:
    """Return how many requests have ever reached the upstream."""
    return int(mock.state()["calls"])


@pytest.mark.parametrize("message", [pytest.param(value, id=name) for name, value in AMBIGUOUS.items()])
def test_an_ambiguous_message_is_refused_and_its_connection_closed(
    gateway: Gateway, mock: Mock, message: bytes
) -> None:
    """One answer of the 400 class, the end of the connection, and nothing of it upstream."""
    before = calls(mock)
    talk = raw.talk(gateway.port, message)
    (answer,) = talk.answers
    assert 400 <= answer.status < 500 or answer.status == 505
    assert answer.complete
    assert answer.headers["connection"] == "close"
    assert answer.code in ("malformed_request", "invalid_path", "missing_api_key", "body_too_large")
    assert not talk.rest
    assert calls(mock) == before


@pytest.mark.parametrize("message", [pytest.param(value, id=name) for name, value in AMBIGUOUS.items()])
def test_it_does_not_matter_how_the_bytes_arrive(gateway: Gateway, mock: Mock, message: bytes) -> None:
    """The same message in two reads, wherever it is split, or behind a good request, is refused just the same."""
    before = calls(mock)
    good = raw.request("/v1/models", key=road.KEY)
    for split in range(1, len(message), max(1, len(message) // 5)):
        with raw.wire(gateway.port) as wire:
            wire.send(message[:split])
            wire.send(message[split:])
            (answer,) = wire.to_end().answers
            assert 400 <= answer.status < 500
    first, second = raw.talk(gateway.port, good + message).answers
    assert (first.status, first.complete) == (200, True)
    assert 400 <= second.status < 500
    assert calls(mock) == before


def test_a_message_of_one_byte_a_read_is_the_same_message(gateway: Gateway, mock: Mock) -> None:
    """Good and bad alike: how the network cuts a request says nothing about it."""
    before = calls(mock)
    for message, status in ((post(LENGTH), 200), (AMBIGUOUS["CL.TE"], 400)):
        with raw.wire(gateway.port) as wire:
            wire.send(*(message[at : at + 1] for at in range(len(message))))
            assert wire.answers(1)[0].status == status
    assert calls(mock) == before + 1


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(post(CHUNKED, CHUNK + b"0\r\n\r\n"), id="one chunk"),
        pytest.param(
            post(CHUNKED, b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"), id="a byte a chunk"
        ),
        pytest.param(post(CHUNKED, b"%X;name=value\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)), id="chunk extension"),
        pytest.param(post(CHUNKED, b"%08x\r\n%b\r\n000\r\n\r\n" % (len(BODY), BODY)), id="leading zeros"),
        pytest.param(post(CHUNKED, CHUNK + b"0\r\nx-trailer: 1\r\n\r\n"), id="a trailer"),
        pytest.param(post(b"Transfer-Encoding: Chunked\r\n", CHUNK + b"0\r\n\r\n"), id="capital letters"),
        pytest.param(post(b"content-length: %04d\r\n" % len(BODY)), id="length with leading zeros"),
        pytest.param(post(b"content-length:\t %d \t\r\n" % len(BODY)), id="space around a value"),
        pytest.param(post(LENGTH).replace(b"POST /", b"POST  /", 1), id="two spaces in the request line"),
        pytest.param(b"\r\n" + post(LENGTH), id="a blank line before the request line"),
        pytest.param(post(LENGTH + b"expect: 100-continue\r\n"), id="expect"),
        pytest.param(post(LENGTH + b"x-y: caf\xe9\r\n"), id="high bytes in a value"),
        pytest.param(post(LENGTH + b"x-y:\r\n"), id="empty value"),
    ],
)
def test_what_is_merely_unusual_arrives_in_one_plain_form(gateway: Gateway, mock: Mock, message: bytes) -> None:
    """The upstream sees one length, no chunks, no trailer, and the body byte for byte."""
    mock.clear()
    with raw.wire(gateway.port) as wire:
        wire.send(message, raw.request("/v1/models", key=road.KEY))
        first, second = wire.answers(2)
    assert (first.status, second.status) == (200, 200)
    (row,) = mock.ledger()
    assert base64.b64decode(row["body"]) == BODY
    names = [name for name, _ in row["headers"]]
    assert names.count("content-length") == 1
    assert not {"transfer-encoding", "x-trailer", "expect"} & set(names)


def test_absolute_form_names_no_other_host(gateway: Gateway, mock: Mock) -> None:
    """A request target with scheme and host is served by its path; where it goes is decided by the configuration."""
    mock.clear()
    for target in (b"http://evil.test/v1/chat/completions", b"HTTP://evil.test:1/v1/chat/completions"):
        with raw.wire(gateway.port) as wire:
            wire.send(post(LENGTH).replace(b"/v1/chat/completions", target, 1))
            assert wire.answers(1)[0].status == 200
    assert [row["path"] for row in mock.ledger()] == ["/v1/chat/completions"] * 2
    assert not any("evil" in value for row in mock.ledger() for _, value in row["headers"])


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n", id="websocket"),
        pytest.param(b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n", id="h2c"),
        pytest.param(b"upgrade: h2c\r\n", id="without connection"),
    ],
)
def test_an_upgrade_is_not_taken_up_and_not_passed_on(gateway: Gateway, mock: Mock, fields: bytes) -> None:
    """The request is served as HTTP/1.1; what the client sends behind it as another protocol is thrown away."""
    mock.clear()
    plain = b"GET /v1/reflect HTTP/1.1\r\n" + HEAD + fields + b"\r\n"
    with raw.wire(gateway.port) as wire:
        wire.send(plain + SECOND)
        (answer, *_) = wire.answers(1)
        wire.half_close()
        wire.to_end()
    assert answer.status == 200
    names = {name for name, _ in answer.json()["headers"]}
    assert not {"upgrade", "connection", "http2-settings"} & names
    if b"connection" in fields:
        assert [row["path"] for row in mock.ledger()] == ["/v1/reflect"]


def test_nothing_behind_connection_close_is_served(gateway: Gateway, mock: Mock) -> None:
    """The answer is complete, the connection ends, and the request behind it has never been."""
    mock.clear()
    talk = raw.talk(gateway.port, post(LENGTH + b"connection: close\r\n") + SECOND)
    assert [answer.status for answer in talk.answers] == [200]
    assert talk.answers[0].complete
    assert [row["path"] for row in mock.ledger()] == ["/v1/chat/completions"]


def test_http_1_0_is_closed_after_its_answer(gateway: Gateway, mock: Mock) -> None:
    """A client of the old version gets one answer without chunks, also of a stream, and then the end."""
    mock.clear()
    body = json.dumps(road.chat("m", "old", stream=True)).encode()
    message = post(b"content-length: %d\r\n" % len(body), body).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    talk = raw.talk(gateway.port, message + SECOND)
    (answer,) = talk.answers
    assert "transfer-encoding" not in answer.headers
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert len(mock.ledger()) == 1


@pytest.mark.parametrize(
    "trailer",
    [b"authorization: Bearer " + road.KEY.encode(), b"content-length: 3", b"transfer-encoding: chunked", b"host: x"],
)
def test_a_trailer_decides_nothing(gateway: Gateway, mock: Mock, trailer: bytes) -> None:
    """A credential behind the body authenticates nobody, and no trailer reaches the upstream."""
    before = calls(mock)
    bare = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\n" + CHUNKED + b"\r\n" + CHUNK
    with raw.wire(gateway.port) as wire:
        wire.send(bare + b"0\r\n" + trailer + b"\r\n\r\n")
        wire.half_close()
        (answer, *_) = wire.to_end().answers
    assert 400 <= answer.status <= 401
    assert calls(mock) == before


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, mock: Mock) -> None:
    """Forty-eight at once, slow and fast mixed: each answer stands in its place and echoes its own nonce."""
    mock.clear()
    names = [f"nonce-pipe-{number}" for number in range(48)]
    with raw.wire(gateway.port) as wire:
        wire.send(
            b"".join(
                raw.request(
                    body=road.chat("m", name, stream=number % 3 == 0),
                    key=road.KEY,
                    headers=[("x-mock-fault", "latency=60")] if number % 16 == 0 else (),
                )
                for number, name in enumerate(names)
            )
        )
        answers = wire.answers(len(names))
    assert len(answers) == len(names)
    for name, answer in zip(names, answers, strict=True):
        assert answer.status == 200
        assert name in _said(answer)
    assert sorted(row["nonce"] for row in mock.ledger()) == sorted(names)


def _said(answer: raw.Answer) -> str:
    """Return the text of a chat answer, streamed or not."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return str(answer.json()["choices"][0]["message"]["content"])
    lines = [line[6:] for line in answer.body.decode().splitlines() if line.startswith("data: {")]
    choices = [json.loads(line)["choices"] for line in lines]
    return "".join(choice[0]["delta"].get("content") or "" for choice in choices if choice)


@pytest.mark.parametrize("position", [1, 3])
def test_a_bad_request_ends_the_pipeline_in_its_turn(gateway: Gateway, mock: Mock, position: int) -> None:
    """Those before it are answered, it is refused, those behind it are not served."""
    mock.clear()
    good = [raw.request(body=road.chat("m", f"nonce-{number}"), key=road.KEY) for number in range(5)]
    good[position] = AMBIGUOUS["CL.TE"]
    talk = raw.talk(gateway.port, b"".join(good))
    assert [answer.status for answer in talk.answers] == [200] * position + [400]
    assert [row["nonce"] for row in mock.ledger()] == [f"nonce-{number}" for number in range(position)]


def test_pipelined_requests_are_judged_one_by_one(gateway: Gateway, mock: Mock) -> None:
    """A key counts for the request that carries it, not for those behind it on the connection."""
    mock.clear()
    with raw.wire(gateway.port) as wire:
        for key in (road.KEY, None, "wrong", road.KEY):
            wire.send(raw.request(body=road.chat(), key=key))
        assert [answer.status for answer in wire.answers(4)] == [200, 401, 401, 200]
    assert len(mock.ledger()) == 2


def test_the_gateway_is_as_before_after_all_of_this(gateway: Gateway) -> None:
    """One worker since the start, and nothing in its log that it did not expect."""
    assert len(gateway.worker_pids()) == 1
    assert "request failed" not in gateway.logs()
    assert "Traceback" not in gateway.logs()
