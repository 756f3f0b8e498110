"""Row 46: guessing is useless: it costs the database nothing, the memory nothing, and whoever is valid nothing.

Most guesses have wrong check digits and are seen through before anything is looked up; the worst have right ones.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from flumegate.manage import mint, tokens
from rig import managed, raw
from rig.console import opened
from rig.desk import actor, desk_on
from rig.figures import figure
from rig.gateway import run_gateway
from rig.managed import Managed
from rig.memory import memory_of
from rig.mock import run_mock
from rig.postgres import Postgres
from rig.rounds import ask_all
from rig.visitors import Visitors

MOST_SHARE = 0.01
MOST_GROWTH_BYTES = 16 * 1024 * 1024
"""Of a process that was asked 10,000 times: what its allocator keeps, beside the records that are on their way."""
EACH = [300, pytest.param(10_000, marks=pytest.mark.faults)]


def guesses(kind: mint.Kind, count: int) -> Iterator[str]:
    """Yield wrong secrets, every other one with right check digits; none comes twice."""
    dice = random.Random(46)
    for number in range(count):
        text = mint.mint(kind).text
        yield text if number % 2 else text[:-6] + "".join(dice.choices(mint._BASE62, k=6))


def fields(text: str, number: int) -> list[tuple[str, str]]:
    """Return a guess's headers, as if each came from somewhere else."""
    spoofed = f"203.0.{number // 250 % 250}.{number % 250}"
    return [("authorization", f"Bearer {text}"), ("x-forwarded-for", spoofed), ("x-real-ip", spoofed)]


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect what this process asks its databases about tokens."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM admin_tokens" in statement:
            asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.faults)])
async def test_wrong_tokens_cost_the_database_nothing(tmp_path: Path, count: int) -> None:
    """At most one look-up in a hundred tries; who has a token is let in all the while, one made meanwhile too."""
    refused: list[int] = []
    served: list[int] = []
    with desk_on(f"sqlite:///{tmp_path / 'flumegate.db'}", tmp_path) as desk:
        valid = tokens.create(desk, actor(), "valid", "viewer").text
        async with opened(tmp_path, desk) as (client, _):
            with statements() as asked:
                for number, text in enumerate(guesses(mint.TOKEN, count)):
                    answer = await client.get("/manage/self", headers=dict(fields(text, number)))
                    refused.append(answer.status_code)
                    if number % (count // 10) == 0:
                        seen = len(asked)
                        answer = await client.get("/manage/self", headers={"authorization": f"Bearer {valid}"})
                        served.append(answer.status_code)
                        del asked[seen:]  # theirs
                looked = len(asked)
                await _let_in(client, tokens.create(desk, actor(), "made meanwhile", "viewer").text)
    figure(46, f"management: look-ups in the database for {count} wrong tokens: {looked} (1 %)")
    figure(46, f"management: requests of a valid token that failed: {sum(each != 200 for each in served)} (0)")
    assert set(refused) == {401, 429}
    assert set(served) == {200}
    assert looked <= MOST_SHARE * count


async def _let_in(client: httpx2.AsyncClient, text: str) -> None:
    """Return once a token is let in, which is within a second."""
    async with asyncio.timeout(20):
        while (await client.get("/manage/self", headers={"authorization": f"Bearer {text}"})).status_code != 200:
            pass


@pytest.mark.parametrize("count", [3_000, pytest.param(10_000, marks=pytest.mark.faults)])
def test_wrong_keys_are_not_looked_up(postgres: Postgres, count: int) -> None:
    """The table of keys is searched at most once for a hundred of them, by whatever control does besides, too."""
    url = postgres.create_database()
    name = url.rpartition("/")[2]
    with run_mock() as mock, run_gateway(config=managed.settings(mock, workers=1, database={"url": url})) as gateway:
        Managed(gateway).project()
        scans = _scans(postgres, name)
        answers = ask_all(gateway.port, (raw.request("/v1/models", headers=fields(*each)) for each in _numbered(count)))
        gateway.stop()
        looked = _scans(postgres, name) - scans
    figure(46, f"data plane: scans of the table of keys for {count} wrong keys: {looked} (1 %)")
    assert {(answer.status, answer.code) for answer in answers} == {(401, "invalid_api_key")}
    assert looked <= MOST_SHARE * count


@pytest.mark.parametrize("count", EACH)
def test_wrong_keys_cost_nothing(postgres: Postgres, count: int) -> None:
    """No memory, and no failed request of a valid key, whatever address they claim."""
    url = postgres.create_database()
    with run_mock() as mock, run_gateway(config=managed.settings(mock, workers=1, database={"url": url})) as gateway:
        managing = Managed(gateway)
        key = managing.key(managing.project())
        managing.known(key)
        asked = (raw.request("/v1/models", headers=fields(*each)) for each in _numbered(count))
        processes = {"worker": gateway.worker_pids()[0], "control": gateway.control_pid()}
        ask_all(gateway.port, (raw.request("/v1/models", headers=fields(*each)) for each in _numbered(200)))
        before = {each: memory_of(pid).now_bytes for each, pid in processes.items()}
        with Visitors(gateway, [key]) as visitors:
            visitors.until(1, since=0)
            answers = ask_all(gateway.port, asked)
            visitors.until(len(visitors.seen) + 10, since=0)
        grown = {each: memory_of(pid).now_bytes - before[each] for each, pid in processes.items()}
    failed = [each for each in visitors.seen if each.asked.status != 200]
    figure(46, f"data plane: requests of a valid key that failed: {len(failed)} of {len(visitors.seen)} (0)")
    megabytes = ", ".join(f"{each} {size / 1e6:+.1f}" for each, size in grown.items())
    figure(46, f"data plane: MB that {count} wrong keys left: {megabytes} ({MOST_GROWTH_BYTES / 1e6:.0f})")
    assert {(answer.status, answer.code) for answer in answers} == {(401, "invalid_api_key")}
    assert not failed
    assert all(size < MOST_GROWTH_BYTES for size in grown.values())


def _numbered(count: int) -> Iterator[tuple[str, int]]:
    return ((text, number) for number, text in enumerate(guesses(mint.KEY, count)))


def _scans(postgres: Postgres, database: str) -> int:
    """Return how often the table of keys was searched, as PostgreSQL counts it."""
    counted = "SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'keys'"
    return int(postgres.execute(counted, database=database))
