"""Promise (row 2): a request may be cancelled at any step of the road; it is recorded once and leaves nothing behind.

Ten places at the upstream, sixteen on the road, twenty clients; every await of either lane, of a second try, of a
fallback, and of the wait for a place at a target.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop

from flumegate.app import WorkerApp
from flumegate.snapshot import BreakerPolicy, Door, Provider, Retry, Route, Snapshot, Target, Timeouts
from flumegate.spool.tail import SpoolReader
from rig.cancelling import Cancelling
from rig.figures import figure

PLACES = 10
ACTIVE = 16
CLIENTS = 20
LEARNING = 100
"""Requests that are left alone at first, to learn how many awaits there are."""
BATCH = 200
ROUTES = {
    "verbatim": Route((Target("openai", "m"),)),
    "translated": Route((Target("anthropic", "m"),)),
    "retried": Route((Target("openai", "once"),)),
    "fallen-back": Route((Target("openai", "never"), Target("anthropic", "m", tier=1))),
    "queued": Route((Target("openai", "narrow", max_concurrency=5, max_queued=CLIENTS, queue_seconds=60),)),
}


class Scale(NamedTuple):
    cancels: int
    further: int
    """Requests afterwards, all of which must be answered."""
    share: float
    """An await that so large a share of the requests come to must have been cancelled at."""


SMALL = Scale(250, 100, 0.25)
STATED = Scale(10_000, 1_000, 0.02)
SCALES = [pytest.param(SMALL, id="small"), pytest.param(STATED, id="stated", marks=pytest.mark.faults)]
_HEAD = b"HTTP/1.1 200 OK\r\n"
_EVENTS = _HEAD + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Provision:
    """Answers each request with its own words: whole, in pieces, as a stream, undecodable, or by closing."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.calm = False
        """Every request is answered whole, except that `never` never is."""
        self._seen: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        asked = json.loads(body)
        (said,) = set(re.findall(r"(?:nonce|after)-\d+", body.decode()))
        self._seen[said] += 1
        fails_once = asked["model"] == "once" and not self.calm
        if asked["model"] == "never" or (fails_once and self._seen[said] == 1):
            _write(writer, b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}")
            return True
        way = 7 if self.calm else random.Random(f"{self.seed} {said} {self._seen[said]}").randrange(8)
        if way == 0:
            return False
        events = _anthropic(said) if b"/messages" in head else _openai(said)
        if asked.get("stream"):
            _write(writer, _EVENTS)
            for event in events[1:]:
                await asyncio.sleep(0)
                _write(writer, b"%x\r\n%b\r\n" % (len(event), event))
            _write(writer, b"0\r\n\r\n")
            return True
        coding = b"content-encoding: snappy\r\n" if way == 1 else b""
        whole = _HEAD + b"content-type: application/json\r\n%bcontent-length: %d\r\n\r\n" % (coding, len(events[0]))
        for piece in (whole + events[0],) if way < 4 else (whole, events[0][:20], events[0][20:]):
            await asyncio.sleep(0)
            _write(writer, piece)
        return True


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if writer.transport.is_closing():
        raise ConnectionResetError  # the gateway has left
    writer.write(data)


