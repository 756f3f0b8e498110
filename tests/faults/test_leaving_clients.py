"""Row 1: a client that leaves frees everything, whatever it asked for, at whichever moment, and is recorded once."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from rig import pairs, raw, road
from rig.figures import figure, percentile
from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock
from rig.pairs import PAIRS, Pair

SEED = 1
LAST_WORD = "omega"
CLIENTS = 7 * len(PAIRS) * 6
"""A thousand and some: seven of each kind. All providers share one pool, so it is to have room for them all."""
NEVER = 3_600_000
EOF_MS = 1000
"""Within which an upstream sees that its caller has gone."""
LEFT_SECONDS = 2.0


class Moment(NamedTuple):
    """When a client leaves: what the provider does until then, and what the client has seen of it."""

    name: str
    fault: str
    seen: bytes
    """What it waits for; empty = that its request is at the provider."""
    stream: bool

    @property
    def has_answered(self) -> bool:
        """Some of the answer has been passed on, so there is usage to tell."""
        return bool(self.seen)


MOMENTS = [
    Moment("before the head", f"latency={NEVER}", b"", stream=True),
    Moment("before the first token", f"first_byte={NEVER}", b"", stream=True),
    Moment("mid-stream", "tokens=20,hang=9", b"echo", stream=True),
    Moment("after the last token", "no_done,hang=200", LAST_WORD.encode(), stream=True),
    Moment("before a plain answer's head", f"latency={NEVER}", b"", stream=False),
    Moment("within a plain answer", "hang=1", b"", stream=False),
]


class Visit:
    """One client: it asks, sees what it waits for, and leaves."""

    def __init__(self, number: int, pair: Pair, moment: Moment, dice: random.Random) -> None:
        self.pair, self.moment = pair, moment
        self.tag = f"nonce-leaves-{number}"
        self.leaves_by_reset = dice.random() < 0.5
        self.wire: raw.Wire | None = None

    def __repr__(self) -> str:
        how = "RST" if self.leaves_by_reset else "FIN"
        return f"{self.tag}: {self.pair.client} at {self.pair.provider}, {self.moment.name}, {how}"

    def ask(self, port: int) -> None:
        self.wire = raw.Wire(port)
        text = f"{self.tag} one two three {LAST_WORD}"
        fault = self.moment.fault
        self.wire.send(self.pair.question(text, fault=fault, stream=self.moment.stream, request_id=self.tag))

    def look(self) -> None:
        if self.wire is not None and self.moment.seen:
            self.wire.until(self.moment.seen)

    def leave(self) -> None:
        assert self.wire is not None
        if self.leaves_by_reset:
            self.wire.reset()
        else:
            self.wire.close()


@pytest.fixture
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


@pytest.fixture
def gateway(mock: Mock) -> Iterator[Gateway]:
    with run_gateway(config=road.settings(pairs.providers(mock.port, max_connections=2 * CLIENTS))) as running:
        yield running


def all_leave(gateway: Gateway, mock: Mock, clients: int) -> list[Visit]:
    """Let so many clients ask at the same time, reach their moments, and leave in a seeded order."""
    dice = random.Random(SEED)
    cases = itertools.cycle(itertools.product(PAIRS, MOMENTS))
    visits = [Visit(number, *next(cases), dice) for number in range(clients)]
    for visit in visits:
        visit.ask(gateway.port)
    road.eventually(lambda: mock.state()["calls"] >= clients, "all requests at the upstream", seconds=60)
    for visit in visits:
        visit.look()
    dice.shuffle(visits)
    for visit in visits:
        mock.mark(visit.tag)
        visit.leave()
    return visits


def left_over(gateway: Gateway, mock: Mock) -> dict[str, float]:
    """Return what is still held: nothing, apart from the connection and the request that ask."""
    state, counted = mock.state(), road.metrics(gateway)
    held = {
        "calls at the upstream": state["in_flight"],
        "sockets at the upstream": state["open_sockets"],
        "upstream connections": counted["flumegate_upstream_connections_open"],
        "connections": counted["flumegate_connections_open"] - 1,
        "requests": max(0, counted["flumegate_requests_active"] - 1),
    }
    return {what: number for what, number in held.items() if number}


def recorded(gateway: Gateway, visits: list[Visit]) -> dict[str, dict[str, Any]]:
    """Return the records of all visits by request id, once there are as many."""
    tags = {visit.tag for visit in visits}

    def stored() -> list[dict[str, Any]]:
        rows = [row for row in road.rows(gateway, "request_id LIKE 'nonce-leaves-%'") if row["request_id"] in tags]
        return rows if len(rows) >= len(tags) else []

    rows = road.eventually(stored, "a record of each", seconds=60)
    assert len(rows) == len(tags), "a request has two records"
    return {row["request_id"]: row for row in rows}


def is_told(visit: Visit, row: dict[str, Any]) -> bool:
    """Tell whether a record says that the client left, and what its answer had cost so far."""
    if (row["outcome"], row["client_abort"]) != ("cancelled", 1):
        return False
    return not visit.moment.has_answered or row["usage_source"] in ("partial", "estimated", "upstream")


def check(gateway: Gateway, mock: Mock, visits: list[Visit]) -> None:
    """Judge all but the times: what is left, and what was recorded."""
    worker = gateway.worker_pids()
    road.eventually(lambda: not left_over(gateway, mock), "nothing is left")
    rows = recorded(gateway, visits)
    untold = [(visit, rows[visit.tag]) for visit in visits if not is_told(visit, rows[visit.tag])]
    figure(1, f"records that tell of the leaving: {len(visits) - len(untold)} of {len(visits)} (all)")
    kept = ("outcome", "client_abort", "usage_source", "status")
    assert not untold, [(visit, {name: row[name] for name in kept}) for visit, row in untold[:8]]
    calls = Counter(row["nonce"] for row in mock.ledger())
    assert set(calls.values()) == {1}, "a request was sent again"
    assert gateway.worker_pids() == worker
    assert "request failed" not in gateway.logs()
    assert "Traceback" not in gateway.logs()


def test_clients_that_leave_free_everything(gateway: Gateway, mock: Mock) -> None:
    """Each pair of dialects at each of six moments, all at once: nothing is left, and each is recorded as it was."""
    check(gateway, mock, all_leave(gateway, mock, len(PAIRS) * len(MOMENTS)))


@pytest.mark.faults
def test_a_thousand_clients_that_leave_free_everything_in_time(gateway: Gateway, mock: Mock) -> None:
    """Two seconds after the last of them nothing is left, and upstreams learnt of each within one."""
    visits = all_leave(gateway, mock, CLIENTS)
    time.sleep(LEFT_SECONDS)  # the figure itself: what is left after so long
    left = left_over(gateway, mock)
    spans = [row["abort_to_eof_ms"] for row in mock.ledger() if row["abort_to_eof_ms"] is not None]
    slowest = percentile(spans, 0.99)
    figure(1, f"left {LEFT_SECONDS:g} s after {CLIENTS} clients: {sum(left.values()):g} (0)")
    figure(1, f"close p99: {slowest:.0f} ms ({EOF_MS})")
    check(gateway, mock, visits)
    assert not left
    assert len(spans) == CLIENTS
    assert slowest <= EOF_MS
