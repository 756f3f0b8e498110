"""Rows 3, 8 and 10: retries do not make an outage worse, deadlines leave room for the fallback, nobody waits in vain.

Each is one test with a scale: a small one by counts alone, and the stated one at its figures. Clients ask at a pace,
so a number of requests is a length of time.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from rig import road, routes
from rig.figures import figure, percentile
from rig.gateway import Gateway, run_gateway
from rig.paced import Asked, Paced
from rig.scripted import Script, ScriptedUpstream, Step, answer, scripted_upstream

WHOLE: Script = (answer(b'{"id":"w","object":"chat.completion","model":"m","choices":[]}'),)
FATES: dict[str, Script] = {
    "503": (answer(b'{"error":{"message":"sick"}}', status=b"503 No"),),
    "429": (answer(b'{"error":{"message":"slow down"}}', status=b"429 No"),),
    "timeouts": (Step.HANG,),
}
MOST_ATTEMPTS = 3
HEALED_SECONDS = 10


class Scale(NamedTuple):
    """How much: clients, the time between two requests of one, requests in an outage, and the breaker's patience."""

    clients: int
    period: float
    requests: int
    open_seconds: float
    initial_delay: float
    stated: bool = False


SMALL = Scale(8, 0.02, 500, 0.3, 0.02)
STATED = Scale(50, 0.5, 6_000, 5, 1, stated=True)
"""A hundred requests a second for a minute, with routing's defaults."""
SCALES = [pytest.param(SMALL, id="small"), pytest.param(STATED, id="stated", marks=pytest.mark.faults)]


@contextlib.contextmanager
def gateway_for(scale: Scale, ports: dict[str, int], **routing: Any) -> Iterator[Gateway]:
    """Run a gateway whose model `m` is served by these providers in their order."""
    providers = {name: road.compatible(port, timeouts={"first_byte": 0.5}) for name, port in ports.items()}
    routing.setdefault("breaker", {"open_seconds": scale.open_seconds})
    routing.setdefault("retry", {"max_retries": 2, "initial_delay": scale.initial_delay})
    models = {"m": {"targets": [f"{name}/m" for name in ports]}}
    with run_gateway(config=routes.settings(providers, models, **routing)) as gateway:
        yield gateway


def attempts_of(gateway: Gateway, count: int) -> list[list[dict[str, Any]]]:
    """Return the attempts of each request, once all are recorded."""
    where = "request_id LIKE 'paced-%'"
    found = road.eventually(
        lambda: found if len(found := road.rows(gateway, where, columns="attempts")) >= count else [],
        f"{count} records",
        seconds=60,
    )
    assert len(found) == count
    return [json.loads(row["attempts"]) for row in found]


def upstream_rates(upstream: ScriptedUpstream, seconds: int) -> list[int]:
    """Return how many requests reached an upstream in each of the next seconds."""
    rates = []
    for _ in range(seconds):
        before = len(upstream.requests)
        time.sleep(1)  # what is measured is what comes within this time
        rates.append(len(upstream.requests) - before)
    return rates


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("fate", sorted(FATES))
def test_retries_do_not_make_an_outage_worse(fate: str, scale: Scale) -> None:
    """Row 3: everything fails, then nothing does: hardly more attempts than requests, and a quiet return."""
    with scripted_upstream() as upstream, gateway_for(scale, {"p": upstream.port}) as gateway:
        upstream.play(*WHOLE)
        with Paced(gateway, scale.clients, scale.period) as crowd:
            crowd.well(4 * scale.clients)
            steady = max(upstream_rates(upstream, 5)) if scale.stated else 0
            upstream.script, before = FATES[fate], len(upstream.requests)
            outage = len(crowd.more(scale.requests))
            ratio = (len(upstream.requests) - before) / outage
            upstream.script, healed = WHOLE, time.monotonic()
            peak = max(upstream_rates(upstream, 15)) if scale.stated else 0
            crowd.well(4 * scale.clients)
        late = [each for each in crowd.asked if each.at >= healed + HEALED_SECONDS and each.status != 200]
        most = max(len(each) for each in attempts_of(gateway, len(crowd.asked)))
    if scale.stated:
        figure(3, f"{fate}: attempts / requests: {ratio:.2f} (<= 1.2), most: {most} (<= {MOST_ATTEMPTS})")
        figure(3, f"{fate}: errors 10 s after heal: {len(late)} (0), peak: {peak / steady:.2f}x (<= 1.5x)")
        assert peak <= 1.5 * steady
        assert not late
    assert ratio <= 1.2
    assert most <= MOST_ATTEMPTS
    assert {each.status for each in crowd.asked} <= {200, 429, 503, 504}


