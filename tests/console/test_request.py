"""Lists page by page, and requests that are sent again: whatever comes between, each entry once and each thing once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flumegate.console.problems import ConsoleError
from flumegate.console.request import read_cursor, write_cursor
from flumegate.store.rows import Place
from rig.console import opened
from rig.desk import Bench, desk_on


@given(st.floats(allow_nan=False, allow_infinity=False), st.text("0123abc-XYZ", max_size=36))
def test_a_cursor_leads_back_to_its_place(at: float, row: str) -> None:
    text = write_cursor(Place(at, row))
    assert text is not None
    assert read_cursor(text) == Place(at, row)


@given(st.text(max_size=60))
def test_any_other_text_is_refused(text: str) -> None:
    """Whatever it is, it is the caller's fault and no failure of ours."""
    with contextlib.suppress(ConsoleError):
        assert isinstance(read_cursor(text).id, str)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 7), min_size=12, max_size=12), moments=st.lists(st.sampled_from([0, 1]), min_size=9)
)
async def test_no_entry_is_skipped_or_repeated(tmp_path: Path, sizes: list[int], moments: list[int]) -> None:
    """With pages of any size, among entries of one moment, while others arrive."""
    with desk_on(f"sqlite:///{tmp_path / f'{hash((*sizes, *moments))}.db'}", tmp_path) as desk:
        async with opened(tmp_path, desk) as (client, _):
            for moment in moments[:12]:
                desk.time.now += moment
                await client.post("/manage/keys", json={"name": "first"})
            found: list[str] = []
            cursor: str | None = None
            for size in sizes:
                params: dict[str, Any] = {"limit": size} | ({"cursor": cursor} if cursor else {})
                page = (await client.get("/manage/keys", params=params)).json()
                found += [key["id"] for key in page["keys"] if key["name"] == "first"]
                cursor = page["next"]
                await client.post("/manage/keys", json={"name": "late"})
                if cursor is None:
                    break
            assert len(found) == len(set(found))
            assert cursor is not None or len(found) == len(moments[:12])


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "1e9"])
async def test_a_page_has_its_bounds(tmp_path: Path, sqlite_desk: Bench, limit: str) -> None:
    async with opened(tmp_path, sqlite_desk) as (client, _):
        for path in ("/manage/projects", "/manage/keys", "/manage/audit"):
            answer = await client.get(path, params={"limit": limit})
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request_body")


async def test_a_post_that_is_sent_again_is_answered_again(tmp_path: Path, desk: Bench) -> None:
    """Many at once too: one key is made, and all are told the same."""
    async with opened(tmp_path, desk) as (client, _):
        headers = {"idempotency-key": "one"}

        async def send() -> Any:
            while True:
                answer = await client.post("/manage/keys", json={"name": "a"}, headers=headers)
                if answer.status_code != 409:
                    return answer

        answers = await asyncio.gather(*(send() for _ in range(8)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.text for answer in answers}) == 1
        assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
        assert len((await client.get("/manage/keys")).json()["keys"]) == 1


@pytest.mark.parametrize("path", ["/manage/keys", "/manage/projects"])
async def test_the_same_name_for_something_else_is_refused(tmp_path: Path, sqlite_desk: Bench, path: str) -> None:
    async with opened(tmp_path, sqlite_desk) as (client, _):
        headers = {"idempotency-key": "one"}
        assert (await client.post("/manage/projects", json={"name": "a"}, headers=headers)).status_code == 201
        other = await client.post(path, json={"name": "b"}, headers=headers)
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
        assert (await client.post(path, json={}, headers={"idempotency-key": "x" * 201})).status_code == 400


async def test_a_version_is_one_that_was_shown(tmp_path: Path, sqlite_desk: Bench) -> None:
    async with opened(tmp_path, sqlite_desk) as (client, _):
        key = (await client.post("/manage/keys", json={})).json()
        for given_version, status in (('"x"', 400), ("W/2", 409), ("9" * 30, 400), ("*", 200), ('"2"', 200)):
            answer = await client.patch(
                f"/manage/keys/{key['id']}", content=json.dumps({"name": "n"}),
                headers={"if-match": given_version, "content-type": "application/json"},
            )  # fmt: skip
            assert answer.status_code == status, given_version
