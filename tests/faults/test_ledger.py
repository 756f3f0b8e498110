"""Rows 28, 29 and 31: a budget is a limit, nothing that is held leaks, and what was used is what was served.

Whole gateways, with one worker alone and with two that share a Redis; keys and budgets are made through the management
API, the mock's ledger is the oracle. Money is counted in calls: each costs, and holds, the same.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from flumegate.shared.scripts import LEASE_SECONDS, RENEW
from rig import managed, raw, road
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.managed import COST, TOKENS, Asked, Key, Managed, ask, at_once, calls_of, recorded, table
from rig.mock import Mock, run_mock
from rig.redis import Redis, redis_server

KINDS = ("m", "silent", "retried", "fallen")
"""Ways to cost exactly COST, each in a stream and not: at once, without usage, by the second attempt, target."""


class Scale(NamedTuple):
    """How much: requests at the same time, calls that the budget is for, and mixed calls in all."""

    clients: int
    calls: int
    mixed: int
    stated: bool = False


SMALL = Scale(40, 60, 120)
STATED = Scale(200, 500, 10_000, stated=True)
SCALES = [pytest.param(SMALL, id="small"), pytest.param(STATED, id="stated", marks=pytest.mark.faults)]
WORKERS = pytest.mark.parametrize("workers", [1, 2])


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


class Stage(NamedTuple):
    """A running gateway, its management API, and its Redis where it has one."""

    gateway: Gateway
    managed: Managed
    redis: Redis | None
    mock: Mock


@contextlib.contextmanager
def stage(mock: Mock, workers: int) -> Iterator[Stage]:
    """Run one worker alone, or several with a Redis."""
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(redis_server()) if workers > 1 else None
        config = managed.settings(mock, workers=workers, redis=redis.url if redis else None)
        gateway = stack.enter_context(run_gateway(config=config))
        yield Stage(gateway, Managed(gateway), redis, mock)


def budgeted(on: Stage, calls: int) -> Key:
    """Return a key that every worker knows, with money for so many calls."""
    key = on.managed.key(on.managed.project(), budgets=[{"period": "total", "limit_micros": calls * COST}])
    on.managed.known(key)
    return key


def in_redis(redis: Redis, key: Key) -> tuple[int, int]:
    """Return what Redis knows to be spent by a key, and to be held."""
    # Behind the period stands which of the budgets it is.
    found = redis.command("KEYS", f"fg:{{flumegate}}:account:key:{key.id}@total#*").split(b"\r\n")
    if found[0] != b"*1":
        return 0, 0
    name = found[2].decode()
    spent, held = (redis.command("HGET", name, field).split(b"\r\n") for field in ("s", "h"))
    return tuple(int(each[1]) if each[0] != b"$-1" else 0 for each in (spent, held))  # type: ignore[return-value]  # two


def check_spent(on: Stage, key: Key, micros: int) -> None:
    """Wait until the database, and Redis, say that this was spent and nothing is held."""
    road.eventually(lambda: on.managed.spent(f"key:{key.id}") >= micros, f"{micros} spent")
    assert on.managed.spent(f"key:{key.id}") == micros
    redis = on.redis
    if redis is not None:
        road.eventually(lambda: in_redis(redis, key) == (micros, 0), f"{micros} in redis: {in_redis(redis, key)}")


@WORKERS
@pytest.mark.parametrize("scale", SCALES)
def test_a_budget_is_a_limit(mock: Mock, scale: Scale, workers: int) -> None:
    """Row 28: more requests than it has money for, all at once: it pays for just so many, the others are not sent."""
    with stage(mock, workers) as on:
        key = budgeted(on, scale.calls)
        kinds = list(itertools.islice(itertools.cycle(itertools.product(KINDS, (False, True))), 2 * scale.calls))
        asked = at_once(lambda kind: ask(on.gateway, key, kind[0], stream=kind[1]), kinds, clients=scale.clients)
        while ask(on.gateway, key, name=(name := f"last-{len(asked)}")).status == 200:
            asked.append(Asked(name, "m", key, 200, "", b"", complete=True))
        served = [each for each in asked if each.status == 200]
        refused = [each for each in asked if each.status == 429]
        calls = calls_of(mock, asked)
        paid = sum(any(row["status"] == 200 for row in rows) for rows in calls.values())
        sent = sum(bool(calls[each.name]) for each in refused)
        check_spent(on, key, scale.calls * COST)
    if scale.stated:
        figure(28, f"{workers} workers: overspent calls: {paid - scale.calls} of {len(asked)} (0)")
        figure(28, f"{workers} workers: refused calls that were sent: {sent} of {len(refused)} (0)")
        figure(28, f"{workers} workers: refused with money left: {scale.calls - len(served)} (0)")
    assert {each.code for each in refused} == {"budget_exceeded"}
    # Where many retry at once the budget of retries ends, and the first answer stands.
    failed = {(each.model, each.code) for each in asked if each.status not in (200, 429)}
    assert failed <= {("retried", "server_error")}
    assert all(each.complete for each in asked)
    assert (len(served), paid, sent) == (scale.calls, scale.calls, 0)


@WORKERS
def test_a_failure_costs_nothing_and_holds_nothing(mock: Mock, workers: int) -> None:
    """Row 28: a budget for five calls has money for five although twenty failed before."""
    with stage(mock, workers) as on:
        key = budgeted(on, 5)
        failed = at_once(lambda _: ask(on.gateway, key, "fails"), range(20), clients=4)
        assert {each.status for each in failed} <= {429, 500, 502, 503}
        assert {each.code for each in failed if each.status == 429} <= {"budget_exceeded"}
        served = [ask(on.gateway, key).status for _ in range(7)]
        assert served == [200] * 5 + [429] * 2
        check_spent(on, key, 5 * COST)


@WORKERS
@pytest.mark.parametrize("scale", SCALES)
def test_a_killed_worker_holds_nothing_for_ever(mock: Mock, scale: Scale, workers: int) -> None:
    """Row 29: SIGKILL of all workers while half a budget is held: after the lease all of it can be spent."""
    count = 20
    with stage(mock, workers) as on, contextlib.ExitStack() as stack:
        key = budgeted(on, count)
        before = at_once(lambda _: ask(on.gateway, key), range(5), clients=5)
        assert [each.status for each in before] == [200] * 5
        for wire in stack.enter_context(raw.wires(on.gateway.port, count - 5)):
            wire.send(managed.request("hangs", f"held-{next(managed.NUMBER)}", key, stream=True))
            wire.until(b"data: ")
        assert ask(on.gateway, key).code == "budget_exceeded"
        recorded(on.gateway, before)
        old = on.gateway.worker_pids()
        for pid in old:
            on.gateway.kill(pid)
        road.eventually(lambda: len(set(on.gateway.worker_pids()) - set(old)) == workers, "workers in their places")
        if on.redis is not None:
            assert in_redis(on.redis, key) == (5 * COST, (count - 5) * COST)
            _let_leases_end(on.redis, key, wait=scale.stated)
            assert in_redis(on.redis, key) == (5 * COST, 0)
        on.managed.known(key)
        after = [ask(on.gateway, key) for _ in range(count)]
        left = count - 5 - sum(each.status == 200 for each in after)
        if scale.stated:
            figure(29, f"{workers} workers: held after the lease: {left * COST} micro-dollars (0)")
        assert [each.status for each in after] == [200] * (count - 5) + [429] * 5
        check_spent(on, key, count * COST)


def _let_leases_end(redis: Redis, key: Key, *, wait: bool) -> None:
    """Wait for the lease's end, or tell Redis that it has come."""
    if wait:
        lost = LEASE_SECONDS + 5
        road.eventually(lambda: _sweep(redis) and in_redis(redis, key)[1] == 0, "nothing is held", seconds=lost)
    else:
        now = float(redis.command("TIME").split(b"\r\n")[2])
        _sweep(redis, now=now + LEASE_SECONDS + 1)


