"""Row 14: clients that read at a crawl hold their upstreams back; they cost bounded memory and nobody else's time.

The readers take turns, each once in a round, and between any two reads another client asks a question. It does so at
the same pace and on the same connection before there are readers, and its upstream is not theirs: what is compared is
the gateway's time.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from rig import pairs, raw, road
from rig.figures import figure, percentile
from rig.gateway import Gateway, run_gateway
from rig.memory import forget_peak
from rig.mock import Mock, run_mock
from rig.pairs import Pair

READERS = 500
STREAM_BYTES = 100_000_000
RATE = 1000
"""Bytes a second that each of them reads."""
ROUNDS = 30
"""Of reads, and seconds."""
STREAM_KIB, FIXED_KIB = 128, 50 * 1024
"""What a stream may cost, and all of them together beside that."""
NUMBER = itertools.count()
EVENT_BYTES = 1000
FAULT = f"tokens={STREAM_BYTES // EVENT_BYTES},event_bytes={EVENT_BYTES},chunk=20"
KINDS = [
    Pair("chat", "openai"),
    Pair("messages", "anthropic"),
    Pair("messages", "openai"),
    Pair("ollama", "openai"),
    Pair("chat", "gemini"),
    None,  # a download through the transparent lane
]


class Stage(NamedTuple):
    gateway: Gateway
    mock: Mock

    def question(self, kind: Pair | None) -> bytes:
        """Return a request whose answer is 100 MB long."""
        name = f"slow-{next(NUMBER)}"
        if kind is not None:
            return kind.question("long", fault=FAULT, request_id=name)
        headers = [("x-upstream-name", "openai"), ("x-request-id", name)]
        return raw.request(f"/v1/download?bytes={STREAM_BYTES}", key=road.KEY, headers=headers)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with run_mock() as mock, run_mock() as own:
        providers = pairs.providers(mock.port, max_connections=2 * READERS)
        providers["own"] = road.compatible(own.port)
        with run_gateway(config=road.settings(providers)) as gateway:
            yield Stage(gateway, mock)


def ask(wire: raw.Wire) -> float:
    """Ask a small question; return how long its answer took, in seconds."""
    begun = time.perf_counter()
    wire.data.clear()
    wire.send(raw.request("/v1/chat/completions", road.chat("own/m"), key=road.KEY))
    (answer,) = wire.answers(1)
    span = time.perf_counter() - begun
    assert pairs.said("chat", answer).text == "echo: hello"
    return span


def ask_between(asker: raw.Wire, readers: list[raw.Wire | None], rounds: int, tick: float) -> list[float]:
    """Let each reader read a little, once in every round, and ask after each; return how long the questions took.

    `tick`: seconds from one to the next; None stands for a reader that is not there.
    """
    spans = []
    due = time.monotonic()
    for reader in readers * rounds:
        if reader is not None:
            reader.receive(RATE)
            assert reader.end == "open", "a stream was cut"
            reader.data.clear()
        spans.append(ask(asker))
        due = max(due + tick, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))  # the rate is the fault that is injected
    return spans


class Cost(NamedTuple):
    """What the readers cost: memory of the worker, and others' times before and during."""

    grown_kib: int
    before: list[float]
    during: list[float]


def read_slowly(stage: Stage, readers: int, rounds: int, tick: float) -> Cost:
    """Open so many streams and crawl through them while another asks."""
    (worker,) = stage.gateway.worker_pids()
    with raw.wire(stage.gateway.port) as asker:
        ask_between(asker, [None] * readers, 1, 0)
        before = ask_between(asker, [None] * readers, rounds, tick)
        forget_peak(worker)
        idle_kib = road.resident_kib(worker)
        kinds = itertools.cycle(KINDS)
        with raw.wires(stage.gateway.port, readers, receive_buffer=4096) as wires:
            for wire in wires:
                wire.send(stage.question(next(kinds)))
            for wire in wires:
                wire.until(b"\r\n\r\n")
                wire.data.clear()
            during = ask_between(asker, list(wires), rounds, tick)
            grown_kib = road.peak_kib(worker) - idle_kib
            assert stage.mock.state()["in_flight"] == readers
    return Cost(grown_kib, before, during)


def check(stage: Stage, readers: int, cost: Cost) -> None:
    road.eventually(lambda: stage.mock.state()["in_flight"] == 0, "the upstreams are let go")
    left = [row["bytes_out"] for row in stage.mock.ledger() if row["outcome"] == "client_closed"]
    allowed = FIXED_KIB + STREAM_KIB * readers
    figure(14, f"memory of {readers} readers: +{cost.grown_kib / 1024:.0f} MB ({allowed / 1024:.0f})")
    figure(14, f"most that an upstream could send: {max(left) / 1e6:.1f} MB of {STREAM_BYTES / 1e6:.0f}")
    assert cost.grown_kib <= allowed
    assert len(left) == readers
    assert max(left) < STREAM_BYTES // 4
    with raw.wire(stage.gateway.port) as wire:
        assert ask(wire)
    assert "request failed" not in stage.gateway.logs()


def test_slow_readers_cost_bounded_memory(stage: Stage) -> None:
    """Some dozens of 100 MB each, verbatim, translated and transparent: others are answered as if nothing were."""
    check(stage, 40, read_slowly(stage, 40, 10, 0))


@pytest.mark.faults
def test_five_hundred_slow_readers_cost_bounded_memory_and_time(stage: Stage) -> None:
    """At a kilobyte a second each; the others' p99 at most doubles."""
    cost = read_slowly(stage, READERS, ROUNDS, 1 / READERS)
    before, during = (percentile(spans, 0.99) for spans in (cost.before, cost.during))
    figure(14, f"others' p99: {during * 1000:.2f} ms, {during / before:.2f} times that without them (2)")
    check(stage, READERS, cost)
    assert during <= 2 * before
