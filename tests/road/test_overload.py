"""Promise: what is too much waits for a bounded time or is refused at once; one key's flood is not another's trouble.

The upstream answers when the test lets it, so who has a place and who waits is no matter of time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from rig import raw, road
from rig.gateway import Gateway, run_gateway
from rig.load import Load
from rig.mock import run_mock
from rig.scripted import Pause, ScriptedUpstream, answer, scripted_upstream

BOB = "sk-road-another-client"
WHOLE = answer(b'{"id":"x","object":"chat.completion","model":"m","choices":[]}')
TOO_LARGE_FOR_ONE_READ = b"x" * 20_000


class Place:
    """A gateway whose upstream holds every request until `release`."""

    def __init__(self, upstream: ScriptedUpstream, gateway: Gateway) -> None:
        self.upstream = upstream
        self.gateway = gateway
        self._pause = Pause()
        upstream.play(self._pause, WHOLE)

    def release(self) -> None:
        """Let all answers go, and those of later requests."""
        self._pause.set()

    def served(self, count: int) -> None:
        """Return once so many requests have reached the upstream."""
        self.upstream.wait_for(requests=count)

    def waiting(self, count: int) -> None:
        """Return once so many requests wait for a place."""
        road.eventually(lambda: self.gauge("requests_queued") == count, f"{count} requests in the queue")

    def gauge(self, name: str) -> float:
        return road.metrics(self.gateway)[f"flumegate_{name}"]

    def reload(self, **server: Any) -> None:
        """Change the door's settings and return once they count."""
        before = self.gateway.logs().count('"snapshot_applied"')
        self.gateway.write_config(config(self.upstream, **server))
        self.gateway.output.wait_for('"snapshot_applied"', count=before + 1)


def config(upstream: ScriptedUpstream, **server: Any) -> dict[str, Any]:
    providers = {"up": road.compatible(upstream.port, default=True)}
    sections = {"server": server, "models": {"m": "up/m"}}
    return road.settings(providers, **sections) | {"auth": {"static_keys": [road.KEY, BOB]}}


@contextlib.contextmanager
def place(**server: Any) -> Iterator[Place]:
    with scripted_upstream() as upstream, run_gateway(config=config(upstream, **server)) as gateway:
        yield Place(upstream, gateway)


def asked(key: str = road.KEY, **headers: str) -> bytes:
    return raw.request(body=road.chat(), key=key, headers=headers.items())


class Clients(contextlib.ExitStack):
    """Connections that are closed behind a test."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self._port = gateway.port

    def ask(self, key: str = road.KEY, **headers: str) -> raw.Wire:
        """Send a request on a connection of its own."""
        wire = self.enter_context(raw.wire(self._port))
        wire.send(asked(key, **headers))
        return wire


def refused(answer: raw.Answer) -> str:
    """Return the message of an answer that says: too much, come again."""
    assert (answer.status, answer.code, answer.complete) == (503, "overloaded", True)
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    return str(answer.json()["error"]["message"])


def test_the_one_who_floods_is_refused_and_not_the_one_who_comes_late() -> None:
    """Beyond the places requests wait; where the queue is full, the flooding key's newest makes room."""
    with place(max_active=2, max_queued=2) as here, Clients(here.gateway) as clients:
        served = [clients.ask(), clients.ask()]
        here.served(2)
        third = clients.ask()
        here.waiting(1)
        fourth = clients.ask(**{"x-request-id": "the-fourth"})
        here.waiting(2)
        assert "server.max_queued" in refused(clients.ask().answers(1)[0])
        other = clients.ask(BOB)
        refused(fourth.answers(1)[0])
        here.waiting(2)
        assert raw.ask(here.gateway.port, raw.request("/health")).status == 200
        assert raw.ask(here.gateway.port, raw.request("/v1/models", key=road.KEY)).status == 200
        row = road.record(here.gateway, "the-fourth")
        assert (row["status"], row["outcome"], row["error_code"]) == (503, "refused", "overloaded")
        assert len(here.upstream.requests) == 2
        here.release()
        assert [wire.answers(1)[0].status for wire in (*served, third, other)] == [200] * 4
        assert here.gauge("requests_queued") == 0
        assert here.gauge("requests_shed_total") == 2


def test_a_client_that_leaves_gives_its_place_up() -> None:
    """The place that it had as well as the one in the queue, and its request never goes upstream."""
    with place(max_active=1, max_queued=1) as here, Clients(here.gateway) as clients:
        first = clients.ask()
        here.served(1)
        impatient = clients.ask(**{"x-request-id": "impatient"})
        here.waiting(1)
        impatient.reset()
        here.waiting(0)
        assert road.record(here.gateway, "impatient")["outcome"] == "cancelled"
        other = clients.ask(BOB)
        here.waiting(1)
        first.reset()
        here.served(2)
        here.release()
        assert other.answers(1)[0].status == 200
        assert len(here.upstream.requests) == 2


def test_waiting_has_an_end_and_the_connection_serves_on() -> None:
    """After `queue_seconds` comes 503; when the rush is over everything is as before, without a restart."""
    with place(max_active=1, max_queued=5, queue_seconds=0.3) as here, Clients(here.gateway) as clients:
        (worker,) = here.gateway.worker_pids()
        first = clients.ask()
        here.served(1)
        second = clients.ask()
        assert "server.queue_seconds" in refused(second.answers(1)[0])
        here.release()
        assert first.answers(1)[0].status == 200
        second.send(asked())
        assert [each.status for each in second.answers(2)] == [503, 200]
        assert here.gateway.worker_pids() == [worker]


