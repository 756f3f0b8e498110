"""Promise: answered means recorded, whoever dies or freezes; and none of it stops traffic.

The oracle is the client's own count of complete answers, each under a request id of its own. Large figures run with the
`faults` marker, small ones always.
"""

from __future__ import annotations

import collections
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rig import raw, road
from rig.databases import is_whole
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.load import Load
from rig.mock import Mock, run_mock


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


def config(mock: Mock, **sections: Any) -> dict[str, Any]:
    """Return settings with one provider."""
    return road.settings({"up": road.compatible(mock.port, default=True)}, **sections)


def stored(gateway: Gateway) -> collections.Counter[str]:
    """Return how often each request of a load stands in the database."""
    return collections.Counter(
        row["request_id"] for row in road.rows(gateway, "request_id LIKE 'load-%'", columns="request_id")
    )


def how_many(gateway: Gateway, what: str) -> int:
    """Return a count over all records of a load."""
    found = road.rows(gateway, "request_id LIKE 'load-%'", columns=f"count({what}) AS counted")
    return int(found[0]["counted"]) if found else 0


def check_all_stored(gateway: Gateway, load: Load) -> None:
    """Check that every answered request is stored, and no request twice."""
    road.eventually(lambda: how_many(gateway, "*") >= len(load.answered), "as many records as answers", seconds=60)
    road.eventually(lambda: load.answered <= set(stored(gateway)), "all answered requests stored", seconds=60)
    assert how_many(gateway, "*") == how_many(gateway, "DISTINCT request_id") == how_many(gateway, "DISTINCT id")


def wait_for_worker(gateway: Gateway, other_than: int) -> int:
    """Return the id of the worker that has taken another one's place."""
    (found,) = road.eventually(
        lambda: [pid for pid in gateway.worker_pids() if pid != other_than], "a worker in its place"
    )
    return found


# Killed


@pytest.mark.parametrize(
    ("rounds", "more"),
    [pytest.param(3, 100, id="small"), pytest.param(30, 200, id="large", marks=pytest.mark.faults)],
)
@pytest.mark.parametrize("durability", ["fast", "durable"])
def test_killed_workers_lose_no_answered_request(mock: Mock, durability: str, rounds: int, more: int) -> None:
    """SIGKILL at any moment under load: what a client has in whole is in the database afterwards, exactly once."""
    with run_gateway(config=config(mock, records={"durability": durability})) as gateway:
        with Load(gateway, clients=6) as load:
            for _ in range(rounds):
                load.wait_for(more)
                (worker,) = gateway.worker_pids()
                gateway.kill(worker)
                wait_for_worker(gateway, worker)
            load.wait_for(more)
        check_all_stored(gateway, load)
        assert not load.refused
        assert load.broken > 0
        served = {
            row["nonce"].removeprefix("nonce-") for row in mock.ledger() if row["nonce"].startswith("nonce-load-")
        }
        assert load.answered <= served or mock.state()["older"]
        assert set(stored(gateway)) <= served or mock.state()["older"]


@pytest.mark.parametrize(
    ("rounds", "more"),
    [pytest.param(3, 100, id="small"), pytest.param(20, 200, id="large", marks=pytest.mark.faults)],
)
def test_killed_controls_are_noticed_by_no_client(mock: Mock, rounds: int, more: int) -> None:
    """Nobody's request breaks, and every record arrives exactly once though its carrier died over and over."""
    with run_gateway(config=config(mock)) as gateway:
        with Load(gateway, clients=6) as load:
            for turn in range(1, rounds + 1):
                load.wait_for(more)
                gateway.kill(gateway.control_pid())
                gateway.output.wait_for("control_resumed", count=turn)
            load.wait_for(more)
        assert (load.broken, load.refused) == (0, {})
        check_all_stored(gateway, load)
        whole = is_whole(gateway.data_dir / "flumegate.db")
        figure(23, f"kills of control under load: {rounds}, errors: {load.broken + load.refused.total()} (0)")
        figure(23, f"database whole: {whole} (True)")
        assert whole


