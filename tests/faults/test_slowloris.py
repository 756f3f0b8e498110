"""Promise (row 17): connections that dribble are gone after their time, and meanwhile everybody else is served."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, cast

import pytest

from rig import road
from rig.authority import Authority
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.load import Load
from rig.mock import run_mock
from rig.sockets import call

CLIENTS = 4
HEALTHY_SHARE = 0.999
DRIP_SECONDS = 0.25
LATE_SECONDS = 1.0
"""The gateway looks at its clocks four times a second; the rest is the test's: thousands of sockets on one core."""
BODY_SECONDS = 15.0
"""Ten seconds of grace, and up to five until the rate is looked at again."""
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\n"
BODY = HEAD + b"authorization: Bearer " + road.KEY.encode() + b"\r\ncontent-length: 5000\r\n\r\n{"


class Scale(NamedTuple):
    heads: int
    bodies: int
    header_seconds: float
    stated: bool
    """Bodies are waited for, too: their time of grace is fixed."""


SMALL = Scale(60, 40, 1.0, stated=False)
STATED = Scale(1_000, 1_000, 10.0, stated=True)
SCALES = [pytest.param(SMALL, id="small"), pytest.param(STATED, id="stated", marks=pytest.mark.faults)]


GREETING = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""How a TLS client begins; some 500 bytes more are announced."""


class Dribbler(asyncio.Protocol):
    """A connection that begins a request and then sends a byte now and then."""

    def __init__(self, beginning: bytes, drops: bytes) -> None:
        self._beginning = beginning
        self._drops = itertools.cycle(drops)
        self._transport: asyncio.Transport
        self._begun = 0.0
        self.heard = b""
        self.closed: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        """After how many seconds the gateway closed it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._begun = monotonic()
        self._transport.write(self._beginning)

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closed.set_result(monotonic() - self._begun)

    def drip(self) -> None:
        if not self.closed.done() and not self._transport.is_closing():
            self._transport.write(bytes((next(self._drops),)))

    def leave(self) -> None:
        self._transport.abort()


async def keep_dripping(dribblers: list[Dribbler]) -> None:
    while True:
        for dribbler in dribblers:
            dribbler.drip()
        await asyncio.sleep(DRIP_SECONDS)


async def begin(
    port: int, count: int, beginning: bytes, drops: bytes, context: ssl.SSLContext | None = None
) -> list[Dribbler]:
    loop = asyncio.get_running_loop()
    name = None if context is None else "localhost"
    begun = []
    for _ in range(count):
        _, dribbler = await loop.create_connection(
            lambda: Dribbler(beginning, drops), "127.0.0.1", port, ssl=context, server_hostname=name
        )
        begun.append(dribbler)
    return begun


async def lives(dribblers: list[Dribbler], what: str) -> list[float]:
    """Return how long each lasted, once the gateway has closed each of them and told it why."""
    async with asyncio.timeout(30):  # well below the minute that TLS libraries grant
        seconds = await asyncio.gather(*(dribbler.closed for dribbler in dribblers))
    odd = [dribbler.heard for dribbler in dribblers if what.encode() not in dribbler.heard]
    assert not odd, f"{len(odd)} {what} without a word: {odd[:3]}"
    return seconds


async def dribble(port: int, scale: Scale) -> tuple[list[float], list[float]]:
    """Return how long dribbled heads and bodies lasted."""
    heads = await begin(port, scale.heads, HEAD, b"x-a: b\r\n")
    bodies = await begin(port, scale.bodies, BODY, b"x")
    dripping = asyncio.create_task(keep_dripping(heads + bodies))
    try:
        heads_lasted = await lives(heads, "header_timeout")
        return heads_lasted, await lives(bodies, "body_timeout") if scale.stated else []
    finally:
        dripping.cancel()
        for dribbler in bodies:
            dribbler.leave()
        await asyncio.gather(*(dribbler.closed for dribbler in bodies))


