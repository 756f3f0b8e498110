"""Promise: whoever is slow costs bounded memory and nobody else's time, and every wait has an end."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from rig import raw, road
from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock

DOWNLOAD_BYTES = 100_000_000
HEADER_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 0.5
MAX_CONNECTIONS = 40


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(mock: Mock) -> Iterator[Gateway]:
    server = {
        "header_seconds": HEADER_SECONDS,
        "keep_alive_seconds": KEEP_ALIVE_SECONDS,
        "max_connections": MAX_CONNECTIONS,
    }
    providers = {"up": road.compatible(mock.port, default=True)}
    with run_gateway(config=road.settings(providers, server=server)) as running:
        yield running


def serves(gateway: Gateway) -> bool:
    """Tell whether somebody else is served."""
    return raw.ask(gateway.port, raw.request("/v1/chat/completions", road.chat(), key=road.KEY)).status == 200


def buffered(gateway: Gateway, size: int) -> int:
    """Return how much more memory the worker has in use than `size`, in KiB."""
    (worker,) = gateway.worker_pids()
    return road.resident_kib(worker) - size


# Slow readers


def test_slow_readers_hold_the_upstream_back(gateway: Gateway, mock: Mock) -> None:
    """Ten downloads of 100 MB that nobody reads: memory is that of the sockets' buffers, and others are served."""
    (worker,) = gateway.worker_pids()
    assert serves(gateway)
    before = road.resident_kib(worker)
    tags = [f"nonce-slow-{number}" for number in range(10)]
    with raw.wires(gateway.port, len(tags), receive_buffer=4096) as wires:
        for wire, tag in zip(wires, tags, strict=True):
            headers = [("x-mock-tag", tag), ("x-request-id", tag)]
            wire.send(raw.request(f"/v1/download?bytes={DOWNLOAD_BYTES}", key=road.KEY, headers=headers))
            wire.until(b"\r\n\r\n")
        for _ in range(50):
            for wire in wires:
                wire.receive(1000)
        assert serves(gateway)
        assert buffered(gateway, before) < 50 * 1024 + 128 * len(wires)
        sent = [row["bytes_out"] for tag in tags for row in mock.ledger(tag=tag)]
        assert len(sent) == len(tags)
        assert max(sent) < 16_000_000
    for tag in tags:
        mock.ended(tag)
        record = road.record(gateway, tag)
        assert record["outcome"] == "cancelled"
        assert record["response_bytes"] < 16_000_000


def test_a_reader_at_a_crawl_gets_every_byte(gateway: Gateway) -> None:
    """Pausing and going on loses nothing: 100 MB arrive whole through a window of a few KB."""
    (worker,) = gateway.worker_pids()
    before = road.resident_kib(worker)
    with raw.wire(gateway.port, receive_buffer=8192) as wire:
        wire.send(raw.request(f"/v1/download?bytes={DOWNLOAD_BYTES}", key=road.KEY))
        head, _, body = wire.until(b"\r\n\r\n").partition(b"\r\n\r\n")
        assert b"200 OK" in head
        received, ended = len(body), False
        tail = body[-16:]
        while not ended:
            piece = wire.socket.recv(1 << 16)
            assert piece, "the download was cut"
            received += len(piece)
            tail = (tail + piece)[-16:]
            ended = received >= DOWNLOAD_BYTES if b"content-length" in head else tail.endswith(b"\r\n0\r\n\r\n")
    assert received >= DOWNLOAD_BYTES
    assert buffered(gateway, before) < 30 * 1024


def test_a_slow_reader_of_a_stream_costs_little(gateway: Gateway) -> None:
    """Events as fast as they come, a client that stops: the upstream waits with it, and goes on with it."""
    (worker,) = gateway.worker_pids()
    before = road.resident_kib(worker)
    body = road.chat("m", "long", stream=True)
    headers = [("x-mock-fault", "tokens=20000,event_bytes=1000,chunk=20"), ("x-request-id", "slow-stream")]
    with raw.wire(gateway.port, receive_buffer=8192) as wire:
        wire.send(raw.request("/v1/chat/completions", body, key=road.KEY, headers=headers))
        wire.until(b"data: ")
        assert serves(gateway)
        assert buffered(gateway, before) < 20 * 1024
        received, tail = 0, b""
        while b"[DONE]" not in tail:
            piece = wire.socket.recv(1 << 16)
            assert piece, "the stream was cut"
            received += len(piece)
            tail = (tail + piece)[-100:]
    assert received > 20_000_000
    assert road.record(gateway, "slow-stream")["outcome"] == "ok"
    assert buffered(gateway, before) < 20 * 1024


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_slow_upstream_holds_the_client_back(mock: Mock, how: str) -> None:
    """An upload is read from the client no faster than the upstream takes it; its leaving ends it all the same.

    A FIN stands behind what could not be sent, so only the upstream's silence tells; a RST is seen at once.
    """
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        port = deaf.getsockname()[1]
        silence = 2 if how == "fin" else 600
        providers = {
            "up": road.compatible(mock.port, default=True),
            "deaf": road.compatible(port, timeouts={"idle": silence, "first_byte": silence}),
        }
        with run_gateway(config=road.settings(providers)) as other:
            (worker,) = other.worker_pids()
            before = road.resident_kib(worker)
            headers = [("x-upstream-name", "deaf"), ("content-length", str(1 << 30)), ("x-request-id", "held")]
            with raw.wire(other.port) as wire:
                wire.send(raw.request("/proxy/v1/upload", key=road.KEY, method="POST", headers=headers))
                wire.socket.settimeout(0.5)
                assert _send_until_stuck(wire) < 32 << 20
                assert road.resident_kib(worker) - before < 10 * 1024
                assert serves(other)
                if how == "rst":
                    wire.reset()
            assert road.record(other, "held")["outcome"] == ("cancelled" if how == "rst" else "failed")
            road.eventually(
                lambda: road.metrics(other)["flumegate_upstream_connections_open"] <= 1,
                "the upload's connection closed",
            )


