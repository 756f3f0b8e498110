"""Rows 21 and 25: PostgreSQL or Redis is gone, silent, slow, full or has forgotten: requests go on, nothing is lost.

A whole gateway under load, with keys that have limits and budgets. The small scale counts; the stated one also times.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import pytest
from _pytest.mark import ParameterSet

from rig import managed, raw, road
from rig.fault_proxy import CLEAN, FaultProxy, Way, fault_proxy
from rig.figures import figure, percentile
from rig.gateway import Gateway, run_gateway
from rig.managed import COST, Asked, Key, Managed
from rig.mock import Mock, run_mock
from rig.postgres import Postgres, postgres_cluster
from rig.redis import Redis, redis_server
from rig.visitors import Timed, Visitors

UNKNOWN = Key("nobody", "sk-of-nobody-that-we-know-0123456789", "")
PLENTY = 1_000_000 * COST
DRAINED_SECONDS = 60
MOST_ADDED_SECONDS = 0.01
WORKERS = 2


class Scale(NamedTuple):
    """How much: keys at work, and requests in an outage."""

    keys: int
    requests: int
    stated: bool = False


SMALL = Scale(6, 300)
STATED = Scale(20, 5_000, stated=True)
SCALES = [pytest.param(SMALL, id="small"), pytest.param(STATED, id="stated", marks=pytest.mark.faults)]
QUICK = ("frozen",)
"""Faults that are also tried at the small scale: the nastiest; the others are variations of it."""


def cases(faults: Iterable[str]) -> list[ParameterSet]:
    """Return each fault at its scales, by its name."""
    small = [pytest.param(fault, SMALL, id=f"{fault}-small") for fault in faults if fault in QUICK]
    marks = pytest.mark.faults
    return small + [pytest.param(fault, STATED, id=f"{fault}-stated", marks=marks) for fault in faults]


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    with postgres_cluster() as running:
        yield running


def make_keys(managing: Managed, count: int) -> list[Key]:
    """Return keys that are in use already, with limits and budgets that are not reached; each has made one call."""
    fields = {"limits": {"requests_per_minute": 1_000_000}, "budgets": [{"period": "day", "limit_micros": PLENTY}]}
    keys = [managing.key(managing.project(), **fields) for _ in range(count)]
    managing.known(*keys)
    assert {managed.ask(managing.gateway, key).status for key in keys} == {200}
    return keys


def times(seen: list[Timed], begin: float, end: float) -> float:
    """Return the p99 of requests that were sent between two moments."""
    return percentile((each.seconds for each in seen if begin <= each.at < end), 0.99)


# PostgreSQL

Break = Callable[[Postgres, FaultProxy], object]
DATABASE_FAULTS: dict[str, tuple[Break, Break]] = {
    "stopped": (lambda cluster, _: cluster.stop(), lambda cluster, _: cluster.start()),
    "frozen": (lambda cluster, _: cluster.freeze(), lambda cluster, _: cluster.thaw()),
    "5 s late": (
        lambda _, proxy: setattr(proxy, "answers", Way(delay_seconds=5)),
        lambda _, proxy: setattr(proxy, "answers", CLEAN),
    ),
    "too many clients": (lambda cluster, _: cluster.crowd(), lambda cluster, _: cluster.disperse()),
    "killed": (lambda cluster, _: cluster.kill(), lambda cluster, _: cluster.start()),
}
"""Killed by SIGKILL and started again at its address, as a failover does: what was committed is recovered."""


@pytest.mark.parametrize(("fault", "scale"), cases(DATABASE_FAULTS))
def test_requests_go_on_without_the_database(mock: Mock, cluster: Postgres, fault: str, scale: Scale) -> None:
    """Row 21: known keys are served as ever, unknown ones are not let in, and every record arrives in the end."""
    url = cluster.create_database(plain=True)
    name = url.rpartition("/")[2]
    begin, end = DATABASE_FAULTS[fault]
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(fault_proxy(cluster.port))
        proxied = url.replace(f":{cluster.port}/", f":{proxy.port}/")
        config = managed.settings(mock, workers=1, database={"url": proxied})
        gateway = stack.enter_context(run_gateway(config=config))
        keys = make_keys(Managed(gateway), scale.keys)
        with Visitors(gateway, keys) as visitors:
            visitors.until(scale.requests, since=0)
            broken = time.monotonic()
            begin(cluster, proxy)
            try:
                visitors.until(scale.requests, since=time.monotonic())
                gateway.output.wait_for("keys_stale")
                road.eventually(lambda: managed.ask(gateway, UNKNOWN).status == 503, "the worker has heard of it")
                strange = [managed.ask(gateway, UNKNOWN) for _ in range(20)]
                visitors.until(scale.requests, since=time.monotonic())
            finally:
                end(cluster, proxy)
            healed = time.monotonic()
            gateway.output.wait_for("keys_current", count=2)
            visitors.until(scale.requests, since=time.monotonic())
        errors = [each.asked for each in visitors.seen if each.asked.status != 200]
        names = {each.asked.name for each in visitors.seen}
        road.eventually(lambda: _stored(cluster, name) >= len(names), "all are stored", seconds=DRAINED_SECONDS)
        drained = time.monotonic() - healed
        stored = _stored(cluster, name, "DISTINCT request_id")
        wanted = (len(names) + scale.keys) * COST
        road.eventually(lambda: _spent(cluster, name) >= wanted, f"{wanted} spent")
        spent = _spent(cluster, name)
        ready = raw.ask(gateway.port, raw.request("/ready"))
    if scale.stated:
        added = times(visitors.seen, broken, healed) - times(visitors.seen, 0, broken)
        figure(21, f"{fault}: errors for known keys: {len(errors)} of {len(visitors.seen)} (0)")
        figure(21, f"{fault}: unknown keys let in: {sum(each.status == 200 for each in strange)} (0)")
        figure(21, f"{fault}: added p99: {added * 1_000:.1f} ms (≤ 10), rows lost: {len(names) - stored} (0)")
        figure(21, f"{fault}: all stored after {drained:.1f} s (≤ {DRAINED_SECONDS})")
        assert added <= MOST_ADDED_SECONDS
        assert drained <= DRAINED_SECONDS
    assert not errors
    assert {(each.status, each.code) for each in strange} == {(503, "keys_unavailable")}
    assert (stored, spent, ready.status) == (len(names), wanted, 200)


def _spent(cluster: Postgres, name: str) -> int:
    """Return what all keys have spent."""
    question = "SELECT sum(micros) FROM spend WHERE scope LIKE 'key:%' AND period_name = 'total'"
    return int(cluster.execute(question, database=name))


def _stored(cluster: Postgres, name: str, what: str = "*") -> int:
    """Return how many records of visits there are."""
    return int(cluster.execute(f"SELECT count({what}) FROM requests WHERE request_id LIKE 'visit-%'", database=name))  # noqa: S608 - the test's own words


def test_a_budget_goes_on_without_the_database_and_its_worker(mock: Mock, cluster: Postgres) -> None:
    """Row 21: the only worker is killed while the database is away: the next one has what was left, and no more."""
    url = cluster.create_database()
    count = 20
    with run_gateway(config=managed.settings(mock, workers=1, database={"url": url})) as gateway:
        managing = Managed(gateway)
        key = managing.key(managing.project(), budgets=[{"period": "total", "limit_micros": count * COST}])
        managing.known(key)
        asked = [managed.ask(gateway, key) for _ in range(8)]
        road.eventually(lambda: managing.spent(f"key:{key.id}") == 8 * COST, "8 calls in the database")
        (worker,) = gateway.worker_pids()
        cluster.stop()
        gateway.output.wait_for("keys_stale")
        asked += [managed.ask(gateway, key) for _ in range(4)]
        gateway.kill(worker)
        road.eventually(lambda: gateway.worker_pids() not in ([], [worker]), "a worker in its place")
        managing.known(key)
        asked += [managed.ask(gateway, key) for _ in range(12)]
        cluster.start()
        gateway.output.wait_for("keys_current", count=2)
        road.eventually(lambda: managing.spent(f"key:{key.id}") == count * COST, "all in the database")
        assert [each.status for each in asked] == [200] * count + [429] * 4


# Redis

Fault = Callable[[Redis, FaultProxy], object]
REDIS_FAULTS: dict[str, tuple[Fault, Fault]] = {
    "stopped": (lambda redis, _: redis.kill(), lambda redis, _: redis.start()),
    "frozen": (lambda redis, _: redis.freeze(), lambda redis, _: redis.thaw()),
    "2 s late": (
        lambda _, proxy: setattr(proxy, "answers", Way(delay_seconds=2)),
        lambda _, proxy: setattr(proxy, "answers", CLEAN),
    ),
    "full": (
        lambda redis, _: redis.command("CONFIG", "SET", "maxmemory", "1"),
        lambda redis, _: redis.command("CONFIG", "SET", "maxmemory", "0"),
    ),
}


@pytest.fixture
def redis() -> Iterator[Redis]:
    with redis_server() as running:
        yield running


@contextlib.contextmanager
def shared_gateway(mock: Mock, redis: Redis) -> Iterator[tuple[Gateway, FaultProxy]]:
    """Run workers that reach their Redis through a proxy."""
    with fault_proxy(redis.port) as proxy:
        config = managed.settings(mock, workers=WORKERS, redis=f"redis://127.0.0.1:{proxy.port}/0", redis_seconds=0.1)
        with run_gateway(config=config) as gateway:
            yield gateway, proxy


def ask_until_all_say(gateway: Gateway, key: Key, text: str) -> list[Asked]:
    """Ask on ever new connections, for those that are kept may all lead to one worker; return what was answered."""
    asked: list[Asked] = []

    def all_say() -> bool:
        asked.append(managed.ask(gateway, key))
        return gateway.logs().count(text) >= WORKERS

    road.eventually(all_say, f"every worker says {text}")
    return asked


def check_spent(gateway: Gateway, asked: Sequence[Asked], keys: Sequence[Key]) -> None:
    """Check that the database has every request once, at its cost."""
    question = "SELECT sum(micros) FROM spend WHERE scope LIKE 'key:%' AND period_name = 'total'"
    wanted = (len(asked) + len(keys)) * COST
    road.eventually(lambda: (managed.table(gateway, question)[0][0] or 0) >= wanted, f"{wanted} spent")
    assert managed.table(gateway, question) == [(wanted,)]


@pytest.mark.parametrize(("fault", "scale"), cases(REDIS_FAULTS))
def test_requests_go_on_without_redis(mock: Mock, redis: Redis, fault: str, scale: Scale) -> None:
    """Row 25: no request fails, each worker says once that Redis is away and once that it is back."""
    begin, end = REDIS_FAULTS[fault]
    with shared_gateway(mock, redis) as (gateway, proxy):
        keys = make_keys(Managed(gateway), scale.keys)
        with Visitors(gateway, keys) as visitors:
            visitors.until(scale.requests, since=0)
            begin(redis, proxy)
            try:
                others = ask_until_all_say(gateway, keys[0], '"redis_away"')
                visitors.until(scale.requests, since=time.monotonic())
            finally:
                end(redis, proxy)
            healed = time.monotonic()
            gateway.output.wait_for('"redis_back"', count=WORKERS)
            converged = time.monotonic() - healed
            said = gateway.logs()  # of this outage: later a busy machine may miss the tenth of a second, too
            visitors.until(scale.requests, since=time.monotonic())
        asked = [*(each.asked for each in visitors.seen), *others]
        errors = [each for each in asked if each.status != 200]
        if scale.stated:
            figure(25, f"gateway, {fault}: errors: {len(errors)} of {len(asked)} (0)")
            figure(25, f"gateway, {fault}: converged: {converged:.1f} s (≤ 10)")
            assert converged <= 10
        assert not errors
        check_spent(gateway, asked, keys)
        assert [said.count(f'"redis_{each}"') for each in ("away", "back")] == [WORKERS, WORKERS]


@pytest.mark.parametrize("scale", SCALES)
def test_a_redis_that_forgets_stops_nobody(mock: Mock, redis: Redis, scale: Scale) -> None:
    """Row 25: FLUSHALL over and over under load: no request fails, and no budget begins anew."""
    with shared_gateway(mock, redis) as (gateway, _):
        keys = make_keys(Managed(gateway), scale.keys)
        with Visitors(gateway, keys) as visitors:
            for _ in range(5):
                visitors.until(scale.requests // 5, since=time.monotonic())
                redis.flush()
            visitors.until(scale.requests // 5, since=time.monotonic())
        errors = [each.asked for each in visitors.seen if each.asked.status != 200]
        if scale.stated:
            figure(25, f"gateway, flushed: errors: {len(errors)} of {len(visitors.seen)} (0)")
        assert not errors
        check_spent(gateway, [each.asked for each in visitors.seen], keys)
