"""Active health checks: a provider that does not answer them gets no requests, until it does again."""

from __future__ import annotations

import pytest

from rig import road, routes
from rig.gateway import Gateway, run_gateway
from rig.scripted import Pause, ScriptedUpstream, scripted_upstream

OK = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{"choices":[]}'
DOWN = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


def posts(upstream: ScriptedUpstream) -> int:
    return sum(request.startswith(b"POST") for request in upstream.requests)


def test_a_provider_that_is_down_is_left_alone_until_it_answers() -> None:
    """Requests fail fast while it is down, and reach it again without a restart; the checks carry its credential."""
    with scripted_upstream() as upstream:
        upstream.play(DOWN)
        provider = road.compatible(upstream.port, health_check={"every": 1, "path": "/models"})
        with run_gateway(config=road.settings({"up": provider}, models={"m": "up/m"})) as gateway:
            gateway.request("POST", "/v1/chat/completions", body=road.chat(), key=road.KEY)  # its target is known now
            gateway.output.wait_for("provider_unwell")
            before = posts(upstream)
            refused = gateway.request("POST", "/v1/chat/completions", body=road.chat(), key=road.KEY)
            assert (refused.status, refused.json()["error"]["code"]) == (503, "no_target_available")
            assert int(refused.headers["retry-after"]) >= 1
            assert posts(upstream) == before
            upstream.play(OK)
            gateway.output.wait_for("provider_well_again")
            served = gateway.request("POST", "/v1/chat/completions", body=road.chat(), key=road.KEY)
            assert served.status == 200
            checks = [request for request in upstream.requests if request.startswith(b"GET /v1/models")]
            assert checks
            assert all(road.CREDENTIAL.encode() in request for request in checks)
            assert len(road.rows(gateway)) <= 3  # checks are no requests


def test_a_provider_without_checks_is_not_asked() -> None:
    """Nobody's server gets requests that nobody wanted."""
    with scripted_upstream() as upstream:
        upstream.play(OK)
        with run_gateway(config=road.settings({"up": road.compatible(upstream.port)}, models={"m": "up/m"})) as gateway:
            assert gateway.request("POST", "/v1/chat/completions", body=road.chat(), key=road.KEY).status == 200
            assert [request.split(b" ")[0] for request in upstream.requests] == [b"POST"]


def standing(gateway: Gateway) -> dict[str, str]:
    """Return each target's state, as the console tells."""
    listed = routes.manage(gateway, "GET", "/manage/targets")["targets"]
    return {each["name"]: each["state"] for each in listed}


@pytest.mark.parametrize("wildcard", [False, True])
def test_a_provider_that_is_down_before_its_first_request_gets_none(wildcard: bool) -> None:
    """Whatever model is asked for; operators see it at targets that nobody asked for yet, and see it well again."""
    models = {"m*": "up/*"} if wildcard else {"m": "up/m"}
    with scripted_upstream() as upstream:
        upstream.play(DOWN)
        provider = road.compatible(upstream.port, health_check={"every": 1, "path": "/models"})
        with run_gateway(config=routes.settings({"up": provider}, models)) as gateway:
            gateway.output.wait_for("provider_unwell")
            assert standing(gateway) == {"up" if wildcard else "up/m": "open"}
            for model in ("m", "up/else"):
                refused = routes.ask(gateway, model)
                assert (refused.status, refused.code) == (503, "no_target_available")
            assert set(standing(gateway).values()) == {"open"}
            assert posts(upstream) == 0
            upstream.play(OK)
            gateway.output.wait_for("provider_well_again")
            assert set(standing(gateway).values()) == {"closed"}
            for model in ("m", "up/else", "up/new"):
                assert routes.ask(gateway, model).status == 200


def test_checks_are_counted_anew_for_a_provider_that_changed() -> None:
    """One failed check of its new address is no outage, whatever the old one was."""
    with scripted_upstream() as down, scripted_upstream() as other:
        down.play(DOWN)
        other.play(DOWN)
        first, second = Pause(), Pause()
        for pause in (first, second):
            other.play_once(pause, DOWN)
        check = {"every": 1, "path": "/models"}
        config = routes.settings({"up": road.compatible(down.port, health_check=check)}, {"m": "up/m"})
        with run_gateway(config=config) as gateway:
            gateway.output.wait_for("provider_unwell")
            config["providers"]["up"] = road.compatible(other.port, health_check=check)
            gateway.write_config(config)
            gateway.reload()
            other.wait_for(requests=1)
            assert standing(gateway) == {"up/m": "closed"}
            first.set()
            other.wait_for(requests=2)
            assert standing(gateway) == {"up/m": "closed"}
            second.set()
            gateway.output.wait_for("provider_unwell", count=2)
            assert standing(gateway) == {"up/m": "open"}
