"""Rows 16 and 18: what is too much is shed cheaply and then all is as before; one key's flood is not another's trouble.

The provider takes a fixed time for each answer, so the gateway's places are its capacity, and the machine's is not
reached. Clients ask at a pace of their own, whatever they are answered. The same without figures: tests/road.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple, Self

import pytest

from rig import raw, road
from rig.figures import figure, percentile
from rig.gateway import Gateway, run_gateway
from rig.mock import run_mock

SERVICE_MS = 200
PERIOD_SECONDS = 0.2
"""Between two requests of a client."""
OTHER = "sk-road-another-client"


class Asked(NamedTuple):
    """One request: its answer's status, and how long that took."""

    status: int
    seconds: float


class Crowd:
    """Clients of one key that ask at a pace for the length of a `with` block; 0 = as soon as they are answered.

    `spread`: the clients' answers take from half to one and a half times the usual, each its own.
    """

    def __init__(
        self,
        gateway: Gateway,
        clients: int,
        *,
        key: str = road.KEY,
        period: float = PERIOD_SECONDS,
        spread: bool = False,
    ) -> None:
        self.asked: list[Asked] = []
        self.seconds = 0.0
        self._port = gateway.port
        self._period = period
        self._stop = threading.Event()
        self._threads = []
        for number in range(clients):
            share = number / clients
            latency = SERVICE_MS * (0.5 + share) if spread else SERVICE_MS
            request = raw.request(body=road.chat(f"m+latency={latency:.0f}"), key=key)
            # They begin one after the other, or they would come in one bunch for ever.
            visit = threading.Thread(target=self._visit, args=(share * PERIOD_SECONDS, request))
            self._threads.append(visit)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.seconds = time.monotonic() - self._began

    def last(self, seconds: float) -> None:
        """Let them ask for so long."""
        self._stop.wait(seconds)

    def _visit(self, delay: float, request: bytes) -> None:
        self._stop.wait(delay)
        with raw.wire(self._port) as wire:
            while not self._stop.is_set():
                wire.data.clear()
                began = time.monotonic()
                wire.send(request)
                answers = wire.answers(1)
                took = time.monotonic() - began
                whole = bool(answers) and answers[0].complete
                self.asked.append(Asked(answers[0].status if whole else 0, took))
                if not whole:
                    return
                self._stop.wait(max(0.0, self._period - took))

    def seconds_of(self, *statuses: int) -> list[float]:
        return [each.seconds for each in self.asked if each.status in statuses]

    @property
    def goodput(self) -> float:
        """Requests served in a second."""
        return len(self.seconds_of(200)) / self.seconds

    @property
    def p99(self) -> float:
        """Of those that were served, in seconds."""
        return percentile(self.seconds_of(200), 0.99)


@contextlib.contextmanager
def gateway(**server: int) -> Iterator[Gateway]:
    with run_mock() as mock:
        sections = {"server": server, "auth": {"static_keys": [road.KEY, OTHER]}}
        settings = road.settings({"up": road.compatible(mock.port, default=True)}) | sections
        with run_gateway(config=settings) as running:
            yield running


@pytest.mark.faults
def test_overload_sheds_and_then_recovers() -> None:
    """Row 16: at five times the capacity what is served is served in time, and the rest is told at once."""
    places = 16
    with gateway(max_active=places, max_queued=places // 4) as running:
        with Crowd(running, places, period=0) as peak:
            peak.last(5)
        with Crowd(running, 5 * places) as rush:
            rush.last(15)
        began = time.monotonic()
        with Crowd(running, places // 2, period=0) as after:
            after.last(2)
        first = road.metrics(running)["flumegate_requests_queued"], time.monotonic() - began
    shed = rush.seconds_of(503)
    figure(16, f"served p99: {rush.p99 / peak.p99:.2f}x (<= 2x)")
    figure(16, f"{len(shed)} shed, p99: {percentile(shed, 0.99) * 1000:.0f} ms (<= 100 ms)")
    figure(16, f"goodput: {rush.goodput / peak.goodput:.0%} of the peak (>= 80 %)")
    figure(16, f"afterwards p99: {after.p99 / peak.p99:.2f}x, after {first[1]:.1f} s (normal within 5 s)")
    assert {each.status for each in rush.asked} == {200, 503}
    assert rush.p99 <= 2 * peak.p99
    assert percentile(shed, 0.99) <= 0.1
    assert rush.goodput >= 0.8 * peak.goodput
    assert {each.status for each in after.asked} == {200}
    assert after.p99 <= 1.5 * peak.p99
    assert first[0] == 0
    assert first[1] <= 5


@pytest.mark.faults
def test_a_flood_by_one_key_leaves_the_others_their_time() -> None:
    """Row 18: a hundred times the requests of another key beside it; it waits hardly longer than it would alone.

    The flood's answers take different times, as in life: places do not become free all at once.
    """
    with gateway(max_active=32, max_queued=32) as running:
        with Crowd(running, 1, key=OTHER) as alone:
            alone.last(6)
        with Crowd(running, 130, spread=True) as flood, Crowd(running, 1, key=OTHER) as beside:
            beside.last(20)
    ratio = len(flood.asked) / len(beside.asked)
    figure(18, f"{ratio:.0f}x flood, others' p99: {beside.p99 / alone.p99:.2f}x (<= 1.5x)")
    errors = len(beside.asked) - len(beside.seconds_of(200))
    figure(18, f"others' errors: {errors} of {len(beside.asked)} (0)")
    assert len(flood.seconds_of(503)) > len(flood.seconds_of(200))
    assert errors == 0
    assert beside.p99 <= 1.5 * alone.p99


@pytest.mark.faults
def test_only_so_many_clients_beyond_the_connections_are_waited_for() -> None:
    """Row 16: those that are told so are bounded, too, and connections that are served notice nothing."""
    with gateway(max_connections=1) as running, raw.wire(running.port) as served:
        ask = raw.request(body=road.chat(), key=road.KEY)
        served.send(ask)
        assert served.answers(1)[0].status == 200
        with raw.wires(running.port, 400) as late:
            talks = [wire.to_end() for wire in late]
            told = sum(len(talk.answers) for talk in talks)
            served.send(ask)
            assert served.answers(2)[1].status == 200
        figure(16, f"of 400 connections too many told so: {told} (>= 256)")
        assert told >= 256
        assert all(talk.end != "open" for talk in talks)
