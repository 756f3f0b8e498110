"""Both ends of the link in one process, and what each has heard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from flumegate.processes.control_end import ControlEnd, WorkerLine
from flumegate.processes.link import Hello, Question, Report
from flumegate.processes.worker_end import WorkerEnd
from flumegate.records.counters import Counters
from flumegate.records.manage import Answer
from flumegate.records.manage import Question as Asked


class Control:
    """Control's end, and what it heard."""

    def __init__(self, path: Path) -> None:
        self.hellos: list[Hello] = []
        self.reports: list[Report] = []
        self.changed = asyncio.Event()
        self.questions: list[tuple[WorkerLine, Question]] = []
        self.end = ControlEnd(path, on_hello=self._hello, on_report=self._report, on_question=self._question)

    def _hello(self, hello: Hello) -> None:
        self.hellos.append(hello)
        self.changed.set()

    def _question(self, line: WorkerLine, question: Question) -> None:
        self.questions.append((line, question))
        self.changed.set()

    def _report(self, _: Hello, report: Report) -> None:
        self.reports.append(report)
        self.changed.set()


class Worker:
    """A worker's end, and what it heard."""

    def __init__(self, path: Path, *, name: str = "w0", pid: int = 1) -> None:
        self.snapshots: list[bytes] = []
        self.peers: list[Counters] = []
        self.changed = asyncio.Event()
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Awaitable[Answer]] = self._silence
        """What it does with an operator's question."""
        self.end = WorkerEnd(
            path, name=name, pid=pid, on_snapshot=self._snapshot, on_peers=self._peers, on_question=self._asked
        )
        self.task = asyncio.create_task(self.end.run())

    def _snapshot(self, data: bytes) -> None:
        self.snapshots.append(data)
        self.changed.set()

    async def _asked(self, question: Asked) -> Answer:
        self.asked.append(question)
        self.changed.set()
        return await self.answer(question)

    async def _silence(self, _: Asked) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    def _peers(self, counters: Counters) -> None:
        self.peers.append(counters)
        self.changed.set()


async def until(watched: Control | Worker, reached: Callable[[], bool]) -> None:
    """Wait for a condition over what an end has heard."""
    async with asyncio.timeout(10):
        while not reached():
            watched.changed.clear()
            await watched.changed.wait()


@contextlib.asynccontextmanager
async def connected(path: Path, *, name: str = "w0", pid: int = 1) -> AsyncIterator[Worker]:
    worker = Worker(path, name=name, pid=pid)
    try:
        yield worker
    finally:
        worker.task.cancel()
        await asyncio.gather(worker.task, return_exceptions=True)
