"""Row 34: no answer for another tenant, and none in another's records or usage.

Many keys of many projects take turns on the same connections, with equal and nearly equal prompts, coalescing on, and
clients that leave at any moment. Each prompt carries a nonce, each project a credential of its own: the mock's ledger
says who was served what, in whose name.
"""

from __future__ import annotations

import collections
import random
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from rig import managed, raw, road
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.managed import Key, Managed, at_once, recorded, table
from rig.mock import Mock, run_mock
from rig.redis import redis_server

PROJECTS, KEYS_EACH = 10, 2
CLIENTS = 12
NONCE = re.compile(rb"nonce-[\w-]+")
MODELS = {
    "echo": {"targets": ["up/echo"]},
    "vectors": {"targets": ["up/vectors+latency_ms=30"], "coalesce": True},
}


class Visit(NamedTuple):
    """One request, and what came back: nothing where its client left."""

    name: str
    key: Key
    kind: str
    status: int
    body: bytes


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


def credential_of(number: int) -> str:
    return f"sk-of-project-{number:02d}-0123456789"


def visit_all(gateway: Gateway, keys: list[Key], seed: int, count: int) -> list[Visit]:
    """Ask on one connection with a key after the other; leave sometimes, and come again."""
    dice = random.Random(seed)
    visits: list[Visit] = []
    while len(visits) < count:
        with raw.wire(gateway.port) as wire:
            while len(visits) < count:
                key, kind = dice.choice(keys), dice.choice(("whole", "stream", "vectors"))
                name = f"t{seed:02d}-{len(visits):05d}"
                wire.data.clear()
                wire.send(_request(name, key, kind))
                if leaves := dice.random() < 0.1:
                    if dice.random() < 0.5:
                        wire.receive(1)
                    visits.append(Visit(name, key, kind, 0, b""))
                else:
                    (answer,) = wire.answers(1)
                    assert answer.complete
                    visits.append(Visit(name, key, kind, answer.status, answer.body))
                if leaves:
                    break
    return visits


def _request(name: str, key: Key, kind: str) -> bytes:
    """Return a request whose prompt is nearly everybody's, or, for vectors, exactly everybody's."""
    if kind != "vectors":
        return managed.request("echo", name, key, stream=kind == "stream", max_tokens=100)
    body = {"model": "vectors", "input": "nonce-shared heron"}
    return raw.request("/v1/embeddings", body, key=key.text, headers=[("x-request-id", name)])


def in_whose_name(mock: Mock, nonce: str) -> collections.Counter[str]:
    """Return how many calls of a nonce came with each credential."""
    heads = [dict(row["headers"]) for row in mock.ledger(tag=nonce)]
    return collections.Counter(head["authorization"].removeprefix("Bearer ") for head in heads)


@pytest.mark.parametrize("each", [40, pytest.param(2_000, marks=pytest.mark.faults)])
def test_nobody_gets_what_is_anothers(mock: Mock, each: int) -> None:
    """Every answer, call, record and sum of usage belongs to whoever asked."""
    mock.clear()
    with redis_server() as redis:
        config: dict[str, Any] = managed.settings(mock, workers=2, redis=redis.url)
        config["models"] |= MODELS
        with run_gateway(config=config) as gateway:
            managing = Managed(gateway)
            projects = [managing.project(credentials={"up": credential_of(number)}) for number in range(PROJECTS)]
            keys = [managing.key(project) for project in projects for _ in range(KEYS_EACH)]
            managing.known(*keys)
            parts = at_once(lambda seed: visit_all(gateway, keys, seed, each), range(CLIENTS), clients=CLIENTS)
            visits = [visit for part in parts for visit in part]
            answered = [visit for visit in visits if visit.status]
            rows = recorded(gateway, [_asked(visit) for visit in answered])
            credentials = {project: credential_of(number) for number, project in enumerate(projects)}
            wrong = [visit for visit in answered if not _is_own(visit)]
            in_names = _calls_in_wrong_names(mock, visits, credentials)
            misfiled = [
                visit for visit in answered if _whose(rows[visit.name]) != (visit.key.id, visit.key.project)
            ]  # fmt: skip
            shared = sum(bool(row["cache_status"]) for row in rows.values())
            _check_usage(gateway, keys)
    figure(34, f"wrong-tenant answers: {len(wrong)}, calls: {len(in_names)}, records: {len(misfiled)} of {len(visits)}")
    assert {visit.status for visit in answered} == {200}
    assert (wrong, in_names, misfiled) == ([], [], [])
    assert shared, "no answer was shared, so this proved nothing"


def _asked(visit: Visit) -> managed.Asked:
    return managed.Asked(visit.name, visit.kind, visit.key, visit.status, "", visit.body, complete=True)


def _whose(row: dict[str, Any]) -> tuple[str, str]:
    return row["key_id"], row["project"]


def _is_own(visit: Visit) -> bool:
    """Tell whether an answer says its request's nonce and no other; a vector says none."""
    if visit.kind == "vectors":
        return b'"embedding"' in visit.body and not NONCE.search(visit.body)
    body = b"".join(re.findall(rb'"content":"([^"]*)"', visit.body.replace(b'": "', b'":"')))
    return set(NONCE.findall(body)) == {f"nonce-{visit.name}".encode()}


def _calls_in_wrong_names(mock: Mock, visits: list[Visit], credentials: dict[str, str]) -> list[str]:
    """Return what was asked in another project's name; vectors must have been asked for in each project's own."""
    owners = {f"nonce-{visit.name}": credentials[visit.key.project] for visit in visits if visit.kind != "vectors"}
    wrong = []
    for row in mock.ledger():
        said = dict(row["headers"])["authorization"].removeprefix("Bearer ")
        if row["nonce"] in owners and owners[row["nonce"]] != said:
            wrong.append(row["nonce"])
    wanted = {credentials[visit.key.project] for visit in visits if visit.kind == "vectors" and visit.status}
    missing = wanted - set(in_whose_name(mock, "nonce-shared"))
    return wrong + sorted(missing)


def _check_usage(gateway: Gateway, keys: list[Key]) -> None:
    """Check that each key's sum of usage is that of its records, and that nobody else has any."""
    counted = "SELECT key_id, project, count(*) FROM requests WHERE key_id <> '' GROUP BY key_id, project"
    summed = "SELECT key, project, sum(requests) FROM usage_days WHERE key <> '' GROUP BY key, project"
    road.eventually(lambda: sorted(table(gateway, counted)) == sorted(table(gateway, summed)), "usage as recorded")
    assert {(key, project) for key, project, _ in table(gateway, summed)} == {(key.id, key.project) for key in keys}
