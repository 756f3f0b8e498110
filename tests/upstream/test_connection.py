"""The clock of one call: how long silence may last, and until when the engine waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Iterator
from time import monotonic

import pytest

from flumegate.errors import GatewayError
from flumegate.snapshot import Provider, Timeouts
from flumegate.upstream.call import Call
from flumegate.upstream.connection import Connection
from flumegate.upstream.pool import Upstream
from rig.scripted import ScriptedUpstream, Step, scripted_upstream

IDLE = 60.0
BEGUN = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsome"


class Ear:
    """Who takes an answer."""

    def __init__(self) -> None:
        self.error: GatewayError | None = None

    def push(self, data: bytes) -> None:
        """Let it go."""

    def end(self) -> None:
        """Nothing else is asked."""

    def fail(self, error: GatewayError) -> None:
        self.error = error


@pytest.fixture
def scripted() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as running:
        running.play(BEGUN, Step.HANG)
        yield running


@contextlib.asynccontextmanager
async def begun(
    scripted: ScriptedUpstream, *, deadline: float = math.inf
) -> AsyncIterator[tuple[Connection, Call, Ear]]:
    """Send a request whose answer begins and then stops, and look at the clock once after its beginning."""
    loop = asyncio.get_running_loop()
    upstream = Upstream(loop)
    provider = Provider("up", "openai_compatible", "http", "127.0.0.1", scripted.port, "", ("openai",))
    try:
        connection = await upstream.pool(provider).acquire("up", 10.0)
        call = Call(loop.create_future(), "up", Timeouts(idle=IDLE), deadline=deadline)
        connection.send(call, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n", b"", monotonic())
        await call.head
        connection.sweep(monotonic())
        call.sink = ear = Ear()
        yield connection, call, ear
    finally:
        upstream.close()


async def test_a_deadline_that_comes_nearer_counts_at_once(scripted: ScriptedUpstream) -> None:
    """Also if nothing is heard any more: the end of a stream had been said in what was read before."""
    async with begun(scripted) as (connection, call, ear):
        now = monotonic()
        call.deadline = now + 1
        connection.sweep(now + 0.9)
        assert ear.error is None
        connection.sweep(now + 1)
        assert ear.error is not None


async def test_a_deadline_that_is_put_off_counts_no_more(scripted: ScriptedUpstream) -> None:
    """The answer is being passed on: from then on only its silence ends it."""
    now = monotonic()
    async with begun(scripted, deadline=now + 5) as (connection, call, ear):
        call.deadline = call.final_deadline = now + 3 * IDLE
        connection.sweep(now + 6)
        assert ear.error is None
        connection.sweep(monotonic() + IDLE)
        assert ear.error is not None