@pytest.mark.parametrize("scale", SCALES)
def test_deadlines_leave_room_for_the_fallback(scale: Scale) -> None:
    """Row 8: the first target stalls every time; the second has time to answer, and nothing begins too late."""
    limit = 1.0
    requests = 1_000 if scale.stated else 24
    with contextlib.ExitStack() as stack:
        stalls, well = (stack.enter_context(scripted_upstream()) for _ in range(2))
        stalls.play(Step.HANG)
        well.play(*WHOLE)
        ports = {"stalls": stalls.port, "well": well.port}
        gateway = stack.enter_context(gateway_for(scale, ports, breaker={"enabled": False}))
        fields = {"x-flumegate-timeout": str(limit)}
        with Paced(gateway, scale.clients, scale.period, headers=fields) as crowd:
            crowd.more(requests)
        served = sum(each.status == 200 for each in crowd.asked) / len(crowd.asked)
        well.play(Step.HANG)
        with Paced(gateway, scale.clients, scale.period, headers=fields) as hopeless:
            hopeless.more(requests // 4)
        tried = attempts_of(gateway, len(crowd.asked) + len(hopeless.asked))
        late = sum(each["started_us"] >= limit * 1e6 for attempts in tried for each in attempts)
        told = {each.status for each in hopeless.asked}
    if scale.stated:
        figure(8, f"fallback answered: {served:.2%} (>= 99 %)")
        figure(8, f"upstream calls after the deadline: {late} of {sum(map(len, tried))} (0)")
    assert len(stalls.requests) >= requests
    assert served >= 0.99
    assert late == 0
    assert told == {504}


def _closed_ports(count: int) -> list[int]:
    """Return ports at which nobody listens."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(server.getsockname()[1]) for server in servers]


def _refused(asked: list[Asked]) -> list[Asked]:
    return [each for each in asked if each.status == 503]


@pytest.mark.parametrize("scale", SCALES)
def test_all_targets_down_fails_fast(scale: Scale) -> None:
    """Row 10: three targets refuse connections: the clients are told so at once and when to come again."""
    ports = {f"p{number}": port for number, port in enumerate(_closed_ports(3))}
    with gateway_for(scale, ports) as gateway:
        with Paced(gateway, scale.clients, scale.period) as crowd:
            crowd.more(scale.requests // 2)
        tried = attempts_of(gateway, len(crowd.asked))
    refused = _refused(crowd.asked)
    p99 = percentile((each.seconds for each in crowd.asked), 0.99)
    most = max(map(len, tried))
    if scale.stated:
        figure(10, f"p99: {p99 * 1000:.0f} ms (<= 100 ms), 503 without an attempt: {len(refused) / len(tried):.1%}")
        figure(10, f"most attempts of one request: {most} (<= {len(ports) * MOST_ATTEMPTS})")
        assert p99 <= 0.1
    assert {each.status for each in crowd.asked} == {502, 503}
    assert all(int(each.retry_after) >= 1 for each in refused)
    assert len(refused) >= 0.9 * len(crowd.asked)
    assert most <= len(ports) * MOST_ATTEMPTS
