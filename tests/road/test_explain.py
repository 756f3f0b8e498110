"""What `explain` tells is what the next real request does: same target, same bytes; and nothing is sent for it."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from rig import road
from rig.gateway import Answer, Gateway, run_gateway
from rig.mock import Mock, run_mock

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
_OURS = {"host", "content-length"}


class Stage(NamedTuple):
    gateway: Gateway
    mock: Mock
    console: str

    def explain(self, body: Any, *headers: tuple[str, str], path: str = "/v1/chat/completions") -> dict[str, Any]:
        question = {
            "method": "POST",
            "path": path,
            "headers": {"authorization": f"Bearer {road.KEY}", "content-type": "application/json", **dict(headers)},
            "body": body if isinstance(body, str) else json.dumps(body),
        }
        connection = http.client.HTTPConnection(self.console.removeprefix("http://"), timeout=30)
        fields = {"authorization": f"Bearer {self.gateway.admin_token}", "content-type": "application/json"}
        connection.request("POST", "/manage/explain", json.dumps(question), fields)
        answer = connection.getresponse()
        told: dict[str, Any] = json.loads(answer.read())
        connection.close()
        assert answer.status == 200, told
        return told

    def ask(self, body: Any, *headers: tuple[str, str], path: str = "/v1/chat/completions") -> Answer:
        fields = {"content-type": "application/json", **dict(headers)}
        return self.gateway.request("POST", path, raw=json.dumps(body).encode(), key=road.KEY, fields=fields)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_mock() as mock:
        providers = {
            "up": road.compatible(mock.port),
            "second": road.compatible(mock.port),
            "third": road.compatible(mock.port),
            "claude": road.anthropic(mock.port),
        }
        three = [f"{name}/{name}-model" for name in ("up", "second", "third")]
        models = {
            "alias": "up/real",
            "foreign": "claude/claude-sonnet-4-5",
            "weighted": {"targets": three, "strategy": "weighted", "fallback": ["foreign"]},
            "busy": {"targets": three, "strategy": "least_busy"},
            "fast": {"targets": three, "strategy": "fastest"},
            "stuck": {"targets": three, "strategy": "sticky"},
            "ruled": {"targets": ["up/plain"], "rules": [{"when": {"headers": {"x-tier": "gold*"}}, "use": "alias"}]},
        }
        with run_gateway(config=road.settings(providers, models=models)) as gateway:
            yield Stage(gateway, mock, gateway.wait_console())


def sent(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return a call that came at the provider, without what only the connection decides."""
    headers = sorted((name, value) for name, value in row["headers"] if name not in _OURS)
    query = f"?{row['query']}" if row["query"] else ""
    return row["method"], row["path"] + query, headers, base64.b64decode(row["body"]).decode()


def told(explained: dict[str, Any]) -> tuple[Any, ...]:
    upstream = explained["upstream"]
    path = "/" + upstream["url"].split("/", 3)[3]
    headers = sorted(
        (name.lower(), value.replace("[credential]", road.CREDENTIAL))
        for name, value in upstream["headers"]
        if name.lower() not in _OURS
    )
    return upstream["method"], path, headers, upstream["body"]


CASES: dict[str, tuple[str, dict[str, Any], tuple[tuple[str, str], ...]]] = {
    "alias": ("/v1/chat/completions", road.chat("alias"), ()),
    "direct": ("/v1/chat/completions", road.chat("up/any+tokens=3"), (("x-custom", "kept"),)),
    "streamed": ("/v1/chat/completions", road.chat("alias", stream=True), ()),
    "translated": ("/v1/chat/completions", road.chat("foreign", seed=7), ()),
    "translated back": (
        "/v1/messages",
        {"model": "alias", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]},
        (("anthropic-version", "2023-06-01"),),
    ),
    "rule": ("/v1/chat/completions", road.chat("ruled"), (("x-tier", "golden"),)),
    "no rule": ("/v1/chat/completions", road.chat("ruled"), (("x-tier", "silver"),)),
    "upstream": ("/v1/chat/completions", road.chat("whatever"), (("x-upstream-name", "third"),)),
    "embeddings": ("/v1/embeddings", {"model": "alias", "input": "hello"}, ()),
    "transparent": ("/v1/images/generations", {"model": "alias", "prompt": "hello"}, ()),
}


