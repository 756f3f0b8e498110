from __future__ import annotations

import queue
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from flumegate.manage.seal import Ring, read_master_key
from flumegate.manage.state import CURRENT, EXPIRED, STALE
from flumegate.processes import state as module
from flumegate.processes.kept_state import STATE_NAME, KeptState, Standing
from flumegate.processes.state import State
from flumegate.records.access import Limits, Project
from flumegate.store import keys, projects
from flumegate.store.changes import note_change
from flumegate.store.database import Database
from flumegate.store.tables import keys as table
from rig.databases import ENGINES, add_key, add_project, opened, revoke_key, url_of
from rig.gateway import Gateway, run_gateway
from rig.postgres import Postgres, postgres_cluster

PEPPER = b"p" * 32
RING = Ring([read_master_key("a-master-key-for-tests-0123456789-abcdef")])
STRANGE = Ring([read_master_key("another-master-key-for-tests-987654321")])
OWN = "sk-test-state-of-the-file"
ONE, TWO = "sk-test-state-one", "sk-test-state-two"
PROVIDERS = {"up": {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"}}


class Watched:
    """A running thread, and what it said."""

    def __init__(self, folder: Path, database: Database, *, ring: Ring = RING, max_age: float = 3600.0) -> None:
        (folder / "run").mkdir(exist_ok=True)
        self.kept = KeptState(folder, ring)
        self.standings: queue.Queue[Standing] = queue.Queue()
        self.refusals: queue.Queue[str] = queue.Queue()
        self.thread = State(
            database=lambda: database,
            ring=ring,
            pepper=PEPPER,
            kept=self.kept,
            standing=Standing(self.kept.read(), STALE),
            max_age=lambda: max_age,
            on_standing=self.standings.put,
            on_refusal=self.refusals.put,
        )
        self.thread.start()

    def next(self) -> Standing:
        return self.standings.get(timeout=30)


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with opened(url_of(request.param, request, tmp_path)) as database:
        yield database


Watch = Callable[..., Watched]


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Start threads that end with the test; they look often, so that tests need not wait."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)
    started: list[Watched] = []

    def run(database: Database, **options: Any) -> Watched:
        started.append(Watched(tmp_path, database, **options))
        return started[-1]

    yield run
    for each in started:
        each.thread.finish(30)


def test_what_changes_in_the_database_is_told(database: Database, watch: Watch) -> None:
    """Whoever changed it; and it is kept for the next start before it is told."""
    watched = watch(database)
    empty = watched.next()
    assert (empty.keys_are, empty.state is not None and empty.state.key_count) == (CURRENT, 0)
    add_key(database, PEPPER, ONE, "k1")
    added = watched.next()
    assert added.state is not None
    assert (added.keys_are, added.state.key_count) == (CURRENT, 1)
    assert watched.kept.read() == added.state
    revoke_key(database, "k1")
    gone = watched.next()
    assert gone.state is not None
    assert gone.state.key_count == 0
    assert gone.state.key_table not in ("", added.state.key_table)


def test_of_many_keys_what_was_taken_away_is_told_first(
    database: Database, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ahead of the table, which takes longer, and kept before that; then the table has it."""
    monkeypatch.setattr(module, "MANY_KEYS", 2)
    add_project(database, Project("p1", "one"))
    add_key(database, PEPPER, ONE, "k1")
    add_key(database, PEPPER, TWO, "k2", project="p1")
    watched = watch(database)
    before = watched.next().state
    assert before is not None
    with database.transaction() as connection:
        assert keys.revoke(connection, ["k1"], time.time()) == 1
        projects.change(connection, "p1", 1, 2.0, {"active": False})
    first, then = watched.next().state, watched.next().state
    assert first is not None
    assert then is not None
    assert (first.revoked, first.projects["p1"].active) == (["k1"], False)
    assert (first.key_table, first.changes) == (before.key_table, before.changes)
    assert (then.revoked, then.projects["p1"].active, then.key_count) == ([], False, 1)
    assert then.key_table != first.key_table
    assert then.changes > first.changes


def test_a_kept_state_is_told_again_only_if_something_has_changed(database: Database, watch: Watch) -> None:
    """A start reads a hundred thousand keys for nobody."""
    add_key(database, PEPPER, ONE, "k1")
    first = watch(database)
    told = first.next()
    first.thread.finish(30)
    second = watch(database)
    again = second.next()
    assert told.state is not None
    assert again.state is not None
    assert again.keys_are == CURRENT
    assert again.state.key_table == told.state.key_table
    assert again.state.keys == []


@pytest.mark.parametrize(("max_age", "keys_are"), [(3600.0, STALE), (0.001, EXPIRED)])
def test_a_database_that_is_away_makes_keys_stale_and_later_expired(
    tmp_path: Path, watch: Watch, max_age: float, keys_are: str
) -> None:
    """Known ones are served for so long; when it is back all is as before."""
    path = tmp_path / "flumegate.db"
    with opened(f"sqlite:///{path}") as database:
        add_key(database, PEPPER, ONE, "k1")
        watched = watch(database, max_age=max_age)
        current = watched.next()
        path.rename(tmp_path / "away.db")
        away = watched.next()
        while away.keys_are != keys_are:
            away = watched.next()
        assert away.state is not None
        assert current.state is not None
        assert away.state.key_table == current.state.key_table
        (tmp_path / "away.db").rename(path)
        while (back := watched.next()).keys_are != CURRENT:
            pass
        assert back.state is not None
        assert back.state.key_count == 1


def test_another_database_in_its_place_is_read_anew(tmp_path: Path, watch: Watch) -> None:
    """Also if it is at the same count of changes. The old one's log, which a reader left, is moved away with it."""
    path = tmp_path / "flumegate.db"
    with opened(f"sqlite:///{path}") as database, opened(f"sqlite:///{tmp_path / 'other.db'}") as other:
        add_key(database, PEPPER, ONE, "k1")
        watched = watch(database)
        first = watched.next()
        add_key(other, PEPPER, TWO, "k2")
        other.close()
        with database.reader():
            database.close()
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).rename(tmp_path / f"away-{name}")
        (tmp_path / "other.db").rename(path)
        while (second := watched.next()).state == first.state or second.keys_are != CURRENT:
            pass
        assert first.state is not None
        assert second.state is not None
        assert second.state.installation != first.state.installation
        assert second.state.key_table != first.state.key_table


def test_master_keys_of_another_database_are_refused(database: Database, watch: Watch, tmp_path: Path) -> None:
    """Nothing is sealed under them, and the reason names the right one."""
    watched = watch(database)
    watched.next()
    watched.thread.finish(30)
    (tmp_path / STATE_NAME).unlink()
    assert RING.write_id in watch(database, ring=STRANGE).refusals.get(timeout=30)


def test_a_row_that_holds_nonsense_ends_nothing(database: Database, watch: Watch) -> None:
    """The keys before stay in use until somebody has mended it."""
    add_key(database, PEPPER, ONE, "k1")
    watched = watch(database)
    first = watched.next()
    for models, keys_are in (("no list", STALE), ("[]", CURRENT)):
        with database.transaction() as connection:
            connection.execute(update(table).values(models=models))
            note_change(connection)
        told = watched.next()
        assert told.state is not None
        assert first.state is not None
        assert told.keys_are == keys_are
        assert told.state.key_count == first.state.key_count


# The whole gateway


def settings(url: str | None = None, **more: Any) -> dict[str, Any]:
    sections: dict[str, Any] = {"auth": {"static_keys": [OWN]}, "providers": PROVIDERS}
    if url is not None:
        sections["database"] = {"url": url}
    return sections | more


def answer(gateway: Gateway, key: str) -> tuple[int, str]:
    """Return the status and the code of a request with this key."""
    told = gateway.request("GET", "/proxy/v1/upstreams", key=key)
    return told.status, "" if told.status == 200 else told.json()["error"]["code"]


def readiness(gateway: Gateway) -> tuple[int, str, str | None]:
    told = gateway.request("GET", "/ready")
    return told.status, told.json()["status"], told.json().get("keys")


def pepper(gateway: Gateway) -> bytes:
    return (gateway.data_dir / "pepper").read_bytes()


def test_a_key_works_once_it_is_stored_and_no_more_once_it_is_revoked(tmp_path: Path) -> None:
    """On a loaded worker, without a restart; the next start serves by it from its first answer on."""
    url = f"sqlite:///{tmp_path / 'flumegate.db'}"
    data = tmp_path / "data"
    with run_gateway(config=settings(url), data_dir=data) as gateway, opened(url) as database:
        assert answer(gateway, ONE) == (401, "invalid_api_key")
        for text, name in ((ONE, "k1"), (TWO, "k2")):
            add_key(database, pepper(gateway), text, name)
        gateway.output.wait_for("snapshot_applied")
        until(gateway, ONE, (200, ""))
        until(gateway, TWO, (200, ""))
        revoke_key(database, "k2")
        until(gateway, TWO, (401, "key_revoked"))
        assert answer(gateway, ONE) == (200, "")
        assert gateway.stop() == 0
        with run_gateway(config=settings(url), data_dir=data) as again:
            assert [answer(again, key) for key in (ONE, TWO, OWN)] == [
                (200, ""),
                (401, "key_revoked"),
                (200, ""),
            ]


def until(gateway: Gateway, key: str, expected: tuple[int, str]) -> None:
    """Ask until the answer is this; how long that may take is a matter of `make faults`."""
    limit = time.monotonic() + 30
    while answer(gateway, key) != expected:
        assert time.monotonic() < limit, f"{answer(gateway, key)} stays, and should become {expected}"
        time.sleep(0.02)  # a client that tries again


def test_a_server_that_is_away_stops_no_key_that_is_known(tmp_path: Path) -> None:
    """Stopped or frozen: known keys are served, unknown ones told to come again; also over a start without it."""
    data = tmp_path / "data"
    with postgres_cluster() as cluster:
        url = cluster.create_database()
        config = settings(url)
        with run_gateway(config=config, data_dir=data) as gateway:
            with opened(url) as database:
                add_key(database, pepper(gateway), ONE, "k1")
            until(gateway, ONE, (200, ""))
            gateway.output.wait_for("keys_current")
            cluster.freeze()
            gateway.output.wait_for("keys_stale")
            until(gateway, TWO, (503, "keys_unavailable"))
            assert answer(gateway, ONE) == answer(gateway, OWN) == (200, "")
            assert readiness(gateway) == (200, "degraded", "stale")
            cluster.thaw()
            gateway.output.wait_for("keys_current", count=2)
            until(gateway, TWO, (401, "invalid_api_key"))
            assert readiness(gateway) == (200, "ok", None)
            cluster.stop()
            gateway.output.wait_for("keys_stale", count=2)
            assert answer(gateway, ONE) == (200, "")
            gateway.kill(gateway.control_pid())
            gateway.output.wait_for("control_resumed")
            assert answer(gateway, ONE) == (200, "")
            assert gateway.stop() == 0
        with run_gateway(config=config, data_dir=data) as again:
            assert answer(again, ONE) == answer(again, OWN) == (200, "")
            assert answer(again, TWO) == (503, "keys_unavailable")
            cluster.start()
            again.output.wait_for("keys_current")
            until(again, TWO, (401, "invalid_api_key"))


def test_machines_of_one_installation_know_the_same_keys(tmp_path: Path, postgres: Postgres) -> None:
    """They share a database and the master key; what keys are hashed with the first one gives to the others."""
    url = postgres.create_database()
    env = {"MASTER": "a-master-key-of-all-machines-0123456789"}
    config = settings(url, encryption={"keys": ["env:MASTER"]})
    with (
        run_gateway(config=config, env=env) as first,
        opened(url) as database,
    ):
        first.output.wait_for("keys_current")
        with run_gateway(config=config, env=env, data_dir=tmp_path / "data") as second:
            second.output.wait_for("keys_current")
            add_key(database, pepper(first), ONE, "k1")
            for gateway in (first, second):
                until(gateway, ONE, (200, ""))
                until(gateway, OWN, (200, ""))
            assert pepper(second) == pepper(first)
            revoke_key(database, "k1")
            for gateway in (first, second):
                until(gateway, ONE, (401, "key_revoked"))
            assert second.stop() == 0
        with run_gateway(config=config, env=env, data_dir=tmp_path / "data") as again:
            assert answer(again, OWN) == (200, "")


def test_keys_that_nobody_confirms_expire(tmp_path: Path) -> None:
    """Those of the configuration do not."""
    url = f"sqlite:///{tmp_path / 'flumegate.db'}"
    auth = {"static_keys": [OWN], "keys_max_age": 1}
    with run_gateway(config=settings(url, auth=auth)) as gateway:
        with opened(url) as database:
            add_key(database, pepper(gateway), ONE, "k1")
        until(gateway, ONE, (200, ""))
        (tmp_path / "flumegate.db").rename(tmp_path / "away.db")
        # Otherwise the next record would make a new, empty one.
        (tmp_path / "flumegate.db").mkdir()
        gateway.output.wait_for("keys_expired")
        until(gateway, ONE, (503, "keys_unavailable"))
        assert answer(gateway, OWN) == (200, "")


def test_limits_that_nobody_could_hold_stop_the_start(tmp_path: Path) -> None:
    """Several workers, no Redis, and a key with a limit: refused with both ways out; found out later, it is told."""
    url = f"sqlite:///{tmp_path / 'flumegate.db'}"
    data = tmp_path / "data"
    with run_gateway(config=settings(url, server={"workers": 2}), data_dir=data) as gateway:
        until_kept(data)
        with opened(url) as database:
            add_key(database, pepper(gateway), ONE, "k1", limits=Limits(requests_per_minute=5))
        gateway.output.wait_for("limits_not_held")
        assert gateway.stop() == 0
    with run_gateway(config=settings(url, server={"workers": 2}), data_dir=data, wait=False) as gateway:
        assert gateway.process.wait(30) == 1
        gateway.output.wait_for("the limits of key k1 cannot be held")
        assert "redis.url" in gateway.logs()
    (data / STATE_NAME).unlink()
    with run_gateway(config=settings(url, server={"workers": 2}), data_dir=data, wait=False) as gateway:
        assert gateway.process.wait(60) == 1
        gateway.output.wait_for("database_refused")
    with run_gateway(config=settings(url), data_dir=data) as gateway:
        assert answer(gateway, ONE) == (200, "")


def test_a_wrong_master_key_stops_the_start(tmp_path: Path) -> None:
    """Whether that shows by the kept state, by its own absence, or only once the database is open."""
    data = tmp_path / "data"
    with run_gateway(config=settings(), data_dir=data) as gateway:
        gateway.output.wait_for("console_open")
        until_kept(data)
        assert gateway.stop() == 0
    right = (data / "master.key").read_text()
    (data / "master.key").unlink()
    with run_gateway(config=settings(), data_dir=data, wait=False) as gateway:
        assert gateway.process.wait(30) == 1
        gateway.output.wait_for("give it back")
    (data / "master.key").write_text("some-other-master-key-for-tests-5555")
    (data / "master.key").chmod(0o600)
    with run_gateway(config=settings(), data_dir=data, wait=False) as gateway:
        assert gateway.process.wait(30) == 1
        gateway.output.wait_for("give the master key back")
    (data / STATE_NAME).unlink()
    with run_gateway(config=settings(), data_dir=data, wait=False) as gateway:
        assert gateway.process.wait(60) == 1
        gateway.output.wait_for("database_refused")
    (data / "master.key").write_text(right)
    with run_gateway(config=settings(), data_dir=data) as gateway:
        assert answer(gateway, OWN) == (200, "")


def until_kept(data: Path) -> None:
    limit = time.monotonic() + 30
    while not (data / STATE_NAME).exists():
        assert time.monotonic() < limit
        time.sleep(0.02)  # a file says nothing that could be waited for


def test_a_control_that_was_killed_resurrects_no_key(tmp_path: Path) -> None:
    """What was revoked stays revoked, whoever dies and comes back, also on a file that has become invalid."""
    url = f"sqlite:///{tmp_path / 'flumegate.db'}"
    with run_gateway(config=settings(url)) as gateway, opened(url) as database:
        add_key(database, pepper(gateway), ONE, "k1")
        add_key(database, pepper(gateway), TWO, "k2")
        until(gateway, ONE, (200, ""))
        until(gateway, TWO, (200, ""))
        revoke_key(database, "k2")
        until(gateway, TWO, (401, "key_revoked"))
        gateway.write_config("server: [")
        gateway.output.wait_for("config_refused")
        gateway.kill(gateway.control_pid(), signal.SIGKILL)
        gateway.output.wait_for("control_resumed")
        (worker,) = gateway.worker_pids()
        gateway.kill(worker)
        gateway.output.wait_for('"serving"', count=2)
        assert answer(gateway, TWO)[0] in (401, 503)
        assert answer(gateway, ONE) == (200, "")
        gateway.write_config(settings(url))
        gateway.output.wait_for("config_unchanged")
        revoke_key(database, "k1")
        until(gateway, ONE, (401, "key_revoked"))
