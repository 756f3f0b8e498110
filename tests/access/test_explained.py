"""What `explain` says of a managed key is what its next request gets, and what a key's tags do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from rig import managed, raw, road
from rig.gateway import Gateway, run_gateway
from rig.managed import COST, Key, Managed
from rig.mock import run_mock
from rig.redis import redis_server

RULED = {"targets": ["up/usual"], "rules": [{"when": {"tags": ["batch"]}, "use": "m"}]}


class Stage(NamedTuple):
    gateway: Gateway
    api: Managed

    def explain(self, key: Key, model: str = "m") -> dict[str, Any]:
        fields = {"authorization": f"Bearer {key.text}", "content-type": "application/json"}
        body = road.chat(model) | {"max_tokens": managed.TOKENS}
        question = {"method": "POST", "path": "/v1/chat/completions", "headers": fields, "body": body}
        told: dict[str, Any] = self.api.ask("POST", "/manage/explain", question)
        return told


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with contextlib.ExitStack() as ends:
        mock = ends.enter_context(run_mock())
        redis = ends.enter_context(redis_server()).url if request.param > 1 else None
        settings = managed.settings(mock, workers=request.param, redis=redis, redis_seconds=10.0)
        settings["models"]["ruled"] = RULED
        with run_gateway(config=settings) as gateway:
            yield Stage(gateway, Managed(gateway))


@pytest.mark.parametrize(
    ("grants", "served", "code"),
    [
        ({}, 4, ""),
        ({"models": ["other", "m*"]}, 4, ""),
        ({"models": ["other", "o*"]}, 0, "model_not_permitted"),
        ({"endpoints": ["embeddings"]}, 0, "endpoint_not_permitted"),
        ({"limits": {"requests_per_minute": 2}}, 2, "rate_limit_exceeded"),
        ({"limits": {"max_requests": 3}}, 3, "request_quota_exceeded"),
        ({"budgets": [{"period": "total", "limit_micros": 2 * COST}]}, 2, "budget_exceeded"),
    ],
)
def test_it_tells_what_a_keys_next_request_gets(stage: Stage, grants: dict[str, Any], served: int, code: str) -> None:
    """Whichever worker is asked; asking, however often, takes nothing of what a key may."""
    key = stage.api.key(stage.api.project(), **grants)
    road.eventually(lambda: stage.explain(key)["gates"][0]["passes"], "the workers know the key")
    for number in range(4):
        told = [stage.explain(key) for _ in range(3)]
        asked = managed.ask(stage.gateway, key)
        assert (asked.status == 200, asked.code) == ((True, "") if number < served else (False, code))
        for each in told:
            refusal = each["refusal"]
            assert (refusal["status"], refusal["code"]) == (asked.status, code) if refusal else asked.status == 200
            assert [gate.get("code") for gate in each["gates"] if not gate["passes"]] == ([code] if refusal else [])
            assert each["chosen"] == f"up/m+tokens={managed.TOKENS}"  # what else would become of it is told, too
        managed.recorded(stage.gateway, [asked])  # so what it held is settled, too


def test_a_keys_tags_count_as_those_of_its_requests(stage: Stage) -> None:
    """For the rules of routes, for what explains them, and in the records beside those that were sent."""
    project = stage.api.project()
    tagged, plain = stage.api.key(project, tags=["batch", "night"]), stage.api.key(project)
    stage.api.known(tagged, plain)
    for key, rules, sent, kept in (
        (tagged, ["m"], "", "batch,night"),
        (tagged, ["m"], "team=a, night", "team=a, night,batch"),
        (plain, [], "", ""),
        (plain, [], "team=a", "team=a"),
    ):
        assert stage.explain(key, "ruled")["resolution"]["rules"] == rules
        name = f"tags-{next(managed.NUMBER)}"
        fields = [("x-request-id", name)] + ([("x-flumegate-tags", sent)] if sent else [])
        asked = raw.request("/v1/chat/completions", road.chat("ruled"), key=key.text, headers=fields)
        answer = raw.ask(stage.gateway.port, asked)
        assert answer.status == 200, answer.body
        row = managed.recorded(stage.gateway, [managed.Asked(name, "ruled", key, 200, "", b"", complete=True)])[name]
        assert (row["tags"], row["model"]) == (kept, f"m+tokens={managed.TOKENS}" if rules else "usual")
        assert [attempt["target"] for attempt in json.loads(row["attempts"])] == [
            f"up/m+tokens={managed.TOKENS}" if rules else "up/usual"
        ]
