"""What tests of the whole road share: settings, counters, records that are waited for, and a process's memory."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

from rig.gateway import Gateway
from rig.memory import memory_of

KEY = "sk-road-client-canary"
CREDENTIAL = "sk-road-upstream-canary"
WAIT_SECONDS = 20.0
_Value = TypeVar("_Value")


def eventually(look: Callable[[], _Value], what: str, *, seconds: float = WAIT_SECONDS) -> _Value:
    """Return what `look` returns as soon as it is true; look again and again until the time is over.

    Raises:
        AssertionError: it never was.
    """
    limit = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < limit, f"not within {seconds} s: {what}"
        time.sleep(0.01)
    return found


def compatible(port: int, **more: Any) -> dict[str, Any]:
    """Return the settings of a provider that speaks OpenAI's dialect on a port of this machine."""
    return {
        "type": "openai_compatible",
        "base_url": f"http://127.0.0.1:{port}/v1",
        "api_key": CREDENTIAL,
        **more,
    }


def anthropic(port: int, **more: Any) -> dict[str, Any]:
    """Return the settings of a provider that speaks Anthropic's dialect on a port of this machine."""
    return {"type": "anthropic", "base_url": f"http://127.0.0.1:{port}", "api_key": CREDENTIAL, **more}


def settings(providers: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """Return a configuration with one client key."""
    return {"auth": {"static_keys": [KEY]}, "providers": providers, **sections}


def chat(model: str = "m", text: str = "hello", **more: Any) -> dict[str, Any]:
    """Return a chat request."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def metrics(gateway: Gateway) -> dict[str, float]:
    """Return every sample of `/metrics` by its name with labels."""
    text = gateway.request("GET", "/metrics").body.decode()
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def rows(gateway: Gateway, where: str = "1", *values: object, columns: str = "*") -> list[dict[str, Any]]:
    """Return the records that a condition of SQL selects, oldest first; none where there is no database yet."""
    path = gateway.data_dir / "flumegate.db"
    if not path.is_file():
        return []
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        database.row_factory = sqlite3.Row
        question = f"SELECT {columns} FROM requests WHERE {where} ORDER BY sequence"  # noqa: S608 - the test's own words
        try:
            return [dict(row) for row in database.execute(question, values)]
        except sqlite3.DatabaseError:
            return []


def record(gateway: Gateway, request_id: str, *, count: int = 1) -> dict[str, Any]:
    """Return the one record of a request, once it is stored.

    Raises:
        AssertionError: it never was, or more than once.
    """

    def stored() -> list[dict[str, Any]]:
        found = rows(gateway, "request_id = ?", request_id)
        return found if len(found) >= count else []

    found = eventually(stored, f"{count} records of {request_id}")
    assert len(found) == count, f"{request_id} has {len(found)} records"
    return found[0]


def resident_kib(pid: int) -> int:
    """Return the memory that a process has in use now, in KiB."""
    return memory_of(pid).now_bytes // 1024


def peak_kib(pid: int) -> int:
    """Return the most memory that a process had in use since `forget_peak`, in KiB."""
    return memory_of(pid).peak_bytes // 1024