async def dribble_secured(port: int, scale: Scale, context: ssl.SSLContext) -> tuple[list[float], int]:
    """Return how long handshakes and heads over TLS lasted, and how often others were served meanwhile."""
    greetings = await begin(port, scale.heads, GREETING, b"\0")
    heads = await begin(port, scale.heads, HEAD, b"x-a: b\r\n", context)
    dripping = asyncio.create_task(keep_dripping(greetings + heads))
    body = json.dumps(road.chat()).encode()
    served = 0
    try:
        lasted = asyncio.gather(lives(greetings, ""), lives(heads, "header_timeout"))
        while not lasted.done():
            got = await asyncio.to_thread(
                lambda: call(port, "POST", "/v1/chat/completions", body=body, key=road.KEY, context=context)
            )
            assert got.status == 200
            served += 1
        return [seconds for each in await lasted for seconds in each], served
    finally:
        dripping.cancel()


@contextlib.contextmanager
def stage(scale: Scale, **server: Any) -> Iterator[Gateway]:
    with run_mock() as mock:
        providers = {"up": road.compatible(mock.port, default=True)}
        server |= {"header_seconds": scale.header_seconds, "workers": 1}
        with run_gateway(config=road.settings(providers, server=server)) as gateway:
            yield gateway


@pytest.mark.parametrize("scale", SCALES)
def test_dribblers_harm_nobody(scale: Scale) -> None:
    """Heads and bodies that drip: each is told so and closed; others are served, and nothing stays open."""
    with stage(scale) as gateway:
        with Load(gateway, CLIENTS) as load:
            load.wait_for(20)
            heads, bodies = asyncio.run(dribble(gateway.port, scale))
            load.wait_for(20)
        failed = load.broken + load.refused.total()
        share = len(load.answered) / (len(load.answered) + failed)
        if scale.stated:
            figure(17, f"healthy: {len(load.answered)} of {len(load.answered) + failed} (>= {HEALTHY_SHARE:.1%})")
            figure(17, f"{scale.heads} heads closed by {max(heads):.2f} s (<= {scale.header_seconds + LATE_SECONDS})")
            figure(17, f"{scale.bodies} bodies closed by {max(bodies):.2f} s (<= {BODY_SECONDS + LATE_SECONDS})")
            assert max(heads) <= scale.header_seconds + LATE_SECONDS
            assert max(bodies) <= BODY_SECONDS + LATE_SECONDS
        assert len(heads) == scale.heads
        assert share >= HEALTHY_SHARE, f"{load.broken} broken, {load.refused}"
        road.eventually(
            lambda: road.metrics(gateway)["flumegate_connections_open"] <= 1, "nothing but this look is connected"
        )


@pytest.mark.parametrize("scale", SCALES)
def test_dribblers_over_tls_harm_nobody(tmp_path: Path, scale: Scale) -> None:
    """A handshake that drips has no more time than a head; meanwhile others are served."""
    authority = Authority(tmp_path)
    mine = authority.issue("localhost")
    context = authority.client()
    with stage(scale, tls={"cert": str(mine.certificate), "key": str(mine.key)}) as gateway:
        lasted, served = asyncio.run(dribble_secured(gateway.port, scale, context))
        (worker,) = gateway.worker_pids()
        if scale.stated:
            figure(17, f"over TLS: {len(lasted)} handshakes and heads closed by {max(lasted):.2f} s (<= 11.0)")
            figure(17, f"over TLS: others served meanwhile: {served} of {served} (>= {HEALTHY_SHARE:.1%})")
            assert max(lasted) <= scale.header_seconds + LATE_SECONDS
        assert len(lasted) == 2 * scale.heads
        road.eventually(lambda: sockets_of(worker) < scale.heads, "their sockets are closed")


def sockets_of(pid: int) -> int:
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(entry.readlink()).startswith("socket:")
    return found
