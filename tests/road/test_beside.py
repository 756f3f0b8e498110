"""What a route may do beside serving a request: hedge it, share its answer with equal ones, copy it elsewhere."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from rig import road
from rig.gateway import Answer, Gateway, run_gateway
from rig.mock import Mock, run_mock

OTHER_KEY = "sk-road-other-canary"


class Stage(NamedTuple):
    gateway: Gateway
    mock: Mock

    def post(self, path: str, body: dict[str, Any], key: str = road.KEY) -> Answer:
        return self.gateway.request("POST", path, body=body, key=key)

    def chat(self, model: str, text: str, **more: Any) -> Answer:
        return self.post("/v1/chat/completions", road.chat(model, text, **more))


def hedged(first: str, second: str, **more: Any) -> dict[str, Any]:
    return {
        "targets": [first, second],
        "strategy": "priority",
        "hedge": {"after": 0.2, "share": 1.0, **more},
    }


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_mock() as mock:
        up = road.compatible(mock.port)
        claude = road.anthropic(mock.port)
        once_more = {"retry": {"max_retries": 1, "initial_delay": 0.01}}
        routes = {
            "slow-first": hedged("up/slow+latency_ms=20000", "up/quick"),
            "both-slow": hedged("up/first+latency_ms=1000", "up/second+latency_ms=20000"),
            "second-fails": hedged("up/first+latency_ms=1000", "up/bad+status=500"),
            "first-fails-late": hedged("up/bad+latency_ms=600,status=500", "up/second+latency_ms=1500"),
            "other-dialect": hedged("up/slow+latency_ms=20000", "claude/quick"),
            "seldom": hedged("up/slow+latency_ms=700", "up/quick", share=0.0),
            "vectors": {"targets": ["up/vectors+latency_ms=700"], "coalesce": True},
            "large-vectors": {"targets": ["up/large+latency_ms=700,one_byte"], "coalesce": True},
            "failing-vectors": {"targets": ["up/bad+latency_ms=700,status=500"], "coalesce": True},
            "spent-vectors": {"targets": ["up/spent+latency_ms=700,status=500"], "coalesce": True, **once_more},
            "empty-vectors": {"targets": ["up/empty+latency_ms=700,status=204"], "coalesce": True, **once_more},
            "told-vectors": {"targets": ["up/told+latency_ms=700,status=500"], "coalesce": True, **once_more},
            "copied": {"targets": ["up/real"], "mirror": {"use": "up/shadow"}},
            "copied-to-a-broken-one": {"targets": ["up/real"], "mirror": {"use": "up/bad+status=500"}},
            "copied-to-a-slow-one": {"targets": ["up/real"], "mirror": {"use": "claude/slow+latency_ms=2000"}},
        }
        config = road.settings({"up": up, "claude": claude}, models=routes) | {
            "auth": {"static_keys": [road.KEY, OTHER_KEY]}
        }
        with run_gateway(config=config) as gateway:
            yield Stage(gateway, mock)


def models_of(stage: Stage, nonce: str, calls: int) -> list[str]:
    """Return the models that were asked with a nonce, once that many calls have ended."""
    return sorted(row["model"] for row in stage.mock.ended(nonce, calls=calls))


def outcomes(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(attempt["target"], attempt["outcome"]) for attempt in json.loads(record["attempts"])]


@pytest.mark.parametrize(("route", "winner"), [("slow-first", "up"), ("other-dialect", "claude")])
def test_a_slow_target_is_overtaken(stage: Stage, route: str, winner: str) -> None:
    """The second answer wins, whole; the first attempt is called off, and both stand in the one record."""
    answer = stage.chat(route, f"nonce-{route} hello")
    assert answer.status == 200
    assert answer.json()["choices"][0]["message"]["content"] == f"echo: nonce-{route} hello"
    assert answer.headers["x-flumegate-provider"] == winner
    assert answer.headers["x-flumegate-attempts"] == "2"
    rows = stage.mock.ended(f"nonce-{route}", calls=2)
    assert {row["outcome"] for row in rows if row["model"].startswith("slow")} == {"client_closed"}
    kept = road.record(stage.gateway, answer.headers["x-request-id"])
    assert kept["outcome"] == "ok"
    assert [outcome for _, outcome in outcomes(kept)] == ["cancelled", "ok"]


def test_the_first_may_win_all_the_same(stage: Stage) -> None:
    """A hedge changes nothing but the waiting."""
    answer = stage.chat("both-slow", "nonce-both hello")
    assert answer.status == 200
    assert answer.headers["x-flumegate-model"].startswith("first")
    kept = road.record(stage.gateway, answer.headers["x-request-id"])
    assert [outcome for _, outcome in outcomes(kept)] == ["ok", "cancelled"]


def test_a_hedge_that_fails_harms_nobody(stage: Stage) -> None:
    """The first attempt goes on."""
    answer = stage.chat("second-fails", "nonce-harmless hello")
    assert (answer.status, answer.headers["x-flumegate-model"][:5]) == (200, "first")
    kept = road.record(stage.gateway, answer.headers["x-request-id"])
    assert kept["model"] == "first+latency_ms=1000"
    assert [outcome for _, outcome in outcomes(kept)] == ["ok", "upstream_500"]


def test_a_first_attempt_that_fails_leaves_the_second(stage: Stage) -> None:
    """Whichever answers is the answer."""
    answer = stage.chat("first-fails-late", "nonce-late hello")
    assert (answer.status, answer.headers["x-flumegate-model"][:6]) == (200, "second")
    kept = road.record(stage.gateway, answer.headers["x-request-id"])
    assert kept["model"] == "second+latency_ms=1500"
    assert [outcome for _, outcome in outcomes(kept)] == ["upstream_500", "ok"]


def test_streams_are_not_hedged_and_shares_are_kept(stage: Stage) -> None:
    """A share of 0 still allows the first hedge, which a quiet route has saved; the next one has to be earned."""
    stage.chat("seldom", "nonce-saved hello")
    models_of(stage, "nonce-saved", 2)
    answer = stage.chat("seldom", "nonce-seldom hello")
    assert answer.headers["x-flumegate-attempts"] == "1"
    assert models_of(stage, "nonce-seldom", 1) == ["slow+latency_ms=700"]
    streamed = stage.chat("seldom", "nonce-stream hello", stream=True)
    assert streamed.status == 200
    assert models_of(stage, "nonce-stream", 1) == ["slow+latency_ms=700"]


def embed(stage: Stage, model: str, text: str, key: str = road.KEY) -> Answer:
    return stage.post("/v1/embeddings", {"model": model, "input": text}, key=key)


@pytest.mark.parametrize("model", ["vectors", "large-vectors"])
def test_equal_embeddings_travel_once(stage: Stage, model: str) -> None:
    """All get the same vectors; all but the leader's record say that they shared them."""
    text = f"nonce-{model} heron " * 40
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: embed(stage, model, text), range(30)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert len(models_of(stage, f"nonce-{model}", 1)) == 1
    kept = [road.record(stage.gateway, answer.headers["x-request-id"]) for answer in answers]
    assert sorted(one["cache_status"] for one in kept) == [""] + ["coalesced"] * 29


