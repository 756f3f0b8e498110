"""Row 22: the disk that holds database, spool and log is full, and no client notices.

The client's own count of whole answers is the oracle: answered = stored + dropped, to the record.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rig import raw, road
from rig.databases import is_whole
from rig.disk import small_disk
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.load import Load
from rig.mock import Mock, run_mock

DISK_KIB = 64 * 1024
"""Enough for what is stored before and after; a ballast takes the rest meanwhile."""
NORMAL_SECONDS = 10.0


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


def fill(path: Path) -> None:
    """Write until nothing is left."""
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass


def dropped(gateway: Gateway) -> int:
    return int(road.metrics(gateway)["flumegate_records_dropped_total"])


def stored(gateway: Gateway, what: str = "*") -> int:
    """Return how many records of the load there are."""
    found = road.rows(gateway, "request_id LIKE 'load-%'", columns=f"count({what}) AS counted")
    return int(found[0]["counted"]) if found else 0


def settled_drops(gateway: Gateway, load: Load) -> int:
    """Return the number of drops if fifty more answers cost none, else 0."""
    before = dropped(gateway)
    load.wait_for(50)
    return before if dropped(gateway) == before else 0


def manage(gateway: Gateway, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Return status and document of one answer of the management API."""
    port = int((gateway.data_dir / "console.url").read_text().strip().rstrip("/").rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"authorization": f"Bearer {gateway.admin_token}", "content-type": "application/json"}
    with contextlib.closing(connection):
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def can_manage(gateway: Gateway) -> bool:
    """Tell whether the console is open and its store is."""
    return (gateway.data_dir / "console.url").exists() and manage(gateway, "GET", "/manage/projects")[0] == 200


@pytest.mark.parametrize(
    ("clients", "answers"),
    [pytest.param(4, 1_000, id="small"), pytest.param(20, 20_000, id="stated", marks=pytest.mark.faults)],
)
@pytest.mark.parametrize("content", ["metadata", "full"])
def test_a_full_disk_stops_no_request_and_every_loss_is_counted(
    mock: Mock, tmp_path: Path, content: str, clients: int, answers: int
) -> None:
    """Database, spool and log have no room; what is asked is answered; with room all is as before, by itself."""
    config = road.settings({"up": road.compatible(mock.port, default=True)}, records={"content": content})
    disk = tmp_path / "disk"
    disk.mkdir()
    with (
        small_disk(disk, DISK_KIB),
        run_gateway(config=config, data_dir=disk / "data", log_file=disk / "log") as gateway,
    ):
        road.eventually(lambda: can_manage(gateway), "the console is open")
        ballast = disk / "ballast"
        pids = [gateway.control_pid(), *gateway.worker_pids()]
        with Load(gateway, clients) as load:
            load.wait_for(50)
            fill(ballast)
            load.wait_for(answers)
            # What contents gave up has room for records: that is taken as well.
            fill(ballast)
            road.eventually(lambda: dropped(gateway), "records are dropped")
            load.wait_for(answers // 2)
            changed = manage(gateway, "POST", "/manage/projects", {"name": "of-a-full-disk"})
            ready = raw.ask(gateway.port, raw.request("/ready")).status
            ballast.unlink()
            freed = time.monotonic()
            normal = f"normal-{content}-{clients}"
            before = road.eventually(lambda: settled_drops(gateway, load), "no more drops once there is room")
            ask = raw.request("/v1/chat/completions", road.chat(), key=road.KEY, headers=[("x-request-id", normal)])
            assert raw.ask(gateway.port, ask).status == 200
            road.eventually(lambda: road.rows(gateway, "request_id = ?", normal), "a new record is stored")
            seconds = time.monotonic() - freed
            load.wait_for(200)
        lost = dropped(gateway)
        road.eventually(lambda: stored(gateway) + lost >= len(load.answered), "answered = stored + dropped", seconds=60)
        counted = stored(gateway)
        figure(22, f"contents {content}: errors: {load.broken + load.refused.total()} of {len(load.answered)} (0)")
        figure(22, f"dropped: {lost}, answered - stored - dropped: {len(load.answered) - counted - lost} (0)")
        figure(
            22,
            f"database whole: {is_whole(gateway.data_dir / 'flumegate.db')} (True), normal after {seconds:.1f} s (10)",
        )
        assert (load.broken, load.refused) == (0, {})
        assert (counted + lost, counted) == (len(load.answered), stored(gateway, "DISTINCT request_id"))
        assert lost == before
        assert is_whole(gateway.data_dir / "flumegate.db")
        projects = {each["name"] for each in manage(gateway, "GET", "/manage/projects")[1]["projects"]}
        # A file that had room inside itself may have taken it.
        assert (changed[0] in (201, 503), changed[0] == 201) == (True, "of-a-full-disk" in projects), changed
        assert ready == 200
        assert manage(gateway, "POST", "/manage/projects", {"name": "of-a-disk-with-room"})[0] == 201
        assert [gateway.control_pid(), *gateway.worker_pids()] == pids
        if answers > 1_000:
            assert seconds <= NORMAL_SECONDS
