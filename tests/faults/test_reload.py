"""Promise: a changed configuration loses no request, and a broken one changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rig import raw, road
from rig.gateway import Gateway, run_gateway
from rig.load import Load
from rig.mock import Mock, run_mock

BROKEN = [
    "providers: [",
    "auth: {static_keys: 5}",
    "no_such_section: {}",
    "providers: {up: {type: openai_compatible, base_url: 'not a url'}}",
    "auth: {static_keys: ['env:FLUMEGATE_TEST_THAT_IS_NOT_SET']}",
    "\0\0\0",
]


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


def config(mock: Mock, **sections: Any) -> dict[str, Any]:
    return road.settings({"up": road.compatible(mock.port, default=True)}, **sections)


def applied(gateway: Gateway, count: int) -> None:
    """Return once the worker has applied so many Snapshots since its start."""
    gateway.output.wait_for('"snapshot_applied"', count=count)


def test_changes_under_load_lose_no_request(mock: Mock) -> None:
    """Models, providers and limits change while six clients ask without a pause: none of them notices."""
    with run_gateway(config=config(mock)) as gateway:
        (worker,) = gateway.worker_pids()
        with Load(gateway, clients=6) as load:
            for turn in range(1, 9):
                load.wait_for(30)
                models = {f"turn-{turn}": "up/m"}
                server = {"max_body_bytes": 1_000_000 + turn}
                gateway.write_config(config(mock, models=models, server=server))
                applied(gateway, turn)
                answer = raw.ask(gateway.port, raw.request("/v1/models", key=road.KEY))
                assert [model["id"] for model in answer.json()["data"]] == [f"turn-{turn}"]
            load.wait_for(30)
        assert (load.broken, load.refused) == (0, {})
        assert gateway.worker_pids() == [worker]


def test_a_stream_under_way_outlives_the_provider_that_it_came_from(mock: Mock) -> None:
    """A request keeps the settings that it began with, also when its provider is gone from the file."""
    with run_gateway(config=config(mock)) as gateway, raw.wire(gateway.port) as wire:
        body = road.chat("m", "one two three four", stream=True)
        headers = [("x-mock-fault", "interval=100")]
        wire.send(raw.request("/v1/chat/completions", body, key=road.KEY, headers=headers))
        wire.until(b"data: ")
        gateway.write_config(road.settings({"fresh": road.compatible(mock.port, tls_verify=False)}))
        applied(gateway, 1)
        assert b"[DONE]" not in wire.data
        (answer,) = wire.answers(1)
        assert answer.complete
        assert answer.body.endswith(b"data: [DONE]\n\n")
        wire.data.clear()
        wire.send(raw.request("/v1/chat/completions", road.chat(), key=road.KEY))
        assert wire.answers(1)[0].headers["x-flumegate-provider"] == "fresh"


def test_a_changed_route_leads_elsewhere_and_one_in_a_circle_does_not(mock: Mock) -> None:
    """The next request takes the new way; a change by which requests would go round for ever is refused with it."""

    def routed(**models: Any) -> dict[str, Any]:
        providers = {name: road.compatible(mock.port) for name in ("one", "two")}
        return road.settings(providers, models=models)

    def provider() -> str:
        answer = raw.ask(gateway.port, raw.request("/v1/chat/completions", road.chat("a"), key=road.KEY))
        assert answer.status == 200
        return answer.headers["x-flumegate-provider"]

    with run_gateway(config=routed(a={"targets": ["one/m", "two/m"]}, b="two/m")) as gateway:
        assert provider() == "one"
        gateway.write_config(routed(a={"targets": ["two/m", "one/m"], "fallback": ["b"]}, b="two/m"))
        applied(gateway, 1)
        assert provider() == "two"
        circle = {"targets": ["two/m"], "fallback": ["a"]}
        gateway.write_config(routed(a={"targets": ["one/m"], "fallback": ["b"]}, b=circle))
        text = gateway.output.wait_for("config_refused")
        assert "leads in a circle: a → b → a" in text or "a \\u2192 b \\u2192 a" in text
        assert provider() == "two"


def test_a_withdrawn_key_is_refused_on_connections_that_it_opened(mock: Mock) -> None:
    """What a connection remembers of its key ends with the Snapshot that it came from."""
    with run_gateway(config=config(mock)) as gateway, raw.wire(gateway.port) as wire:
        wire.send(raw.request("/v1/models", key=road.KEY))
        assert wire.answers(1)[0].status == 200
        gateway.write_config(config(mock) | {"auth": {"static_keys": ["sk-another-key-of-ours"]}})
        applied(gateway, 1)
        wire.send(raw.request("/v1/models", key=road.KEY))
        assert [answer.status for answer in wire.answers(2)] == [200, 401]


def test_broken_files_under_load_change_nothing(mock: Mock) -> None:
    """Each is refused and said; requests go on under the old settings, and the next good file counts."""
    with run_gateway(config=config(mock)) as gateway:
        with Load(gateway, clients=4) as load:
            for turn, text in enumerate(BROKEN, 1):
                gateway.write_config(text)
                gateway.output.wait_for("config_refused", count=turn)
                load.wait_for(20)
            assert '"snapshot_applied"' not in gateway.logs()
            gateway.write_config(config(mock, models={"after": "up/m"}))
            applied(gateway, 1)
            load.wait_for(20)
        assert (load.broken, load.refused) == (0, {})
