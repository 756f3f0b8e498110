"""Two workers that share limits and budgets through Redis: together they spend what one may, and not a cent more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flumegate.records.access import Budget, Key, Limits
from flumegate.records.balance import Balance
from flumegate.shared.quota import SharedQuota
from rig.metered import MICROS_A_TOKEN, calls, chat, known
from rig.mock import Mock, run_mock
from rig.redis import Redis, redis_server
from rig.worker import Worker, run_worker, until

PATIENCE = 10.0
"""Seconds: workers, clients and Redis share one processor here, and nothing of this is about a Redis that is slow."""


class Pair(NamedTuple):
    one: Worker
    two: Worker
    redis: Redis

    def apply(self, mock: Mock, keys: dict[str, Key], **fields: Any) -> None:
        for worker in (self.one, self.two):
            worker.apply(known(mock, redis_url=self.redis.url, redis_seconds=PATIENCE, **fields), keys)


async def settled(redis: Redis, micros: int) -> None:
    """Return once the budget has spent that much and holds nothing."""
    asked, spent = ("HMGET", "fg:{flumegate}:account:key:k@total", "s", "h"), str(micros)
    await until(lambda: redis.command(*asked) == f"*2\r\n${len(spent)}\r\n{spent}\r\n$1\r\n0\r\n".encode())


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with redis_server() as redis:
        async with run_worker(tmp_path / "one") as one, run_worker(tmp_path / "two") as two:
            yield Pair(one, two, redis)


async def test_a_budget_that_is_nearly_spent_warns_wherever(pair: Pair, mock: Mock) -> None:
    """By what all workers have spent together; each log says it once."""
    budget = Budget("key:k", "total", 10 * 10 * MICROS_A_TOKEN)
    pair.apply(mock, {"sk-one": Key("k", budgets=(budget,))})
    warned = []
    for number in range(10):
        reply = await (pair.one, pair.two)[number % 2].post("sk-one", chat("soft", "tokens", max_tokens=10))
        assert reply.status == 200
        warned.append(reply.headers.get("x-flumegate-budget-warning"))
        await settled(pair.redis, (number + 1) * 10 * MICROS_A_TOKEN)
    assert warned == [None] * 8 + ["key total 80%", "key total 90%"]


async def test_a_budget_for_n_calls_lets_n_through_over_both(pair: Pair, mock: Mock) -> None:
    """Two hundred at once, half to each, half of them streams."""
    paid = 40
    budget = Budget("key:k", "total", paid * 10 * MICROS_A_TOKEN)
    pair.apply(mock, {"sk-one": Key("k", budgets=(budget,))})
    replies = await asyncio.gather(
        *(
            (pair.one, pair.two)[number % 2].post("sk-one", chat("both", "slow", max_tokens=10, stream=number % 4 < 2))
            for number in range(200)
        )
    )
    statuses = [reply.status for reply in replies]
    assert (statuses.count(200), statuses.count(429)) == (paid, 200 - paid)
    assert calls(mock, "both") == paid
    refused = await pair.two.post("sk-one", chat("after", "tokens", max_tokens=10))
    assert refused.error()["code"] == "budget_exceeded"


async def test_limits_count_both_workers(pair: Pair, mock: Mock) -> None:
    """Requests a minute, requests at once, requests of a lifetime."""
    pair.apply(
        mock,
        {
            "sk-rate": Key("rate", limits=Limits(requests_per_minute=3)),
            "sk-lease": Key("lease", limits=Limits(concurrency=1)),
            "sk-life": Key("life", limits=Limits(max_requests=10)),
        },
    )
    workers = [pair.one, pair.two, pair.one, pair.two]
    assert [(await worker.post("sk-rate", chat("rate"))).status for worker in workers] == [200, 200, 200, 429]
    running = asyncio.create_task(pair.one.post("sk-lease", chat("lease", "slow")))
    await until(lambda: calls(mock, "lease") == 1)
    assert (await pair.two.post("sk-lease", chat("lease"))).status == 429
    assert (await running).status == 200
    pair.one.balance = pair.two.balance = Balance({"key:life": 8})
    assert [(await worker.post("sk-life", chat("life"))).status for worker in workers] == [200, 200, 429, 429]


@pytest.mark.parametrize("change", [{"redis_seconds": PATIENCE + 1}, {"redis_url": "/1"}, {"redis_url": ""}])
async def test_what_is_under_way_is_charged_where_it_was_held(pair: Pair, mock: Mock, change: dict[str, Any]) -> None:
    """Another patience, another Redis, or none: a reload forgives nobody the cost of the requests of the moment."""
    keys = {"sk-one": Key("k", limits=Limits(concurrency=9), budgets=(Budget("key:k", "total", 10**9),))}
    pair.apply(mock, keys)
    nonce = f"moved{len(str(change))}"
    running = asyncio.create_task(pair.one.post("sk-one", chat(nonce, "slow", max_tokens=10)))
    await until(lambda: calls(mock, nonce) == 1)
    place = {"redis_url": pair.redis.url, "redis_seconds": PATIENCE} | change
    if place["redis_url"] == "/1":
        place["redis_url"] = pair.redis.url[:-2] + "/1"
    pair.one.apply(known(mock, **place), keys)
    assert (await running).status == 200
    await settled(pair.redis, 10 * MICROS_A_TOKEN)
    assert pair.redis.command("HGET", "fg:{flumegate}:holder:key:k", "active") == b"$1\r\n0\r\n"


async def test_what_was_spent_over_redis_counts_where_there_is_none_any_more(pair: Pair, mock: Mock) -> None:
    """A worker that counts alone again asks anew: what it knew of before is not all."""
    cost = 10 * MICROS_A_TOKEN
    keys = {"sk-one": Key("k", limits=Limits(max_requests=9), budgets=(Budget("key:k", "total", 2 * cost),))}
    statuses = []
    for spent, url in enumerate(("", pair.redis.url, "")):
        pair.one.balance = Balance({"key:k": spent}, {"key:k@total": spent * cost})
        pair.one.apply(known(mock, redis_url=url, redis_seconds=PATIENCE), keys)
        statuses.append((await pair.one.post("sk-one", chat("again alone", "tokens", max_tokens=10))).status)
    assert statuses == [200, 200, 429]
    assert len(pair.one.asked) == 3


async def test_a_redis_that_forgets_between_two_words_is_told_again(
    pair: Pair, mock: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was spent is told, forgotten at once, and told again before the request is let in."""
    told: list[str] = []
    tell = SharedQuota.open

    async def tell_and_forget(quota: SharedQuota, account: str, spent: int, ends_at: float = 0.0) -> None:
        await tell(quota, account, spent, ends_at)
        told.append(account)
        if len(told) <= 2:
            pair.redis.flush()

    monkeypatch.setattr(SharedQuota, "open", tell_and_forget)
    pair.apply(mock, {"sk-one": Key("k", budgets=(Budget("key:k", "total", 10**9),))})
    assert (await pair.one.post("sk-one", chat("forgotten", "tokens", max_tokens=10))).status == 200
    assert told == ["key:k@total"] * 3


async def test_more_money_than_there_is_is_refused(pair: Pair, mock: Mock) -> None:
    """However long an answer is asked for: the sum still is a number everywhere."""
    pair.apply(mock, {"sk-one": Key("k", budgets=(Budget("key:k", "total", 10**9),))})
    for most in (2**62, 1e300):
        refused = await pair.one.post("sk-one", chat("too much", "tokens", max_tokens=most, n=2**62))
        assert (refused.status, refused.error()["code"]) == (429, "budget_exceeded")


async def test_without_redis_requests_go_on(pair: Pair, mock: Mock) -> None:
    """Each worker then lets its share through; the known key is served, and nobody waits for long."""
    pair.apply(mock, {"sk-one": Key("k", limits=Limits(requests_per_minute=1_000))})
    assert (await pair.one.post("sk-one", chat("away"))).status == 200
    pair.redis.kill()
    replies = [await worker.post("sk-one", chat("away")) for worker in (pair.one, pair.two) for _ in range(5)]
    assert {reply.status for reply in replies} == {200}
