from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flumegate.processes import recording
from flumegate.processes.recording import Recording
from flumegate.records.request import Content
from flumegate.records.stored import Stored, Wanted
from flumegate.spool.append import SpoolWriter
from flumegate.spool.segments import frame
from rig.gateway import Gateway, run_gateway
from rig.records import make_record

KEY = "sk-test-recording-canary"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
SETTINGS: dict[str, Any] = {
    "auth": {"static_keys": [KEY]},
    "providers": {"up": {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "default": True}},
}


def ask(gateway: Gateway, count: int = 1) -> None:
    """Send requests that fail at the provider, each of which is one record."""
    for _ in range(count):
        assert gateway.request("POST", "/v1/chat/completions", body=CHAT, key=KEY).status == 502


def ids(gateway: Gateway) -> list[str]:
    return [row["id"] for row in gateway.records() if row["endpoint"] == "chat"]


def test_what_was_answered_is_stored_when_the_gateway_has_stopped() -> None:
    """The stop carries the last records from the spool into the database, each once."""
    with run_gateway(config=SETTINGS) as gateway:
        ask(gateway, 20)
        assert gateway.stop() == 0
        assert len(ids(gateway)) == len(set(ids(gateway))) == 20


def test_killed_workers_and_controls_lose_and_double_nothing() -> None:
    """Records live in the spool from the moment of the answer, whoever dies next."""
    with run_gateway(config=SETTINGS) as gateway:
        for turn in range(1, 4):
            ask(gateway, 5)
            gateway.kill(gateway.control_pid())
            ask(gateway, 5)
            (worker,) = gateway.worker_pids()
            gateway.kill(worker)
            ask(gateway, 5)
            gateway.output.wait_for("control_resumed", count=turn)
        assert gateway.stop() == 0
        assert len(ids(gateway)) == len(set(ids(gateway))) == 45


def test_a_broken_database_stops_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """Requests go on, the state is logged once, and the records are there when the database is back."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    database = data / "flumegate.db"
    database.mkdir()
    with run_gateway(config=SETTINGS, data_dir=data) as gateway:
        ask(gateway, 3)
        gateway.output.wait_for("store_unavailable")
        ask(gateway, 3)
        database.rmdir()
        gateway.output.wait_for("store_available")
        assert gateway.logs().count("store_unavailable") == 1
        assert gateway.stop() == 0
        assert len(ids(gateway)) == 6


def test_records_that_a_stop_could_not_store_are_stored_at_the_next_start(tmp_path: Path) -> None:
    """The spool outlives the gateway."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "flumegate.db").mkdir()
    with run_gateway(config=SETTINGS, data_dir=data) as gateway:
        ask(gateway, 3)
        assert gateway.stop() == 0
    (data / "flumegate.db").rmdir()
    with run_gateway(config=SETTINGS, data_dir=data) as gateway:
        assert gateway.stop() == 0
        assert len(ids(gateway)) == 3


@pytest.mark.parametrize("days", [1, 365])
def test_old_records_are_deleted_at_the_start(tmp_path: Path, days: int) -> None:
    """Retention is counted in days of the setting, and nothing younger is touched."""
    settings = SETTINGS | {"records": {"retention_days": days}}
    data = tmp_path / "data"
    with run_gateway(config=settings, data_dir=data) as gateway:
        ask(gateway, 2)
        assert gateway.stop() == 0
    with sqlite3.connect(data / "flumegate.db") as database:
        first = database.execute("SELECT min(id) FROM requests WHERE endpoint = 'chat'").fetchone()[0]
        database.execute("UPDATE requests SET started_at = started_at - 2 * 86400 WHERE id = ?", (first,))
    database.close()
    with run_gateway(config=settings, data_dir=data) as gateway:
        if days == 1:
            gateway.output.wait_for("records_expired")
        assert gateway.stop() == 0
        assert len(ids(gateway)) == (1 if days == 1 else 2)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SpoolWriter]:
    made = SpoolWriter(tmp_path / "spool", "w0", max_bytes=1_000_000)
    yield made
    made.close()


def make_recording(folder: Path) -> Recording:
    return Recording(
        spool=folder / "spool", database_url=f"sqlite:///{folder}/flumegate.db", retention_days=1, live=False
    )


def test_a_question_finds_what_was_written_a_moment_ago(tmp_path: Path, writer: SpoolWriter) -> None:
    """The spool is carried before the store is asked, at any moment and for every answer anew."""
    asked = make_recording(tmp_path)
    asked.start()
    try:
        for number in range(20):
            record = make_record(
                number, endpoint="responses", lane="translated", response_bytes=2, started_at=time.time()
            )
            writer.write([frame(msgspec.msgpack.encode(record))])
            writer.write_content([frame(msgspec.msgpack.encode(Content(record.id, b"{}", b"[]")))])
            wanted = Wanted(record.id, record.key_id, record.project)
            assert asked.look_up(wanted) == Stored("found", b"{}", b"[]")
            assert asked.look_up(Wanted(record.id, record.key_id, record.project, forget=True)).state == "found"
            assert asked.look_up(wanted) == Stored("deleted")
    finally:
        assert asked.finish(10)


def test_a_question_that_cannot_be_answered_says_so(
    tmp_path: Path, writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the store is open, and while it cannot be written."""
    monkeypatch.setattr(recording, "CATCH_UP_SECONDS", 0.05)
    (tmp_path / "flumegate.db").mkdir()
    asked = make_recording(tmp_path)
    wanted = Wanted("0123456789abcdef", "", "")
    assert asked.look_up(wanted) == Stored("unavailable")
    writer.write([frame(msgspec.msgpack.encode(make_record(1)))])
    asked.start()
    try:
        assert asked.look_up(wanted) == Stored("unavailable")
    finally:
        asked.finish(10)
