"""Promise: a client that leaves frees everything at once, and is recorded once, with what it had cost so far."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from rig import raw, road
from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock

NUMBER = itertools.count()
PLACES = 2
SEED = 20_240_917


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(mock: Mock) -> Iterator[Gateway]:
    providers = {
        "up": road.compatible(mock.port, default=True, max_connections=PLACES, timeouts={"connect": 20}),
        "claude": road.anthropic(mock.port, max_connections=PLACES),
        "wide": road.compatible(mock.port, max_connections=200, tls_verify=False),  # a pool of its own
    }
    with run_gateway(config=road.settings(providers)) as running:
        yield running


def call(dialect: str, tag: str, fault: str, *, stream: bool, model: str = "m") -> bytes:
    """Return a request that the mock answers with a fault."""
    path, body = "/v1/chat/completions", road.chat(model, f"{tag} one two three four five six", stream=stream)
    if dialect == "anthropic":
        path, body = "/v1/messages", body | {"model": "claude/m", "max_tokens": 100}
    headers = [("x-mock-tag", tag), ("x-mock-fault", fault), ("x-request-id", tag)]
    return raw.request(path, body, key=road.KEY, headers=headers)


def leave(wire: raw.Wire, how: str) -> None:
    if how == "rst":
        wire.reset()
    else:
        wire.close()


def arrived(mock: Mock, tag: str) -> None:
    """Return once the upstream has the request."""
    road.eventually(lambda: mock.ledger(tag=tag), f"the request {tag} at the upstream")


def check_freed(gateway: Gateway, mock: Mock, tag: str) -> dict[str, Any]:
    """Check that the upstream saw its caller leave and that one record says so; return the record."""
    (row,) = mock.ended(tag)
    assert row["eof_at"] is not None
    record = road.record(gateway, tag)
    assert (record["outcome"], record["error_code"], record["client_abort"]) == ("cancelled", "client_closed", 1)
    return record


def check_places(gateway: Gateway) -> None:
    """Check that every place of both pools can be had at the same time: none was lost."""
    with concurrent.futures.ThreadPoolExecutor(2 * PLACES) as pool:
        asked = [
            pool.submit(raw.ask, gateway.port, call(dialect, f"place-{next(NUMBER)}", "latency=100", stream=False))
            for dialect in ("openai", "anthropic")
            for _ in range(PLACES)
        ]
        assert [answer.result().status for answer in asked] == [200] * 2 * PLACES


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_client_that_leaves_before_the_head(
    gateway: Gateway, mock: Mock, dialect: str, stream: bool, how: str
) -> None:
    """Nothing was answered, so the status is 499; there is no usage to know."""
    tag = f"nonce-head-{next(NUMBER)}"
    with raw.wire(gateway.port) as wire:
        wire.send(call(dialect, tag, "latency=60000", stream=stream))
        arrived(mock, tag)
        leave(wire, how)
    record = check_freed(gateway, mock, tag)
    assert (record["status"], record["output_tokens"]) == (499, None)
    check_places(gateway)


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_client_that_leaves_before_the_first_token(
    gateway: Gateway, mock: Mock, dialect: str, stream: bool, how: str
) -> None:
    """Nothing has been passed on yet, whether the head has come or not; the upstream is freed at once."""
    tag = f"nonce-first-{next(NUMBER)}"
    with raw.wire(gateway.port) as wire:
        wire.send(call(dialect, tag, "first_byte=60000", stream=stream))
        arrived(mock, tag)
        leave(wire, how)
    assert check_freed(gateway, mock, tag)["status"] == 499
    check_places(gateway)


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_client_that_leaves_within_the_stream(gateway: Gateway, mock: Mock, dialect: str, how: str) -> None:
    """Status 200, and what had come of it by then: by the provider's count, or more where more was passed on."""
    tag = f"nonce-within-{next(NUMBER)}"
    with raw.wire(gateway.port) as wire:
        wire.send(call(dialect, tag, "hang=5", stream=True))
        wire.until(b"echo")
        leave(wire, how)
    record = check_freed(gateway, mock, tag)
    assert record["status"] == 200
    assert record["response_bytes"] > 0
    assert record["usage_source"] in ("partial", "estimated")
    assert record["input_tokens"] > 0
    assert 0 < record["output_tokens"] < 12
    check_places(gateway)


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_client_that_leaves_within_a_plain_answer(gateway: Gateway, mock: Mock, dialect: str, how: str) -> None:
    """Half a body has been passed on."""
    tag = f"nonce-half-{next(NUMBER)}"
    with raw.wire(gateway.port) as wire:
        wire.send(call(dialect, tag, "hang=1", stream=False))
        wire.until(b"\r\n\r\n{")
        leave(wire, how)
    assert check_freed(gateway, mock, tag)["status"] == 200
    check_places(gateway)


