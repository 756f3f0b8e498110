"""Promise: clients of another dialect may leave, hurry, crawl or be old; nothing is left behind, nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig import raw
from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock
from rig.road import KEY, chat, eventually, metrics, record, resident_kib, settings

MESSAGES = "/v1/messages"
ANSWERED = b'"type":"message"'


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(mock: Mock) -> Iterator[Gateway]:
    providers = {"up": {"type": "openai", "base_url": f"{mock.url}/v1", "api_key": "k"}}
    with run_gateway(config=settings(providers)) as running:
        yield running


def question(fault: str, request_id: str, *, stream: bool = True) -> bytes:
    """Return a request of an Anthropic client to a provider that speaks OpenAI's dialect."""
    body = chat(f"up/m1+{fault}", f"hello nonce-{request_id}", stream=stream, max_tokens=99_999)
    return raw.request(MESSAGES, body, key=KEY, headers=[("x-request-id", request_id)])


@pytest.mark.parametrize(
    ("fault", "seen", "source"),
    [
        ("hang=0", b"", ""),
        ("latency=60000", b"", ""),
        ("hang=5,tokens=20", b"echo", "estimated"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves(gateway: Gateway, mock: Mock, fault: str, seen: bytes, source: str, stream: bool) -> None:
    """Before the head, behind it, in the middle: the upstream is let go at once, and one record says so."""
    if seen and not stream:
        return  # an answer in one piece has no middle
    request_id = f"left-{fault.partition('=')[0]}-{fault.count(',')}-{stream}"
    with raw.wire(gateway.port) as wire:
        wire.send(question(fault, request_id, stream=stream))
        if seen:
            wire.until(seen)
        else:
            eventually(lambda: mock.ledger(tag=f"nonce-{request_id}"), "the request at the upstream")
    kept = record(gateway, request_id)
    assert (kept["outcome"], kept["client_abort"], kept["usage_source"]) == ("cancelled", 1, source)
    (row,) = mock.ended(f"nonce-{request_id}")
    assert row["bytes_out"] < 10_000


def test_pipelined_requests(gateway: Gateway) -> None:
    """Answers come in the order of the questions, streams and others, each with its record."""
    ids = [f"piped-{number}" for number in range(6)]
    with raw.wire(gateway.port) as wire:
        wire.send(*(question("tokens=5", name, stream=number % 2 == 0) for number, name in enumerate(ids)))
        answers = wire.answers(len(ids))
    assert [answer.headers["x-request-id"] for answer in answers] == ids
    assert all(answer.complete and answer.status == 200 for answer in answers)
    for name in ids:
        assert record(gateway, name)["outcome"] == "ok"


@pytest.mark.parametrize("stream", [True, False])
def test_an_old_client(gateway: Gateway, stream: bool) -> None:
    """HTTP/1.0 knows no chunks: the end of the connection is the end of the stream."""
    data = question("tokens=5", f"old-{stream}", stream=stream).replace(b"HTTP/1.1", b"HTTP/1.0")
    with raw.wire(gateway.port) as wire:
        wire.send(data)
        end = wire.to_end()
    (answer,) = end.answers
    assert answer.status == 200
    assert "transfer-encoding" not in answer.headers
    assert (b"message_stop" if stream else ANSWERED) in answer.body


def test_a_slow_reader_holds_the_upstream_back(gateway: Gateway, mock: Mock) -> None:
    """A stream of 20 MB that nobody reads costs the worker little, and the upstream waits; then it arrives whole."""
    (worker,) = gateway.worker_pids()
    assert raw.ask(gateway.port, question("tokens=5", "warm")).status == 200
    before = resident_kib(worker)
    with raw.wire(gateway.port, receive_buffer=8192) as wire:
        wire.send(question("tokens=20000,event_bytes=1000,chunk=20", "crawl"))
        wire.until(b"content_block_delta")
        assert raw.ask(gateway.port, question("tokens=5", "beside")).status == 200
        assert resident_kib(worker) - before < 20 * 1024
        (row,) = mock.ledger(tag="nonce-crawl")
        assert row["bytes_out"] < 16_000_000
        received, tail = 0, b""
        while b"message_stop" not in tail or not tail.endswith(b"\r\n0\r\n\r\n"):
            piece = wire.socket.recv(1 << 16)
            assert piece, "the stream was cut"
            received += len(piece)
            tail = (tail + piece)[-400:]
    assert received > 20_000_000
    assert record(gateway, "crawl")["outcome"] == "ok"
    assert resident_kib(worker) - before < 40 * 1024


def test_nothing_is_left(gateway: Gateway) -> None:
    """After all of the above no request is open, and the log knows of no bug."""
    assert raw.ask(gateway.port, question("tokens=5", "last")).status == 200
    assert "request failed" not in gateway.output.text
    assert "Traceback" not in gateway.output.text
    assert metrics(gateway)
