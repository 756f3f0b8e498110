"""A race leaves no place, no connection and no task behind, at whichever of its awaits the client leaves."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import AsyncIterator, Coroutine, Generator
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest

from flumegate.engine.overload import Overload
from flumegate.engine.run import Engine
from flumegate.engine.settle import Settlement
from flumegate.exchange import Exchange
from flumegate.records.tally import Tally
from flumegate.snapshot import Hedge, Retry, Route, Target
from flumegate.spool.append import SpoolWriter
from flumegate.upstream.pool import Upstream
from rig import exchanges
from rig.courses import CHAT

BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
ANSWER = b'{"id":"x","object":"chat.completion","model":"m","choices":[]}'
HEAD = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
MOST_AWAITS = 200


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer by the model: `silent` never, `bad` with an error, `slow` when a timer has run, others at once."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            if b'"silent"' in body:
                await reader.read()
                break
            if b'"slow' in body:
                await asyncio.sleep(0.03)
            writer.write(HEAD % (500 if b'"bad"' in body else 200, len(ANSWER)) + ANSWER[:9])
            await asyncio.sleep(0)
            writer.write(ANSWER[9:])
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def engine(folder: Path, *models: str) -> AsyncIterator[Engine]:
    """Run an engine whose route `m` hedges between these models of one server."""
    loop = asyncio.get_running_loop()
    serving: list[asyncio.Task[None]] = []
    server = await asyncio.start_server(
        lambda reader, writer: serving.append(asyncio.ensure_future(serve(reader, writer))), "127.0.0.1", 0
    )
    provider = exchanges.provider(port=server.sockets[0].getsockname()[1])
    targets = tuple(Target("up", model, tier=tier) for tier, model in enumerate(models))
    known = exchanges.snapshot(
        provider, models={"m": Route(targets, hedge=Hedge(0.002, 1.0))}, retry=Retry(max_retries=0), auth_open=True
    )
    upstream, tally = Upstream(loop), Tally()
    settlement = Settlement(loop, SpoolWriter(folder, "w0", max_bytes=1 << 30), tally)
    made = Engine(loop, known, upstream, settlement, Overload(loop, tally.totals))
    made.apply(known)
    try:
        yield made
    finally:
        upstream.close()
        server.close()
        await asyncio.gather(*serving)
        settlement.close()


def request(made: Engine) -> Exchange:
    exchange = exchanges.exchange(body=BODY, known=made.snapshot)
    exchange.kind, exchange.endpoint = "chat", CHAT
    exchange.special, exchange.record_id = False, "r"
    exchange.client = ""
    exchange.started, exchange.started_at = monotonic(), time()
    return exchange


@types.coroutine
def leaving(work: Coroutine[Any, Any, None], number: int) -> Generator[Any, Any, int]:
    """Run a request whose client leaves at its Nth await; return how many awaits it came to."""
    awaits = 0
    sent: Any = None
    thrown: BaseException | None = None
    task = asyncio.current_task()
    assert task is not None
    while True:
        try:
            waited = work.throw(thrown) if thrown is not None else work.send(sent)
        except StopIteration:
            return awaits
        awaits += 1
        if awaits == number:
            task.cancel()
        thrown = None
        try:
            sent = yield waited
        except BaseException as error:  # noqa: BLE001 - it belongs to the coroutine, whatever it is
            thrown = error


@pytest.mark.parametrize(
    "models", [("silent", "quick"), ("slow", "silent"), ("slow", "bad"), ("bad", "quick"), ("slow", "slower")]
)
async def test_nothing_is_left_wherever_the_client_leaves(tmp_path: Path, models: tuple[str, str]) -> None:
    """Places, probes and connections: all are given back, and no task fails unheard."""
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    async with engine(tmp_path, *models) as made:
        pool = made.upstream.pool(made.snapshot.providers["up"])
        for number in range(1, MOST_AWAITS):
            exchange = request(made)
            awaits = await asyncio.ensure_future(leaving(made.run(exchange), number))
            assert exchange.settled
            under_way = {(health.in_flight, health.unheard, health.probing) for health in made.healths.all()}
            assert under_way == {(0, 0, False)}, f"left at await {number}"
            assert pool.places == pool.idle, f"left at await {number}"
            if awaits < number:
                break
        else:
            raise AssertionError("a request never ends")
        assert number > 3
        assert not made.overload.active
    assert not unheard
