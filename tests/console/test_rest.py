"""Budgets, usage, providers, tokens, setup and the audit trail over their socket; the fields that all shapes share."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flumegate.console.fields import When, as_time, as_unix
from flumegate.manage import tokens
from flumegate.manage.offer import SETUP_NAME, make_offer
from flumegate.snapshot import Provider, Route, Snapshot, Target, Wildcard
from rig.console import opened
from rig.desk import PEPPER, Bench, actor

SECRET = "sk-canary-of-the-rest"
SNAPSHOT = Snapshot(
    version=1,
    providers={
        "openai": Provider(
            "openai",
            "openai",
            "https",
            "api.openai.com",
            443,
            "/v1",
            ("openai",),
            credential=SECRET,
            more_credentials=("b",),
        )
    },
    default_provider="openai",
    models={"smart": Route((Target("openai", "gpt-4o", weight=2),), fallback=("small",))},
    wildcards=(Wildcard("gpt-", "", Route((Target("openai", ""),))),),
)


async def test_budgets(tmp_path: Path, desk: Bench) -> None:
    async with opened(tmp_path, desk) as (client, _):
        body = {"scope": "model:m", "period": "month", "limit_micros": 5_000_000}
        made = (await client.put("/manage/budgets", json=body)).json()
        assert (made["limit_micros"], made["spent_micros"], made["version"]) == (5_000_000, 0, 1)
        stale = await client.put("/manage/budgets", json=body, headers={"if-match": '"7"'})
        assert (stale.status_code, stale.json()["error"]["version"]) == (409, 1)
        more = {"scope": "model:m", "period": "month", "micros": 9, "duration_minutes": 5}
        raised = (await client.post("/manage/budgets/raise", json=more)).json()
        assert (raised["raised_micros"], raised["version"]) == (9, 2)
        assert (await client.get("/manage/budgets", params={"scope": "model:m"})).json()["budgets"] == [raised]
        where = {"scope": "model:m", "period": "month"}
        assert (await client.delete("/manage/budgets", params=where)).status_code == 204
        assert (await client.delete("/manage/budgets", params=where)).status_code == 404


async def test_a_budget_that_was_changed_meanwhile_is_left_as_it_is(tmp_path: Path, desk: Bench) -> None:
    """Also one that is gone meanwhile: it is not set anew by who meant to change it."""
    where = {"scope": "model:m", "period": "month"}
    body = {**where, "limit_micros": 5}
    stale, seen = {"if-match": '"1"'}, {"if-match": '"2"'}
    async with opened(tmp_path, desk) as (client, _):
        gone = await client.put("/manage/budgets", json=body, headers=stale)
        assert (gone.status_code, gone.json()["error"]["code"]) == (409, "version_conflict")
        assert (await client.get("/manage/budgets")).json()["budgets"] == []
        assert (await client.put("/manage/budgets", json=body)).json()["version"] == 1
        made = (await client.put("/manage/budgets", json=body)).json()
        for refused in (
            await client.put("/manage/budgets", json=body, headers=stale),
            await client.post("/manage/budgets/raise", json={**where, "micros": 0}, headers=stale),
            await client.delete("/manage/budgets", params=where, headers=stale),
        ):
            error = refused.json()["error"]
            assert (refused.status_code, error["code"], error["version"]) == (409, "version_conflict", 2)
        assert (await client.get("/manage/budgets")).json()["budgets"] == [made]
        assert (await client.delete("/manage/budgets", params=where, headers=seen)).status_code == 204


async def test_usage(tmp_path: Path, desk: Bench) -> None:
    async with opened(tmp_path, desk) as (client, _):
        told = (await client.get("/manage/usage?by=project&by=day")).json()
        assert (told["rows"], told["total"]["requests"], told["whole"]) == ([], 0, True)
        for query in ("by=hour", "since=today", "since=2026-02-30", "project_id=a/b"):
            assert (await client.get(f"/manage/usage?{query}")).status_code == 400


async def test_providers(tmp_path: Path, sqlite_desk: Bench) -> None:
    """Where requests go, and how many credentials there are; never one of them."""
    async with opened(tmp_path, sqlite_desk, SNAPSHOT) as (client, _):
        put = await client.put("/manage/providers/openai/credential", json={"secret": SECRET})
        assert put.json()["id"] == "openai"
        listed = await client.get("/manage/providers")
        (provider,) = listed.json()["providers"]
        assert (provider["address"], provider["configured_credentials"]) == ("https://api.openai.com:443/v1", 2)
        assert [each["id"] for each in provider["stored_credentials"]] == ["openai"]
        assert SECRET not in listed.text + put.text
        assert (await client.get("/manage/models")).json() == {"models": ["smart", "gpt-*"]}
        routes = (await client.get("/manage/routes")).json()["routes"]
        assert routes[0]["targets"] == [{"use": "openai/gpt-4o", "weight": 2, "tier": 0}]
        assert routes[1]["targets"][0]["use"] == "openai/*"
        assert (await client.delete("/manage/providers/openai/credential")).status_code == 204
        assert (await client.delete("/manage/providers/openai/credential")).status_code == 404
        assert (await client.put("/manage/providers/no/credential", json={"secret": SECRET})).status_code == 404


async def test_tokens(tmp_path: Path, sqlite_desk: Bench) -> None:
    async with opened(tmp_path, sqlite_desk) as (client, _):
        made = (await client.post("/manage/admin-tokens", json={"name": "eve", "role": "admin"})).json()
        theirs = {"authorization": f"Bearer {made['token']}"}
        above = await client.post("/manage/admin-tokens", json={"name": "x", "role": "owner"}, headers=theirs)
        assert (above.status_code, above.json()["error"]["code"]) == (403, "role_too_high")
        url = f"/manage/admin-tokens/{made['id']}"
        shown = await client.get(url)
        later = {"last_used_at": datetime.fromtimestamp(sqlite_desk.time.now, UTC).isoformat().replace("+00:00", "Z")}
        assert shown.json() == {name: value for name, value in made.items() if name != "token"} | later
        assert (await client.get("/manage/admin-tokens")).json()["tokens"] == [shown.json()]
        assert (await client.delete(url)).status_code == 204
        assert (await client.get(url)).json()["state"] == "revoked"
        assert (await client.get("/manage/admin-tokens/nobody")).status_code == 404


async def test_setup(tmp_path: Path, sqlite_desk: Bench) -> None:
    """Once, without any other token; wrong ones are slowed down like wrong tokens."""
    offer = make_offer(PEPPER, sqlite_desk.time.now)
    (tmp_path / SETUP_NAME).write_bytes(offer.content)
    async with opened(tmp_path, sqlite_desk) as (client, _):
        nobody = {"authorization": ""}
        body = {"setup_token": offer.text}
        made = await client.post("/manage/setup", json=body, headers=nobody)
        assert (made.status_code, made.json()["role"]) == (201, "owner")
        assert tokens.find_valid(sqlite_desk, made.json()["token"]) is not None
        statuses = [(await client.post("/manage/setup", json=body, headers=nobody)).status_code for _ in range(6)]
        assert statuses == [401] * 5 + [429]


async def test_audit(tmp_path: Path, sqlite_desk: Bench) -> None:
    async with opened(tmp_path, sqlite_desk) as (client, _):
        for name in ("a", "b", "c"):
            given = {"x-correlation-id": f"flow-{name}"}
            assert (await client.post("/manage/projects", json={"name": name}, headers=given)).status_code == 201
        page = (await client.get("/manage/audit?limit=2")).json()
        rest = (await client.get(f"/manage/audit?limit=2&cursor={page['next']}")).json()
        assert [each["details"]["name"] for each in page["entries"] + rest["entries"]] == ["c", "b", "a"]
        assert rest["next"] is None
        found = (await client.get("/manage/audit?correlation_id=flow-b")).json()["entries"]
        assert [each["sequence"] for each in found] == [2]
        assert (await client.get("/manage/audit/2")).json() == found[0]
        assert (await client.get("/manage/audit/99")).status_code == 404
        assert (await client.get("/manage/audit/verify")).json() == {"whole": True, "entries": 3, "fault": None}
        lines = (await client.get("/manage/audit/export?after=1")).text.splitlines()
        assert len(lines) == 2
        assert (await client.get("/manage/audit?cursor=x")).status_code == 400


async def test_a_role_sees_its_own_rights(tmp_path: Path, sqlite_desk: Bench) -> None:
    text = tokens.create(sqlite_desk, actor(), "v", "viewer").text
    async with opened(tmp_path, sqlite_desk) as (client, _):
        mine = (await client.get("/manage/self", headers={"authorization": f"Bearer {text}"})).json()
        assert (mine["role"], mine["permissions"]) == ("viewer", ["read", "read_usage"])


@pytest.mark.parametrize("seconds", [0.0, 1.0, 1_790_000_000.5, 1e300])
def test_times_are_told_in_utc_and_nothing_is_none(seconds: float) -> None:
    told = as_time(seconds)
    assert (told is None) == (seconds == 0)
    if told is not None and seconds < 1e11:
        assert as_unix(told) == seconds


def test_a_span_counts_from_now() -> None:
    now = time.time()
    assert When(duration_minutes=2).ends(now) == now + 120
    assert When(expires_at=datetime(2030, 1, 1, tzinfo=UTC)).ends(now) == datetime(2030, 1, 1, tzinfo=UTC).timestamp()
    assert When().ends(now) == 0.0
