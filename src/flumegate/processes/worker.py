"""`python -m flumegate.processes.worker`: one worker process of the data plane, around `app.WorkerApp`.

It starts with the Snapshot on the shelf, or waits for the first one over the link, and from then on serves whatever
becomes of control: nothing here waits for control, and nothing queues up for it. Each second it reports its counters
and gives the supervisor a sign of life. SIGTERM (or SIGINT) finishes what is in flight and ends with 0; a second one
ends at once. When the supervisor dies it does the same within seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from pathlib import Path

import msgspec

from flumegate import log, snapshot
from flumegate.app import WorkerApp
from flumegate.processes.boot import read_options
from flumegate.processes.shelf import Shelf
from flumegate.processes.worker_end import WorkerEnd
from flumegate.records.counters import Counters
from flumegate.records.manage import Answer, Question

OPTIONS = ("fd", "link", "snapshot-fd", "spool", "name", "lifeline", "drain", "workers", "log-level", "log-layout")
ORPHANED_DRAIN_SECONDS = 5.0
"""Without a supervisor nobody restarts us and a new gateway may want the address: no long good-byes."""


class Worker:
    """The app, its link and its end."""

    def __init__(self, options: dict[str, str]) -> None:
        self.socket = socket.socket(fileno=int(options["fd"]))
        self.socket.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self.name = options["name"]
        self.link = WorkerEnd(
            Path(options["link"]),
            name=self.name,
            pid=os.getpid(),
            on_snapshot=self.take_snapshot,
            on_peers=self.take_peers,
            on_question=self.answer,
        )
        self.app = WorkerApp(
            name=self.name,
            spool_folder=Path(options["spool"]),
            ask=self.link.ask,
            workers=int(options.get("workers", "1")),
        )
        self.app.ask_balance(self.link.ask_balance)
        self.shelf = Shelf(int(options["snapshot-fd"]))
        self.lifeline = socket.socket(fileno=int(options["lifeline"])) if "lifeline" in options else None
        self.drain_seconds = float(options.get("drain", "60"))
        self.held = 0
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()
        self.at_once = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        if self.lifeline is not None:
            self.lifeline.setblocking(False)  # noqa: FBT003 - the standard library's signature
            loop.add_reader(self.lifeline.fileno(), self._supervisor_spoke)
        if (kept := self.shelf.read()) is not None:
            self.take_snapshot(kept)
        tasks = [asyncio.create_task(self.link.run()), asyncio.create_task(self._tick())]
        try:
            if await self._either(self.ready, self.stopping) is self.ready:
                await self.app.start(self.socket)
                self.link.version = self.held
                self._report()
                self._beat(b"+")
                log.event("info", "serving", version=self.held, pid=os.getpid())
                gc.collect()
                gc.freeze()
                await self.stopping.wait()
            await self._drain()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """Finish what is in flight; at the second call, end at once."""
        if self.stopping.is_set():
            self.at_once.set()
        self.stopping.set()

    def take_snapshot(self, data: bytes) -> None:
        """Serve by this Snapshot from the next request on; keep the old one if it cannot be read."""
        try:
            value = snapshot.decode(data)
        except msgspec.MsgspecError as problem:
            log.event("error", "snapshot_refused", reason=problem, held_version=self.held)
            return
        log.hide(value.secrets())
        self.app.apply(value)
        self.held = value.version
        if self.link.version:
            # Before the app has started, acknowledging would announce a gateway that does not answer yet.
            self.link.version = value.version
            self._report()
            log.event("info", "snapshot_applied", version=value.version)
        self.ready.set()

    def take_peers(self, counters: Counters) -> None:
        """Keep what the other workers have counted."""
        self.app.peers = counters

    async def answer(self, question: Question) -> Answer:
        """Answer what an operator asks."""
        return await self.app.manage(question)

    def _report(self) -> None:
        self.link.report(self.app.counters())

    async def _tick(self) -> None:
        while True:
            self._report()
            self._beat(b".")
            await asyncio.sleep(1.0)

    def _beat(self, sign: bytes) -> None:
        if self.lifeline is not None:
            # A supervisor that does not read is suspended; the reader below notices when it is dead.
            with contextlib.suppress(OSError):
                self.lifeline.send(sign)

    def _supervisor_spoke(self) -> None:
        """Act on the end of the lifeline; nothing else ever comes through it."""
        if self.lifeline is None:
            return
        with contextlib.suppress(BlockingIOError):
            try:
                gone = not self.lifeline.recv(4096)
            except ConnectionError:
                gone = True
            if gone:
                asyncio.get_running_loop().remove_reader(self.lifeline.fileno())
                self.drain_seconds = min(self.drain_seconds, ORPHANED_DRAIN_SECONDS)
                log.event("error", "supervisor_gone", drain_seconds=self.drain_seconds)
                self.stopping.set()

    async def _drain(self) -> None:
        """Drain, but no further once told to end at once."""
        draining = asyncio.create_task(self.app.drain(self.drain_seconds))
        hurry = asyncio.create_task(self.at_once.wait())
        await asyncio.wait({draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not draining.done():
            draining.cancel()
            await self.app.drain(0)
        with contextlib.suppress(asyncio.CancelledError):
            await draining
        self._report()

    async def _either(self, *events: asyncio.Event) -> asyncio.Event:
        tasks = {asyncio.create_task(event.wait()): event for event in events}
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return tasks[done.pop()]


def main(arguments: list[str]) -> int:
    """Run one worker until it is told to stop; return its exit code."""
    options = read_options(arguments, OPTIONS)
    log.configure(log.level(options.get("log-level")), log.layout(options.get("log-layout")), options["name"])

    async def live() -> None:
        await Worker(options).run()

    try:
        import uvloop  # noqa: PLC0415 - plain asyncio serves where it has no wheel
    except ImportError:
        asyncio.run(live())
    else:
        uvloop.run(live())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
