"""Attempts and a Snapshot that changes between them: none begins with what has been withdrawn."""

from __future__ import annotations

import asyncio
import gzip
import random
from pathlib import Path

import msgspec
import pytest

from flumegate.engine.run import Engine
from flumegate.exchange import Exchange
from flumegate.gates.digest import digest
from flumegate.records.access import Key
from flumegate.snapshot import Retry, Route, Snapshot, Target
from rig import engines

KEY = b"sk-client"
REPEATED = Retry(max_retries=2, initial_delay=0.2, factor=1.0)
LATE = random.Random(0)
"""Its first draws are late ones: there is time for a Snapshot to come."""


def changed(made: Engine, **fields: object) -> Snapshot:
    return msgspec.structs.replace(made.snapshot, version=2, **fields)


def keyed(made: Engine) -> Exchange:
    exchange = engines.request(made)
    exchange.picked = {b"authorization": b"Bearer " + KEY}
    return exchange


async def waiting(made: Engine, name: str) -> None:
    """Return when a target has failed once: the request waits for its next attempt."""
    async with asyncio.timeout(20):
        while not any(health.name == name and health.failures for health in made.healths.all()):  # noqa: ASYNC110 - a value that nobody announces
            await asyncio.sleep(0)


@pytest.mark.parametrize("revoked", [False, True])
async def test_a_repeated_attempt_is_made_by_the_newest_snapshot(tmp_path: Path, *, revoked: bool) -> None:
    """The next attempt goes where a new request would go, and nowhere if the client's key is gone."""
    async with engines.running(tmp_path, {"m": Route((Target("up", "bad"),), retry=REPEATED)}) as made:
        keys = {digest(b"", KEY): Key("ann")}
        made.apply(changed(made, auth_open=False, keys=keys))
        made.dice = LATE
        exchange = keyed(made)
        running = asyncio.create_task(made.run(exchange))
        await waiting(made, "up/bad")
        made.apply(changed(made, models={"m": Route((Target("up", "quick"),))}, keys={} if revoked else keys))
        await running
        told = (exchange.status, exchange.error_code, [attempt.target for attempt in exchange.attempts])
        if revoked:
            assert told == (401, "invalid_api_key", ["up/bad"])
        else:
            assert told == (200, "", ["up/bad", "up/quick"])
        assert {(health.in_flight, health.unheard) for health in made.healths.all()} == {(0, 0)}


async def test_a_key_that_may_no_longer_use_a_model_gets_no_further_attempt(tmp_path: Path) -> None:
    """A right that was taken away while the request waited counts as one that it never had."""
    async with engines.running(tmp_path, {"m": Route((Target("up", "bad"),), retry=REPEATED)}) as made:
        made.apply(changed(made, auth_open=False, keys={digest(b"", KEY): Key("ann")}))
        made.dice = LATE
        exchange = keyed(made)
        running = asyncio.create_task(made.run(exchange))
        await waiting(made, "up/bad")
        narrowed = {digest(b"", KEY): Key("ann", models=("other",))}
        made.apply(changed(made, models={"m": Route((Target("up", "quick"),))}, keys=narrowed))
        await running
        told = (exchange.status, exchange.error_code, [attempt.target for attempt in exchange.attempts])
        assert told == (403, "model_not_permitted", ["up/bad"])


async def test_a_request_that_came_compressed_is_read_once(tmp_path: Path) -> None:
    """Its body is plain by the second look."""
    async with engines.running(tmp_path, {"m": Route((Target("up", "bad"),), retry=REPEATED)}) as made:
        made.dice = LATE
        exchange = engines.request(made, gzip.compress(engines.BODY))
        exchange.special, exchange.picked = True, {b"content-encoding": b"gzip"}
        running = asyncio.create_task(made.run(exchange))
        await waiting(made, "up/bad")
        made.apply(changed(made, models={"m": Route((Target("up", "quick"),))}))
        await running
        assert (exchange.status, exchange.body) == (200, engines.BODY)


async def test_a_changed_credential_is_used_from_the_next_attempt_on(tmp_path: Path) -> None:
    """The old one may have been withdrawn because it leaked."""
    async with engines.running(tmp_path, {"m": Route((Target("up", "bad"),), retry=REPEATED)}) as made:
        made.dice = LATE
        exchange = engines.request(made)
        running = asyncio.create_task(made.run(exchange))
        await waiting(made, "up/bad")
        up = msgspec.structs.replace(made.snapshot.providers["up"], credential="sk-new")
        made.apply(
            changed(
                made, providers={**made.snapshot.providers, "up": up}, models={"m": Route((Target("up", "quick"),))}
            )
        )
        await running
        assert exchange.status == 200
        assert exchange.plan is not None
        assert b"Bearer sk-new" in exchange.plan.head


async def test_whoever_waited_for_a_place_looks_again(tmp_path: Path) -> None:
    """The place that it was given is given back when the new Snapshot leads elsewhere."""
    narrow = Target("up", "silent", max_concurrency=1, max_queued=1, queue_seconds=600)
    async with engines.running(tmp_path, {"m": Route((narrow,))}) as made:
        first = asyncio.create_task(made.run(engines.request(made)))
        await asyncio.sleep(0)
        exchange = engines.request(made)
        running = asyncio.create_task(made.run(exchange))
        await asyncio.sleep(0)
        (silent,) = made.healths.all()
        assert (silent.in_flight, silent.queued) == (1, 1)
        made.apply(changed(made, models={"m": Route((Target("up", "quick"),))}))
        first.cancel()
        await running
        assert (exchange.status, [attempt.target for attempt in exchange.attempts]) == (200, ["up/quick"])
        assert (silent.in_flight, silent.queued, silent.unheard) == (0, 0, 0)
        await first