def _send_until_stuck(wire: raw.Wire) -> int:
    """Send as much as is taken, at most 1 GB; return how much that was."""
    sent = 0
    try:
        while sent < 1 << 30:
            sent += wire.socket.send(b"x" * 65536)
    except TimeoutError:
        return sent
    return sent


# Slow writers


@pytest.mark.parametrize(
    "beginning", [b"P", b"POST /v1/chat/completions HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nhost: x\r\nx-a: b"]
)
def test_a_head_that_does_not_come_is_408(gateway: Gateway, beginning: bytes) -> None:
    """Whatever of it has come; a method alone is not yet a request and is closed without a word."""
    talk = raw.talk(gateway.port, beginning)
    assert talk.end == "fin"
    if beginning != b"P":
        (answer,) = talk.answers
        assert (answer.status, answer.code, answer.headers["connection"]) == (408, "header_timeout", "close")


def test_a_head_that_drips_is_408(gateway: Gateway) -> None:
    """Each new header is no reason to wait longer: the limit counts from the first byte."""
    with raw.wire(gateway.port) as wire:
        wire.send(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n")
        wire.socket.settimeout(0.1)
        drops = 0
        while wire.end == "open" and drops < 100:
            wire.send(b"x: y\r\n")
            drops += 1
            try:
                wire.receive()
            except TimeoutError:
                continue
        assert drops < 100
        assert raw.read_answers(bytes(wire.data), "fin").answers[0].status == 408


def test_a_connection_that_never_speaks_is_closed(gateway: Gateway) -> None:
    """Without an answer, as there was no question, and without a record."""
    talk = raw.talk(gateway.port)
    assert (talk.answers, talk.rest, talk.end) == ([], b"", "fin")


def test_an_idle_connection_is_closed_after_its_time(gateway: Gateway) -> None:
    """Kept open after an answer, then closed cleanly; a request in time is served."""
    with raw.wire(gateway.port) as wire:
        for turn in range(1, 4):
            wire.send(raw.request("/v1/models", key=road.KEY))
            assert len(wire.answers(turn)) == turn
        talk = wire.to_end()
    assert (len(talk.answers), talk.rest, talk.end) == (3, b"", "fin")


def test_a_second_head_that_does_not_come_is_408(gateway: Gateway) -> None:
    """A connection that was once good has the same limits again."""
    talk = raw.talk(gateway.port, raw.request("/v1/models", key=road.KEY), b"GET /v1/mod")
    assert [answer.status for answer in talk.answers] == [200, 408]


def test_a_body_that_does_not_come_is_408(gateway: Gateway, mock: Mock) -> None:
    """Slower than the least rate after the time of grace; nothing of it reaches the upstream."""
    before = mock.state()["calls"]
    headers = [("content-length", "5000"), ("x-request-id", "slow-body")]
    with raw.wires(gateway.port, 3) as wires:
        for wire in wires:
            wire.send(raw.request("/v1/chat/completions", key=road.KEY, method="POST", headers=headers) + b'{"model"')
        for wire in wires:
            (answer,) = wire.to_end().answers
            assert (answer.status, answer.code) == (408, "body_timeout")
    assert mock.state()["calls"] == before
    assert serves(gateway)
    assert road.record(gateway, "slow-body", count=3)["outcome"] == "refused"


def test_half_a_hundred_dribblers_harm_nobody(gateway: Gateway) -> None:
    """While they dribble others are served, and each of them is gone after its time."""
    with raw.wires(gateway.port, MAX_CONNECTIONS - 10) as wires:
        for wire in wires:
            wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")
        assert all(serves(gateway) for _ in range(10))
        assert [wire.to_end().answers[0].status for wire in wires] == [408] * len(wires)


# Too many


def test_one_connection_too_many_is_503(gateway: Gateway) -> None:
    """It is told when to come back; the others are served on, and a place that becomes free is given again."""
    road.eventually(lambda: road.metrics(gateway)["flumegate_connections_open"] == 1, "no connection is left")
    body = raw.request("/v1/chat/completions", road.chat(), key=road.KEY, headers=[("x-mock-fault", "latency=1000")])
    with raw.wires(gateway.port, MAX_CONNECTIONS) as wires:
        for wire in wires:
            wire.send(body)
        talk = raw.talk(gateway.port, raw.request("/v1/models", key=road.KEY))
        (answer,) = talk.answers
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "too_many_connections", "1")
        assert [wire.answers(1)[0].status for wire in wires] == [200] * MAX_CONNECTIONS
    road.eventually(lambda: _is_served(gateway), "a place is given again")


def _is_served(gateway: Gateway) -> bool:
    """Tell whether a new connection gets a place now."""
    return raw.ask(gateway.port, raw.request("/v1/models", key=road.KEY)).status == 200


def test_the_same_worker_has_borne_it_all(gateway: Gateway) -> None:
    """No restart, no bug in the log."""
    assert gateway.logs().count('"serving"') == 1
    assert "request failed" not in gateway.logs()
    assert "Traceback" not in gateway.logs()
