"""What a worker has counted of a key is what the records say of it: a worker that begins later counts on from there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from flumegate.processes.balances import read_sought
from flumegate.records.access import Budget, Key, Limits, Project
from flumegate.records.balance import Balance, Sought
from flumegate.records.request import Record
from flumegate.snapshot import Mirror, Route, Target
from flumegate.spool.tail import SpoolReader
from flumegate.store.ingest import Ingest
from rig.metered import MICROS_A_TOKEN, calls, chat, known
from rig.mock import Mock, run_mock
from rig.worker import Worker, run_worker, until

PLENTY = 10**9
SOUGHT = Sought(("key:k", "project:p1"), ("key:k@total", "project:p1@total", "model:m@total"))


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    async with run_worker(tmp_path) as running:
        yield running


def limited(worker: Worker, mock: Mock, **fields: Any) -> None:
    """Give the worker a key with a count for life, and budgets that are its own, its project's and a model's."""
    own, projects, models = (Budget(scope, "total", PLENTY) for scope in ("key:k", "project:p1", "model:m"))
    key = Key("k", project="p1", limits=Limits(max_requests=90), budgets=(own,))
    project = Project("p1", "one", limits=Limits(concurrency=90), budgets=(projects,))
    given = {"projects": {"p1": project}, "model_budgets": {models.scope: (models,)}}
    worker.apply(known(mock, **given, **fields), {"sk-one": key})


async def records(worker: Worker, count: int) -> list[Record]:
    """Return the records of this worker, once there are so many."""
    reader, found = SpoolReader(worker.folder / "spool"), []

    def look() -> bool:
        found.extend(reader.read(1_000).records)
        return len(found) >= count

    await until(look)
    return found


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
    limited(worker, mock, models={"m": copied, "shadow": Route((Target("up", "shadow+tokens=10"),))})
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
