"""What a worker has counted of a key is what the records say of it: a worker that begins later counts on from there."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from flumegate.catalog.load import Price
from flumegate.processes.balances import read_sought
from flumegate.records.access import Budget, Key, Limits, Project
from flumegate.records.balance import Balance, Sought
from flumegate.records.request import Record
from flumegate.snapshot import Door, Mirror, PriceRow, Provider, Route, Target
from flumegate.spool.tail import SpoolReader
from flumegate.store.ingest import Ingest
from rig.metered import MICROS_A_TOKEN, PRICE, calls, chat, known
from rig.mock import Mock, run_mock
from rig.redis import Redis, redis_server
from rig.worker import Reply, Worker, run_worker, until

PLENTY = 10**9
PATIENCE = 10.0
SOUGHT = Sought(("key:k",), ("key:k@total", "project:p1@total", "model:m@total"))
NUMBER = itertools.count()
DOOR = Door(max_active=3, max_queued=1)


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with redis_server() as running:
        yield running


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    async with run_worker(tmp_path) as running:
        yield running


def limited(worker: Worker, mock: Mock, models: dict[str, Route], **fields: Any) -> None:
    """Give the worker a key with a count for life, and budgets that are its own, its project's and a model's."""
    own, projects, models_own = (Budget(scope, "total", PLENTY) for scope in ("key:k", "project:p1", "model:m"))
    key = Key("k", project="p1", limits=Limits(max_requests=90), budgets=(own,))
    project = Project("p1", "one", budgets=(projects,))
    given: dict[str, Any] = {
        "projects": {"p1": project},
        "model_budgets": {models_own.scope: (models_own,)},
        "door": DOOR,
    }
    given |= {"default_provider": "up", "prices": (PriceRow("*", PRICE),)}
    snapshot = known(mock, models=models, **(given | fields))
    up = snapshot.providers["up"]
    claude = Provider("claude", "anthropic", "http", up.host, mock.port, "/v1", ("anthropic",), credential="sk-own")
    worker.apply(
        replace(snapshot, providers={"up": up, "claude": claude, "away": replace(up, name="away", port=9)}),
        {"sk-one": key},
    )


async def records(worker: Worker, count: int) -> list[Record]:
    """Return the records of this worker, once there are so many."""
    reader = SpoolReader(worker.folder / "spool")
    await until(lambda: len(reader.read(99).records) >= count)
    return reader.read(99).records


def stored(folder: Path, rows: list[Record]) -> Balance:
    """Return what a database says once it has stored these records."""
    ingest = Ingest(f"sqlite:///{folder / 'counted.db'}")
    ingest.insert(rows)
    with ingest.database.reader() as connection:
        told = read_sought(connection, SOUGHT)
    ingest.close()
    return told


async def test_a_copy_for_a_mirror_counts_for_nobody(worker: Worker, mock: Mock) -> None:
    """The client asked for one request; what else is made of it is paid for by who runs the gateway."""
    copied = Route((Target("up", "m+tokens=10"),), mirror=Mirror("shadow"))
    limited(worker, mock, {"m": copied, "shadow": Route((Target("up", "shadow+tokens=10"),))})
    assert (await worker.post("sk-one", chat("copied", max_tokens=10))).status == 200
    rows = await records(worker, 2)
    assert calls(mock, "copied") == 2
    assert sorted(("mirror" in row.tags, row.key_id, row.project, row.cost_micros) for row in rows) == [
        (False, "k", "p1", 10 * MICROS_A_TOKEN),
        (True, "k", "p1", 10 * MICROS_A_TOKEN),
    ]
    told = stored(worker.folder, rows)
    assert told == worker.used(SOUGHT)
    assert told.requests["key:k"] == 1
    assert set(told.micros.values()) == {10 * MICROS_A_TOKEN}


@pytest.mark.parametrize("model", ["claude", "m", "both"])
@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/v1beta/models/{}:countTokens"])
async def test_what_only_counts_tokens_costs_nothing(worker: Worker, mock: Mock, path: str, model: str) -> None:
    """By the vendors' own word, whoever counts: nothing is held for it, nor is it refused where no price is known."""
    routes = ROUTES | {"both": Route((Target("claude", "m"), Target("up", "m")))}
    limited(worker, mock, routes, prices=(PriceRow("up/*", Price(input=PLENTY * 1_000_000)),))
    body = chat("count", model) | {"contents": [{"parts": [{"text": "hello"}]}]}
    assert (await worker.post("sk-one", body, path.format(model))).status == 200
    (row,) = await records(worker, 1)
    assert row.cost_micros == 0


async def test_embeddings_cost_what_is_embedded(worker: Worker, mock: Mock) -> None:
    """They have no output either, and are no counting."""
    limited(worker, mock, ROUTES, prices=(PriceRow("*", Price(input=10_000_000, output=0)),))
    assert (await worker.post("sk-one", {"model": "m", "input": "one two"}, "/v1/embeddings")).status == 200
    (row,) = await records(worker, 1)
    assert row.input_tokens
    assert row.cost_micros == 10 * row.input_tokens
    assert stored(worker.folder, [row]) == worker.used(SOUGHT)


# every way in which a request may end


class Way(NamedTuple):
    """What clients do, and what becomes of it."""

    act: Callable[[Worker, Mock], Awaitable[object]]
    records: int
    counted: int


