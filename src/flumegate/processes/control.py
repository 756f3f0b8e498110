"""`python -m flumegate.processes.control`: reads the configuration, hands Snapshots to workers, stores their records.

Nothing that happens here can delay a request: workers serve on while control is dead, frozen or behind. A control that
replaces a dead one takes up where it was: the lock and the shelves are inherited, the Facts come from the supervisor.
A configuration that is invalid is refused with its problems located, and the one before serves on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from flumegate import log, snapshot
from flumegate.manage.state import CURRENT, DatabaseState, astray
from flumegate.processes import boot, settings, tally
from flumegate.processes.arrival import Arrival
from flumegate.processes.banner import banner
from flumegate.processes.console import Console
from flumegate.processes.control_end import ControlEnd, WorkerLine
from flumegate.processes.desk import DeskOpening
from flumegate.processes.first_start import StartRefusedError
from flumegate.processes.kept_state import Standing
from flumegate.processes.link import Hello, Question, Report
from flumegate.processes.recording import Recording
from flumegate.processes.settings import Settings
from flumegate.processes.shelf import Shelf, ShelfFullError
from flumegate.processes.state import State
from flumegate.processes.watch import POLL_SECONDS, Watch
from flumegate.records.balance import Balance
from flumegate.records.stored import Stored

_T = TypeVar("_T")
OPTIONS = ("boot", "shelf", "tally", "mock-port", "lock", "config")
NICENESS = 5
"""On a contended core the data plane goes first."""
LOOKING_THREADS = 2
"""For workers' questions: a slow database must not keep a reload waiting."""
FLUSH_SECONDS = 2.5
READ_SECONDS = 2.0
"""How long the console waits for the database before it opens; some of it works without."""
ORPHANED_SECONDS = 7.0
"""How long to wait for orphaned workers to finish before the last records are stored."""


