from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flumegate.processes.balances import Balances, read_sought
from flumegate.quota.ledger import line_of
from flumegate.quota.period import name_of
from flumegate.records.access import Budget, Limits, Period
from flumegate.records.balance import Balance, Sought
from flumegate.store.database import Database
from flumegate.store.ingest import Ingest
from rig.databases import ENGINES, add_budget, add_key, opened, url_of
from rig.gateway import Answer, Gateway, run_gateway
from rig.managed import Managed
from rig.postgres import postgres_cluster
from rig.records import make_record

NOW = 1_700_000_000.0
DAY, MONTH = name_of("day", NOW), name_of("month", NOW)
OWN, ONE = "sk-test-balances-of-the-file", "sk-test-balances-one"
SOUGHT = Sought(("key:k1",), (f"key:k1@{DAY}", f"key:k1@{MONTH}", "model:m@total"))


def record(number: int, **fields: Any) -> Any:
    given: dict[str, Any] = {
        "key_id": "k1",
        "model_requested": "m",
        "provider": "up",
        "started_at": NOW,
        "cost_micros": 5,
    }
    return make_record(number, **(given | fields))


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with opened(url_of(request.param, request, tmp_path)) as database:
        with database.transaction():
            pass  # it makes the tables
        yield database


def test_the_database_says_what_was_used(request: pytest.FixtureRequest, database: Database) -> None:
    """Of each account its own period; what never was used is told as nothing."""
    ingest = Ingest(database.url)
    request.addfinalizer(ingest.close)
    ingest.insert([record(1), record(2), record(3, started_at=NOW - 40 * 86_400), record(4, outcome="refused")])
    with database.reader() as connection:
        told = read_sought(connection, Sought(("key:k1", "key:new"), (*SOUGHT.accounts, "key:new@total")))
    assert told == Balance(
        {"key:k1": 3, "key:new": 0},
        {f"key:k1@{DAY}": 10, f"key:k1@{MONTH}": 10, "model:m@total": 15, "key:new@total": 0},
    )


def test_only_what_the_database_has_said_is_known(database: Database) -> None:
    """Of a scope that nobody limits nothing is remembered; what is stored counts at once, and is read again."""
    balances = Balances()
    assert balances.answer(Sought((), ())) == Balance()
    assert balances.answer(SOUGHT) is None
    balances.watch(["key:k1", "model:m"], {})
    assert balances.is_behind()
    assert balances.answer(SOUGHT) is None
    with database.reader() as connection:
        balances.refresh(connection)
    assert balances.answer(SOUGHT) == Balance({"key:k1": 0}, dict.fromkeys(SOUGHT.accounts, 0))
    balances.spent([record(1, key_id="other", model_requested="other")])
    assert not balances.is_behind()
    balances.spent([record(1)])
    assert balances.is_behind()
    assert balances.answer(SOUGHT) == Balance({"key:k1": 1}, dict.fromkeys(SOUGHT.accounts, 5))
    balances.watch(["key:k1"], {})
    with database.reader() as connection:
        balances.refresh(connection)
    # A database that knows nothing of it, as one that was replaced, takes nothing back.
    assert balances.answer(Sought(("key:k1",), ())) == Balance({"key:k1": 1})
    assert balances.answer(SOUGHT) is None


def test_what_waits_in_the_spool_counts(database: Database) -> None:
    """On top of what the database said last, until it takes it; refused requests cost nothing."""
    balances = Balances()
    balances.watch(["key:k1", "model:m"], {})
    with database.reader() as connection:
        balances.refresh(connection)
    balances.wait_for([record(1), record(2, cost_micros=None)])
    balances.wait_for([record(3), record(4, outcome="refused")])
    assert balances.answer(SOUGHT) == Balance({"key:k1": 3}, dict.fromkeys(SOUGHT.accounts, 10))
    balances.wait_no_more()
    assert balances.answer(SOUGHT) == Balance({"key:k1": 0}, dict.fromkeys(SOUGHT.accounts, 0))


def test_a_key_that_replaced_another_counts_on_its_account(database: Database) -> None:
    """Stored or waiting, and wherever it is asked for."""
    balances = Balances()
    balances.watch(["key:k1"], {"k2": "k1"})
    with database.reader() as connection:
        balances.refresh(connection)
    balances.spent([record(1, key_id="k2")])
    balances.wait_for([record(2, key_id="k2"), record(3, key_id="k1")])
    accounts = tuple(account for account in SOUGHT.accounts if account.startswith("key:"))
    assert balances.answer(Sought(("key:k1",), accounts)) == Balance({"key:k1": 3}, dict.fromkeys(accounts, 15))


def test_accounts_are_called_as_ledgers_call_them(database: Database) -> None:
    """Whatever stands in the name of a model."""
    balances = Balances()
    scope = "model:odd@name|with/all:of@it"
    balances.watch([scope], {})
    with database.reader() as connection:
        balances.refresh(connection)
    balances.wait_for([record(1, key_id="", model_requested=scope.removeprefix("model:"))])
    periods: tuple[Period, ...] = ("day", "month", "total")
    accounts = tuple(line_of(Budget(scope, period, 1), NOW).account for period in periods)
    assert balances.answer(Sought((), accounts)) == Balance({}, dict.fromkeys(accounts, 5))
    with database.reader() as connection:
        assert read_sought(connection, Sought((), accounts)) == Balance({}, dict.fromkeys(accounts, 0))


# The whole gateway, with its own mock: each answer has ten tokens of a micro-dollar each.


