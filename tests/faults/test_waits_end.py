"""Row 7: every wait has an end, on the way to an upstream, before its answer and within it."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from rig import pairs, raw, road
from rig.fault_proxy import CLEAN, Ending, FaultProxy, Way, fault_proxy
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.mock import run_mock
from rig.pairs import PAIRS, Pair

NUMBER = itertools.count()
SPARE_SECONDS = 0.5
"""How much later than its limit a wait may end."""
LIMIT_SECONDS = 1.0
TOTAL_SECONDS = 2.0


class Wait(NamedTuple):
    """Where an upstream keeps a client waiting, and what ends that."""

    name: str
    way: Way
    code: str
    stream: bool
    limit: float
    fault: str = ""


STALL = Way(end_at=0, ending=Ending.STALL)
WITHIN = Way(end_at=900, ending=Ending.STALL)
DRIP = Way(rate=600, piece_bytes=30)
WAITS = [
    Wait("header stall", STALL, "upstream_first_byte_timeout", stream=True, limit=LIMIT_SECONDS),
    Wait("header stall, plain", STALL, "upstream_first_byte_timeout", stream=False, limit=LIMIT_SECONDS),
    Wait(
        "head cut in half", STALL._replace(end_at=20), "upstream_first_byte_timeout", stream=True, limit=LIMIT_SECONDS
    ),
    Wait("inter-token stall", WITHIN, "upstream_idle_timeout", stream=True, limit=LIMIT_SECONDS, fault="tokens=50"),
    Wait("stall in a body", WITHIN, "upstream_idle_timeout", stream=False, limit=LIMIT_SECONDS, fault="tokens=500"),
    Wait("drip", DRIP, "deadline_exceeded", stream=True, limit=TOTAL_SECONDS, fault="tokens=500"),
    Wait("drip, plain", DRIP, "deadline_exceeded", stream=False, limit=TOTAL_SECONDS, fault="tokens=500"),
]


class Stage(NamedTuple):
    gateway: Gateway
    proxy: FaultProxy


@contextlib.contextmanager
def blackhole() -> Iterator[int]:
    """Yield a port where connections are neither made nor refused: its queue is full and nobody takes from it."""
    with socket.socket() as deaf, contextlib.ExitStack() as stack:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(64):
            end = stack.enter_context(socket.socket())
            end.settimeout(0.2)
            try:
                end.connect(deaf.getsockname())
            except TimeoutError:
                yield deaf.getsockname()[1]
                return
    raise AssertionError("the queue of a listening socket was never full")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    limits = {"connect": LIMIT_SECONDS, "first_byte": LIMIT_SECONDS, "idle": LIMIT_SECONDS, "total": TOTAL_SECONDS}
    with run_mock() as mock, fault_proxy(mock.port) as proxy, blackhole() as hole:
        providers: dict[str, Any] = pairs.providers(proxy.port, timeouts=limits)
        providers["hole"] = road.compatible(hole, timeouts=limits)
        providers["hole-claude"] = road.anthropic(hole, timeouts=limits)
        with run_gateway(config=road.settings(providers)) as gateway:
            yield Stage(gateway, proxy)


class Ended(NamedTuple):
    """How one wait ended: what it was, how long it took beyond its limit, and whether as it should."""

    name: str
    late: float
    as_it_should: bool


def wait_once(stage: Stage, name: str, question: bytes, request_id: str, limit: float, code: str, client: str) -> Ended:
    """Ask, wait for the end, and compare it with the record."""
    begun = time.monotonic()
    with raw.wire(stage.gateway.port) as wire:
        wire.send(question)
        answers = wire.answers(1)
    late = time.monotonic() - begun - limit
    failed = not answers or pairs.said(client, answers[0]).failed
    row = road.record(stage.gateway, request_id)
    told = row["outcome"] in ("failed", "truncated") and row["error_code"] == code
    return Ended(f"{name}: {row['outcome']}, {row['error_code']}, {late:+.2f} s", late, failed and told)


def wait_everywhere(stage: Stage, at_once: int) -> list[Ended]:
    """Let every pair of dialects wait in every way, so many of them at once."""
    found: list[Ended] = []

    def ask(wait: Wait, pair: Pair) -> Ended:
        name = f"waits-{next(NUMBER)}"
        question = pair.question("one two three", fault=wait.fault, stream=wait.stream, request_id=name)
        what = f"{wait.name}, {pair.client} at {pair.provider}"
        return wait_once(stage, what, question, name, wait.limit, wait.code, pair.client)

    def ask_hole(client: str, provider: str, *, stream: bool) -> Ended:
        name = f"waits-{next(NUMBER)}"
        path, body = pairs.asked(client, f"{provider}/m", "hi", stream=stream)
        question = raw.request(path, body, key=road.KEY, headers=[("x-request-id", name)])
        return wait_once(stage, f"hole, {client}", question, name, LIMIT_SECONDS, "upstream_connect_timeout", client)

    with ThreadPoolExecutor(at_once) as pool:
        holes = itertools.product(pairs.CLIENTS, ("hole", "hole-claude"), (True, False))
        begun = [pool.submit(ask_hole, client, provider, stream=stream) for client, provider, stream in holes]
        found += [ended.result() for ended in begun]
        for wait in WAITS:
            stage.proxy.answers = wait.way
            found += pool.map(ask, itertools.repeat(wait), PAIRS)
            stage.proxy.answers = CLEAN
            stage.proxy.hang_up()
    return found


def check(stage: Stage, ended: list[Ended]) -> None:
    wrong = [each.name for each in ended if not each.as_it_should]

    def stuck() -> float:
        counted = road.metrics(stage.gateway)
        return max(0, counted["flumegate_requests_active"] - 1) + counted["flumegate_connections_open"] - 1

    road.eventually(lambda: stuck() == 0, "no request is left")
    figure(7, f"waits that ended as they should: {len(ended) - len(wrong)} of {len(ended)} (all)")
    figure(7, f"stuck requests: {stuck():g} (0)")
    assert not wrong, "\n".join(wrong)
    assert "request failed" not in stage.gateway.logs()


def test_every_wait_ends(stage: Stage) -> None:
    """A blackhole, a stall before and within an answer, a drip: an error for every client, and nothing is left."""
    check(stage, wait_everywhere(stage, len(PAIRS)))


@pytest.mark.faults
def test_every_wait_ends_in_time(stage: Stage) -> None:
    """Half a second after its limit at the latest, twice over."""
    ended = [each for _ in range(2) for each in wait_everywhere(stage, 10)]
    latest = max(ended, key=lambda each: each.late)
    figure(7, f"latest end after its limit: {latest.late:.2f} s ({SPARE_SECONDS:g})")
    check(stage, ended)
    assert latest.late <= SPARE_SECONDS, latest.name
