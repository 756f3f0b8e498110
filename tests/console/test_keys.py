"""`/manage/keys` and `/manage/tokens` over their socket."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flumegate.gates.digest import digest
from flumegate.store.keys import all_known
from rig.console import opened
from rig.desk import PEPPER, Bench


def known(desk: Bench, key: str) -> bool:
    """Tell whether the workers would let that key in."""
    with desk.reading() as connection:
        found = dict(all_known(connection, desk.time.now)).get(digest(PEPPER, key.encode()))
    return found is not None and found.state == "active"


@pytest.mark.parametrize("base", ["/manage/keys", "/manage/tokens"])
async def test_a_key_from_its_making_to_its_end(tmp_path: Path, desk: Bench, base: str) -> None:
    """Its text is told once; who has it is let in until it is revoked."""
    async with opened(tmp_path, desk) as (client, _):
        project = (await client.post("/manage/projects", json={"name": "team"})).json()["id"]
        body: dict[str, Any] = {"project_id": project, "name": "ci", "duration_minutes": 60, "max_requests": 9}
        made = await client.post(base, json=body)
        assert made.status_code == 201, made.text
        key = made.json()
        assert known(desk, key["key"])
        assert key["masked"] == f"sk-fg-{key['id']}-…"
        assert (key["max_requests"], key["state"], key["created_by"]) == (9, "active", "admin.token")
        assert datetime.fromisoformat(key["expires_at"]) == datetime.fromtimestamp(desk.time.now + 3600, UTC)
        url = f"{base}/{key['id']}"
        shown = await client.get(url)
        assert shown.json() == {name: value for name, value in key.items() if name != "key"}
        listed = await client.get(base, params={"project_id": project, "active_only": True})
        assert listed.json()["keys"] == [shown.json()]
        changed = await client.patch(url, json={"never_expires": True, "networks": ["10.1.2.3/8"]})
        assert (changed.json()["expires_at"], changed.json()["networks"]) == (None, ["10.0.0.0/8"])
        rotated = await client.post(f"{url}/rotate", json={"overlap_days": 0})
        assert not known(desk, key["key"])
        assert known(desk, rotated.json()["key"])
        gone = await client.delete(f"{base}/{rotated.json()['id']}")
        assert (gone.status_code, gone.content) == (204, b"")
        assert not known(desk, rotated.json()["key"])
        assert (await client.delete(f"{base}/{rotated.json()['id']}")).status_code == 204
        for answer in (shown, listed, changed, await client.get("/manage/audit?limit=100")):
            assert key["key"] not in answer.text
            assert rotated.json()["key"] not in answer.text


async def test_keys_are_revoked_together(tmp_path: Path, sqlite_desk: Bench) -> None:
    async with opened(tmp_path, sqlite_desk) as (client, _):
        project = (await client.post("/manage/projects", json={"name": "team"})).json()["id"]
        made = [(await client.post("/manage/keys", json={"project_id": project})).json() for _ in range(3)]
        batch = await client.post("/manage/keys/revoke", json={"ids": [made[0]["id"], "nobody00"]})
        assert batch.json() == {"revoked_count": 1, "already_revoked_count": 0, "total_tokens": 1}
        answer = await client.post(f"/manage/projects/{project}/tokens/revoke")
        assert answer.json() == {"revoked_count": 2, "already_revoked_count": 1, "total_tokens": 3}
        assert not any(known(sqlite_desk, key["key"]) for key in made)
        assert (await client.post("/manage/keys/revoke-expired")).json()["revoked_count"] == 0


async def test_keys_from_elsewhere_are_taken_over(tmp_path: Path, sqlite_desk: Bench) -> None:
    """By their text, or by a hash of it; all or none; the same one twice is refused, whichever way it comes."""
    theirs = "sk-a-key-of-another-gateway"
    hashed = hashlib.sha256(theirs.encode()).hexdigest()
    other = digest(PEPPER, b"sk-second-key-of-others").hex()
    async with opened(tmp_path, sqlite_desk) as (client, _):

        async def take(*keys: dict[str, Any]) -> tuple[int, Any]:
            answer = await client.post("/manage/keys/import", json={"keys": list(keys)})
            assert theirs not in answer.text
            return answer.status_code, answer.json()

        assert (await take({"token": "short"}))[1]["error"]["code"] == "invalid_value"
        assert (await take({"token": theirs, "sha256": hashed}))[0] == 400
        assert (await take({"hmac": other}, {"token": "short"}))[0] == 400
        assert not known(sqlite_desk, "sk-second-key-of-others")
        status, told = await take({"token": theirs, "name": "old"}, {"hmac": other})
        assert status == 201
        assert [key["name"] for key in told["keys"]] == ["old", ""]
        assert known(sqlite_desk, theirs)
        assert known(sqlite_desk, "sk-second-key-of-others")
        assert (await take({"token": theirs}))[1]["error"]["code"] == "key_known"
        assert (await take({"sha256": "ab" * 32}))[0] == 201


async def test_a_key_that_was_changed_meanwhile_is_left_as_it_is(tmp_path: Path, desk: Bench) -> None:
    """Whatever is asked of another version: nothing of it is done, and the version that there is now is told."""
    async with opened(tmp_path, desk) as (client, _):
        key = (await client.post("/manage/keys", json={})).json()
        url = f"/manage/keys/{key['id']}"
        assert (await client.patch(url, json={"name": "new"})).json()["version"] == 2
        stale, seen = {"if-match": '"1"'}, {"if-match": '"2"'}
        for refused in (
            await client.patch(url, json={"name": "newer"}, headers=stale),
            await client.post(f"{url}/rotate", json={}, headers=stale),
            await client.delete(url, headers=stale),
        ):
            error = refused.json()["error"]
            assert (refused.status_code, error["code"], error["version"]) == (409, "version_conflict", 2)
        shown = await client.get(url)
        assert (shown.headers["etag"], shown.json()["state"]) == ('"2"', "active")
        assert len((await client.get("/manage/keys")).json()["keys"]) == 1
        rotated = (await client.post(f"{url}/rotate", json={}, headers=seen)).json()
        for count in range(2):
            once = {"if-match": f'"{1 + count}"'}
            assert (await client.delete(f"/manage/keys/{rotated['id']}", headers=once)).status_code == 204
        assert not known(desk, rotated["key"])


@pytest.mark.parametrize(
    "body",
    [
        {"duration_minutes": 0},
        {"duration_minutes": 525_601},
        {"max_requests": -1},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2027-01-01T00:00:00"},
        {"key": "sk-own"},
        {"id": "own"},
        {"state": "active"},
        {"budgets": [{"period": "year", "limit_micros": 1}]},
        {"budgets": [{"period": "day", "limit_micros": 1}, {"period": "day", "limit_micros": 2}]},
        {"expires_at": "2030-01-01T00:00:00Z", "duration_minutes": 5},
    ],
)
async def test_what_cannot_be_is_refused(tmp_path: Path, sqlite_desk: Bench, body: dict[str, Any]) -> None:
    async with opened(tmp_path, sqlite_desk) as (client, _):
        answer = await client.post("/manage/keys", json=body)
        assert answer.status_code == 400, answer.text
        assert (await client.get("/manage/keys")).json()["keys"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"never_expires": True, "duration_minutes": 5},
        {"never_expires": True, "expires_at": "2030-01-01T00:00:00Z"},
        {"active": False, "is_active": True},
    ],
)
async def test_a_change_that_contradicts_itself_is_refused(
    tmp_path: Path, sqlite_desk: Bench, body: dict[str, Any]
) -> None:
    async with opened(tmp_path, sqlite_desk) as (client, _):
        url = f"/manage/keys/{(await client.post('/manage/keys', json={})).json()['id']}"
        answer = await client.patch(url, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request_body")
        assert (await client.get(url)).json()["version"] == 1
