"""Row 14: clients that read at a crawl hold their upstreams back; they cost bounded memory and nobody else's time."""

from __future__ import annotations

import itertools
import selectors
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

    def others(self, count: int) -> list[float]:
        """Ask small questions on one connection; return how long each took, in seconds."""
        spans = []
        with raw.wire(self.gateway.port) as wire:
            for _ in range(count):
                begun = time.perf_counter()
                wire.data.clear()
                wire.send(Pair("chat", "openai").question("hello", stream=False))
                (answer,) = wire.answers(1)
                spans.append(time.perf_counter() - begun)
                assert pairs.said("chat", answer).text == "echo: hello"
        return spans


@pytest.fixture
def stage() -> Iterator[Stage]:
    with run_mock() as mock:
        providers = pairs.providers(mock.port, max_connections=2 * READERS)
        with run_gateway(config=road.settings(providers)) as gateway:
            yield Stage(gateway, mock)


def crawl(wires: list[raw.Wire], rounds: int, *, paced: bool) -> None:
    """Let every client read a little, again and again; `paced`: once a second."""
    with selectors.DefaultSelector() as waiting:
        for wire in wires:
            waiting.register(wire.socket, selectors.EVENT_READ, wire)
        for _ in range(rounds):
            begun = time.monotonic()
            for key, _ in waiting.select(1):
                wire = key.data
                wire.receive(RATE)
                assert wire.end == "open", "a stream was cut"
                wire.data.clear()
            if paced:
                time.sleep(max(0.0, 1 - (time.monotonic() - begun)))  # the rate is the fault that is injected


class Cost(NamedTuple):
    """What the readers cost: memory of the worker, and others' times before and during."""

    grown_kib: int
    before: list[float]
    during: list[float]


def read_slowly(stage: Stage, readers: int, rounds: int, asked: int, *, paced: bool) -> Cost:
    """Open so many streams and crawl through them while others ask."""
    (worker,) = stage.gateway.worker_pids()
    stage.others(20)
    before = stage.others(asked)
    forget_peak(worker)
    idle_kib = road.resident_kib(worker)
    kinds = itertools.cycle(KINDS)
    with raw.wires(stage.gateway.port, readers, receive_buffer=4096) as wires:
        for wire in wires:
            wire.send(stage.question(next(kinds)))
        for wire in wires:
            wire.until(b"\r\n\r\n")
            wire.data.clear()
        during = []
        for _ in range(rounds):
            crawl(wires, 2, paced=paced)
            during += stage.others(asked // rounds)
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
    assert stage.others(1)
    assert "request failed" not in stage.gateway.logs()


def test_slow_readers_cost_bounded_memory(stage: Stage) -> None:
    """Some dozens of 100 MB each, verbatim, translated and transparent: others are answered as if nothing were."""
    check(stage, 40, read_slowly(stage, 40, 5, 50, paced=False))


@pytest.mark.faults
def test_five_hundred_slow_readers_cost_bounded_memory_and_time(stage: Stage) -> None:
    """At a kilobyte a second each; the others' p99 at most doubles."""
    cost = read_slowly(stage, READERS, 15, 1500, paced=True)
    before, during = (percentile(spans, 0.99) for spans in (cost.before, cost.during))
    figure(14, f"others' p99: {during * 1000:.2f} ms, {during / before:.2f} times that without them (2)")
    check(stage, READERS, cost)
    assert during <= 2 * before
