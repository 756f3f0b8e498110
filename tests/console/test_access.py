"""Every endpoint, whoever asks, made from the table of endpoints: a new one stands in it without being named here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flumegate.console.application import ENDPOINTS
from flumegate.console.guard import SETUP_PATH
from flumegate.console.permission import NOBODY, PERMISSIONS
from flumegate.console.tries import MOST_PER_MINUTE
from flumegate.manage import keys, tokens
from flumegate.manage.actor import ROLES, Role
from flumegate.manage.keys import NewKey
from rig.console import opened
from rig.desk import Bench, actor

FILLED = {"project_id": "p", "key_id": "k", "token_id": "t", "sequence": "1", "name": "n", "name:path": "a/b"}
GUARDED = [endpoint for endpoint in ENDPOINTS if endpoint.path != SETUP_PATH]


def path_of(pattern: str) -> str:
    for name, value in FILLED.items():
        pattern = pattern.replace("{" + name + "}", value)
    assert "{" not in pattern, f"say what stands for the parameter in {pattern}"
    return pattern


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


@pytest.mark.parametrize("role", ROLES)
async def test_who_does_not_have_a_permission_gets_nowhere(tmp_path: Path, sqlite_desk: Bench, role: Role) -> None:
    """Each role at each endpoint: 403 exactly where the table says so, before the body is looked at."""
    text = tokens.create(sqlite_desk, actor(), role, role).text
    async with opened(tmp_path, sqlite_desk) as (client, _):
        for endpoint in GUARDED:
            answer = await client.request(endpoint.method, path_of(endpoint.path), headers=bearer(text))
            refused = answer.status_code == 403 and answer.json()["error"]["code"] == "permission_denied"
            assert refused == (endpoint.permission not in PERMISSIONS[role]), (role, endpoint.method, endpoint.path)
            assert answer.status_code != 401


async def test_without_a_valid_token_nothing_is_done(tmp_path: Path, sqlite_desk: Bench) -> None:
    """No token, a wrong one, one of another kind, an expired and a revoked one: all are answered alike."""
    desk = sqlite_desk
    expired = tokens.create(desk, actor(), "late", "owner", desk.time.now + 60)
    revoked = tokens.create(desk, actor(), "gone", "owner")
    tokens.revoke(desk, actor(), revoked.token.id)
    key = keys.create(desk, actor(), NewKey())
    entries_before = desk.pushed
    desk.time.now += 60
    carriers: list[dict[str, Any]] = [
        {"headers": {"authorization": ""}},
        {"headers": bearer("fg-at-AAAAAAAA-" + "x" * 43 + "000000")},
        {"headers": bearer(expired.text)},
        {"headers": bearer(revoked.text)},
        {"headers": bearer(key.text)},
        {"headers": bearer(expired.token.digest.hex())},
        {"headers": {"authorization": "", "x-api-key": "t" * 20}},
        {"headers": {"authorization": ""}, "params": {"token": "fg-admin-" + "t" * 43}},
    ]
    refusals = {(401, "invalid_admin_token"), (429, "too_many_tries")}
    for carrier in carriers:
        async with opened(tmp_path, desk) as (client, _):
            for number, endpoint in enumerate(GUARDED):
                answer = await client.request(endpoint.method, path_of(endpoint.path), **carrier)
                refusal = answer.status_code, answer.json()["error"]["code"]
                assert refusal in refusals, (carrier, endpoint.path)
                assert refusal[0] == 401 or number >= MOST_PER_MINUTE
    assert desk.pushed == entries_before


def test_the_only_thing_to_do_without_a_token_is_setting_up() -> None:
    assert {endpoint.path for endpoint in ENDPOINTS if endpoint.permission in NOBODY} <= {SETUP_PATH}


async def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(tmp_path: Path, sqlite_desk: Bench) -> None:
    """Five a minute and address, then 429 with the time to wait; whoever guesses keeps nobody out."""
    good = tokens.create(sqlite_desk, actor(), "good", "viewer").text
    async with opened(tmp_path, sqlite_desk) as (client, _):
        answers = [await client.get("/manage/projects", headers=bearer("wrong")) for _ in range(MOST_PER_MINUTE + 2)]
        assert [answer.status_code for answer in answers] == [401] * MOST_PER_MINUTE + [429] * 2
        answer = answers[-1]
        assert answer.json()["error"]["code"] == "too_many_tries"
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert (await client.get("/manage/projects", headers=bearer(good))).status_code == 200
        assert (await client.get("/manage/projects")).status_code == 200


async def test_a_revoked_token_opens_nothing_from_that_moment(tmp_path: Path, desk: Bench) -> None:
    issued = tokens.create(desk, actor(), "ops", "admin")
    async with opened(tmp_path, desk) as (client, _):
        mine = await client.get("/manage/self", headers=bearer(issued.text))
        assert (mine.json()["name"], mine.json()["role"]) == (f"token:{issued.token.id}", "admin")
        tokens.revoke(desk, actor(), issued.token.id)
        assert (await client.get("/manage/self", headers=bearer(issued.text))).status_code == 401


@pytest.mark.parametrize(
    "path",
    ["//manage/projects", "/manage//projects", "/manage/%70rojects/", "/manage/./projects", "/MANAGE/projects"],
)
async def test_another_spelling_is_another_place(tmp_path: Path, sqlite_desk: Bench, path: str) -> None:
    """What decides is the endpoint that was matched; there is no second reading of a path."""
    viewer = tokens.create(sqlite_desk, actor(), "v", "viewer").text
    async with opened(tmp_path, sqlite_desk) as (client, _):
        for headers in ({}, {"x-http-method-override": "POST"}, {"x-original-url": "/manage/admin-tokens"}):
            answer = await client.request(
                "POST", path, headers=bearer(viewer) | headers, json={"name": "x"}, follow_redirects=False
            )
            assert answer.status_code in (403, 404)


async def test_ids_of_a_request_are_taken_and_told_again(tmp_path: Path, sqlite_desk: Bench) -> None:
    """Where they are ids; anything else is replaced, not repeated."""
    async with opened(tmp_path, sqlite_desk) as (client, _):
        given = {"x-request-id": "abc-1", "x-correlation-id": "flow.7"}
        answer = await client.get("/manage/self", headers=given)
        assert (answer.headers["x-request-id"], answer.headers["x-correlation-id"]) == ("abc-1", "flow.7")
        answer = await client.get("/manage/self", headers={"x-request-id": "a b", "x-correlation-id": "x" * 65})
        assert answer.headers["x-request-id"] != "a b"
        assert "x-correlation-id" not in answer.headers


async def test_what_a_role_may_not_do_is_audited(tmp_path: Path, desk: Bench) -> None:
    """With whom, what and from where; what the token was used for is not lost because it was refused."""
    issued = tokens.create(desk, actor(), "eve", "viewer")
    async with opened(tmp_path, desk) as (client, _):
        assert (await client.post("/manage/keys", json={}, headers=bearer(issued.text))).status_code == 403
        (entry, *_) = (await client.get("/manage/audit")).json()["entries"]
    assert (entry["actor"], entry["action"], entry["outcome"]) == (
        f"token:{issued.token.id}",
        "console.access",
        "denied",
    )
    assert (entry["details"]["method"], entry["details"]["endpoint"]) == ("POST", "/manage/keys")
