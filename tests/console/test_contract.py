"""The API against its own description: what it says of itself holds, and nothing that is sent makes it fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from flumegate.console.application import ENDPOINTS, compose
from flumegate.snapshot import Snapshot
from rig.console import BEARER, opened
from rig.desk import desk_on

NEEDS_WORKERS = frozenset({"/manage/explain", "/manage/targets"})
"""They answer 503 where there are no workers, which is a fault of the server's in the eyes of the check."""


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A console in a thread of its own."""
    folder = tmp_path_factory.mktemp("contract")
    told: list[str] = []
    ready, over = threading.Event(), threading.Event()

    async def serve() -> None:
        with desk_on(f"sqlite:///{folder / 'flumegate.db'}", folder) as desk:
            async with opened(folder, desk, Snapshot(version=1, providers={})) as (client, _):
                told.append(str(client.base_url))
                ready.set()
                await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(30)
    yield told[0].rstrip("/")
    over.set()
    thread.join()


def test_whatever_is_sent_is_answered_as_described(console: str) -> None:
    """Every operation with made-up, valid and invalid input: no failure of ours, and no answer of another shape."""
    schema: Any = schemathesis.openapi.from_url(f"{console}/manage/openapi.json", headers=BEARER)
    tried = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.startswith(tuple(NEEDS_WORKERS)):
            continue
        tried.add((operation.method.upper(), operation.path))
        _try(operation, console)
    wanted = {
        (endpoint.method, endpoint.path)
        for endpoint in ENDPOINTS
        if not endpoint.path.startswith(tuple(NEEDS_WORKERS)) and "/manage/openapi" not in endpoint.path
    }
    assert tried >= wanted


def test_the_headers_that_work_are_described() -> None:
    """If-Match and ETag for what has a version, Idempotency-Key for what is done once: there, and nowhere else."""
    taken: dict[str, set[str]] = {"If-Match": set(), "Idempotency-Key": set(), "ETag": set()}
    for path, methods in compose().openapi()["paths"].items():
        for method, operation in methods.items():
            headers = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "header"]
            for answer in operation["responses"].values():
                headers += answer.get("headers", ())
            for name in headers:
                taken[name].add(f"{method.upper()} {path}")
    keys = {f"{base}/{{key_id}}" for base in ("/manage/keys", "/manage/tokens")}
    shown = {f"{method} {path}" for method in ("GET", "PATCH") for path in (*keys, "/manage/projects/{project_id}")}
    changed = {f"{method} /manage/budgets" for method in ("PUT", "DELETE")} | {"POST /manage/budgets/raise"}
    changed |= {f"DELETE {path}" for path in keys} | {f"POST {path}/rotate" for path in keys}
    assert taken["ETag"] == shown
    assert taken["If-Match"] == changed | {each for each in shown if each.startswith("PATCH")}
    once = {f"POST {endpoint.path}" for endpoint in ENDPOINTS if "AskedOf" in endpoint.answer.__annotations__.values()}
    assert taken["Idempotency-Key"] == once
    assert {"POST /manage/keys", "POST /manage/projects", "POST /manage/admin-tokens"} <= once


def _try(operation: Any, console: str) -> None:
    @settings(
        max_examples=12, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy())
    def send(case: Any) -> None:
        case.call_and_validate(
            base_url=console,
            headers=BEARER,
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )

    send()