@pytest.mark.parametrize("case", CASES)
def test_the_upstream_request_is_the_one_that_is_sent(stage: Stage, case: str) -> None:
    """Method, path, header fields and body, byte for byte; the credential is the only thing that is not told."""
    path, body, headers = CASES[case]
    last = stage.mock.get("/mock/ledger").json()["last"]
    explained = stage.explain(body, *headers, path=path)
    assert explained["refusal"] is None
    assert stage.mock.ledger(since=last) == []
    answer = stage.ask(body, *headers, path=path)
    row = stage.mock.ledger(since=last)[0]
    assert told(explained) == sent(row)
    assert road.CREDENTIAL not in json.dumps(explained)
    if case != "transparent":
        assert answer.headers["x-flumegate-lane"] == explained["lane"]
        named = answer.headers.get("x-flumegate-losses", "")
        assert [loss for loss in named.split(", ") if loss] == explained["losses"]


@pytest.mark.parametrize("model", ["weighted", "busy", "fast", "stuck"])
def test_the_target_is_the_one_that_the_next_request_goes_to(stage: Stage, model: str) -> None:
    """Also where chance decides: the dice that are thrown for the answer are those that come next."""
    for turn in range(25):
        body = road.chat(model, f"conversation {turn}")
        explained = stage.explain(body)
        assert stage.explain(body)["chosen"] == explained["chosen"]
        answer = stage.ask(body)
        assert f"{answer.headers['x-flumegate-provider']}/{answer.headers['x-flumegate-model']}" == explained["chosen"]
        assert explained["targets"][0]["target"] == explained["chosen"]


def test_the_whole_course_is_told(stage: Stage) -> None:
    """How the name was found, the stages with their strategies, every target with what speaks for and against it."""
    explained = stage.explain(road.chat("weighted"))
    assert explained["resolution"]["how"] == "a configured model of that name"
    assert [stage["name"] for stage in explained["resolution"]["stages"]] == ["weighted", "foreign"]
    assert len(explained["targets"]) == 4
    assert all(target["ready"] for target in explained["targets"])
    assert [gate["gate"] for gate in explained["gates"]] == ["authenticate", "authorise", "model", "limits", "route"]
    assert explained["gates"][:1] == [
        {"gate": "authenticate", "passes": True, "key": explained["gates"][0]["key"], "project": ""}
    ]


def test_a_rule_is_named(stage: Stage) -> None:
    """Why a request goes elsewhere is the first question."""
    explained = stage.explain(road.chat("ruled"), ("x-tier", "gold"))
    assert explained["resolution"]["rules"] == ["alias"]
    assert explained["chosen"] == "up/real"


def test_what_is_lost_is_told_before_it_is(stage: Stage) -> None:
    """A knob that the other dialect does not have."""
    assert stage.explain(road.chat("foreign", seed=7))["losses"] == ["dropped:seed"]


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (road.chat("unheard-of"), "model_not_found", 404),
        ("{no json", "invalid_json", 400),
        ({"messages": []}, "missing_model", 400),
    ],
)
def test_a_refusal_is_told_as_the_client_would_get_it(stage: Stage, body: Any, code: str, status: int) -> None:
    """The same code and status, and no upstream request."""
    explained = stage.explain(body)
    assert (explained["refusal"]["code"], explained["refusal"]["status"]) == (code, status)
    assert "upstream" not in explained


def test_the_first_refusal_of_several_is_told(stage: Stage) -> None:
    """A header that cannot be meant is looked at before the model is looked for."""
    body, header = road.chat("unheard-of"), ("x-flumegate-timeout", "soon")
    refusal = stage.explain(body, header)["refusal"]
    answer = stage.ask(body, header)
    assert (
        (refusal["status"], refusal["code"])
        == (answer.status, answer.json()["error"]["code"])
        == (
            400,
            "invalid_header",
        )
    )


def test_a_wrong_key_is_the_gates_verdict_and_the_rest_is_told_all_the_same(stage: Stage) -> None:
    """An operator has no client's key at hand. What such a key may not besides is of no account."""
    explained = stage.explain(road.chat("alias"), ("authorization", "Bearer sk-wrong"))
    assert [(gate["gate"], gate["passes"]) for gate in explained["gates"]] == [
        ("authenticate", False),
        ("authorise", True),
        ("route", True),
    ]
    assert explained["gates"][0]["code"] == explained["refusal"]["code"] == "invalid_api_key"
    assert explained["chosen"] == "up/real"
