"""The endpoints, their shapes and their problems, from the console's socket over the link to workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from flumegate.records.manage import (
    Answer,
    Explain,
    Explained,
    ForceTarget,
    Question,
    Refused,
    TargetList,
    TargetState,
)
from rig.console import opened

UNKNOWN = Refused("unknown_target", "There is no target up/typo.")


async def first(question: Question) -> Answer:
    if isinstance(question, ForceTarget):
        if question.name != "up/vendor/model":
            return UNKNOWN
        return TargetList([TargetState(question.name, "forced_open")])
    return TargetList(
        [TargetState("up/vendor/model", "closed", in_flight=2, latency_ms=10.0), TargetState("b", "open")]
    )


async def second(question: Question) -> Answer:
    if isinstance(question, ForceTarget):
        return UNKNOWN
    return TargetList([TargetState("up/vendor/model", "half_open", in_flight=1, last_error="upstream_500")])


async def test_targets_are_told_over_all_workers_and_in_each(tmp_path: Path) -> None:
    async with opened(tmp_path, w0=first, w1=second) as (client, _):
        answer = await client.get("/manage/targets")
        assert answer.status_code == 200
        found = answer.json()
        assert [target["name"] for target in found["targets"]] == ["b", "up/vendor/model"]
        target = found["targets"][1]
        assert (target["state"], target["in_flight"], target["last_error"]) == ("half_open", 3, "upstream_500")
        assert {name: state["state"] for name, state in target["workers"].items()} == {
            "w0": "closed",
            "w1": "half_open",
        }
        assert found["silent"] == []


@pytest.mark.parametrize(("verb", "state"), [("open", "open"), ("close", "closed"), ("reset", "auto")])
async def test_a_target_is_forced_by_its_name(tmp_path: Path, verb: str, state: str) -> None:
    """Names hold slashes; one worker that knows the target is enough."""
    async with opened(tmp_path, w0=first, w1=second) as (client, control):
        answer = await client.post(f"/manage/targets/up/vendor/model/{verb}")
        assert answer.status_code == 200
        assert [target["name"] for target in answer.json()["targets"]] == ["up/vendor/model"]
        assert control.end.forced["up/vendor/model"].state == state


async def test_a_target_that_nobody_knows_is_404(tmp_path: Path) -> None:
    async with opened(tmp_path, w0=first, w1=second) as (client, control):
        answer = await client.post("/manage/targets/up/typo/open")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_target")
        assert control.end.forced == {}


async def test_without_workers_there_is_nobody_to_ask(tmp_path: Path) -> None:
    """503 at once, with the time after which to try again."""
    async with opened(tmp_path) as (client, _):
        for method, path in (
            ("GET", "/manage/targets"),
            ("POST", "/manage/targets/up/a/open"),
            ("POST", "/manage/explain"),
        ):
            answer = await client.request(method, path, json={} if "explain" in path else None)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "worker_unavailable")
            assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("body", "arrives"),
    [
        ({"model": "ü", "n": [1, 2]}, '{"model":"ü","n":[1,2]}'),
        ("not json {", "not json {"),
        (None, ""),
    ],
)
async def test_a_request_is_explained_as_it_would_be_sent(tmp_path: Path, body: object, arrives: str) -> None:
    """Method, path, headers and body reach the worker; what it says is passed on."""
    got: list[Question] = []

    async def keep(question: Question) -> Answer:
        got.append(question)
        return Explained(b'{"any": "thing"}')

    async with opened(tmp_path, w0=keep) as (client, _):
        asked = {"method": "POST", "path": "/v1/messages?x=1", "headers": {"X-Tag": "a"}, "body": body}
        answer = await client.post("/manage/explain", json=asked)
        assert (answer.status_code, answer.json()) == (200, {"any": "thing"})
        assert answer.headers["content-type"] == "application/json"
        assert got == [Explain("POST", "/v1/messages?x=1", [("x-tag", "a")], arrives.encode())]


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"path": "no slash"}', b'{"path": "/a\\r\\nx: y"}', b'{"unknown": 1}', b'{"headers": {"a": 1}}'],
)
async def test_an_invalid_body_is_refused_without_being_quoted(tmp_path: Path, content: bytes) -> None:
    """The place is named; the value may be a secret."""
    async with opened(tmp_path) as (client, _):
        answer = await client.post("/manage/explain", content=content, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request_body")
        assert "no slash" not in answer.text


@pytest.mark.parametrize(
    "content",
    [
        b'{"body": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"path": "/v1/\xff"}',
        b'{"body": ' + b"9" * 5_000 + b"}",
        b'{"body": "\\ud800"}',
        b'{"body": {"a": ["\\udfff"]}}',
        b'{"headers": {"x-a": "\\ud800"}}',
    ],
    ids=["deep", "no UTF-8", "long number", "half a pair", "half a pair inside", "half a pair in a header"],
)
async def test_a_body_that_no_reader_takes_is_the_callers_fault(tmp_path: Path, content: bytes) -> None:
    """Neither a failure of ours nor a missing endpoint."""
    async with opened(tmp_path) as (client, _):
        answer = await client.post("/manage/explain", content=content, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request_body")


async def test_what_is_not_there_has_the_same_shape(tmp_path: Path) -> None:
    async with opened(tmp_path) as (client, _):
        for method, path, status, code in (
            ("GET", "/manage/nothing", 404, "not_found"),
            ("GET", "/docs", 404, "not_found"),
            ("GET", "/manage/targets/", 404, "not_found"),
            ("DELETE", "/manage/targets", 405, "method_not_allowed"),
            ("GET", "/manage/targets/up/a/open", 405, "method_not_allowed"),
        ):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_refusal_of_the_worker_is_passed_on(tmp_path: Path) -> None:
    async def refuse(_: Question) -> Answer:
        return Refused("invalid_path", "No.")

    async with opened(tmp_path, w0=refuse) as (client, _):
        answer = await client.post("/manage/explain", json={})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["message"]) == (400, "invalid_path", "No.")


async def test_the_api_describes_itself(tmp_path: Path) -> None:
    """Every endpoint with its permission."""
    async with opened(tmp_path) as (client, _):
        described = (await client.get("/manage/openapi.json")).json()
        permissions = {
            (path, method): operation["x-permission"]
            for path, methods in described["paths"].items()
            for method, operation in methods.items()
        }
        assert permissions["/manage/targets", "get"] == "read"
        assert permissions["/manage/targets/{name}/open", "post"] == "operate"
        assert permissions["/manage/explain", "post"] == "read"
