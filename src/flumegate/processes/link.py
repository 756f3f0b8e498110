"""The link between control and workers: a Unix socket that carries Snapshots down and counters up.

Frames are a 4-byte big-endian length, a kind byte and a msgpack body. Kinds up: hello, counters (which repeat the
acknowledged version, so that no acknowledgement is lost for good), question. Kinds down: snapshot, peers, reply.
Rules: neither side ever waits for the other, except for the reply to a question, and for that two seconds at most;
what a peer that does not read would queue up is bounded and dropped, and the newest is sent when it reads again; a
damaged or oversized frame closes the connection.
A worker serves without control for as long as it takes: it reconnects for ever, with a capped back-off.
"""

from __future__ import annotations

import asyncio
import functools
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import msgspec

from flumegate.processes.shelf import SLOT_BYTES
from flumegate.records.counters import Counters
from flumegate.records.stored import Stored, Wanted

HELLO, COUNTERS, SNAPSHOT, PEERS, QUESTION, REPLY = range(1, 7)
_HEAD = struct.Struct(">IB")
_UP_BYTES = 8 * 1024 * 1024
"""Largest frame that control accepts."""
_DOWN_BYTES = SLOT_BYTES
"""Largest frame that a worker accepts: what fits on the shelf fits through the link."""
_QUEUED_BYTES = 256 * 1024
"""More than this unread by the other side, and nothing further is queued; replies, which somebody waits for, go on."""
MOST_QUESTIONS = 64
"""Unanswered ones of one worker; further ones are not asked."""
REPLY_SECONDS = 2.0
_FIRST_DELAY_SECONDS = 0.02
_LONGEST_DELAY_SECONDS = 2.0


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
    wanted: Wanted


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """What control found."""

    number: int
    stored: Stored


_ENCODER = msgspec.msgpack.Encoder()
_HELLO = msgspec.msgpack.Decoder(Hello)
_REPORT = msgspec.msgpack.Decoder(Report)
_COUNTERS = msgspec.msgpack.Decoder(Counters)
_QUESTION = msgspec.msgpack.Decoder(Question)
_REPLY = msgspec.msgpack.Decoder(Reply)


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
            if length > self._limit or not HELLO <= kind <= REPLY:
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


class _End(asyncio.Protocol):
    """What both ends share: frames in, bounded frames out."""

    limit = _UP_BYTES

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

    def send(self, kind: int, body: bytes, most: int = _QUEUED_BYTES) -> bool:
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


class WorkerEnd:
    """The worker's side: connects, and connects again, until it is cancelled."""

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        pid: int,
        on_snapshot: Callable[[bytes], None],
        on_peers: Callable[[Counters], None],
    ) -> None:
        self._path = path
        self._name = name
        self._pid = pid
        self.on_snapshot = on_snapshot
        self.on_peers = on_peers
        self.version = 0
        """Of the Snapshot that the worker serves with, as reported to control."""
        self._end: _WorkerProtocol | None = None
        self._asked: dict[int, asyncio.Future[Stored]] = {}
        self._number = 0

    async def run(self) -> None:
        """Keep a connection for ever."""
        loop = asyncio.get_running_loop()
        delay = _FIRST_DELAY_SECONDS
        while True:
            lost: asyncio.Future[None] = loop.create_future()
            try:
                protocol = functools.partial(_WorkerProtocol, self, lost)
                _, end = await loop.create_unix_connection(protocol, str(self._path))
            except OSError:
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY_SECONDS)
                continue
            self._end = end
            end.send(HELLO, _ENCODER.encode(Hello(self._name, self._pid, self.version)))
            try:
                await lost
            finally:
                self._end = None
                end.close()
                self._answer_none()
            # A control that accepts and hangs up at once must not be hammered.
            delay = _FIRST_DELAY_SECONDS if end.heard else min(delay * 2, _LONGEST_DELAY_SECONDS)
            await asyncio.sleep(delay)

    def report(self, counters: Counters) -> bool:
        """Send version and counters if control reads; tell whether they were queued."""
        return self._end is not None and self._end.send(COUNTERS, _ENCODER.encode(Report(self.version, counters)))

    async def ask(self, wanted: Wanted) -> Stored:
        """Ask control about an earlier exchange; `unavailable` if it is away or silent for too long."""
        if self._end is None or len(self._asked) >= MOST_QUESTIONS:
            return Stored("unavailable")
        self._number += 1
        number = self._number
        if not self._end.send(QUESTION, _ENCODER.encode(Question(number, wanted))):
            return Stored("unavailable")
        reply: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._asked[number] = reply
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                return await reply
        except TimeoutError:
            return Stored("unavailable")
        finally:
            del self._asked[number]

    def take_reply(self, reply: Reply) -> None:
        """Hand a reply to who waits for it; one that comes too late is nobody's."""
        future = self._asked.get(reply.number)
        if future is not None and not future.done():
            future.set_result(reply.stored)

    def _answer_none(self) -> None:
        for future in self._asked.values():
            if not future.done():
                future.set_result(Stored("unavailable"))


