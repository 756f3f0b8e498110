"""The link between control and workers: what travels over the Unix socket, and what both ends share.

Frames are a 4-byte big-endian length, a kind byte and a msgpack body. Kinds up: hello, counters (which repeat the
acknowledged version, so that no acknowledgement is lost for good), question, answer. Kinds down: snapshot, peers,
reply, ask. Rules: neither side ever waits for the other, except for the reply to a question, and for that two seconds
at most; what a peer that does not read would queue up is bounded and dropped, and the newest is sent when it reads
again; a damaged or oversized frame closes the connection. The ends are in worker_end.py and control_end.py.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar, cast

import msgspec

from flumegate.processes.shelf import SLOT_BYTES
from flumegate.records import manage
from flumegate.records.balance import Balance, Sought
from flumegate.records.counters import Counters
from flumegate.records.stored import Stored, Wanted

HELLO, COUNTERS, SNAPSHOT, PEERS, QUESTION, REPLY, ASK, ANSWER = range(1, 9)
_HEAD = struct.Struct(">IB")
UP_BYTES = 8 * 1024 * 1024
"""Largest frame that control accepts."""
DOWN_BYTES = SLOT_BYTES
"""Largest frame that a worker accepts: what fits on the shelf fits through the link."""
QUEUED_BYTES = 256 * 1024
"""More than this unread by the other side, and nothing further is queued; replies, which somebody waits for, go on."""
MOST_QUESTIONS = 64
"""Unanswered ones of one worker; further ones are not asked."""
MOST_ASKED = 16
"""Operators' questions that one worker has not answered; further ones are not asked."""
REPLY_SECONDS = 2.0
T = TypeVar("T")


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """Who connects."""

    name: str
    pid: int
    version: int
    """Of the Snapshot that the worker runs on; 0 = none yet."""


class Report(msgspec.Struct, array_like=True, frozen=True):
    """What a worker says each second."""

    version: int
    counters: Counters


class Question(msgspec.Struct, array_like=True, frozen=True):
    """What a worker wants of the store."""

    number: int
    """The reply bears it, too."""
    wanted: Wanted | Sought


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """What control found."""

    number: int
    stored: Stored | Balance
    """A question that nobody can answer now is told so by a Stored, whatever it was about."""


class Ask(msgspec.Struct, array_like=True, frozen=True):
    """What an operator wants of a worker."""

    number: int
    """The answer bears it, too."""
    question: manage.Question


class Told(msgspec.Struct, array_like=True, frozen=True):
    """What the worker found."""

    number: int
    answer: manage.Answer


ENCODER = msgspec.msgpack.Encoder()


class DamagedFrameError(ConnectionError):
    """The bytes are not frames of ours."""


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterable[tuple[int, bytes]]:
        """Yield the frames that are now complete, as (kind, body).

        Raises:
            DamagedFrameError: a frame is larger than allowed or of no known kind.
        """
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            length, kind = _HEAD.unpack_from(self._buffer)
            if length > self._limit or not HELLO <= kind <= ANSWER:
                raise DamagedFrameError(f"a frame of kind {kind} and {length} bytes")
            end = _HEAD.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            yield kind, body


def frame(kind: int, body: bytes) -> bytes:
    """Return the bytes of one frame."""
    return _HEAD.pack(len(body), kind) + body


class End(asyncio.Protocol):
    """What both ends share: frames in, bounded frames out."""

    limit = UP_BYTES

    def __init__(self) -> None:
        self._frames = Frames(self.limit)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where to write."""
        # By trust: uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take the frames that are complete; close on the first that is damaged."""
        try:
            for kind, body in self._frames.feed(data):
                self.take(kind, body)
        except (DamagedFrameError, msgspec.MsgspecError):
            self.close()

    def connection_lost(self, _: Exception | None) -> None:
        """Note that nothing can be written any more."""
        self._transport = None
        self.closed()

    def send(self, kind: int, body: bytes, most: int = QUEUED_BYTES) -> bool:
        """Queue a frame, unless the other side has left too much unread; tell whether it was queued."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > most:
            return False
        transport.write(frame(kind, body))
        return True

    def close(self) -> None:
        """Close at once, whatever is still queued."""
        if self._transport is not None:
            self._transport.abort()

    def closed(self) -> None:
        """Act on the end of the connection."""

    def take(self, kind: int, body: bytes) -> None:
        """Act on one frame."""


class Waiting(Generic[T]):
    """Numbered questions that one end has asked, and who waits for the answers."""

    def __init__(self, most: int, nothing: T) -> None:
        self._most = most
        self._nothing = nothing
        """What a question is told that nobody answers, or not in time."""
        self._futures: dict[int, asyncio.Future[T]] = {}
        self._number = 0

    async def ask(self, send: Callable[[int], bool]) -> T:
        """Ask by calling `send` with the question's number; return its answer, or nothing after two seconds."""
        if len(self._futures) >= self._most:
            return self._nothing
        self._number += 1
        number = self._number
        if not send(number):
            return self._nothing
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._futures[number] = future
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                return await future
        except TimeoutError:
            return self._nothing
        finally:
            del self._futures[number]

    def take(self, number: int, answer: T) -> None:
        """Hand an answer to who waits for it; one that comes too late is nobody's."""
        future = self._futures.get(number)
        if future is not None and not future.done():
            future.set_result(answer)

    def give_up(self) -> None:
        """Tell everybody who waits that there is no answer."""
        for future in self._futures.values():
            if not future.done():
                future.set_result(self._nothing)