def test_everything_killed_and_started_again(mock: Mock, tmp_path: Path) -> None:
    """Supervisor, worker and control at once: the next start stores what the last one had answered."""
    data = tmp_path / "data"
    with run_gateway(config=config(mock), data_dir=data) as gateway:
        load = Load(gateway, clients=4)
        with load:
            load.wait_for(200)
            for pid in gateway.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            gateway.process.wait(30)
            load.stop()
    with run_gateway(config=config(mock), data_dir=data) as gateway:
        check_all_stored(gateway, load)


# Frozen


def test_a_frozen_control_delays_records_and_nothing_else(mock: Mock) -> None:
    """Traffic flows while it stands still; afterwards everything is stored."""
    with run_gateway(config=config(mock)) as gateway:
        control = gateway.control_pid()
        with Load(gateway, clients=4) as load:
            load.wait_for(50)
            os.kill(control, signal.SIGSTOP)
            frozen = set(stored(gateway))
            load.wait_for(500)
            assert set(stored(gateway)) == frozen
            os.kill(control, signal.SIGCONT)
            load.wait_for(50)
        assert (load.broken, load.refused) == (0, {})
        check_all_stored(gateway, load)
        assert gateway.control_pid() == control


# Broken databases


@pytest.mark.parametrize("damage", ["folder", "garbage", "emptied"])
def test_a_broken_database_keeps_records_in_the_spool(mock: Mock, damage: str) -> None:
    """Replaced under way by a folder, by garbage or by nothing: traffic flows, and the spool is stored afterwards."""
    with run_gateway(config=config(mock)) as gateway:
        database = gateway.data_dir / "flumegate.db"
        with Load(gateway, clients=2) as load:
            load.wait_for(50)
            road.eventually(lambda: stored(gateway), "the first records")
            gateway.kill(gateway.control_pid(), signal.SIGSTOP)
            for beside in gateway.data_dir.glob("flumegate.db*"):
                beside.rename(gateway.folder / beside.name)
            if damage == "folder":
                database.mkdir()
            elif damage == "garbage":
                database.write_bytes(b"this is no database. " * 1000)
            gateway.kill(gateway.control_pid())  # while it stands still: only the next one meets the damage
            load.wait_for(200)
            gateway.output.wait_for("control_resumed")
            if damage != "emptied":
                gateway.output.wait_for("store_unavailable")
                load.wait_for(50)
                if damage == "folder":
                    database.rmdir()
                for beside in gateway.data_dir.glob("flumegate.db*"):
                    beside.unlink()
                for beside in gateway.folder.glob("flumegate.db*"):
                    beside.rename(gateway.data_dir / beside.name)
                gateway.output.wait_for("store_available", seconds=60)
        assert (load.broken, load.refused) == (0, {})
        if damage == "emptied":
            road.eventually(lambda: stored(gateway), "records in a new database")
            assert max(stored(gateway).values()) == 1
        else:
            check_all_stored(gateway, load)


# Durability


def test_durable_records_are_complete_and_their_answers_too(mock: Mock) -> None:
    """Waiting for the disk changes no byte of an answer and no field of a record."""
    said: dict[str, bytes] = {}
    for durability in ("fast", "durable"):
        with run_gateway(config=config(mock, records={"durability": durability})) as gateway:
            for stream in (True, False):
                name = f"durable-{durability}-{stream}"
                body = road.chat("m", "the same words", stream=stream)
                headers = [("x-request-id", name), ("x-mock-fault", "tokens=5")]
                answer = raw.ask(gateway.port, raw.request("/v1/chat/completions", body, key=road.KEY, headers=headers))
                assert (answer.status, answer.complete) == (200, True)
                record = road.record(gateway, name)
                assert (record["outcome"], record["output_tokens"], record["usage_source"]) == ("ok", 5, "upstream")
                said[name] = answer.body[-20:]
    assert said["durable-fast-True"] == said["durable-durable-True"]
    assert said["durable-fast-False"] == said["durable-durable-False"]