def _openai(said: str) -> tuple[bytes, ...]:
    """Return an answer, and the events of the same as a stream."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    part = {"index": 0, "finish_reason": "stop", "delta": {"content": said}}
    event = {**whole, "object": "chat.completion.chunk", "choices": [part]}
    return (json.dumps(whole).encode(), b"data: %b\n\n" % json.dumps(event).encode(), b"data: [DONE]\n\n")


def _anthropic(said: str) -> tuple[bytes, ...]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None, "usage": usage}
    text = {"type": "text", "text": said}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": said}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    whole = json.dumps({**message, "content": [text], "stop_reason": "end_turn"}).encode()
    return (whole, *(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events))


def snapshot(port: int) -> Snapshot:
    def at(name: str) -> Provider:
        return Provider(
            name,
            name,
            "http",
            "127.0.0.1",
            port,
            "/v1",
            (name,),
            max_connections=PLACES,
            timeouts=Timeouts(connect=30.0),
        )

    return Snapshot(
        1,
        {"openai": at("openai"), "anthropic": at("anthropic")},
        models=ROUTES,
        auth_open=True,
        door=Door(max_active=ACTIVE, max_queued=CLIENTS, queue_seconds=60),
        retry=Retry(initial_delay=0.001),
        breaker=BreakerPolicy(enabled=False),
    )


async def ask(port: int, lane: str, nonce: str) -> bytes:
    """Return all that comes back for one request on a connection of its own; every other one is a stream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    streamed = int(nonce.rpartition("-")[2]) % 2 == 1
    messages = [{"role": "user", "content": nonce}]
    body = json.dumps({"model": lane, "messages": messages, "stream": streamed}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-request-id: {}\r\n"
    writer.write(f"{head.format(nonce)}content-length: {len(body)}\r\n\r\n".encode() + body)
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def ask_all(port: int, lane: str, nonces: list[str]) -> list[bytes]:
    """Ask from all clients at once; a request that hangs is one whose connection somebody else has closed."""
    waiting = iter(nonces)
    answers = []

    async def client() -> None:
        for nonce in waiting:
            got = await ask(port, lane, nonce)
            others = got.replace(nonce.encode(), b"").count(b"nonce-")
            assert not others, f"{nonce} got what was another's: {got!r}"
            answers.append(got)

    async with asyncio.timeout(60 + len(nonces) / 50):
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return answers


def is_whole(answer: bytes) -> bool:
    """Tell whether an answer is one of a request that went well, to its last byte."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"text/event-stream" in head:
        return body.count(b"after-") == 1 and body.endswith(b"[DONE]\n\n\r\n0\r\n\r\n")
    return head.startswith(b"HTTP/1.1 200") and body.count(b"after-") == 1 and body.endswith(b"}")


def open_sockets() -> int:
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(entry.readlink()).startswith("socket:")
    return found


def in_use(app: WorkerApp) -> int:
    """Return how many places are taken or waited for: on the road, at targets, and of connections that are not idle."""
    engine = app._engine
    road = engine.overload.active + engine.overload.queued
    targets = sum(health.in_flight + health.queued for health in engine.healths.all())
    return road + targets + sum(pool.places - pool.idle for pool in app._upstream._pools.values())


async def cancel_everywhere(folder: Path, lane: str, scale: Scale, seed: int) -> Cancelling:
    """Ask and cancel, then look for what was left behind."""
    loop = asyncio.get_running_loop()
    tasks, sockets = asyncio.all_tasks(), open_sockets()
    cancelling, provision = Cancelling(seed), Provision(seed)
    upstream = await asyncio.start_server(provision.serve, "127.0.0.1", 0)
    app = WorkerApp(name="cancelled", spool_folder=folder)
    app.apply(snapshot(upstream.sockets[0].getsockname()[1]))
    app._engine.dice = random.Random(seed)
    listening = socket.create_server(("127.0.0.1", 0))
    await app.start(listening)
    port = listening.getsockname()[1]
    nonces = [f"nonce-{number:06d}" for number in range(LEARNING)]
    after = [f"after-{number:06d}" for number in range(scale.further)]
    loop.set_task_factory(cancelling)
    await ask_all(port, lane, nonces)
    cancelling.begin()
    while cancelling.cancelled.total() < scale.cancels:
        batch = [f"nonce-{number:06d}" for number in range(len(nonces), len(nonces) + BATCH)]
        await ask_all(port, lane, batch)
        nonces += batch
    cancelling.rest()
    provision.calm = True
    wrong = [answer for answer in await ask_all(port, lane, after) if not is_whole(answer)]
    loop.set_task_factory(None)
    await until(lambda: app.counters().gauges["requests_active"] == 0)
    assert (len(wrong), wrong[:1]) == (0, [])
    assert in_use(app) == 0
    assert app.counters().gauges["upstream_connections_open"] <= 2 * PLACES
    await app.drain(5)
    upstream.close()
    assert app.counters().gauges["connections_open"] == 0
    await until(lambda: asyncio.all_tasks() == tasks)
    await until(lambda: open_sockets() <= sockets)
    usual = cancelling.usual(scale.share)
    assert usual <= set(cancelling.cancelled), f"of awaits {usual} only {cancelling.cancelled} were cancelled"
    records = SpoolReader(folder).read(len(nonces) * 2 + len(after)).records
    assert sorted(record.request_id for record in records) == sorted([*nonces, *after])
    assert {record.outcome for record in records} <= {"ok", "cancelled", "failed", "truncated", "upstream_error"}
    again = sum(len(record.attempts) > 1 for record in records)
    assert again > len(after) * (lane == "fallen-back"), f"only {again} requests were tried more than once"
    return cancelling


async def until(true: Any) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what others do is looked at from outside
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("lane", ROUTES)
def test_a_request_that_is_cancelled_at_any_await_leaves_nothing(
    tmp_path: Path, lane: str, scale: Scale, seed: int
) -> None:
    """One record each, every place of the pool free, no answer but one's own, and those that follow are served."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        cancelling = runner.run(cancel_everywhere(tmp_path, lane, scale, seed))
    if scale is STATED:
        cancels, awaits = cancelling.cancelled.total(), max(cancelling.cancelled)
        figure(2, f"{lane}, seed {seed}: {cancels} cancels at {awaits} awaits leave places, tasks, sockets: 0 (0)")
