from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from flumegate.console import strangers
from flumegate.console.strangers import MOST_SOURCES, Strangers
from flumegate.manage import audit
from flumegate.manage.actor import Actor
from flumegate.store.audit import StoredEntry
from rig.console import opened
from rig.desk import Bench


class Trail:
    """What was told, and the time."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self.now = 0.0

    async def tell(self, actor: Actor, tries: int) -> None:
        self.told.put_nowait((actor.client, tries))


def stranger(client: str) -> Actor:
    return Actor("anonymous", "viewer", client=client)


async def test_a_source_is_told_once_a_minute_with_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first try at once, the others together; who falls silent is forgotten, and is new when it comes again."""
    monkeypatch.setattr(strangers, "WINDOW_SECONDS", 0.01)
    trail = Trail()
    found = Strangers(trail.tell, lambda: trail.now)
    for _ in range(1000):
        found.note(stranger("192.0.2.1"))
    found.note(stranger("192.0.2.2"))
    assert [await trail.told.get() for _ in range(2)] == [("192.0.2.1", 1), ("192.0.2.2", 1)]
    trail.now = 0.02
    assert await trail.told.get() == ("192.0.2.1", 999)
    trail.now = 0.04
    while found._sources:  # noqa: ASYNC110 # what is forgotten tells nobody
        await asyncio.sleep(0.01)
    found.note(stranger("192.0.2.1"))
    assert await trail.told.get() == ("192.0.2.1", 1)
    assert trail.told.empty()


async def test_many_sources_share_an_entry() -> None:
    """Ten thousand addresses make no more entries than the first few and one."""
    trail = Trail()
    found = Strangers(trail.tell, lambda: trail.now)
    for number in range(10_000):
        found.note(stranger(f"192.0.{number >> 8}.{number & 255}"))
    told = [await trail.told.get() for _ in range(MOST_SOURCES + 1)]
    assert told[-1] == ("", 1)
    await asyncio.sleep(0)
    assert trail.told.empty()


async def denials(desk: Bench, count: int) -> list[StoredEntry]:
    """Return the entries of refused access, once there are so many."""
    while True:
        entries, _ = audit.search(desk, audit.Filters(action="console.access"))
        if len(entries) >= count:
            return entries
        await asyncio.sleep(0.01)


async def test_whoever_has_no_token_stands_in_the_trail(tmp_path: Path, desk: Bench) -> None:
    """With where it came from and how it asked; a wrong setup token is told so; the token itself is nowhere."""
    wrong = "fg-admin-" + "canary" * 7
    async with opened(tmp_path, desk) as (client, _):
        for _ in range(9):
            await client.get("/manage/keys", headers={"authorization": f"Bearer {wrong}", "user-agent": "prober"})
        (entry,) = await denials(desk, 1)
        assert (entry.entry.actor, entry.entry.outcome, entry.entry.client) == ("anonymous", "denied", "127.0.0.1")
        assert entry.entry.details == {
            "method": "GET",
            "user_agent": "prober",
            "role": "none",
            "reason": "invalid_admin_token",
            "tries": 1,
        }
        assert "canary" not in repr(entry)


async def test_a_wrong_setup_token_stands_in_the_trail(tmp_path: Path, desk: Bench) -> None:
    async with opened(tmp_path, desk) as (client, _):
        body = {"setup_token": "fg-st-canary", "name": "me"}
        answer = await client.post("/manage/setup", json=body, headers={"authorization": ""})
        assert answer.status_code == 401
        (entry,) = await denials(desk, 1)
    assert entry.entry.details["reason"] == "invalid_setup_token"
    assert "canary" not in repr(entry)
