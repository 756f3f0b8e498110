"""The translated lane itself: what headers and records say, what is refused, and that nothing leaks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rig.road import chat, record
from rig.translation import KEY, UPSTREAM_KEY, Stage

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


def post(stage: Stage, path: str, body: dict[str, Any], **headers: str) -> Any:
    """Return the answer to a POST of the client."""
    return stage.gateway.request("POST", path, body=body, key=KEY, fields=headers)


def test_lane_and_losses_are_named(stage: Stage) -> None:
    """Header and record say which lane served, and what was lost."""
    answer = post(stage, "/v1/chat/completions", chat("anthropic/m1", seed=7, logit_bias={"5": 1}))
    assert answer.status == 200
    assert answer.headers["x-flumegate-lane"] == "translated"
    losses = answer.headers["x-flumegate-losses"].split(", ")
    assert {"dropped:seed", "dropped:logit_bias"} <= set(losses)
    kept = record(stage.gateway, answer.headers["x-request-id"])
    assert kept["lane"] == "translated"
    assert "dropped:seed" in kept["losses"]
    assert (kept["input_tokens"], kept["output_tokens"], kept["usage_source"]) == (1, 2, "upstream")
    assert kept["model"] == "m1"


def test_refused_content_names_its_path(stage: Stage) -> None:
    """What cannot be said is a 400 that names the place in the client's document; nothing is sent."""
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    said = {"type": "text", "text": "nonce-refused1"}
    body = {"model": "anthropic/m1", "messages": [{"role": "user", "content": [audio, said]}]}
    answer = post(stage, "/v1/chat/completions", body)
    assert answer.status == 400
    error = json.loads(answer.body)["error"]
    assert (error["code"], error["param"]) == ("not_translatable", "messages[0].content[0]")
    assert stage.mock.ledger(tag="nonce-refused1") == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "anthropic/m1", "messages": "hello"}, "messages"),
        ({"model": "anthropic/m1", "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({**chat("anthropic/m1"), "temperature": "hot"}, "temperature"),
    ],
)
def test_wrong_types_name_their_path(stage: Stage, body: dict[str, Any], param: str) -> None:
    """A request that is not of its dialect is a 400 with the path of the member."""
    answer = post(stage, "/v1/chat/completions", body)
    assert answer.status == 400
    assert json.loads(answer.body)["error"]["param"] == param


def test_client_fields_do_not_reach_the_provider(stage: Stage) -> None:
    """Only what belongs to no dialect travels on: no credential, no cookie, no header of the client's SDK."""
    answer = post(
        stage,
        "/v1/chat/completions",
        chat("anthropic/m1", "hello nonce-fields1"),
        cookie="a=b",
        **{"openai-organization": "org-x", "x-stainless-lang": "python", "traceparent": TRACE},
    )
    assert answer.status == 200
    (row,) = stage.mock.ended("nonce-fields1")
    names = {name.lower() for name, _ in row["headers"]}
    assert "traceparent" in names
    assert not names & {"cookie", "openai-organization", "x-stainless-lang", "authorization"}
    assert KEY not in json.dumps(row)


def test_provider_credential_stays_inside(stage: Stage) -> None:
    """A provider that refuses our credential is our fault, and its words do not repeat it."""
    answer = post(stage, "/v1/chat/completions", chat(f"anthropic/mock-fault:status=401,code={UPSTREAM_KEY}"))
    assert answer.status == 502
    assert json.loads(answer.body)["error"]["code"] == "upstream_credential_refused"
    assert UPSTREAM_KEY.encode() not in answer.body


def test_response_alias_is_translated(stage: Stage) -> None:
    """`/response` asks the provider's chat endpoint; `target` selects it, unknown members are not passed on."""
    body = {"model": "m1", "target": "openai", "instructions": "Be brief.", "input": "hello there", "whatever": 1}
    answer = post(stage, "/response", body)
    assert answer.status == 200, answer.body
    assert answer.headers["x-flumegate-lane"] == "translated"
    done = json.loads(answer.body)
    assert done["object"] == "response"
    assert done["output"][0]["content"][0]["text"] == "echo: hello there"
    refused = post(stage, "/response", {**body, "previous_response_id": "resp_1"})
    assert refused.status == 400
    assert json.loads(refused.body)["error"]["param"] == "previous_response_id"


def test_upstream_garbage_is_no_answer(stage: Stage) -> None:
    """A page of HTML, an empty body or half a body is a 502 in the client's dialect."""
    for fault in ("html", "empty", "malformed"):
        answer = post(stage, "/v1/chat/completions", chat(f"anthropic/m1+{fault}"))
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (502, "upstream_garbage"), fault