def test_a_client_that_leaves_after_the_last_token(gateway: Gateway, mock: Mock) -> None:
    """The text and its usage had come and only the end was missing: all of the usage is in the record."""
    tag = f"nonce-last-{next(NUMBER)}"
    body = road.chat("m", f"{tag} one two", stream=True, stream_options={"include_usage": True})
    headers = [("x-mock-tag", tag), ("x-mock-fault", "no_done,hang=200"), ("x-request-id", tag)]
    with raw.wire(gateway.port) as wire:
        wire.send(raw.request("/v1/chat/completions", body, key=road.KEY, headers=headers))
        wire.until(b'"usage":{')
        wire.close()
    record = check_freed(gateway, mock, tag)
    assert record["finish_reason"] == "stop"
    assert record["output_tokens"] > 0


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("framing", ["content-length: 1000000", "transfer-encoding: chunked"])
def test_a_client_that_leaves_within_its_upload(gateway: Gateway, mock: Mock, framing: str, how: str) -> None:
    """The upstream never takes half a body for a whole one, and its connection is closed."""
    tag = f"nonce-upload-{next(NUMBER)}"
    headers = [
        framing.split(": "),
        ("x-mock-tag", tag),
        ("x-request-id", tag),
        ("content-type", "application/octet-stream"),
    ]
    head = raw.request("/v1/upload", key=road.KEY, method="POST", headers=[(name, value) for name, value in headers])
    piece = b"x" * 1000
    with raw.wire(gateway.port) as wire:
        wire.send(head, b"%x\r\n%b\r\n" % (len(piece), piece) if "chunked" in framing else piece)
        arrived(mock, tag)
        leave(wire, how)
    (row,) = mock.ended(tag)
    assert row["outcome"] != "complete"
    record = road.record(gateway, tag)
    assert (record["outcome"], record["status"]) == ("cancelled", 499)
    check_places(gateway)


def test_a_client_that_leaves_while_it_waits_for_a_place(gateway: Gateway, mock: Mock) -> None:
    """It never reaches the upstream, and those behind it in the queue get their place."""
    tags = [f"nonce-holder-{next(NUMBER)}" for _ in range(PLACES)]
    waiting, behind = f"nonce-waiting-{next(NUMBER)}", f"nonce-behind-{next(NUMBER)}"
    with raw.wires(gateway.port, PLACES) as holders:
        for wire, tag in zip(holders, tags, strict=True):
            wire.send(call("openai", tag, "hang=5", stream=True))
            wire.until(b"echo")
        with raw.wires(gateway.port, 2) as (left, patient):
            left.send(call("openai", waiting, "", stream=False))
            patient.send(call("openai", behind, "", stream=False))
            left.reset()
            assert road.record(gateway, waiting)["status"] == 499
            holders[0].reset()
            assert patient.answers(1)[0].status == 200
    assert mock.ledger(tag=waiting) == []
    for tag in tags:
        check_freed(gateway, mock, tag)
    check_places(gateway)


def test_a_client_that_leaves_its_pipeline(gateway: Gateway, mock: Mock) -> None:
    """Requests that waited for their turn are recorded as cancelled, too, and never begun."""
    tags = [f"nonce-pipeline-{next(NUMBER)}" for _ in range(5)]
    with raw.wire(gateway.port) as wire:
        wire.send(b"".join(call("openai", tag, "latency=60000", stream=False) for tag in tags))
        arrived(mock, tags[0])
        wire.reset()
    for tag in tags:
        assert road.record(gateway, tag)["outcome"] == "cancelled"
    assert [bool(mock.ledger(tag=tag)) for tag in tags] == [True, False, False, False, False]


def test_two_hundred_clients_that_leave_at_any_moment_leave_nothing_behind(gateway: Gateway, mock: Mock) -> None:
    """Seeded moments, both dialects, streams and plain answers, FIN and RST: no socket, no request is left."""
    dice = random.Random(SEED)
    tags = [f"nonce-random-{next(NUMBER)}" for _ in range(200)]

    def visit(tag: str, dialect: str, fault: str, size: int, how: str, *, stream: bool) -> None:
        with raw.wire(gateway.port) as wire:
            wire.send(call(dialect, tag, fault, stream=stream, model="wide/m"))
            while len(wire.data) < size and not _is_answered(wire):
                wire.receive(min(200, size - len(wire.data)))
            leave(wire, how)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        visits = [
            pool.submit(
                visit,
                tag,
                dice.choice(["openai", "openai", "anthropic"]),
                dice.choice(["interval=5", "one_byte", "first_byte=20", "latency=20"]),
                dice.choice([0, 1, 200, 700, 1500]),
                dice.choice(["fin", "rst"]),
                stream=dice.random() < 0.7,
            )
            for tag in tags
        ]
        for done in visits:
            done.result()
    for tag in tags:
        assert road.record(gateway, tag)["outcome"] in ("cancelled", "ok")
    road.eventually(lambda: mock.state()["in_flight"] == 0, "no call in flight at the upstream")
    counted = road.eventually(lambda: _quiet(gateway), "no connection of a client left but that of the question")
    assert counted["flumegate_upstream_connections_open"] == mock.state()["open_sockets"]
    check_places(gateway)
    assert "request failed" not in gateway.logs()
    assert "Traceback" not in gateway.logs()


def _is_answered(wire: raw.Wire) -> bool:
    talk = raw.read_answers(bytes(wire.data), wire.end)
    return wire.end != "open" or any(answer.complete for answer in talk.answers)


def _quiet(gateway: Gateway) -> dict[str, float]:
    counted = road.metrics(gateway)
    return counted if counted["flumegate_connections_open"] == 1 else {}


def test_the_attempts_of_a_cancelled_request_tell_when_it_ended(gateway: Gateway, mock: Mock) -> None:
    """The last attempt's outcome is the client's leaving, and it has an end."""
    tag = f"nonce-attempt-{next(NUMBER)}"
    with raw.wire(gateway.port) as wire:
        wire.send(call("openai", tag, "latency=60000", stream=False))
        arrived(mock, tag)
        wire.close()
    (attempt,) = json.loads(check_freed(gateway, mock, tag)["attempts"])
    assert attempt["outcome"] == "cancelled"
    assert attempt["ended_us"] >= attempt["started_us"]
