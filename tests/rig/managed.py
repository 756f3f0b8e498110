"""A gateway whose keys, projects and budgets are made through its management API, and crowds that use them.

Only output costs: ten micro-dollars a token. A request of `ask` may take ten tokens and takes them, so what is held
for it is what it costs, a hundred micro-dollars, and a budget for N calls is N times COST.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from rig import raw, road
from rig.gateway import Gateway
from rig.mock import Mock

TOKENS = 10
COST = TOKENS * 10
PRICES = {"up/*": {"input": 0, "output": 10}, "ill/*": {"input": 0, "output": 10}}
KNOWN_IN_A_ROW = 12
"""Answers on connections of their own, one after the other: every worker has given some of them."""
NUMBER = itertools.count()
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Key(NamedTuple):
    """A client key."""

    id: str
    text: str
    project: str


class Asked(NamedTuple):
    """One request: the name that its record, its nonce and its answer have, and what became of it."""

    name: str
    model: str
    key: Key
    status: int
    code: str
    body: bytes
    complete: bool


def settings(
    mock: Mock, *, workers: int, redis: str | None = None, redis_seconds: float = 5.0, **sections: Any
) -> dict[str, Any]:
    """Return a configuration with models for each way in which a request may go.

    `redis_seconds`: a request's patience with Redis; longer than usual, for tests in which nothing is wrong with it.
    """
    targets = {
        "m": [f"up/m+tokens={TOKENS}"],
        "retried": [f"up/retried+tokens={TOKENS},status=503,times=1"],
        "fallen": ["ill/fallen+status=500", f"up/fallen+tokens={TOKENS}"],
        "silent": [f"up/silent+tokens={TOKENS},no_usage"],
        "cached": [f"up/cached+tokens={TOKENS},cached=1"],
        "slow": [f"up/slow+tokens={TOKENS},latency_ms=300"],
        "hangs": [f"up/hangs+tokens={TOKENS},hang=2"],
        "silence": ["up/silence+hang=0"],
        "fails": ["up/fails+status=500"],
        "cut": [f"up/cut+tokens={TOKENS},cut=700"],
    }
    sections.setdefault("routing", {})
    sections["routing"] = {
        "retry": {"max_retries": 2, "initial_delay": 0.01},
        "breaker": {"enabled": False},
    } | sections["routing"]
    if redis is not None:
        sections["redis"] = {"url": redis, "timeout": redis_seconds}
    return road.settings(
        {"up": road.compatible(mock.port), "ill": road.compatible(mock.port)},
        models={name: {"targets": each} for name, each in targets.items()},
        prices=PRICES,
        server={"workers": workers},
        **sections,
    )


class Managed:
    """The management API of a running gateway."""

    def __init__(self, gateway: Gateway, *, opened: int = 1) -> None:
        """Wait until it has been opened so many times: once for each control process."""
        self.gateway = gateway
        self.port = int(gateway.wait_console(count=opened).rstrip("/").rpartition(":")[2])
        # The console opens before the store does.
        road.eventually(lambda: self.request("GET", "/manage/keys")[0] == 200, "the store is open", seconds=60)

    def request(self, method: str, path: str, body: Any = None, *, token: str = "") -> tuple[int, bytes]:
        """Return status and body of one answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"authorization": f"Bearer {token or self.gateway.admin_token}"}
        if body is not None:
            headers["content-type"] = "application/json"
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return what the API answers.

        Raises:
            AssertionError: it refuses.
        """
        status, text = self.request(method, path, body)
        assert 200 <= status < 300, (status, text)
        return json.loads(text) if text else None

    def project(self, **fields: Any) -> str:
        """Make a project and return its id."""
        return str(self.ask("POST", "/manage/projects", {"name": f"team-{next(NUMBER)}"} | fields)["id"])

    def key(self, project: str, **fields: Any) -> Key:
        """Make a key; use it after `known`."""
        made = self.ask("POST", "/manage/keys", {"project_id": project} | fields)
        return Key(made["id"], made["key"], project)

    def known(self, *keys: Key) -> None:
        """Return once all workers know these keys."""
        for key in keys:
            road.eventually(lambda key=key: self._is_known(key), f"every worker knows {key.id}")  # type: ignore[misc]  # a bound default

    def spent(self, scope: str, period: str = "total") -> int:
        """Return what the database says was spent on a budget."""
        budgets = self.ask("GET", f"/manage/budgets?scope={scope}")["budgets"]
        return int(next(each["spent_micros"] for each in budgets if each["period"] == period))

    def _is_known(self, key: Key) -> bool:
        asked = raw.request("/v1/models", key=key.text)
        return all(raw.ask(self.gateway.port, asked).status != 401 for _ in range(KNOWN_IN_A_ROW))


def request(model: str, name: str, key: Key, *, stream: bool = False, text: str = "", **more: Any) -> bytes:
    """Return a request as bytes, of at most so many tokens as its model answers."""
    body = {"max_tokens": TOKENS} | more
    body |= road.chat(model, text or f"nonce-{name} hello", stream=stream)
    return raw.request("/v1/chat/completions", body, key=key.text, headers=[("x-request-id", name)])


def ask(gateway: Gateway, key: Key, model: str = "m", *, stream: bool = False, name: str = "", **more: Any) -> Asked:
    """Send one request on a connection of its own and read its answer."""
    name = name or f"managed-{next(NUMBER)}"
    try:
        answer = raw.ask(gateway.port, request(model, name, key, stream=stream, **more))
    except (AssertionError, OSError):
        return Asked(name, model, key, 0, "broken", b"", complete=False)
    code = answer.code if answer.status >= 400 else ""
    return Asked(name, model, key, answer.status, code, answer.body, answer.complete)


def at_once(act: Callable[[_Item], _Result], items: Iterable[_Item], *, clients: int) -> list[_Result]:
    """Return what each item becomes, that many at the same time."""
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(act, items))


def calls_of(mock: Mock, asked: Sequence[Asked]) -> dict[str, list[dict[str, Any]]]:
    """Return the upstream's calls of each request, by its name."""
    wanted = {f"nonce-{each.name}": each.name for each in asked}
    found: dict[str, list[dict[str, Any]]] = {each.name: [] for each in asked}
    for row in mock.ledger():
        if row["nonce"] in wanted:
            found[wanted[row["nonce"]]].append(row)
    return found


def table(gateway: Gateway, question: str, *values: object) -> list[tuple[Any, ...]]:
    """Return what the database in the data folder answers."""
    path = gateway.data_dir / "flumegate.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        return database.execute(question, values).fetchall()


def recorded(gateway: Gateway, asked: Sequence[Asked], *, seconds: float = 60) -> dict[str, dict[str, Any]]:
    """Return the one record of each request that was answered, once all are stored."""
    names = {each.name for each in asked}

    def look() -> list[dict[str, Any]]:
        rows = [row for row in road.rows(gateway) if row["request_id"] in names]
        return rows if len(rows) >= len(names) else []

    rows = road.eventually(look, f"{len(names)} records", seconds=seconds)
    found = {row["request_id"]: row for row in rows}
    assert len(found) == len(rows), "a request was recorded twice"
    return found
