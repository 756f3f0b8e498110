"""Rows 30 and 37: rates hold over all workers and at every edge, and what is taken away is taken away at once.

Clients count by their own clock: what was let in within a minute, and what was asked after the management API's word.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rig import managed, raw, road
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.managed import Key, Managed, ask, at_once, calls_of
from rig.mock import Mock, run_mock
from rig.redis import Redis, redis_server
from rig.visitors import Timed, Visitors

GRACE_SECONDS = 1.0
"""After the management API's answer, until when a worker may still not have heard of it."""
WORKERS = 2
Take = Callable[[Managed, Key], object]


def patch_key(**fields: Any) -> Take:
    """Return what changes a key."""
    return lambda managing, key: managing.ask("PATCH", f"/manage/keys/{key.id}", fields)


def patch_project(**fields: Any) -> Take:
    """Return what changes a key's project."""
    return lambda managing, key: managing.ask("PATCH", f"/manage/projects/{key.project}", fields)


def make_key(managing: Managed) -> Key:
    """Make a key of a project that may spend plenty."""
    return managing.key(managing.project(budgets=[{"period": "total", "limit_micros": 10**12}]))


def use(managing: Managed, keys: Iterable[Key]) -> None:
    """Ask once with each key, so that what its project has spent is known."""
    for key in keys:
        road.eventually(lambda key=key: ask(managing.gateway, key).status == 200, f"{key.id} is in use")  # type: ignore[misc]  # a bound default


def lower_budget(managing: Managed, key: Key) -> None:
    """Let a key's project have spent all that it may."""
    budget = {"scope": f"project:{key.project}", "period": "total", "limit_micros": 1}
    managing.ask("PUT", "/manage/budgets", budget)


ONE_A_MINUTE = {"requests_per_minute": 1}
REVOKED = "key revoked"
TAKEN: dict[str, tuple[Take, int, str]] = {
    REVOKED: (lambda managing, key: managing.ask("DELETE", f"/manage/keys/{key.id}"), 401, ""),
    "project deactivated": (patch_project(active=False), 403, "project_inactive"),
    "key's limit lowered": (patch_key(limits=ONE_A_MINUTE), 429, "rate_limit_exceeded"),
    "project's limit lowered": (patch_project(limits=ONE_A_MINUTE), 429, "rate_limit_exceeded"),
    "budget lowered": (lower_budget, 429, "budget_exceeded"),
    "key's model withdrawn": (patch_key(models=["other"]), 403, "model_not_permitted"),
    "project's model withdrawn": (patch_project(models=["other"]), 403, "model_not_permitted"),
    "endpoint withdrawn": (patch_key(endpoints=["embeddings"]), 403, "endpoint_not_permitted"),
    "network withdrawn": (patch_key(networks=["192.0.2.0/24"]), 403, "network_not_allowed"),
}
"""What can be taken away, how, and what is answered from then on; an empty code = any."""
RIGHTS = [name for name, (_, status, _) in TAKEN.items() if status != 429]
"""Those without which no attempt may begin. A limit counts requests, and this one has been counted."""


def take(what: str, managing: Managed, key: Key) -> None:
    """Take something away from a key."""
    TAKEN[what][0](managing, key)


def is_refusal(what: str, status: int, code: str) -> bool:
    """Tell whether an answer says that it was taken away."""
    _, wanted, name = TAKEN[what]
    return status == wanted and code == (name or code)


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


SCALES = [
    pytest.param(1, 3, id="small"),
    pytest.param(5, 5, id="stated", marks=pytest.mark.faults),
]


