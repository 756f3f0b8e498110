"""Promise: a connection to an upstream serves one request at a time, within its times, and is never lost."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest

from rig import raw, road
from rig.gateway import Gateway, run_gateway
from rig.scripted import Pause, ScriptedUpstream, Step, answer, scripted_upstream

WHOLE = answer(b'{"object":"chat.completion","model":"m","choices":[]}')
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n"
ASKED = raw.request(body=road.chat(), key=road.KEY)


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as running:
        yield running


@pytest.fixture
def gateway(upstream: ScriptedUpstream) -> Iterator[Gateway]:
    with run_gateway(config=road.settings({"up": one_place(upstream)})) as running:
        yield running


def one_place(upstream: ScriptedUpstream, *, idle: float = 60) -> dict[str, object]:
    """Return a provider with a single connection and a short patience for the head of an answer."""
    timeouts = {"connect": 3, "first_byte": 0.5, "idle": idle}
    return road.compatible(upstream.port, default=True, max_connections=1, timeouts=timeouts)


def test_an_answer_in_an_unknown_coding_gives_its_place_back(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """It is refused while it is still coming; the pool's only place serves the next request."""
    upstream.play(WHOLE)
    upstream.play_once(CHUNKED + b"content-encoding: snappy\r\n\r\n3\r\nabc\r\n", Step.HANG)
    refused = raw.ask(gateway.port, ASKED)
    assert (refused.status, refused.code) == (502, "upstream_garbage")
    assert raw.ask(gateway.port, ASKED).status == 200


def test_a_request_that_was_not_answered_in_time_is_not_sent_again(
    gateway: Gateway, upstream: ScriptedUpstream
) -> None:
    """Silence on a connection that was kept open is a timeout like any other: the upstream may be at work."""
    upstream.play(Step.HANG)
    upstream.play_once(WHOLE)
    assert raw.ask(gateway.port, ASKED).status == 200
    late = raw.ask(gateway.port, ASKED)
    assert (late.status, late.code) == (504, "upstream_first_byte_timeout")
    assert len(upstream.requests) == 2


def test_a_kept_connection_must_begin_to_answer_as_soon_as_a_new_one(
    gateway: Gateway, upstream: ScriptedUpstream
) -> None:
    """What came for the request before does not count as a sign of life for this one."""
    rest = Pause()
    upstream.play(Step.HANG)
    upstream.play_once(WHOLE[:-5], rest, WHOLE[-5:])
    with raw.wire(gateway.port) as wire:
        wire.send(ASKED)
        wire.until(b"\r\n\r\n{")
        rest.set()
        assert wire.answers(1)[0].status == 200
    late = raw.ask(gateway.port, ASKED)
    assert (late.status, late.code) == (504, "upstream_first_byte_timeout")


def test_a_request_is_sent_a_second_time_at_most(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """A kept connection that closes unanswered is replaced once; what kills every connection is not sent on."""
    upstream.play(Step.FIN)
    upstream.play_once(WHOLE)
    assert raw.ask(gateway.port, ASKED).status == 200
    assert raw.ask(gateway.port, ASKED).code == "upstream_closed"
    assert len(upstream.requests) == 3


def test_times_hold_for_a_request_whose_provider_is_gone(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """The configuration drops the provider while it owes an answer: the request still ends in time."""
    hang = Pause()
    upstream.play(WHOLE[:-5], hang, Step.HANG)
    gateway.write_config(road.settings({"up": one_place(upstream, idle=1)}))
    gateway.reload()
    gateway.output.wait_for("snapshot_applied")
    with raw.wire(gateway.port) as wire:
        wire.send(ASKED)
        wire.until(b"\r\n\r\n{")
        gateway.write_config(road.settings({"other": road.compatible(1, default=True)}))
        gateway.reload()
        gateway.output.wait_for("snapshot_applied", count=2)
        hang.set()
        talk = wire.to_end()
    assert not talk.answers[0].complete
    upstream.wait_for(open_sockets=0)


def test_no_connection_outlives_its_provider(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """The answer under way is passed on to its end; then the connection that nobody needs any more is closed."""
    rest = Pause()
    upstream.play(WHOLE[:-5], rest, WHOLE[-5:])
    with raw.wire(gateway.port) as wire:
        wire.send(ASKED)
        wire.until(b"\r\n\r\n{")
        gateway.write_config(road.settings({"other": road.compatible(1, default=True)}))
        gateway.reload()
        gateway.output.wait_for("snapshot_applied")
        rest.set()
        assert wire.answers(1)[0].complete
    upstream.wait_for(open_sockets=0)


def test_a_compressed_answer_that_holds_nothing_has_a_head(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """Status and headers reach the client also where not one byte of a body does."""
    rest = Pause()
    nothing = gzip.compress(b"")
    upstream.play(CHUNKED + b"content-encoding: gzip\r\n\r\n", rest, b"%x\r\n%b\r\n0\r\n\r\n" % (len(nothing), nothing))
    with raw.wire(gateway.port) as wire:
        wire.send(raw.request("/proxy/v1/things", key=road.KEY))
        upstream.wait_for(requests=1)
        rest.set()
        (got,) = wire.answers(1)
    assert (got.status, got.body, got.complete) == (200, b"", True)


def test_an_endless_trailer_is_refused(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """What follows a body is bounded like what comes before it, and is no header."""
    upstream.play(CHUNKED + b"\r\n2\r\n{}\r\n", b"0\r\nset-up: x" + b"x" * 1_000_000, Step.HANG)
    got = raw.ask(gateway.port, raw.request("/proxy/v1/things", key=road.KEY))
    assert not got.complete or got.status == 502
