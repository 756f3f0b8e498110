"""Promise: whatever a request was, the next one on its connection is served, or the connection has ended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig import raw, road
from rig.gateway import Gateway, run_gateway
from rig.scripted import Pause, ScriptedUpstream, answer, scripted_upstream, stream

LISTED = raw.request("/v1/models", key=road.KEY)
BYTES = ("content-type", "application/octet-stream")


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream: ScriptedUpstream) -> Iterator[Gateway]:
    providers = {"up": road.compatible(upstream.port, default=True)}
    with run_gateway(config=road.settings(providers, models={"listed": "up/m"})) as running:
        yield running


def test_after_an_upload_that_had_come_whole_and_was_refused(gateway: Gateway) -> None:
    """The client was told to wait with its bytes; it is heard again once it has its answer."""
    fields = [BYTES, ("x-upstream-name", "nobody")]
    refused = raw.request("/v1/files", b"x" * 80_000, key=road.KEY, headers=fields)
    with raw.wire(gateway.port) as wire:
        for count in range(1, 9, 2):
            wire.send(refused)
            assert wire.answers(count)[-1].code == "unknown_upstream"
            if wire.end != "open":
                return
            wire.send(LISTED)
            assert wire.answers(count + 1)[-1].status == 200


def test_after_a_probe_that_offers_another_protocol(gateway: Gateway) -> None:
    """Java's client asks for h2c with its first request, whatever that is."""
    upgrade = [("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")]
    with raw.wire(gateway.port) as wire:
        wire.send(raw.request("/health", headers=upgrade))
        assert wire.answers(1)[0].status == 200
        wire.send(LISTED)
        assert len(wire.answers(2)) == 2 or wire.end != "open"


def test_an_answer_is_framed_for_the_version_of_its_own_request(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """A request of HTTP/1.0 gets no chunks, also where one of HTTP/1.1 has been read behind it."""
    go_on = Pause()
    upstream.play(stream(b"data: {}\n\n", b"data: [DONE]\n\n"))
    upstream.play_once(go_on, answer(b"{}"))
    asked = raw.request(body=road.chat(stream=True), key=road.KEY)
    old = asked.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\nconnection: keep-alive\r\n", 1)
    with raw.wire(gateway.port) as wire:
        wire.send(raw.request("/proxy/v1/slow", key=road.KEY) + old + LISTED)
        upstream.wait_for(requests=1)
        go_on.set()
        answers = wire.answers(3)
    assert len(answers) == 2
    assert "transfer-encoding" not in answers[1].headers
    assert answers[1].body == b"data: {}\n\ndata: [DONE]\n\n"


def test_what_trails_a_body_is_bounded(gateway: Gateway) -> None:
    """Trailers count for no limit of bodies, so they have that of heads."""
    chunked = [("transfer-encoding", "chunked"), ("content-type", "application/json")]
    with raw.wire(gateway.port) as wire:
        wire.send(raw.request(method="POST", key=road.KEY, headers=chunked), b"2\r\n{}\r\n0\r\nx: ")
        wire.send(*[b"x" * 10_000] * 200)
        (answer, *_) = wire.answers(1)
    assert (answer.status, answer.code) == (431, "headers_too_large")


def test_a_pipeline_is_not_cut_short_by_a_request_that_is_turned_away(
    gateway: Gateway, upstream: ScriptedUpstream
) -> None:
    """The times that held for the refused request do not hold for the answer before it."""
    go_on = Pause()
    upstream.play(go_on, answer(b"{}"))
    chunked = [("transfer-encoding", "chunked"), BYTES]
    with raw.wire(gateway.port) as wire:
        wire.send(raw.request("/proxy/v1/slow", key=road.KEY))
        wire.send(raw.request("/proxy/v1/slow", method="POST", headers=chunked))
        wire.socket.settimeout(11)  # longer than a body may keep us waiting
        with pytest.raises(TimeoutError):
            wire.receive()
        go_on.set()
        assert [got.status for got in wire.answers(2)] == [200, 401]
