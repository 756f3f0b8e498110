"""Promise: a request may be cancelled at any step of the road; it is recorded once and leaves nothing behind.

The worker's app runs within the test, on real sockets, because only so can a task be cancelled at exactly its Nth
await: for all N, by a seeded task factory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import types
from collections.abc import Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from flumegate.app import WorkerApp
from flumegate.snapshot import Provider, Snapshot, Timeouts
from flumegate.spool.tail import SpoolReader

RUNS = 2_000
CLIENTS = 6
PLACES = 3
LAST_AWAIT = 5
"""A connection, a place in the queue, the head, the rest: no request waits more often."""


@types.coroutine
def cancelled_at(work: Coroutine[Any, Any, None], number: int) -> Generator[Any, Any, None]:
    """Run a coroutine within a task and cancel that task at its Nth await."""
    awaits = 0
    sent: Any = None
    thrown: BaseException | None = None
    task = asyncio.current_task()
    assert task is not None
    while True:
        try:
            waited = work.throw(thrown) if thrown is not None else work.send(sent)
        except StopIteration:
            return
        awaits += 1
        if awaits == number:
            task.cancel()
        thrown = None
        try:
            sent = yield waited
        except BaseException as error:  # noqa: BLE001 - it belongs to the coroutine, whatever it is
            thrown = error


class Injector:
    """A task factory that cancels requests at seeded awaits; `begun` counts them."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.active = True
        self.begun = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        is_request = getattr(work, "__qualname__", "") == "Engine.run"
        if not is_request or not self.active or self.dice.random() < 0.3:
            return asyncio.Task(work, loop=loop, **more)
        self.begun += 1
        number = self.dice.randint(1, LAST_AWAIT)
        return asyncio.Task(cancelled_at(work, number), loop=loop, **more)


async def serve_upstream(dice: random.Random, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with its own words: at once, in two pieces, as a stream, or by closing."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            said = json.loads(await reader.readexactly(length))["messages"][0]["content"]
            choice = {"index": 0, "finish_reason": "stop", "message": {"content": said}, "delta": {"content": said}}
            body = json.dumps({"model": "m", "choices": [choice], "usage": {"prompt_tokens": 1}}).encode()
            way = dice.randrange(8)
            if way == 0:
                break
            if way in (1, 2, 3):
                event = b"data: %b\n\n" % body
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                )
                await asyncio.sleep(0)
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                await asyncio.sleep(0)
                writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
                continue
            coding = b"content-encoding: snappy\r\n" if way == 4 else b""
            writer.write(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n" % (coding, len(body)))
            if way != 5:
                await asyncio.sleep(0)
            writer.write(body[:20])
            await asyncio.sleep(0)
            writer.write(body[20:])
    writer.close()


async def ask(port: int, nonce: str) -> bytes:
    """Return all that comes back for one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": nonce}], "stream": True}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-request-id: {}\r\n"
    writer.write(f"{head.format(nonce)}content-length: {len(body)}\r\n\r\n".encode() + body)
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def cancel_everywhere(folder: Path, seed: int) -> None:
    """Ask and cancel, then look for what was left behind."""
    loop = asyncio.get_running_loop()
    injector = Injector(seed)
    upstream = await asyncio.start_server(
        lambda reader, writer: serve_upstream(injector.dice, reader, writer), "127.0.0.1", 0
    )
    provider = Provider(
        "up",
        "openai",
        "http",
        "127.0.0.1",
        upstream.sockets[0].getsockname()[1],
        "/v1",
        ("openai",),
        max_connections=PLACES,
        timeouts=Timeouts(connect=20.0),
    )
    app = WorkerApp(name="cancelled", spool_folder=folder)
    app.apply(Snapshot(1, {"up": provider}, default_provider="up", auth_open=True))
    listening = socket.create_server(("127.0.0.1", 0))
    await app.start(listening)
    port = listening.getsockname()[1]
    numbers = iter(range(RUNS))

    async def client() -> None:
        for number in numbers:
            got = await ask(port, f"nonce-{number:05d}")
            others = got.replace(b"nonce-%05d" % number, b"").count(b"nonce-")
            assert not others, f"request {number} got what was another's: {got!r}"

    loop.set_task_factory(injector)
    async with asyncio.timeout(60):  # a request that hangs is one whose connection somebody else has closed
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
    injector.active = False
    answers = [await ask(port, f"after-{number}") for number in range(40)]
    assert all(answer.startswith(b"HTTP/1.1 ") for answer in answers)
    assert not any(b"upstream_busy" in answer for answer in answers)
    assert app.counters().gauges["upstream_connections_open"] <= PLACES
    loop.set_task_factory(None)
    await app.drain(5)
    upstream.close()
    assert app.counters().gauges["connections_open"] == 0
    assert injector.begun > RUNS / 2
    records = SpoolReader(folder).read(RUNS * 2).records
    ids = [record.request_id for record in records]
    assert sorted(ids) == sorted([f"nonce-{number:05d}" for number in range(RUNS)] + [f"after-{n}" for n in range(40)])
    assert {record.outcome for record in records} <= {"ok", "cancelled", "failed", "truncated"}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_request_that_is_cancelled_at_any_await_leaves_nothing(tmp_path: Path, seed: int) -> None:
    """One record each, every place of the pool free, no answer but one's own, and those that follow are served."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(cancel_everywhere(tmp_path, seed))