@pytest.mark.parametrize(("each", "kept"), SCALES)
def test_what_is_taken_away_is_out_while_others_go_on(gateway: Gateway, mock: Mock, each: int, kept: int) -> None:
    """Row 37: of many keys at work, on connections that know them: a second later not one request of them gets in."""
    managing = Managed(gateway)
    victims = {make_key(managing): what for what in TAKEN for _ in range(each)}
    others = [make_key(managing) for _ in range(kept)]
    managing.known(*victims, *others)
    use(managing, [*victims, *others])
    answered: dict[Key, float] = {}
    with Visitors(gateway, [*victims, *others]) as visitors:
        visitors.until(10 * len(victims), since=0)
        for key, what in victims.items():
            take(what, managing, key)
            answered[key] = time.monotonic()
        visitors.until(25 * len(victims), since=time.monotonic() + GRACE_SECONDS)
    asked = [visit for key in victims for visit in of(visitors.seen, key) if visit.at >= answered[key] + GRACE_SECONDS]
    late = [visit for visit in asked if visit.asked.status == 200]
    last = max(visit.at - answered[key] for key in victims for visit in of(visitors.seen, key) if not visit.asked.code)
    figure(37, f"accepted 1 s after the API's answer: {len(late)} of {len(asked)} by {len(victims)} keys (0)")
    figure(37, f"last accepted: {max(0, last):.2f} s after it (1)")
    assert {visit.asked.key for visit in asked} == set(victims)
    for visit in asked:
        what = victims[visit.asked.key]
        assert is_refusal(what, visit.asked.status, visit.asked.code), (what, visit.asked)
    assert not any(calls_of(mock, [visit.asked for visit in asked]).values())
    assert {visit.asked.status for visit in visitors.seen if visit.asked.key in others} == {200}


def told(name: str, seconds: int) -> str:
    """Return a model that says when to come again; of its own, because a target is asked again only so often."""
    return f"up/{name}+status=503,retry_after={seconds}"


def hedged(seconds: int) -> dict[str, Any]:
    """Return a route whose second attempt begins beside the first."""
    slow = f"up/hedged-first+latency_ms={2 * seconds}000"
    return {
        "targets": [slow, "up/hedged-second"],
        "strategy": "priority",
        "hedge": {"after": seconds, "share": 1.0},
    }


def named(rows: Iterable[dict[str, Any]]) -> collections.Counter[str]:
    """Return how many calls each request has made."""
    return collections.Counter(row["nonce"].removeprefix("nonce-") for row in rows)


@pytest.mark.parametrize(
    ("each", "seconds"), [pytest.param(1, 2, id="small"), pytest.param(20, 6, id="stated", marks=pytest.mark.faults)]
)
def test_a_request_under_way_makes_no_attempt_without_its_right(
    mock: Mock, redis: Redis, each: int, seconds: int
) -> None:
    """Row 37: requests wait for their next attempts when their rights are withdrawn: only the others make any."""
    routing = {"retry": {"max_retries": 1, "initial_delay": 0.01, "max_delay": 10.0}}
    config = managed.settings(mock, workers=WORKERS, redis=redis.url, routing=routing)
    config["models"]["hedged"] = hedged(seconds)
    with run_gateway(config=config) as gateway:
        managing = Managed(gateway)
        keys = {what: managing.key(managing.project()) for what in ("kept", *RIGHTS)}
        managing.known(*keys.values())
        waiting = {
            f"way-{way}-{number}": (way, what)
            for way in ("told", "hedged")
            for number, what in enumerate([*keys] * each)
        }
        mock.clear()
        with raw.wires(gateway.port, len(waiting)) as wires:
            for wire, (name, (way, what)) in zip(wires, waiting.items(), strict=True):
                wire.send(managed.request(told(name, seconds) if way == "told" else way, name, keys[what]))
            road.eventually(lambda: waiting.keys() <= named(mock.ledger()).keys(), "the first attempts")
            for what in RIGHTS:
                take(what, managing, keys[what])
            answered = time.time()
            answers = dict(zip(waiting, [wire.answers(1)[0] for wire in wires], strict=True))
        late = named(row for row in mock.ledger() if row["started_at"] > answered + GRACE_SECONDS)
        afterwards = ask(gateway, keys["kept"], "hedged")
    wrong = sum(late[name] for name, (_, what) in waiting.items() if what != "kept")
    figure(37, f"attempts of {2 * each * len(RIGHTS)} requests under way 1 s after it: {wrong} (0)")
    assert not wrong
    # A hedge is nobody's right: none begins once anything has changed. The next request is hedged again.
    kept = {(way, late[name]) for name, (way, what) in waiting.items() if what == "kept"}
    assert kept == {("told", 1), ("hedged", 0)}
    assert [len(rows) for rows in calls_of(mock, [afterwards]).values()] == [2]
    for name, (way, what) in waiting.items():
        answer = answers[name]
        if way == "hedged":
            assert answer.status == 200, what  # its first attempt goes on
        elif what != "kept":
            assert is_refusal(what, answer.status, answer.code), (what, answer)