def test_keys_share_nothing(stage: Stage) -> None:
    """Who holds another key asks for himself."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda key: embed(stage, "vectors", "nonce-apart heron", key), [road.KEY, OTHER_KEY]))
    assert len(models_of(stage, "nonce-apart", 2)) == 2


def test_a_failure_is_shared_too(stage: Stage) -> None:
    """An upstream that fails is not asked thirty times."""
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: embed(stage, "failing-vectors", "nonce-failing heron"), range(30)))
    assert {answer.status for answer in answers} == {500}
    assert len(models_of(stage, "nonce-failing", 1)) == 1


@pytest.mark.parametrize(
    ("model", "path", "status"),
    [
        ("spent-vectors", "/v1/embeddings", 500),
        ("empty-vectors", "/v1/embeddings", 502),
        ("told-vectors", "/api/embed", 502),
    ],
)
def test_what_is_shared_says_whether_to_try_again(stage: Stage, model: str, path: str, status: int) -> None:
    """Where as many attempts were made as the route allows all clients are told so, not the first alone."""
    body = {"model": model, "input": f"nonce-{model} heron"}
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: stage.post(path, body), range(10)))
    assert {answer.status for answer in answers} == {status}
    assert len(models_of(stage, f"nonce-{model}", 2)) == 2
    assert [answer.headers.get("x-should-retry") for answer in answers] == ["false"] * 10


def test_when_the_leader_leaves_the_next_one_leads(stage: Stage) -> None:
    """One further call, and everybody who stayed is served."""
    body = json.dumps({"model": "vectors", "input": "nonce-leader heron"}).encode()
    head = f"POST /v1/embeddings HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {road.KEY}\r\n"
    leader = socket.create_connection(("127.0.0.1", stage.gateway.port))
    leader.sendall(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    road.eventually(lambda: stage.mock.ledger(tag="nonce-leader"), "the leader's call")
    with ThreadPoolExecutor(10) as pool:
        answers = [pool.submit(embed, stage, "vectors", "nonce-leader heron") for _ in range(10)]
        road.eventually(
            lambda: road.metrics(stage.gateway)["flumegate_requests_active"] >= 11, "ten that wait for the leader"
        )
        leader.close()
        assert {answer.result().status for answer in answers} == {200}
    assert len(models_of(stage, "nonce-leader", 2)) == 2


def test_a_copy_goes_to_the_shadow(stage: Stage) -> None:
    """The client gets the real one's answer; the copy has a record of its own that says what it is."""
    answer = stage.chat("copied", "nonce-copied hello")
    assert answer.headers["x-flumegate-model"] == "real"
    assert models_of(stage, "nonce-copied", 2) == ["real", "shadow"]

    def both() -> list[dict[str, Any]]:
        found = road.rows(stage.gateway, "request_id = ?", answer.headers["x-request-id"])
        return found if len(found) == 2 else []

    kept = road.eventually(both, "two records")
    assert sorted((one["model"], one["tags"]) for one in kept) == [("real", ""), ("shadow", "mirror")]


@pytest.mark.parametrize("route", ["copied-to-a-broken-one", "copied-to-a-slow-one"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_shadow_never_affects_the_client(stage: Stage, route: str, stream: bool) -> None:
    """Neither its failures nor its slowness show, in whatever dialect it is asked."""
    nonce = f"nonce-{route}-{stream}"
    answer = stage.chat(route, f"{nonce} hello", stream=stream)
    assert (answer.status, answer.headers["x-flumegate-model"]) == (200, "real")
    assert "x-flumegate-losses" not in answer.headers
    assert len(models_of(stage, nonce, 2)) == 2