class _WorkerProtocol(_End):
    limit = _DOWN_BYTES

    def __init__(self, worker: WorkerEnd, lost: asyncio.Future[None]) -> None:
        super().__init__()
        self._worker = worker
        self._lost = lost
        self.heard = False

    def closed(self) -> None:
        if not self._lost.done():
            self._lost.set_result(None)

    def take(self, kind: int, body: bytes) -> None:
        self.heard = True
        if kind == SNAPSHOT:
            self._worker.on_snapshot(body)
        elif kind == PEERS:
            self._worker.on_peers(_COUNTERS.decode(body))
        elif kind == REPLY:
            self._worker.take_reply(_REPLY.decode(body))
        else:
            raise DamagedFrameError(f"kind {kind} from control")


class ControlEnd:
    """Control's side: every connected worker, the newest Snapshot, and what each worker has counted."""

    def __init__(
        self,
        path: Path,
        *,
        on_hello: Callable[[Hello], None],
        on_report: Callable[[Hello, Report], None],
        on_question: Callable[[WorkerLine, Question], None],
    ) -> None:
        self.path = path
        self.on_hello = on_hello
        self.on_report = on_report
        self.on_question = on_question
        self.workers: set[WorkerLine] = set()
        self.idle = asyncio.Event()
        """Set while no worker is connected."""
        self.idle.set()
        self._server: asyncio.AbstractServer | None = None
        self._snapshot = b""
        self._version = 0

    async def open(self) -> None:
        """Listen on the path, in place of whatever a dead process left there.

        Raises:
            OSError: the folder does not take a socket.
        """
        self.path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: WorkerLine(self), str(self.path))

    def push(self, snapshot: bytes, version: int) -> None:
        """Hand a Snapshot to every worker, now or as soon as it reads again."""
        self._snapshot, self._version = snapshot, version
        for line in self.workers:
            line.catch_up()

    def greet(self, line: WorkerLine, hello: Hello) -> None:
        """Take a worker in; hang up on an earlier line of that name, which speaks for a process that is no more."""
        for other in list(self.workers):
            if other.hello and other.hello.name == hello.name:
                other.close()
        self.workers.add(line)
        self.idle.clear()
        self.on_hello(hello)

    def forget(self, line: WorkerLine) -> None:
        """Note that a line is closed; what the worker counted stays with the tally."""
        self.workers.discard(line)
        if not self.workers:
            self.idle.set()

    def deliver(self, line: WorkerLine) -> int:
        """Send the newest Snapshot on one line; return its version, or 0 if it could not be queued."""
        return self._version if self._version and line.send(SNAPSHOT, self._snapshot) else 0

    @property
    def version(self) -> int:
        """Of the newest Snapshot."""
        return self._version

    def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        for line in list(self.workers):
            line.close()


class WorkerLine(_End):
    """One worker as control sees it."""

    def __init__(self, control: ControlEnd) -> None:
        super().__init__()
        self._control = control
        self.hello: Hello | None = None
        self._sent_version = 0
        self._open_questions = 0

    def closed(self) -> None:
        """Leave the list of workers."""
        self._control.forget(self)

    def take(self, kind: int, body: bytes) -> None:
        """Act on hello, counters and questions.

        Raises:
            DamagedFrameError: anything else, or anything before hello.
            msgspec.MsgspecError: the body is damaged.
        """
        if kind == HELLO and self.hello is None:
            self.hello = _HELLO.decode(body)
            self._sent_version = self.hello.version
            self._control.greet(self, self.hello)
            self.catch_up()
        elif kind == COUNTERS and self.hello is not None:
            report = _REPORT.decode(body)
            self.catch_up()
            self._control.on_report(self.hello, report)
        elif kind == QUESTION and self.hello is not None:
            self._be_asked(_QUESTION.decode(body))
        else:
            raise DamagedFrameError(f"kind {kind} from a worker")

    def catch_up(self) -> None:
        """Send the newest Snapshot unless this worker has been sent it."""
        if self._sent_version != self._control.version:
            self._sent_version = self._control.deliver(self) or self._sent_version

    def send_peers(self, counters: Counters) -> None:
        """Send the sum over the other workers."""
        self.send(PEERS, _ENCODER.encode(counters))

    def _be_asked(self, question: Question) -> None:
        # Counted here, too: a worker gives up and asks again, but what it asked before is still being looked up.
        self._open_questions += 1
        if self._open_questions > MOST_QUESTIONS:
            self.reply(question.number, Stored("unavailable"))
        else:
            self._control.on_question(self, question)

    def reply(self, number: int, stored: Stored) -> None:
        """Answer a question, once; a worker that does not read gets no answer, and gives up by itself."""
        self._open_questions -= 1
        self.send(REPLY, _ENCODER.encode(Reply(number, stored)), most=_DOWN_BYTES)
