"""Control's end of the link: every connected worker, the newest Snapshot, what each has counted, and what is forced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

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
from flumegate.records.balance import Balance
from flumegate.records.counters import Counters
from flumegate.records.manage import UNAVAILABLE, Answer, Explain, ForceTarget, ListTargets, Refused
from flumegate.records.stored import Stored

_HELLO = msgspec.msgpack.Decoder(Hello)
_REPORT = msgspec.msgpack.Decoder(Report)
_QUESTION = msgspec.msgpack.Decoder(Question)
_TOLD = msgspec.msgpack.Decoder(Told)


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
        self.forced: dict[str, ForceTarget] = {}
        """What operators have said of targets, by name; workers that come later are told, too."""

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

    async def ask_one(self, question: Explain) -> Answer:
        """Ask a worker, and if it does not answer another one."""
        for line in sorted(self.workers, key=lambda line: line.name)[:2]:
            answer = await line.ask(question)
            if answer != UNAVAILABLE:
                return answer
        return UNAVAILABLE

    async def ask_all(self, question: ListTargets | ForceTarget) -> dict[str, Answer]:
        """Ask every worker that is connected; return the answers by worker."""
        lines = sorted(self.workers, key=lambda line: line.name)
        answers = await asyncio.gather(*(line.ask(question) for line in lines))
        return {line.name: answer for line, answer in zip(lines, answers, strict=True)}

    async def force(self, question: ForceTarget) -> dict[str, Answer]:
        """Force a target in every worker, now and whenever one connects; return the answers by worker.

        Nothing is kept of it where there is no worker, or where every worker says that there is no such target.
        """
        before = self.forced.get(question.name)
        self.forced[question.name] = question
        answers = await self.ask_all(question)
        unknown = all(isinstance(answer, Refused) and answer != UNAVAILABLE for answer in answers.values())
        if unknown and self.forced.get(question.name) is question:
            del self.forced[question.name]
            if answers:
                await self.ask_all(ForceTarget(question.name, "auto"))
            elif before is not None:
                self.forced[question.name] = before
        return answers

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


class WorkerLine(End):
    """One worker as control sees it."""

    def __init__(self, control: ControlEnd) -> None:
        super().__init__()
        self._control = control
        self.hello: Hello | None = None
        self._sent_version = 0
        self._open_questions = 0
        self._waiting: Waiting[Answer] = Waiting(MOST_ASKED, UNAVAILABLE)
        self._behind = True
        """It may not have been told all that is forced."""

    @property
    def name(self) -> str:
        """The worker's; empty before it has said it."""
        return self.hello.name if self.hello else ""

    def closed(self) -> None:
        """Leave the list of workers."""
        self._waiting.give_up()
        self._control.forget(self)

    def take(self, kind: int, body: bytes) -> None:
        """Act on hello, counters, questions and answers.

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
        elif kind == ANSWER and self.hello is not None:
            told = _TOLD.decode(body)
            self._waiting.take(told.number, told.answer)
        else:
            raise DamagedFrameError(f"kind {kind} from a worker")

    def catch_up(self) -> None:
        """Send the newest Snapshot and what is forced, unless this worker has been sent them."""
        if self._sent_version != self._control.version:
            self._sent_version = self._control.deliver(self) or self._sent_version
        if self._behind:
            # Number 0 is nobody's: the answers are not waited for.
            forced = self._control.forced.values()
            self._behind = not all(self._send_ask(0, question) for question in forced)

    async def ask(self, question: manage.Question) -> Answer:
        """Ask the worker on an operator's behalf; unavailable if it is away or silent for too long."""
        answer = await self._waiting.ask(lambda number: self._send_ask(number, question))
        if answer == UNAVAILABLE and isinstance(question, ForceTarget):
            self._behind = True
        return answer

    def _send_ask(self, number: int, question: manage.Question) -> bool:
        return self.send(ASK, ENCODER.encode(Ask(number, question)), most=DOWN_BYTES)

    def send_peers(self, counters: Counters) -> None:
        """Send the sum over the other workers."""
        self.send(PEERS, ENCODER.encode(counters))

    def _be_asked(self, question: Question) -> None:
        # Counted here, too: a worker gives up and asks again, but what it asked before is still being looked up.
        self._open_questions += 1
        if self._open_questions > MOST_QUESTIONS:
            self.reply(question.number, Stored("unavailable"))
        else:
            self._control.on_question(self, question)

    def reply(self, number: int, stored: Stored | Balance) -> None:
        """Answer a question, once; a worker that does not read gets no answer, and gives up by itself."""
        self._open_questions -= 1
        self.send(REPLY, ENCODER.encode(Reply(number, stored)), most=DOWN_BYTES)
