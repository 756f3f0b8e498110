"""A Redis server for the tests of this room, empty at the beginning of each, and quotas that speak to it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from flumegate.shared.quota import SharedQuota
from rig.redis import Redis, redis_server

Quotas = Callable[..., SharedQuota]


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with redis_server() as running:
        yield running


@pytest.fixture
def redis(server: Redis) -> Redis:
    """One server for all tests of a file; it runs and is empty whatever the one before has done to it."""
    with contextlib.suppress(OSError):
        server.command("CONFIG", "SET", "maxmemory", "0")
        server.flush()
        server.command("SCRIPT", "FLUSH")
        return server
    server.restart()
    return server


@pytest.fixture
async def quotas(redis: Redis) -> AsyncIterator[Quotas]:
    """Make quotas as workers have them, but more patient, for busy machines; they are closed at the end."""
    made: list[SharedQuota] = []

    def make(url: str = redis.url, *, workers: int = 1, clock: Callable[[], float] | None = None) -> SharedQuota:
        made.append(SharedQuota(url, workers=lambda: workers, timeout_seconds=1.0, clock=clock))
        return made[-1]

    yield make
    for quota in made:
        await quota.close()