def settings(url: str, **more: Any) -> dict[str, Any]:
    prices = {"mock/*": {"input": 0, "output": 1}}
    return {"auth": {"static_keys": [OWN]}, "database": {"url": url}, "prices": prices, **more}


def chat(gateway: Gateway, key: str = ONE) -> Answer:
    body = {"model": "mock/m+tokens=10", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 10}
    return gateway.request("POST", "/v1/chat/completions", body=body, key=key)


def verdict(gateway: Gateway, key: str = ONE) -> tuple[int, str]:
    """Return status and code of a request, once what was used can be known."""
    limit = time.monotonic() + 30
    while True:
        told = chat(gateway, key)
        code = "" if told.status == 200 else told.json()["error"]["code"]
        if code not in ("balance_unknown", "invalid_api_key", "keys_unavailable"):
            return told.status, code
        assert time.monotonic() < limit, code
        time.sleep(0.02)  # a client that tries again


def kill_worker(gateway: Gateway, count: int) -> None:
    (worker,) = gateway.worker_pids()
    gateway.kill(worker)
    gateway.output.wait_for('"serving"', count=count)


@pytest.mark.parametrize("what", ["count", "budget"])
def test_a_worker_that_starts_anew_counts_on(tmp_path: Path, what: str) -> None:
    """Three requests are three, whoever is killed in between: control, worker, both."""
    url = f"sqlite:///{tmp_path / 'flumegate.db'}"
    with run_gateway(config=settings(url)) as gateway:
        with opened(url) as database:
            pepper = (gateway.data_dir / "pepper").read_bytes()
            if what == "budget":
                add_budget(database, Budget("key:k1", "total", 30))
            limits = Limits(max_requests=3) if what == "count" else Limits()
            add_key(database, pepper, ONE, "k1", limits=limits)
        assert verdict(gateway) == (200, "")
        kill_worker(gateway, 2)
        assert verdict(gateway) == (200, "")
        gateway.kill(gateway.control_pid())
        gateway.output.wait_for("control_resumed")
        kill_worker(gateway, 3)
        assert verdict(gateway) == (200, "")
        refused = (429, "request_quota_exceeded") if what == "count" else (429, "budget_exceeded")
        assert verdict(gateway) == refused
        kill_worker(gateway, 4)
        assert verdict(gateway) == refused


@pytest.mark.parametrize(
    ("made_with", "refused"),
    [
        ({"max_requests": 3}, "request_quota_exceeded"),
        ({"budgets": [{"period": "total", "limit_micros": 30}]}, "budget_exceeded"),
    ],
)
def test_a_key_that_was_rotated_spends_on(tmp_path: Path, made_with: dict[str, Any], refused: str) -> None:
    """Three requests are three, whichever of the two secrets carries them, and whoever is killed in between."""
    with run_gateway(config=settings(f"sqlite:///{tmp_path / 'flumegate.db'}")) as gateway:
        managing = Managed(gateway)
        old = managing.key("", **made_with)
        assert verdict(gateway, old.text) == (200, "")
        new = managing.ask("POST", f"/manage/keys/{old.id}/rotate", {"overlap_days": 1})["key"]
        assert verdict(gateway, new) == (200, "")
        kill_worker(gateway, 2)
        assert verdict(gateway, old.text) == (200, "")
        assert [verdict(gateway, key) for key in (new, old.text)] == [(429, refused)] * 2
        kill_worker(gateway, 3)
        assert [verdict(gateway, key) for key in (new, old.text)] == [(429, refused)] * 2


def test_a_worker_that_starts_while_the_database_is_away_counts_on(tmp_path: Path) -> None:
    """From what control remembers and what waits in the spool."""
    path = tmp_path / "flumegate.db"
    url = f"sqlite:///{path}"
    with run_gateway(config=settings(url)) as gateway:
        with opened(url) as database:
            add_key(database, (gateway.data_dir / "pepper").read_bytes(), ONE, "k1", limits=Limits(max_requests=3))
        assert verdict(gateway) == (200, "")
        kill_worker(gateway, 2)
        path.rename(tmp_path / "away.db")
        # Otherwise the next record would make a new, empty one.
        path.mkdir()
        gateway.output.wait_for("keys_stale")
        assert verdict(gateway) == (200, "")
        kill_worker(gateway, 3)
        assert verdict(gateway) == (200, "")
        kill_worker(gateway, 4)
        assert verdict(gateway) == (429, "request_quota_exceeded")


def test_a_worker_that_starts_while_the_server_is_frozen_counts_on() -> None:
    """Nothing that asks for a balance waits for a database that says nothing."""
    with postgres_cluster() as cluster:
        url = cluster.create_database()
        with run_gateway(config=settings(url)) as gateway:
            gateway.output.wait_for("keys_current")
            with opened(url) as database:
                add_key(database, (gateway.data_dir / "pepper").read_bytes(), ONE, "k1", limits=Limits(max_requests=3))
            assert verdict(gateway) == (200, "")
            cluster.freeze()
            gateway.output.wait_for("keys_stale")
            kill_worker(gateway, 2)
            assert verdict(gateway) == (200, "")
            kill_worker(gateway, 3)
            assert verdict(gateway) == (200, "")
            assert verdict(gateway) == (429, "request_quota_exceeded")
            cluster.thaw()
            gateway.output.wait_for("keys_current", count=2)
            kill_worker(gateway, 4)
            assert verdict(gateway) == (429, "request_quota_exceeded")
