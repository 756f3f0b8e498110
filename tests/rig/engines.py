"""An engine within a test, before a server of the same loop: for what needs a look at the engine afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from time import monotonic, time

from flumegate.dialects.registry import Endpoint
from flumegate.engine.overload import Overload
from flumegate.engine.run import Engine
from flumegate.engine.settle import Settlement
from flumegate.exchange import Exchange
from flumegate.records.tally import Tally
from flumegate.snapshot import RecordPolicy, Retry, Route
from flumegate.spool.append import SpoolWriter
from flumegate.upstream.pool import Upstream
from rig import exchanges
from rig.courses import CHAT

BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
ANSWER = b'{"id":"x","object":"chat.completion","model":"m","choices":[]}'
HEAD = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer by the model: `silent` never, `bad` with an error, `slow` when a timer has run, others at once."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            if b'silent"' in body:
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


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def running(folder: Path, routes: dict[str, Route], serve: Serve = serve) -> AsyncIterator[Engine]:
    """Run an engine with these routes; `up` is the server, and `claude` the same one in another dialect."""
    loop = asyncio.get_running_loop()
    serving: list[asyncio.Task[None]] = []
    server = await asyncio.start_server(
        lambda reader, writer: serving.append(asyncio.ensure_future(serve(reader, writer))), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    known = exchanges.snapshot(
        exchanges.provider(port=port),
        exchanges.provider("claude", type="anthropic", speaks=("anthropic",), port=port),
        models=routes,
        retry=Retry(max_retries=0),
        auth_open=True,
        records=RecordPolicy(content="full"),
    )
    upstream, tally = Upstream(loop), Tally()
    settlement = Settlement(loop, SpoolWriter(folder, "w0", max_bytes=1 << 30), tally)
    made = Engine(loop, known, upstream, settlement, Overload(loop, tally.totals))
    settlement.policy = known.records
    made.apply(known)
    try:
        yield made
    finally:
        made.close()
        upstream.close()
        server.close()
        await asyncio.gather(*serving)
        settlement.close()


def request(made: Engine, body: bytes = BODY, endpoint: Endpoint = CHAT) -> Exchange:
    """Return a request as the door would make it."""
    exchange = exchanges.exchange(path=b"/v1" + endpoint.path.encode(), body=body, known=made.snapshot)
    exchange.kind, exchange.endpoint = endpoint.name, endpoint
    exchange.special, exchange.record_id = False, "r"
    exchange.client = ""
    exchange.started, exchange.started_at = monotonic(), time()
    return exchange


async def end_copies(made: Engine) -> None:
    """Let all copies end, by themselves or in their time."""
    async with asyncio.timeout(20):
        while made.mirrors.under_way:
            made.upstream.sweep()
            await asyncio.sleep(0)