@pytest.mark.parametrize(
    "rounds", [pytest.param(1, id="small"), pytest.param(5, id="stated", marks=pytest.mark.faults)]
)
def test_nothing_that_was_taken_away_comes_back_with_a_restart(
    mock: Mock, redis: Redis, tmp_path: Path, rounds: int
) -> None:
    """Row 37: SIGKILL of everything right after the API's answer, and a start: still gone, whatever was kept."""
    config = managed.settings(mock, workers=WORKERS, redis=redis.url)
    victims: dict[Key, str] = {}
    tokens: list[str] = []
    kept: list[Key] = []
    back: list[object] = []
    for turn in range(rounds + 1):
        with run_gateway(config=config, data_dir=tmp_path / "data") as gateway:
            managing = Managed(gateway)
            kept = kept or [managing.key(managing.project())]
            managing.known(*kept)
            # Twice: the one request a minute that is left of a limit may be made.
            asked = [[ask(gateway, key) for _ in range(2)][1] for key in victims]
            back += [each for each in asked if not is_refusal(victims[each.key], each.status, each.code)]
            back += [token for token in tokens if managing.request("GET", "/manage/self", token=token)[0] == 200]
            assert ask(gateway, kept[0]).status == 200
            if turn < rounds:
                made = {make_key(managing): what for what in TAKEN}
                token = managing.ask("POST", "/manage/admin-tokens", {"name": "ada", "role": "owner"})
                managing.known(*made)
                managing.ask("DELETE", f"/manage/admin-tokens/{token['id']}")
                for key, what in made.items():
                    take(what, managing, key)
                for pid in gateway.processes():
                    with contextlib.suppress(ProcessLookupError):
                        gateway.kill(pid)
                victims |= made
                tokens.append(token["token"])
    figure(37, f"back after {rounds} kills of everything: {len(back)} of {len(victims) + len(tokens)} (0)")
    assert not back


@pytest.mark.parametrize(
    "clients", [pytest.param(2, id="small"), pytest.param(16, id="stated", marks=pytest.mark.faults)]
)
def test_an_admin_token_that_is_revoked_is_refused_at_once(gateway: Gateway, clients: int) -> None:
    """Row 37: while many use it: nothing that is asked after the API's answer is done; others go on."""
    managing = Managed(gateway)
    body = {"name": "ada", "role": "admin"}
    victim, other = (managing.ask("POST", "/manage/admin-tokens", body) for _ in range(2))
    stop, seen, grown = threading.Event(), [], threading.Condition()

    def change(token: dict[str, Any]) -> None:
        while not stop.is_set():
            at = time.monotonic()
            status, _ = managing.request(
                "POST", "/manage/projects", {"name": f"team-{next(managed.NUMBER)}"}, token=token["token"]
            )
            with grown:
                seen.append((at, token["id"], status))
                grown.notify_all()

    def wait_for(count: int, token: dict[str, Any], since: float = 0) -> list[int]:
        def found() -> list[int]:
            return [status for at, id_, status in seen if id_ == token["id"] and at >= since]

        with grown:
            assert grown.wait_for(lambda: len(found()) >= count, 60)
            return found()

    with ThreadPoolExecutor(2 * clients) as pool:
        using = [pool.submit(change, token) for token in [victim, other] * clients]
        try:
            assert set(wait_for(10 * clients, victim)) == {201}
            managing.ask("DELETE", f"/manage/admin-tokens/{victim['id']}")
            answered = time.monotonic()
            late = wait_for(10 * clients, victim, answered)
            assert set(wait_for(10 * clients, other, answered)) == {201}
        finally:
            stop.set()
        for each in using:
            each.result()
    figure(37, f"done with a revoked admin token: {late.count(201)} of {len(late)} (0)")
    assert set(late) <= {401, 429}


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
