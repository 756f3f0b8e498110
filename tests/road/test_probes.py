"""What load balancers, scrapers and agents ask without a key: health, metrics, the root; and paths spelled oddly."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from flumegate import __version__
from rig.gateway import Gateway, run_gateway
from rig.peer import Peer, answer, run_peer
from rig.rows import row_of
from rig.sockets import Caller, call, head

KEY = "sk-road-probes-canary"
CHAT = b'{"model":"gpt-4o","messages":[]}'
HEALTH = ["/health", "/api/health", "/live", "/ready"]


class Stage(NamedTuple):
    gateway: Gateway
    peer: Peer


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_peer() as peer:
        providers = {"up": {"type": "openai", "base_url": peer.url + "/v1", "api_key": "sk-up-secret"}}
        with run_gateway(config={"auth": {"static_keys": [KEY]}, "providers": providers}) as gateway:
            yield Stage(gateway, peer)


@pytest.mark.parametrize("path", [*HEALTH, "/health/", "/health?verbose=1"])
def test_health_needs_no_key(stage: Stage, path: str) -> None:
    """Every health path answers 200 with a status and the version, without a key."""
    got = call(stage.gateway.port, "GET", path)
    assert got.status == 200
    assert got.header("content-type") == "application/json"
    assert got.json()["status"] == "ok"
    assert got.json()["version"] == __version__
    assert got.json()["providers"] == 1
    assert "secret" not in got.body.decode()


@pytest.mark.parametrize("path", [*HEALTH, "/", "/metrics"])
def test_head_of_a_probe(stage: Stage, path: str) -> None:
    """HEAD of every probe is 200 without a body; agents ask for `HEAD /` first."""
    with Caller(stage.gateway.port) as caller:
        for _ in range(2):
            caller.send(head("HEAD", path))
            assert caller.read_answer(headless=True).status == 200
        caller.send(head("GET", "/health"))
        assert caller.read_answer().json()["status"] == "ok"


def test_the_root_says_who_is_there(stage: Stage) -> None:
    """`GET /` names the product and nothing else."""
    assert call(stage.gateway.port, "GET", "/").json() == {"name": "flumegate", "version": __version__}


@pytest.mark.parametrize("path", [*HEALTH, "/", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_probes_are_read_only(stage: Stage, method: str, path: str) -> None:
    """Another method than GET and HEAD is 405."""
    assert call(stage.gateway.port, method, path, body=b"").status == 405


def test_probes_leave_no_record(stage: Stage) -> None:
    """A probe is no request: what came behind it is recorded, the probe is not."""
    first = call(stage.gateway.port, "GET", "/health", [("x-request-id", "probe-1")])
    assert first.header("x-request-id") == "probe-1"
    call(stage.gateway.port, "GET", "/v1/models", [("x-request-id", "behind-the-probe")], key=KEY)
    row_of(stage.gateway, "behind-the-probe")
    assert not any(row["request_id"] == "probe-1" for row in stage.gateway.records())


# Metrics

SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>[^}]*)\})? (?P<value>-?[0-9.]+(?:e[+-]?\d+)?)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')


def scrape(gateway: Gateway, path: str = "/metrics") -> dict[str, float]:
    """Return every sample by its name and labels; fail on a line that is no exposition format."""
    got = call(gateway.port, "GET", path)
    assert got.status == 200
    assert (got.header("content-type") or "").startswith("text/plain; version=0.0.4")
    text = got.body.decode()
    assert text.endswith("\n")
    samples: dict[str, float] = {}
    typed: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in typed, f"{name} has two types"
            assert kind in {"counter", "gauge", "histogram"}
            typed[name] = kind
        elif not line.startswith("# HELP "):
            found = SAMPLE.fullmatch(line)
            assert found is not None, f"no sample: {line!r}"
            labels = found["labels"] or ""
            assert ",".join(f'{name}="{value}"' for name, value in LABEL.findall(labels)) == labels
            base = re.sub(r"_(bucket|sum|count)$", "", found["name"])
            assert found["name"] in typed or typed.get(base) == "histogram", f"{found['name']} has no type"
            key = line.rpartition(" ")[0]
            assert key not in samples, f"{key} stands there twice"
            samples[key] = float(found["value"])
    return samples


def grown(gateway: Gateway, before: dict[str, float], name: str) -> float:
    return scrape(gateway).get(name, 0.0) - before.get(name, 0.0)


@pytest.mark.parametrize("path", ["/metrics", "/metrics/prometheus"])
def test_metrics_parse(stage: Stage, path: str) -> None:
    """Every line is a valid sample, help or type of the exposition format, and no sample comes twice."""
    samples = scrape(stage.gateway, path)
    assert samples["flumegate_connections_open"] >= 1
    assert "flumegate_records_dropped_total" in samples


def test_metrics_count(stage: Stage) -> None:
    """Requests, latencies and tokens are counted by endpoint, provider and status as they happen."""
    usage = b'{"model":"m","choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":7}}'
    before = scrape(stage.gateway)
    stage.peer.say(answer(usage))
    for _ in range(3):
        assert call(stage.gateway.port, "POST", "/v1/chat/completions", body=CHAT, key=KEY).status == 200
    stage.peer.say(answer(b"{}", status="503 Busy"))
    assert call(stage.gateway.port, "POST", "/v1/chat/completions", body=CHAT, key=KEY).status == 503
    assert call(stage.gateway.port, "POST", "/v1/chat/completions", body=CHAT, key="sk-wrong").status == 401
    request = 'flumegate_requests_total{endpoint="chat",provider="%s",status_code="%d"}'
    assert grown(stage.gateway, before, request % ("up", 200)) == 3
    assert grown(stage.gateway, before, request % ("up", 503)) == 1
    assert grown(stage.gateway, before, request % ("", 401)) == 1
    tokens = 'flumegate_token_usage_total{provider="up",direction="%s"}'
    assert grown(stage.gateway, before, tokens % "input") == 33
    assert grown(stage.gateway, before, tokens % "output") == 21
    latency = 'flumegate_request_latency_seconds_%s{endpoint="chat",provider="up"%s}'
    assert grown(stage.gateway, before, latency % ("count", "")) == 4
    assert grown(stage.gateway, before, latency % ("bucket", ',le="+Inf"')) == 4
    assert grown(stage.gateway, before, latency % ("bucket", ',le="60.0"')) == 4


def test_metrics_hold_no_secret_and_no_model(stage: Stage) -> None:
    """Labels are bounded: nothing that a client can invent becomes one."""
    stage.peer.say(answer(b"{}"))
    for index in range(3):
        body = b'{"model":"gpt-invented-%d","messages":[]}' % index
        call(stage.gateway.port, "POST", f"/v1/invented-{index}", body=body, key=KEY)
    call(stage.gateway.port, "INVENTED", "/v1/invented", key=KEY)
    text = call(stage.gateway.port, "GET", "/metrics").body.decode().lower()
    assert "invented" not in text
    assert KEY not in text


def test_metrics_can_be_switched_off() -> None:
    """With `telemetry.metrics: off` the port answers 404 and says by which setting."""
    with run_gateway(config={"auth": {"static_keys": [KEY]}, "telemetry": {"metrics": "off"}}) as gateway:
        got = call(gateway.port, "GET", "/metrics")
        assert got.status == 404
        assert "telemetry.metrics" in got.json()["error"]["message"]


# Paths

SPELLINGS = [
    "/v1/chat/completions",
    "/v1/chat/completions/",
    "/v1/chat/completions//",
    "/v1/v1/chat/completions",
    "/v1/v1/chat/completions/",
    "/v1/v1/v1/chat/completions",
    "/v1//chat/completions",
    "/v1/%63hat/completions",
]


@pytest.mark.parametrize("path", SPELLINGS)
def test_an_endpoint_is_found_however_it_is_spelled(stage: Stage, path: str) -> None:
    """A doubled version and trailing slashes lead to the endpoint, and the provider sees its plain path."""
    stage.peer.say(answer(b"{}"))
    got = call(stage.gateway.port, "POST", path + "?a=1&b=%2F", body=CHAT, key=KEY)
    assert got.status == 200
    assert got.header("x-flumegate-lane") == "verbatim"
    assert stage.peer.last.line == "POST /v1/chat/completions?a=1&b=%2F HTTP/1.1"


@pytest.mark.parametrize(
    "path", ["/v2/chat/completions", "/chat/completions", "/v1", "/healthz", "/v1models", "/proxyv1/x"]
)
def test_a_path_that_nobody_serves_is_404(stage: Stage, path: str) -> None:
    """Unknown paths are 404 in a dialect's shape, with or without a key, and nothing reaches a provider."""
    before = len(stage.peer.seen)
    for key in (KEY, ""):
        got = call(stage.gateway.port, "POST", path, body=CHAT, key=key)
        assert got.status == 404
        assert set(got.json()["error"]) == {"message", "type", "param", "code"}
    assert len(stage.peer.seen) == before
