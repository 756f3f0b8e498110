"""The worker's end of the link: takes Snapshots and questions, reports counters, asks about earlier exchanges.

A worker serves without control for as long as it takes: it reconnects for ever, with a capped back-off.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from flumegate import log
from flumegate.processes.link import (
    ANSWER,
    ASK,
    COUNTERS,
    DOWN_BYTES,
    ENCODER,
    HELLO,
    MOST_ASKED,
    MOST_QUESTIONS,
    PEERS,
    QUESTION,
    REPLY,
    SNAPSHOT,
    UP_BYTES,
    Ask,
    DamagedFrameError,
    End,
    Hello,
    Question,
    Reply,
    Report,
    Told,
    Waiting,
)
from flumegate.records import manage
from flumegate.records.balance import Balance, Sought
from flumegate.records.counters import Counters
from flumegate.records.manage import UNAVAILABLE, Answer, Explain, Refused
from flumegate.records.stored import Stored, Wanted

_FIRST_DELAY_SECONDS = 0.02
_LONGEST_DELAY_SECONDS = 2.0
_COUNTERS = msgspec.msgpack.Decoder(Counters)
_REPLY = msgspec.msgpack.Decoder(Reply)
_ASK = msgspec.msgpack.Decoder(Ask)


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
        on_question: Callable[[manage.Question], Awaitable[Answer]],
    ) -> None:
        self._path = path
        self._name = name
        self._pid = pid
        self.on_snapshot = on_snapshot
        self.on_peers = on_peers
        self.on_question = on_question
        self.version = 0
        """Of the Snapshot that the worker serves with, as reported to control."""
        self._end: _WorkerProtocol | None = None
        self._waiting: Waiting[Stored | Balance] = Waiting(MOST_QUESTIONS, Stored("unavailable"))
        self._answering: set[asyncio.Future[Answer]] = set()

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
            end.send(HELLO, ENCODER.encode(Hello(self._name, self._pid, self.version)))
            try:
                await lost
            finally:
                self._end = None
                end.close()
                self._waiting.give_up()
            # A control that accepts and hangs up at once must not be hammered.
            delay = _FIRST_DELAY_SECONDS if end.heard else min(delay * 2, _LONGEST_DELAY_SECONDS)
            await asyncio.sleep(delay)

    def report(self, counters: Counters) -> bool:
        """Send version and counters if control reads; tell whether they were queued."""
        return self._end is not None and self._end.send(COUNTERS, ENCODER.encode(Report(self.version, counters)))

    async def ask(self, wanted: Wanted) -> Stored:
        """Ask control about an earlier exchange; `unavailable` if it is away or silent for too long."""
        answer = await self._ask(wanted)
        return answer if isinstance(answer, Stored) else Stored("unavailable")

    async def ask_balance(self, sought: Sought) -> Balance | None:
        """Ask control what was used before; None if it is away, silent for too long, or does not know."""
        answer = await self._ask(sought)
        return answer if isinstance(answer, Balance) else None

    async def _ask(self, wanted: Wanted | Sought) -> Stored | Balance:
        def send(number: int) -> bool:
            return self._end is not None and self._end.send(QUESTION, ENCODER.encode(Question(number, wanted)))

        return await self._waiting.ask(send)

    def take_reply(self, reply: Reply) -> None:
        """Hand a reply to who waits for it."""
        self._waiting.take(reply.number, reply.stored)

    def take_ask(self, ask: Ask, end: _WorkerProtocol) -> None:
        """Answer an operator's question on the line that it came by, in a task of its own."""
        # What is forced is done at once, and none of it may be lost.
        if len(self._answering) >= MOST_ASKED and isinstance(ask.question, Explain):
            end.tell(ask.number, UNAVAILABLE)
            return
        task = asyncio.ensure_future(self.on_question(ask.question))
        self._answering.add(task)

        def tell(done: asyncio.Future[Answer]) -> None:
            self._answering.discard(done)
            if done.cancelled():
                return
            bug = done.exception()
            if bug is not None:
                log.event("error", "question_failed", bug=repr(bug)[:300])
            end.tell(ask.number, UNAVAILABLE if bug is not None else done.result())

        task.add_done_callback(tell)


class _WorkerProtocol(End):
    limit = DOWN_BYTES

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
        elif kind == ASK:
            self._worker.take_ask(_ASK.decode(body), self)
        else:
            raise DamagedFrameError(f"kind {kind} from control")

    def tell(self, number: int, answer: Answer) -> None:
        """Send an answer; one that no frame can hold is refused instead, lest control hang up on it."""
        body = ENCODER.encode(Told(number, answer))
        if len(body) > UP_BYTES:
            body = ENCODER.encode(Told(number, Refused("answer_too_large", "The answer is too large to be told.")))
        self.send(ANSWER, body, most=UP_BYTES)
