"""A TCP proxy in user space that misbehaves as it is told, before whatever a test puts behind it.

It behaves the same on every machine. It knows bytes, not protocols: an *answer* is what comes back after bytes have
gone out. `answers` and `requests` may be changed while it runs; they count for all bytes that follow, also on open
connections. Equal seeds give equal garbage and hit the same connections, counted in the order of their arrival.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import enum
import random
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Literal, NamedTuple

_NO_LINGER = struct.pack("ii", 1, 0)
_READ_BYTES = 65_536


class Ending(enum.Enum):
    """What happens where a direction is cut."""

    FIN = "both sides are closed in order"
    RESET = "both sides are reset"
    HALF_CLOSE = "this direction ends; what comes from there on is swallowed, the other direction goes on"
    STALL = "nothing more comes, until the faults are changed or the receiver leaves"
    GARBAGE = "every byte from there on is another one"


class Way(NamedTuple):
    """How one direction is treated."""

    delay_seconds: float = 0.0
    """How much later each answer begins (each piece, where it is requests that are delayed)."""
    rate: int = 0
    """Bytes a second on each connection; 0 = as fast as they come."""
    piece_bytes: int = 0
    """Most bytes in one write; 1 = every byte on its own."""
    end_at: int | None = None
    """After so many bytes comes `ending`; None = never."""
    ending: Ending = Ending.FIN
    per: Literal["answer", "connection"] = "answer"
    """What `end_at` is counted in. Requests are always counted by connection."""
    share: float = 1.0
    """Of the connections, so many are treated like this."""
    times: int | None = None
    """So many endings, then no more."""


CLEAN = Way()


class FaultProxy:
    """A running proxy.

    Attributes:
        answers: what is done to bytes from the target.
        requests: what is done to bytes to it.
        door: what happens to new connections: they are served, reset at once, or accepted and left without a word.
        accepted: connections so far.
        open: connections now.
        sent_bytes: handed to the target so far.
        returned_bytes: handed back so far.
        answered: answers that have begun.
        ended: endings that were carried out.
    """

    def __init__(self, port: int, *, seed: int = 0) -> None:
        self.target = port
        self.door: Literal["serve", "reset", "hold"] = "serve"
        self.accepted = self.open = self.sent_bytes = self.returned_bytes = self.answered = self.ended = 0
        self.dice = random.Random(seed)
        self._answers = self._requests = CLEAN
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        self.changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def answers(self) -> Way:
        return self._answers

    @answers.setter
    def answers(self, way: Way) -> None:
        self._answers = way
        self._wake()

    @property
    def requests(self) -> Way:
        return self._requests

    @requests.setter
    def requests(self, way: Way) -> None:
        self._requests = way
        self._wake()

    def hang_up(self, ending: Ending = Ending.RESET) -> None:
        """End all connections now: by a reset, or in order with `Ending.FIN`."""
        asyncio.run_coroutine_threadsafe(self._end_all(reset=ending is Ending.RESET), self.loop).result(20)

    def close(self) -> None:
        """Stop listening and end all connections."""
        with contextlib.suppress(concurrent.futures.CancelledError):
            asyncio.run_coroutine_threadsafe(self._shut(), self.loop).result(20)
        self._thread.join(20)
        self._listener.close()

    def _wake(self) -> None:
        """Let what stalls look at the new faults."""

        def wake() -> None:
            self.changed.set()
            self.changed = asyncio.Event()

        self.loop.call_soon_threadsafe(wake)

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self._accept())
        self.loop.close()

    async def _accept(self) -> None:
        self._accepting = asyncio.current_task()
        while True:
            client, _ = await self.loop.sock_accept(self._listener)
            task = self.loop.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: socket.socket) -> None:
        self.accepted += 1
        self.open += 1
        pair = _Pair(self, client)
        try:
            await pair.run()
        except OSError:
            pair.resets = True
        finally:
            self.open -= 1
            pair.close()

    async def _end_all(self, *, reset: bool) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            if reset:
                task.cancel("reset")
            else:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _shut(self) -> None:
        await self._end_all(reset=True)
        if self._accepting is not None:
            self._accepting.cancel()


class _Pair:
    """One connection: its two sockets, and a task for each direction."""

    def __init__(self, proxy: FaultProxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._loop = proxy.loop
        self._client = client
        self._server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._luck = proxy.dice.random()
        self._asked = False
        self._spoilt = {True: False, False: False}
        self._gone = asyncio.Event()
        self.resets = False
        for end in (self._client, self._server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        for end in (self._client, self._server):
            if self.resets:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            end.close()

    async def run(self) -> None:
        """Serve until both directions have ended, or an ending ends both."""
        if self._proxy.door == "reset":
            self.resets = True
            return
        if self._proxy.door == "hold":
            while await self._loop.sock_recv(self._client, _READ_BYTES):
                pass
            return
        await self._loop.sock_connect(self._server, ("127.0.0.1", self._proxy.target))
        ways = [self._loop.create_task(self._send()), self._loop.create_task(self._return())]
        try:
            await self._both(ways)
        except asyncio.CancelledError as cancelled:
            self.resets = cancelled.args == ("reset",)
            raise
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _both(self, ways: list[asyncio.Task[bool]]) -> None:
        for done in asyncio.as_completed(ways):
            if not await done:
                return

    def _treatment(self, way: Way) -> Way:
        return way if self._luck < way.share else CLEAN

    async def _send(self) -> bool:
        """Carry requests; return whether the other direction goes on."""
        count = 0
        while data := await self._loop.sock_recv(self._client, _READ_BYTES):
            self._asked = True
            if self._proxy.requests.delay_seconds:
                await asyncio.sleep(self._treatment(self._proxy.requests).delay_seconds)
            fate = await self._carry(data, self._server, count, answers=False)
            if fate is not None:
                return fate
            count += len(data)
        self._gone.set()
        self._server.shutdown(socket.SHUT_WR)
        return True

    async def _return(self) -> bool:
        """Carry answers; return whether the other direction goes on."""
        in_answer = in_connection = 0
        while data := await self._loop.sock_recv(self._server, _READ_BYTES):
            if self._asked:
                self._asked, in_answer = False, 0
                if self._proxy.answers.per == "answer":
                    self._spoilt[True] = False
                self._proxy.answered += 1
                await asyncio.sleep(self._treatment(self._proxy.answers).delay_seconds)
            count = in_answer if self._proxy.answers.per == "answer" else in_connection
            fate = await self._carry(data, self._client, count, answers=True)
            if fate is not None:
                return fate
            in_answer += len(data)
            in_connection += len(data)
        self._client.shutdown(socket.SHUT_WR)
        return True

    def _way(self, *, answers: bool) -> Way:
        return self._treatment(self._proxy.answers if answers else self._proxy.requests)

    async def _carry(self, data: bytes, sink: socket.socket, count: int, *, answers: bool) -> bool | None:
        """Hand over what was read, `count` bytes into its answer; return None to go on, else as `_send` does."""
        while data:
            way = self._way(answers=answers)
            allowed = len(data)
            if way.end_at is not None and way.times != 0 and not self._spoilt[answers]:
                allowed = way.end_at - count
                if allowed <= 0:
                    if (fate := await self._end(way, sink, answers=answers)) is not None:
                        return fate
                    continue
            piece, data = _split(data, min(allowed, way.piece_bytes or allowed, _paced(way) or allowed))
            if self._spoilt[answers]:
                piece = bytes(byte ^ self._proxy.dice.randrange(1, 256) for byte in piece)
            count += len(piece)
            if answers:  # counted first: who has got a byte finds it counted
                self._proxy.returned_bytes += len(piece)
            else:
                self._proxy.sent_bytes += len(piece)
            await self._loop.sock_sendall(sink, piece)
            if way.rate:
                await asyncio.sleep(len(piece) / way.rate)
        return None

    async def _end(self, way: Way, sink: socket.socket, *, answers: bool) -> bool | None:
        self._proxy.ended += 1
        self._count_down(way, answers=answers)
        match way.ending:
            case Ending.GARBAGE:
                self._spoilt[answers] = True
                return None
            case Ending.STALL:
                return await self._stall(answers=answers)
            case Ending.HALF_CLOSE:
                sink.shutdown(socket.SHUT_WR)
                source = self._server if answers else self._client
                while await self._loop.sock_recv(source, _READ_BYTES):
                    pass
                return True
            case Ending.RESET:
                self.resets = True
        return False

    def _count_down(self, way: Way, *, answers: bool) -> None:
        if way.times is None:
            return
        if answers:
            self._proxy._answers = self._proxy._answers._replace(times=way.times - 1)
        else:
            self._proxy._requests = self._proxy._requests._replace(times=way.times - 1)

    async def _stall(self, *, answers: bool) -> bool | None:
        """Wait for other faults, or for the end of those who wait."""
        waits = [self._loop.create_task(self._proxy.changed.wait())]
        if answers:
            waits.append(self._loop.create_task(self._gone.wait()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return False if self._gone.is_set() else None


def _split(data: bytes, size: int) -> tuple[bytes, bytes]:
    return data[:size], data[size:]


def _paced(way: Way) -> int:
    """Return how much is written at once at a rate: a twentieth of a second's worth."""
    return max(1, way.rate // 20) if way.rate else 0


@contextlib.contextmanager
def fault_proxy(port: int, *, seed: int = 0) -> Iterator[FaultProxy]:
    """Run a proxy before a port of this machine for the length of a `with` block."""
    proxy = FaultProxy(port, seed=seed)
    try:
        yield proxy
    finally:
        proxy.close()