ROUTES = {
    "m": Route((Target("up", "m+tokens=10"),)),
    "bad": Route((Target("up", "m+status=400"),)),
    "ill": Route((Target("up", "m+status=500"), Target("up", "m+tokens=10"))),
    "away": Route((Target("away", "m"),)),
    "cut": Route((Target("up", "m+tokens=10,cut=700"),)),
    "hangs": Route((Target("up", "hangs+hang=0"),)),
    "narrow": Route((Target("up", "narrow+hang=0", max_concurrency=1),)),
    "waits": Route((Target("up", "waits+hang=0", max_concurrency=1, max_queued=1),)),
    "claude": Route((Target("claude", "m+tokens=10"),)),
    "same": Route((Target("up", "e"),), coalesce=True),
    "copied": Route((Target("up", "m+tokens=10"),), mirror=Mirror("m")),
}


def asking(model: str, *, path: str = "/v1/chat/completions", status: int = 200, **more: Any) -> Way:
    """Return the way of one request; what it becomes counts if a provider has answered or failed."""

    async def act(worker: Worker, _: Mock) -> None:
        assert (await worker.post("sk-one", chat("one", model, max_tokens=10) | more, path)).status == status

    return Way(act, 1, 1)


def looking(path: str, status: int = 200) -> Way:
    """Return the way of a question that the gateway answers by itself."""

    async def act(worker: Worker, _: Mock) -> None:
        assert (await worker.get("sk-one", path)).status == status

    return Way(act, 1, 0)


@contextlib.asynccontextmanager
async def under_way(worker: Worker, model: str, *looks: Callable[[str], bool]) -> AsyncIterator[None]:
    """Begin a request for each look, which tells by its nonce that it is there; then all leave, the last one first."""
    tasks: list[asyncio.Task[Reply]] = []
    for look in looks:
        nonce = f"{model}{next(NUMBER)}"
        tasks.append(asyncio.create_task(worker.post("sk-one", chat(nonce, model, max_tokens=10))))
        await until(functools.partial(look, nonce))
    yield
    for task in reversed(tasks):
        task.cancel()
        await asyncio.wait([task])


async def leave_a_provider(worker: Worker, mock: Mock) -> None:
    async with under_way(worker, "hangs", lambda nonce: calls(mock, nonce) > 0):
        pass


async def find_no_place(worker: Worker, mock: Mock) -> None:
    async with under_way(worker, "narrow", lambda nonce: calls(mock, nonce) > 0):
        assert (await worker.post("sk-one", chat("none", "narrow", max_tokens=10))).status == 503


async def leave_a_queue(worker: Worker, mock: Mock) -> None:
    overload = worker.app._overload
    async with under_way(worker, "waits", lambda nonce: calls(mock, nonce) > 0, lambda _: overload.active == 2):
        pass


async def leave_the_door(worker: Worker, _: Mock) -> None:
    overload = worker.app._overload
    looks = [lambda _, places=places: overload.active == places for places in (1, 2, 3)]
    async with under_way(worker, "hangs", *looks, lambda _: overload.queued == 1):
        assert (await worker.post("sk-one", chat("none", "hangs", max_tokens=10))).status == 503


async def ask_for_the_same(worker: Worker, _: Mock) -> None:
    asked = {"model": "same", "input": "the same"}
    replies = await asyncio.gather(*(worker.post("sk-one", asked, "/v1/embeddings") for _ in range(2)))
    assert {reply.status for reply in replies} == {200}


COUNT = "/v1/messages/count_tokens"
WAYS = {
    "answered": asking("m"),
    "streamed": asking("m", stream=True),
    "translated": asking("claude"),
    "refused by a provider": asking("bad", status=400),
    "fallen over": asking("ill"),
    "never connected": asking("away", status=502),
    "cut": asking("cut", stream=True),
    "counted by the provider": asking("claude", path=COUNT),
    "counted here": asking("m", path=COUNT),
    "of a price that nobody knows": looking("/v1/files", 403),
    "models": looking("/v1/models"),
    "a model": looking("/v1/models/m"),
    "no such model": looking("/v1/models/other", 404),
    "upstreams": looking("/proxy/v1/upstreams"),
    "no model": asking("", status=400)._replace(counted=0),
    "no request": asking("claude", status=400, messages="hello")._replace(counted=0),
    "no place": Way(find_no_place, 2, 1),
    "left at a provider": Way(leave_a_provider, 1, 1),
    "left in a target's queue": Way(leave_a_queue, 2, 1),
    "left at the door": Way(leave_the_door, 5, 3),
    "shared": Way(ask_for_the_same, 2, 2),
    "copied": asking("copied")._replace(records=2),
}


@pytest.mark.parametrize("where", ["alone", "redis"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_however_a_request_ends_worker_and_records_count_the_same(
    worker: Worker, mock: Mock, redis: Redis, way: Way, where: str
) -> None:
    """As one of a key's life, and in money: what never came to a provider is not counted."""
    redis.flush()
    shared = {"redis_url": redis.url, "redis_seconds": PATIENCE} if where == "redis" else {}
    limited(worker, mock, ROUTES, **shared)
    await way.act(worker, mock)
    rows = await records(worker, way.records)
    assert len(rows) == way.records
    told = stored(worker.folder, rows)
    assert told.requests == {"key:k": way.counted}
    if shared:
        await until(lambda: kept(redis, "holder:key:k", "active") == 0)
        micros = {name: kept(redis, f"account:{name}", "s") for name in SOUGHT.accounts}
        assert told == Balance({"key:k": kept(redis, "holder:key:k", "served")}, micros)
    else:
        assert told == worker.used(SOUGHT)


def kept(redis: Redis, key: str, field: str) -> int:
    """Return a number that Redis keeps; 0 where it keeps none."""
    answer = redis.command("HGET", f"fg:{{flumegate}}:{key}", field).split(b"\r\n")
    return 0 if answer[0] == b"$-1" else int(answer[1])
