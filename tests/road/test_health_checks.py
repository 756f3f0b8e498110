"""Active health checks: a provider that does not answer them gets no requests, until it does again."""

from __future__ import annotations

from rig import road
from rig.gateway import run_gateway
from rig.scripted import ScriptedUpstream, scripted_upstream

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
