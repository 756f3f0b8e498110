"""`/manage/projects` over its socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from flumegate.manage import tokens
from rig.console import opened
from rig.desk import Bench, actor

SECRET = "sk-canary-credential-of-a-project"


async def test_a_project_from_its_making_to_its_end(tmp_path: Path, desk: Bench) -> None:
    """Made, shown, listed, changed by its version, closed with its keys; never deleted, and its secret never told."""
    async with opened(tmp_path, desk) as (client, _):
        body = {"name": "team", "models": ["gpt-*"], "credentials": {"openai": SECRET}, "limits": {"concurrency": 4}}
        made = await client.post("/manage/projects", json=body)
        assert made.status_code == 201, made.text
        project = made.json()
        url = f"/manage/projects/{project['id']}"
        assert project["limits"] == {
            "requests_per_minute": 0, "tokens_per_minute": 0, "concurrency": 4, "max_requests": 0,
        }  # fmt: skip
        assert [each["id"] for each in project["credentials"]] == [f"{project['id']}/openai"]
        shown = await client.get(url)
        assert (shown.json(), shown.headers["etag"]) == (project, '"1"')
        assert (await client.get("/manage/projects")).json() == {"projects": [project], "next": None}
        changed = await client.patch(url, json={"name": "other"}, headers={"if-match": '"1"'})
        assert (changed.json()["name"], changed.headers["etag"]) == ("other", '"2"')
        late = await client.patch(url, json={"name": "third"}, headers={"if-match": '"1"'})
        assert late.status_code == 409
        assert (late.json()["error"]["code"], late.json()["error"]["version"]) == ("version_conflict", 2)
        key = (await client.post("/manage/keys", json={"project_id": project["id"]})).json()
        closed = await client.patch(url, json={"is_active": False, "revoke_tokens": True})
        assert closed.json()["active"] is False
        assert (await client.get(f"/manage/keys/{key['id']}")).json()["state"] == "revoked"
        answers = [made, shown, changed, closed, await client.get("/manage/audit")]
        assert not any(SECRET in answer.text or key["key"] in answer.text for answer in answers)


async def test_a_project_is_never_deleted(tmp_path: Path, sqlite_desk: Bench) -> None:
    """405 with what there is to do instead."""
    async with opened(tmp_path, sqlite_desk) as (client, _):
        answer = await client.delete("/manage/projects/any")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PATCH")
        assert answer.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid_request_body"),
        ({"name": "a", "unknown": 1}, 400, "invalid_request_body"),
        ({"name": "a", "id": "own"}, 400, "invalid_request_body"),
        ({"name": "a", "version": 9}, 400, "invalid_request_body"),
        ({"name": "a", "limits": {"concurrency": -1}}, 400, "invalid_request_body"),
        ({"name": "a\x00"}, 400, "invalid_request_body"),
        ({"name": "a", "credentials": {"openai": "sk-a...b"}}, 400, "masked_credential"),
        ({"name": "a", "credentials": {"gone": SECRET}}, 404, "provider_not_found"),
    ],
)
async def test_what_cannot_be_is_refused(
    tmp_path: Path, sqlite_desk: Bench, body: dict[str, object], status: int, code: str
) -> None:
    """Fields that are not named in the shape cannot be set; values are not repeated."""
    async with opened(tmp_path, sqlite_desk) as (client, _):
        answer = await client.post("/manage/projects", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert SECRET not in answer.text


async def test_secrets_are_a_right_of_their_own(tmp_path: Path, sqlite_desk: Bench) -> None:
    """An operator makes projects, and gives them no credentials."""
    text = tokens.create(sqlite_desk, actor(), "ops", "operator").text
    headers = {"authorization": f"Bearer {text}"}
    async with opened(tmp_path, sqlite_desk) as (client, _):
        made = await client.post("/manage/projects", json={"name": "a"}, headers=headers)
        assert made.status_code == 201
        url = f"/manage/projects/{made.json()['id']}"
        body = {"credentials": {"openai": SECRET}}
        assert (await client.patch(url, json=body, headers=headers)).status_code == 403
        assert (await client.post("/manage/projects", json={"name": "b"} | body, headers=headers)).status_code == 403


async def test_what_is_not_there_is_404(tmp_path: Path, sqlite_desk: Bench) -> None:
    async with opened(tmp_path, sqlite_desk) as (client, _):
        for method, body in (("GET", None), ("PATCH", {"name": "a"})):
            answer = await client.request(method, "/manage/projects/nobody", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "project_not_found")


async def test_without_a_database_the_console_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as (client, _):
        answer = await client.get("/manage/projects")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
        assert answer.headers["retry-after"] == "1"


async def test_a_project_that_contradicts_itself_is_refused(tmp_path: Path, sqlite_desk: Bench) -> None:
    twice = [{"period": "day", "limit_micros": micros} for micros in (1, 2)]
    async with opened(tmp_path, sqlite_desk) as (client, _):
        assert (await client.post("/manage/projects", json={"name": "team", "budgets": twice})).status_code == 400
        url = f"/manage/projects/{(await client.post('/manage/projects', json={'name': 'team'})).json()['id']}"
        assert (await client.patch(url, json={"active": False, "is_active": True})).status_code == 400
        assert (await client.get(url)).json()["version"] == 1