class Control:
    """The loop: link, supervisor's channel, watched files, clock."""

    def __init__(self, kept: Settings, channel: boot.Channel, shelves: tuple[Shelf, Shelf], *, first: bool) -> None:
        self.kept = kept
        self.channel = channel
        self.shelf, self.tally_shelf = shelves
        self.first = first
        self.tally = _read_tally(self.tally_shelf)
        self.link = ControlEnd(
            Path(kept.facts.link), on_hello=self.greet, on_report=self.hear, on_question=self.look_up
        )
        self.recording = Recording(
            spool=Path(kept.facts.data_dir) / "spool",
            database_url=kept.facts.database_url,
            retention_days=kept.facts.retention_days,
            live=sys.stdout.isatty(),
        )
        self.state: State | None = None
        self.arrival = Arrival()
        self.uncounted = False
        """Limits were found that cannot be held, and that was said."""
        self.console = Console(
            kept.facts.console,
            Path(kept.facts.data_dir),
            self.link,
            desk=DeskOpening(self.recording, lambda: self.kept, self.changed),
            snapshot=lambda: self.kept.snapshot,
            ready=self._await_state,
        )
        self.looking = ThreadPoolExecutor(LOOKING_THREADS, thread_name_prefix="look-up")
        self.watch = Watch(kept.watched)
        self.stopping = asyncio.Event()
        self.reload_now = asyncio.Event()
        self.orphaned = False
        self.url = ""
        self.announced = not first

    async def run(self) -> int:
        """Run until told to stop; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload_now.set)
        loop.add_reader(self.channel.socket.fileno(), self.hear_supervisor)
        await self.link.open()
        self.publish(self.kept.snapshot)
        self.hear_supervisor()
        tasks = [asyncio.create_task(self._tick()), asyncio.create_task(self._follow_changes())]
        try:
            await self.stopping.wait()
            if self.orphaned:
                await self._workers_gone(ORPHANED_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.console.close()
            if self.state is not None:
                # Told, not waited for: a database that does not answer may hold it up, and it has nothing to lose.
                self.state.finish(0)
            self.link.close()
            if not await asyncio.to_thread(self.recording.finish, FLUSH_SECONDS):
                log.event("warning", "records_left_in_spool", remedy="they are stored at the next start")
            await asyncio.to_thread(self.looking.shutdown, cancel_futures=True)
            settings.leave(self.kept)
        return 0

    def publish(self, value: snapshot.Snapshot) -> None:
        """Shelve a Snapshot and hand it to every worker."""
        data = snapshot.encode(value)
        log.hide(value.secrets())
        try:
            self.shelf.write(data)
        except (OSError, ShelfFullError) as problem:
            log.event(
                "error", "snapshot_not_shelved", reason=problem, effect="a worker that restarts waits for control"
            )
        self.link.push(data, value.version)

    # Workers

    def greet(self, hello: Hello) -> None:
        """Take in a worker that has connected."""
        self.tally.begin(hello.name, hello.pid)
        self._share(hello.name)
        self._acknowledged(hello.version)
        self._arrived(hello.name, hello.version)

    def hear(self, hello: Hello, report: Report) -> None:
        """Take a worker's report."""
        self.tally.report(hello.name, hello.pid, report.counters)
        self._acknowledged(report.version)
        self._arrived(hello.name, report.version)

    def look_up(self, line: WorkerLine, question: Question) -> None:
        """Find out what a worker wants to know, and tell it."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self.looking, self.recording.answer, question.wanted)

        def tell(done: asyncio.Future[Stored | Balance]) -> None:
            if done.cancelled():
                return
            bug = done.exception()
            if bug is not None:
                log.event("error", "question_failed", bug=repr(bug)[:300])
            line.reply(question.number, Stored("unavailable") if bug is not None else done.result())

        future.add_done_callback(tell)

    def _acknowledged(self, version: int) -> None:
        if version and not self.announced and self.url:
            self.announced = True
            _say(f"flumegate ready on {self.url}\n")
            self._settle()

    def _arrived(self, worker: str, version: int) -> None:
        if self.arrival.acknowledged(worker, version) and self._tell_arrival() and self.kept.kept_state is not None:
            # No worker uses an older key table any more.
            self.kept.kept_state.retire(self.kept.snapshot.key_table)

    def _tell_arrival(self) -> bool:
        """Let those go on who wait for what all workers know now; tell whether that is the newest Snapshot."""
        everywhere = self.arrival.is_everywhere(self.link.version, {line.name for line in self.link.workers})
        if everywhere and self.kept.standing.state is not None:
            self.arrival.known(self.kept.standing.state.changes)
        return everywhere

    def _settle(self) -> None:
        """Begin what can wait until the gateway answers."""
        os.nice(NICENESS)
        if self.kept.standing.state is not None:
            self._watch_budgets(self.kept.standing.state)
        self.recording.start()
        self._watch_state()
        self.console.begin()

    def _watch_budgets(self, state: DatabaseState) -> None:
        self.recording.balances.watch(state.metered, state.accounts)

    def _watch_state(self) -> None:
        kept, loop = self.kept, asyncio.get_running_loop()
        if self.state is not None or kept.ring is None or kept.kept_state is None:
            return

        def tell(act: Callable[[_T], None]) -> Callable[[_T], None]:
            def later(value: _T) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(act, value)

            return later

        self.state = State(
            database=self.recording.database,
            ring=kept.ring,
            pepper=kept.pepper,
            kept=kept.kept_state,
            standing=kept.standing,
            max_age=lambda: self.kept.keys_max_age,
            on_standing=tell(self.take_standing),
            on_refusal=tell(self.refuse),
        )
        self.state.start()

    def _await_state(self) -> None:
        if self.state is not None:
            self.state.read.wait(READ_SECONDS)

    def take_standing(self, standing: Standing) -> None:
        """Publish what the database says, if that changes what workers know."""
        if standing.state is not None:
            self._watch_budgets(standing.state)
            for name in astray(self.kept.snapshot, standing.state):
                log.event("warning", "credential_unused", credential=name, reason="its provider is at another host now")
        self.recording.away = standing.keys_are != CURRENT
        before, self.kept = self.kept, self.kept.following(self.kept, standing)
        if self.kept.snapshot.version != before.snapshot.version:
            self.publish(self.kept.snapshot)
        # What changes nothing for workers is known to them already.
        self._tell_arrival()
        reason = self.kept.uncounted()
        if reason and before.standing.state is None:
            # What a start that knew it would have refused.
            self.refuse(reason)
        elif reason and not self.uncounted:
            log.event("error", "limits_not_held", reason=reason)
        self.uncounted = bool(reason)

    def refuse(self, reason: str) -> None:
        """Stop a gateway that should not have been started; one that runs already goes on with what it knows."""
        log.event("error", "database_refused", reason=reason)
        if self.first:
            with contextlib.suppress(boot.ChannelClosedError):
                self.channel.send("refused", 1)

    def changed(self, changes: int) -> None:
        """Push what was changed in the database to the workers, and wait for them; called in threads of the console."""
        if self.state is not None:
            self.state.changed()
            self.arrival.wait(changes)

    def _share(self, name: str) -> None:
        for line in self.link.workers:
            if line.hello and line.hello.name == name:
                line.send_peers(self.tally.others(name))

    # Supervisor

    def hear_supervisor(self) -> None:
        """Act on what the supervisor says; its death ends control too."""
        try:
            for message in self.channel.receive():
                if "listening" in message:
                    self._listening(message["listening"])
                elif "reload" in message:
                    self.reload_now.set()
                elif isinstance(child := message.get("child"), dict) and child.get("state") == "ended":
                    self.tally.silence(str(child.get("name")), int(child.get("pid") or 0))
        except boot.ChannelClosedError:
            asyncio.get_running_loop().remove_reader(self.channel.socket.fileno())
            if not self.stopping.is_set():
                log.event("error", "supervisor_gone")
                self.orphaned = True
                self.stopping.set()

    def _listening(self, address: object) -> None:
        if not isinstance(address, list):
            return
        host, port = address
        self.url = f"{self.kept.scheme}://{boot.authority(str(host), int(port))}"
        if self.first:
            try:
                self.kept.keep_key()
            except StartRefusedError as problem:
                log.event("error", "client_key_not_kept", reason=problem, effect="the next start makes another one")
            _say(banner(self.kept.start(self.url), colour=sys.stdout.isatty()))
        else:
            log.event("info", "control_resumed", version=self.link.version)
            self._settle()

    async def _workers_gone(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.link.idle.wait()

    # Clock

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for line in self.link.workers:
                line.catch_up()
                if line.hello:
                    line.send_peers(self.tally.others(line.hello.name))
            with contextlib.suppress(OSError, ShelfFullError):
                self.tally_shelf.write(tally.encode(self.tally))
            with contextlib.suppress(boot.ChannelClosedError):
                self.channel.send("beat", 1)

    async def _follow_changes(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self.reload_now.wait()
            asked = self.reload_now.is_set()
            self.reload_now.clear()
            if self.watch.poll() or asked:
                await self.reload()

    async def reload(self) -> None:
        """Load the configuration again and publish it; keep the old one if it is refused."""
        look = self.watch.look()
        try:
            # In a thread: a slow disk must not keep control from hearing workers.
            fresh = await asyncio.to_thread(self.kept.reload)
        except (settings.InvalidError, StartRefusedError) as problem:
            self.watch.loaded(look)
            settings.log_refusal(problem, self.kept.snapshot.version)
            return
        self.watch.loaded(look, fresh.watched)
        # The database may have said something while the file was read.
        standing = fresh.standing if self.kept.standing.state is None else self.kept.standing
        fresh = fresh.following(self.kept, standing)
        changed = fresh.snapshot.version != self.kept.snapshot.version
        for name in self.kept.needs_restart(fresh):
            log.event("warning", "restart_needed", setting=name, remedy="the change takes effect at the next start")
        self.kept = fresh
        self.recording.retention_days = fresh.retention_days
        if changed:
            self.publish(fresh.snapshot)
        self._watch_state()
        log.event("info", "config_applied" if changed else "config_unchanged", version=fresh.snapshot.version)


def _say(text: str) -> None:
    """Write to stdout; nobody listening there is no reason to stop."""
    with contextlib.suppress(OSError):
        sys.stdout.write(text)
        sys.stdout.flush()


def _read_tally(shelf: Shelf) -> tally.Tally:
    kept = shelf.read()
    if kept is not None:
        with contextlib.suppress(msgspec.MsgspecError):
            return tally.decode(kept)
    return tally.Tally()


def main(arguments: list[str]) -> int:
    """Run control until it is told to stop; return its exit code."""
    options = boot.read_options(arguments, OPTIONS)
    log.configure(process="control")
    channel = boot.Channel(socket.socket(fileno=int(options["boot"])))
    shelves = (Shelf(int(options["shelf"])), Shelf(int(options["tally"])))
    config = Path(options["config"]) if "config" in options else None
    mock_port = int(options["mock-port"]) if "mock-port" in options else None
    first = "lock" not in options
    try:
        kept = (
            settings.start(config, mock_port, channel)
            if first
            else settings.resume(config, mock_port, channel, shelves[0])
        )
    except (settings.InvalidError, StartRefusedError) as problem:
        settings.print_refusal(problem)
        with contextlib.suppress(boot.ChannelClosedError):
            channel.send("failed", 1)
        return 1
    except boot.ChannelClosedError:
        return 1

    async def live() -> int:
        return await Control(kept, channel, shelves, first=first).run()

    return asyncio.run(live())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
