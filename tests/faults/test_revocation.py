"""Rows 30 and 37: rates hold over all workers and at every edge, and what is taken away is taken away at once.

Clients count by their own clock: what was let in within a minute, and what was asked after the management API's word.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig import managed, raw
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.managed import Key, Managed, ask, at_once, calls_of
from rig.mock import Mock, run_mock
from rig.redis import Redis, redis_server
from rig.visitors import Timed, Visitors

GRACE_SECONDS = 1.0
"""After the management API's answer, until when a worker may still not have heard of it."""
WORKERS = 2


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


@pytest.fixture
def redis() -> Iterator[Redis]:
    with redis_server() as running:
        yield running


@pytest.fixture
def gateway(mock: Mock, redis: Redis) -> Iterator[Gateway]:
    with run_gateway(config=managed.settings(mock, workers=WORKERS, redis=redis.url)) as running:
        yield running


def of(seen: list[Timed], key: Key) -> list[Timed]:
    return [each for each in seen if each.asked.key == key]


@pytest.mark.parametrize("count", [8, pytest.param(50, marks=pytest.mark.faults)])
def test_a_key_that_is_revoked_is_out_while_others_go_on(gateway: Gateway, mock: Mock, count: int) -> None:
    """Row 37: of many keys at work, on connections that know them: a second later not one request of it gets in."""
    managing = Managed(gateway)
    keys = [managing.key(managing.project()) for _ in range(count)]
    managing.known(*keys)
    victim, *others = keys
    with Visitors(gateway, keys) as visitors:
        visitors.until(100, since=0)
        managing.ask("DELETE", f"/manage/keys/{victim.id}")
        answered = time.monotonic()
        after = visitors.until(25 * count, since=answered + GRACE_SECONDS)
    late = [each for each in of(after, victim) if each.asked.status == 200]
    figure(37, f"revoked: accepted 1 s after the API's answer: {len(late)} of {len(of(after, victim))} (0)")
    assert of(after, victim)
    assert {each.asked.status for each in of(after, victim)} == {401}
    assert not any(calls_of(mock, [each.asked for each in of(after, victim)]).values())
    assert {each.asked.status for each in visitors.seen if each.asked.key in others} == {200}


@pytest.mark.parametrize("what", ["project", "limit"])
def test_a_project_that_is_deactivated_and_a_limit_that_is_lowered_count_at_once(gateway: Gateway, what: str) -> None:
    """Row 37: as with a revoked key."""
    managing = Managed(gateway)
    keys = [managing.key(managing.project()) for _ in range(4)]
    managing.known(*keys)
    victim = keys[0]
    with Visitors(gateway, keys) as visitors:
        visitors.until(100, since=0)
        if what == "project":
            managing.ask("PATCH", f"/manage/projects/{victim.project}", {"active": False})
        else:
            managing.ask("PATCH", f"/manage/keys/{victim.id}", {"limits": {"requests_per_minute": 1}})
        answered = time.monotonic()
        after = visitors.until(200, since=answered + GRACE_SECONDS)
    wanted = {"project": (403, "project_inactive"), "limit": (429, "rate_limit_exceeded")}[what]
    assert {(each.asked.status, each.asked.code) for each in of(after, victim)} == {wanted}
    assert {each.asked.status for each in visitors.seen if each.asked.key != victim} == {200}


def test_a_request_under_way_makes_no_new_attempt_with_a_revoked_key(mock: Mock) -> None:
    """Row 37: two wait for their next attempts when the key of one is revoked: only the other makes any."""
    routing = {"retry": {"max_retries": 2, "initial_delay": 2.0, "max_delay": 2.0}}
    with run_gateway(config=managed.settings(mock, workers=1, routing=routing)) as gateway:
        managing = Managed(gateway)
        keys = {name: managing.key(managing.project()) for name in ("revoked", "kept")}
        managing.known(*keys.values())
        with raw.wires(gateway.port, len(keys)) as wires:
            for wire, (name, key) in zip(wires, keys.items(), strict=True):
                wire.send(managed.request("fails", f"way-{name}", key))
                mock.ended(f"nonce-way-{name}")
            managing.ask("DELETE", f"/manage/keys/{keys['revoked'].id}")
            assert [wire.answers(1)[0].status >= 400 for wire in wires] == [True, True]
    assert [len(mock.ledger(tag=f"nonce-way-{name}")) for name in keys] == [1, 3]


def test_nothing_that_was_taken_away_comes_back_with_a_restart(mock: Mock, tmp_path: Path) -> None:
    """Row 37: SIGKILL of everything right after the API's answer, and a start: still revoked, whatever was kept."""
    config = managed.settings(mock, workers=1)
    with run_gateway(config=config, data_dir=tmp_path / "data") as gateway:
        managing = Managed(gateway)
        keys = [managing.key(managing.project()) for _ in range(3)]
        managing.known(*keys)
        managing.ask("DELETE", f"/manage/keys/{keys[0].id}")
        managing.ask("PATCH", f"/manage/projects/{keys[1].project}", {"active": False})
        for pid in gateway.processes():
            with contextlib.suppress(ProcessLookupError):
                gateway.kill(pid)
    with run_gateway(config=config, data_dir=tmp_path / "data") as gateway:
        Managed(gateway).known(keys[2])
        assert [ask(gateway, key).status for key in keys] == [401, 403, 200]


def test_a_rate_is_one_rate_for_all_workers(gateway: Gateway, mock: Mock) -> None:
    """Row 30: a burst through two workers, and another behind it: no more get in than the limit says."""
    managing = Managed(gateway)
    limit = 50
    key = managing.key(managing.project(), limits={"requests_per_minute": limit})
    managing.known(key)
    asked = at_once(lambda _: ask(gateway, key), range(4 * limit), clients=40)
    served = [each for each in asked if each.status == 200]
    assert len(served) == limit
    assert {(each.status, each.code) for each in asked if each.status != 200} == {(429, "rate_limit_exceeded")}
    assert sum(bool(rows) for rows in calls_of(mock, asked).values()) == limit


@pytest.mark.faults
def test_no_minute_sees_more_than_the_limit(gateway: Gateway) -> None:
    """Row 30: bursts at every edge for two minutes and a half: no sixty seconds, wherever they begin, see more."""
    managing = Managed(gateway)
    limit = 100
    key = managing.key(managing.project(), limits={"requests_per_minute": limit})
    managing.known(key)
    ends, let_in = time.monotonic() + 150, []
    while time.monotonic() < ends:
        burst = at_once(lambda _: (ask(gateway, key).status, time.monotonic()), range(limit), clients=20)
        let_in += [at for status, at in burst if status == 200]
        time.sleep(1)  # the pace of the bursts
    most = max(sum(begin <= at < begin + 60 for at in let_in) for begin in let_in)
    figure(30, f"most within any 60 s: {most} of {limit} (≤ {limit * 1.01:.0f}), in all: {len(let_in)}")
    assert most <= limit * 1.01
    assert len(let_in) > 2 * limit