def _sweep(redis: Redis, **now: float) -> bool:
    argument = json.dumps({"requests": [], **now})
    return redis.command("EVAL", RENEW.text, "1", "fg:{flumegate}:leases", argument).startswith(b"*")


@WORKERS
@pytest.mark.parametrize("scale", SCALES)
def test_usage_is_what_was_served(mock: Mock, scale: Scale, workers: int) -> None:
    """Row 31: whatever becomes of them, calls are summed up with the tokens and the cost that the upstream served."""
    with stage(mock, workers) as on:
        key = on.managed.key(on.managed.project())
        on.managed.known(key)
        kinds = itertools.cycle(itertools.product(("m", "cached", "retried", "fallen", "fails", "left"), (False, True)))
        asked = at_once(lambda kind: _one(on, key, *kind), itertools.islice(kinds, scale.mixed), clients=16)
        recorded(on.gateway, [each for each in asked if each.status])
        calls = [row for rows in calls_of(mock, asked).values() for row in rows]
        served = [row for row in calls if row["outcome"] == "complete" and row["status"] == 200]
        tokens = tuple(sum(row[name] for row in served) for name in ("input_tokens", "output_tokens"))
        wanted = (*tokens, tokens[1] * COST // TOKENS)
        road.eventually(lambda: _in_usage(on, key) == wanted, f"{wanted} in usage: {_in_usage(on, key)}")
        (spent,) = table(
            on.gateway,
            "SELECT input_tokens, output_tokens, micros, requests FROM spend WHERE scope = ? AND period_name = 'total'",
            f"key:{key.id}",
        )
    if scale.stated:
        figure(31, f"{workers} workers: {len(asked)} requests, {len(calls)} calls: difference in tokens: "
                   f"{abs(spent[0] - wanted[0]) + abs(spent[1] - wanted[1])} (0), "
                   f"in micro-dollars: {abs(spent[2] - wanted[2])} (0)")  # fmt: skip
    assert spent[:3] == wanted


def _one(on: Stage, key: Key, model: str, stream: bool) -> Asked:
    """Ask and read the answer, or leave a silent upstream: such a call ends before it has said anything of tokens."""
    if model != "left":
        return ask(on.gateway, key, model, stream=stream)
    name = f"left-{next(managed.NUMBER)}"
    with raw.wire(on.gateway.port) as wire:
        wire.send(managed.request("silence", name, key, stream=stream))
        road.eventually(lambda: on.mock.ledger(tag=f"nonce-{name}"), "the upstream has the call")
    on.mock.ended(f"nonce-{name}")
    return Asked(name, model, key, 0, "", b"", complete=False)


def _in_usage(on: Stage, key: Key) -> tuple[int, ...]:
    """Return tokens and cost that the days' usage of a key adds up to."""
    columns = ", ".join(f"coalesce(sum({name}), 0)" for name in ("input_tokens", "output_tokens", "micros"))
    return table(on.gateway, f"SELECT {columns} FROM usage_days WHERE key = ?", key.id)[0]  # noqa: S608 - own words