def test_more_places_by_reload_serve_those_who_wait() -> None:
    """Settings count from the moment in which they arrive, also for requests that wait."""
    with place(max_active=1, max_queued=5) as here, Clients(here.gateway) as clients:
        wires = [clients.ask(), clients.ask(BOB), clients.ask()]
        here.waiting(2)
        here.reload(max_active=3)
        here.served(3)
        here.release()
        assert [wire.answers(1)[0].status for wire in wires] == [200] * 3


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/messages", "overloaded_error"),
        ("/v1/responses", "overloaded"),
        ("/api/chat", ""),
        ("/v1beta/models/m:generateContent", "UNAVAILABLE"),
        ("/proxy/v1/whatever", "overloaded"),
    ],
)
def test_every_dialect_is_told_in_its_own_words(path: str, kind: str) -> None:
    """SDKs read status and Retry-After, people the message."""
    with place(max_active=1, max_queued=0) as here, Clients(here.gateway) as clients:
        clients.ask()
        here.served(1)
        told = raw.ask(here.gateway.port, raw.request(path, road.chat(), key=BOB))
        assert told.status == 503
        assert 1 <= int(told.headers["retry-after"]) <= 30
        assert b"server.max_active" in told.body
        assert kind.encode() in told.body
        here.release()


def test_a_worker_short_of_memory_takes_one_request_at_a_time_and_recovers() -> None:
    """What is refused is refused before its body is read; one line of the log tells of each change."""
    with place(max_memory_bytes=1) as here, Clients(here.gateway) as clients:
        here.gateway.output.wait_for('"memory_pressure"')
        first = clients.ask()
        here.served(1)
        assert "server.max_memory_bytes" in refused(clients.ask(BOB).answers(1)[0])
        announced = raw.request(key=road.KEY, method="POST", headers=[("content-length", "1000000")])
        assert "server.max_memory_bytes" in refused(raw.ask(here.gateway.port, announced))
        assert here.gauge("memory_bytes") > 1
        here.release()
        assert first.answers(1)[0].status == 200
        here.reload(max_memory_bytes=0)
        here.gateway.output.wait_for('"memory_pressure"', count=2)
        first.send(asked(), asked())
        assert [each.status for each in first.answers(3)] == [200] * 3
        lines = [line for line in here.gateway.logs().splitlines() if '"memory_pressure"' in line]
        assert ['"critical"' in line for line in lines] == [True, False]


def test_clients_beyond_the_connections_all_read_why() -> None:
    """Also those that have sent a request which nobody will read; connections that are served notice nothing."""
    with place(max_connections=2) as here, Clients(here.gateway) as clients:
        here.release()
        served = [clients.ask(), clients.ask()]
        assert [wire.answers(1)[0].status for wire in served] == [200, 200]
        with raw.wires(here.gateway.port, 50) as late:
            for wire in late:
                wire.send(raw.request(body=TOO_LARGE_FOR_ONE_READ, key=road.KEY))
            for wire in late:
                talk = wire.to_end()
                assert [(each.status, each.code, each.complete) for each in talk.answers] == [
                    (503, "too_many_connections", True)
                ]
                assert talk.end == "fin"
            for wire in served:
                wire.send(asked())
            assert [wire.answers(2)[1].status for wire in served] == [200, 200]
        served[0].close()

        def free() -> bool:
            with raw.wire(here.gateway.port) as wire:
                wire.send(asked())
                return wire.answers(1)[0].status == 200

        road.eventually(free, "the closed connection's place is free")


def test_a_crowd_is_served_in_part_and_nothing_breaks() -> None:
    """Five times as many clients as places and queue: answers are 200 or 503, and then all is free again."""
    with run_mock() as mock:
        sections = {"server": {"max_active": 4, "max_queued": 4}}
        providers = {"up": road.compatible(mock.port, default=True)}
        with run_gateway(config=road.settings(providers, **sections)) as gateway:
            with Load(gateway, clients=40) as load:
                load.wait_for(300)
            assert load.broken == 0
            assert set(load.refused) <= {503}
            assert road.metrics(gateway)["flumegate_requests_queued"] == 0
            quiet = [raw.ask(gateway.port, raw.request(body=road.chat(), key=road.KEY)).status for _ in range(10)]
            assert quiet == [200] * 10


def test_a_flood_by_one_key_costs_another_no_request() -> None:
    """Twenty clients of one key ask without a pause; the other key's requests are all served."""
    with run_mock() as mock:
        sections = {"server": {"max_active": 2, "max_queued": 4}}
        providers = {"up": road.compatible(mock.port, default=True)}
        settings = road.settings(providers, **sections) | {"auth": {"static_keys": [road.KEY, BOB]}}
        with run_gateway(config=settings) as gateway, Load(gateway, clients=20) as load:
            load.wait_for(20)
            with raw.wire(gateway.port) as wire:
                for number in range(1, 31):
                    wire.send(asked(BOB))
                    assert wire.answers(number)[-1].status == 200
