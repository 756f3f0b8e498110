"""`python -m flumegate.processes.supervisor`: binds the sockets, starts the others, restarts them, ends them in order.

One loop over signals, messages from control and signs of life from workers; it decides nothing about requests and
knows no configuration beyond the Facts that control reports. It must outlive everything else, so it stays tiny:
standard library only, no threads, no asyncio. Its options (`--config`) are handed on to control as they are.

Life: booting (control alone) → running → draining (workers finish) → flushing (control stores the last records) → end.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time

from flumegate import log
from flumegate.processes import boot, listen, shelf
from flumegate.processes.child import Child, describe_end

WORKER_SILENCE_SECONDS = 20.0
CONTROL_SILENCE_SECONDS = 60.0
"""Control may be busy with a slow disk, and nothing waits for it: it is given longer."""
GRACE_SECONDS = 1.0
"""What a worker may take beyond its drain time before it is killed."""
FLUSH_SECONDS = 3.0
"""What control may take to store the last records; what it cannot store stays in the spool for the next start."""
FORCED_SECONDS = 0.5
STALLED_SECONDS = 5.0
"""When the supervisor itself was held up this long (suspended, Ctrl-Z), the silence of others means nothing."""
FIRST_FAILURES = 5
"""Ends in a row of a worker that never served, at the first start, before the supervisor gives up."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


class Supervisor:
    """The loop and what it knows; `run` returns the exit code."""

    def __init__(self, options: list[str]) -> None:
        self.options = options
        self.state = "booting"
        self.exit_code = 0
        self.facts: boot.Facts | None = None
        self.control = Child("control", silence_seconds=CONTROL_SILENCE_SECONDS)
        self.mock = Child("mock", silence_seconds=None)
        self.workers: list[Child] = []
        self.sockets: list[socket.socket] = []
        self.channel: boot.Channel | None = None
        self.lifelines: dict[str, socket.socket] = {}
        self.lock = -1
        self.shelf = shelf.make("flumegate-snapshot")
        self.tally = shelf.make("flumegate-counters")
        self.mock_socket: socket.socket | None = listen.bind_loopback()
        self.deadline: float | None = None
        self.selector = selectors.DefaultSelector()
        self.on_terminal = os.isatty(2)
        self.turned_at = time.monotonic()

    def run(self) -> int:
        """Run until everything has ended."""
        wakeup = self._watch_signals()
        self._start_control()
        while self.state != "ended":
            for key, _ in self.selector.select(self._patience()):
                if key.fileobj is wakeup:
                    for number in wakeup.recv(4096):
                        self._signal(number)
                elif key.data == "control":
                    self._hear_control()
                else:
                    self._hear_worker(key.data)
            self._reap()
            self._turn(time.monotonic())
        return self.exit_code

    # Signals

    def _watch_signals(self) -> socket.socket:
        receiver, sender = socket.socketpair()
        for end in (receiver, sender):
            end.settimeout(0)
        # The sender lives as long as the process: detached, it cannot be collected.
        signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        self.selector.register(receiver, selectors.EVENT_READ, "signals")
        return receiver

    def _signal(self, number: int) -> None:
        if number == signal.SIGHUP and not (self.on_terminal and not os.isatty(2)):
            if self.channel:
                self._tell("reload", 1)
        elif number != signal.SIGCHLD:
            # SIGHUP lands here when the terminal that we were started from is gone.
            if self.state in {"booting", "running"}:
                log.event("info", "stopping", drain_seconds=self.facts.drain_seconds if self.facts else 0)
                self._drain()
            else:
                self._force()

    # Children

    def _start_control(self) -> None:
        self._forget("control")
        ours, theirs = socket.socketpair()
        keep = [theirs.fileno(), self.shelf, self.tally]
        options = ["--boot", str(keep[0]), "--shelf", str(self.shelf), "--tally", str(self.tally)]
        if self.mock_socket:
            options += ["--mock-port", str(self.mock_socket.getsockname()[1])]
        if self.lock >= 0:
            keep.append(self.lock)
            options += ["--lock", str(self.lock)]
        self.channel = boot.Channel(ours)
        self.selector.register(ours, selectors.EVENT_READ, "control")
        if self.facts:
            self._tell("resume", self.facts._asdict())
        self._spawn(self.control, "flumegate.processes.control", [*options, *self.options], keep, dict(os.environ))
        theirs.close()

    def _start_worker(self, worker: Child) -> None:
        if self.facts is None:
            return
        self._forget(worker.name)
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        end = self.sockets[self.workers.index(worker)]
        keep = [end.fileno(), self.shelf, theirs.fileno()]
        # fmt: off
        options = [
            "--fd", str(keep[0]), "--link", self.facts.link, "--snapshot-fd", str(self.shelf),
            "--spool", os.path.join(self.facts.data_dir, "spool"),  # noqa: PTH118 - pathlib would cost a tenth of our memory
            "--name", worker.name, "--lifeline", str(keep[2]), "--drain", str(self.facts.drain_seconds),
            "--workers", str(len(self.workers)),
            "--log-level", self.facts.log_level, "--log-layout", self.facts.log_layout,
        ]
        # fmt: on
        self.lifelines[worker.name] = ours
        self.selector.register(ours, selectors.EVENT_READ, worker)
        self._spawn(worker, "flumegate.processes.worker", options, keep, _plain_environ())
        theirs.close()

    def _start_mock(self) -> None:
        if self.mock_socket is None:
            return
        self._forget("mock")
        ours, theirs = socket.socketpair()
        self.lifelines["mock"] = ours
        keep = [theirs.fileno(), self.mock_socket.fileno()]
        options = [str(keep[0]), "flumegate.mock", "--fd", str(keep[1]), "--quiet"]
        self._spawn(self.mock, "flumegate.processes.tether", options, keep, _plain_environ())
        theirs.close()

    def _spawn(self, child: Child, module: str, options: list[str], keep: list[int], environ: dict[str, str]) -> None:
        try:
            child.start(module, options, keep=keep, environ=environ, now=time.monotonic())
        except OSError as problem:
            log.event("error", "child_not_started", child=child.name, reason=problem)
        else:
            self._tell("child", {"name": child.name, "state": "started", "pid": child.pid})

    def _reap(self) -> None:
        while True:
            try:
                # Any child: as process 1 of a container we also inherit what others leave behind.
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for child in self._children():
                if child.pid == pid:
                    self._ended(child, pid, status)

    def _ended(self, child: Child, pid: int, status: int) -> None:
        if child is self.control:
            # What it said last, `failed` above all, may still wait to be read.
            self._hear_control()
        delay = child.ended(time.monotonic())
        self._forget(child.name)
        if child is not self.control:
            self._tell("child", {"name": child.name, "state": "ended", "pid": pid})
        if self.state != "running":
            child.restart_at = None
        if self.state == "booting" and child is self.control:
            if self.exit_code == 0:
                log.event("error", "start_failed", reason="control ended before it was ready", end=describe_end(status))
                self.exit_code = 1
            self.state = "ended"
        elif self.state == "running":
            log.event(
                "warning", "child_ended", child=child.name, pid=pid, end=describe_end(status), restart_seconds=delay
            )
            if child in self.workers and child.failures >= FIRST_FAILURES and not any(w.was_up for w in self.workers):
                log.event("error", "start_failed", reason="no worker came up", tries=child.failures)
                self.exit_code = 1
                self._drain()

    def _forget(self, name: str) -> None:
        end = self.lifelines.pop(name, None)
        if name == "control" and self.channel:
            end, self.channel = self.channel.socket, None
        if end:
            if end in self.selector.get_map():
                self.selector.unregister(end)
            end.close()

    def _children(self) -> list[Child]:
        return [self.control, self.mock, *self.workers]

    # Messages

    def _tell(self, kind: str, value: object) -> None:
        if self.channel:
            try:
                self.channel.send(kind, value)
            except boot.ChannelClosedError:
                # SIGCHLD follows, and the next control is told everything anew.
                self._forget("control")

    def _hear_worker(self, worker: Child) -> None:
        end = self.lifelines.get(worker.name)
        if end is None:
            return
        try:
            said = end.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self._forget(worker.name)
            return
        worker.heard_at = time.monotonic()
        if b"+" in said:
            worker.was_up = True

    def _hear_control(self) -> None:
        if self.channel is None:
            return
        self.control.heard_at = time.monotonic()
        try:
            messages = self.channel.receive()
            for message in messages:
                if "failed" in message and self.state == "booting":
                    self.exit_code = int(str(message["failed"]))
                elif "refused" in message and self.state == "running":
                    # It has found out, and said, after the start that it should not have been.
                    self.exit_code = 1
                    self._drain()
                elif "boot" in message:
                    self._booted(boot.read_facts(message["boot"]))
        except boot.ChannelClosedError:
            self._forget("control")

    def _booted(self, facts: boot.Facts) -> None:
        self.control.was_up = True
        if self.channel and self.channel.descriptors and self.lock < 0:
            self.lock = self.channel.descriptors.pop()
        if self.state == "booting":
            self.facts = facts
            log.configure(log.level(facts.log_level), log.layout(facts.log_layout), "supervisor")
            try:
                self.sockets = listen.bind(facts.host, facts.port, facts.workers)
            except listen.AddressUnusableError as problem:
                sys.stderr.write(f"flumegate: {problem}\n")
                self.exit_code = 1
                self._drain()
                return
            self.state = "running"
            self.workers = [
                Child(f"w{index}", silence_seconds=WORKER_SILENCE_SECONDS) for index in range(facts.workers)
            ]
            for worker in self.workers:
                self._start_worker(worker)
            if facts.needs_mock:
                self._start_mock()
            elif self.mock_socket:
                self.mock_socket.close()
                self.mock_socket = None
        if self.sockets:
            host, port = self.sockets[0].getsockname()[:2]
            self._tell("listening", [host, port])
            for child in self.workers:
                self._tell("child", {"name": child.name, "state": "started", "pid": child.pid})

    # Time

    def _patience(self) -> float:
        due = [child.restart_at for child in self._children() if child.restart_at is not None]
        if self.deadline is not None:
            due.append(self.deadline)
        return max(0.0, min([1.0, *(moment - time.monotonic() for moment in due)]))

    def _turn(self, now: float) -> None:
        held_up, self.turned_at = now - self.turned_at > STALLED_SECONDS, now
        if self.state == "running":
            self._restart_due(now)
            for child in self._children():
                if held_up:
                    child.heard_at = now
                elif child.hung(now):
                    log.event(
                        "error", "child_hung", child=child.name, pid=child.pid, silent_seconds=child.silence_seconds
                    )
                    child.heard_at = now
                    child.send(signal.SIGKILL)
        elif self.state == "draining":
            self._end_each(self.workers, now)
            if not any(worker.pid for worker in self.workers):
                self._flush()
        elif self.state == "flushing":
            self._end_each([self.control, self.mock], now)
            if not any(child.pid for child in self._children()):
                self.state = "ended"

    def _restart_due(self, now: float) -> None:
        for child in self._children():
            if child.restart_at is None or child.restart_at > now:
                continue
            try:
                if child is self.control:
                    self._start_control()
                elif child is self.mock:
                    self._start_mock()
                else:
                    self._start_worker(child)
            except OSError as problem:
                # Out of descriptors, say: the others live on, and so must we.
                seconds = child.postpone(now)
                log.event("error", "child_not_started", child=child.name, reason=problem, restart_seconds=seconds)

    def _end_each(self, children: list[Child], now: float) -> None:
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            for child in children:
                child.send(signal.SIGKILL)

    def _drain(self) -> None:
        self.state = "draining"
        self.deadline = time.monotonic() + (self.facts.drain_seconds if self.facts else 0.0) + GRACE_SECONDS
        for child in self._children():
            child.restart_at = None
        for worker in self.workers:
            worker.send(signal.SIGTERM)

    def _flush(self) -> None:
        self.state = "flushing"
        self.deadline = time.monotonic() + FLUSH_SECONDS
        for child in (self.mock, self.control):
            child.send(signal.SIGTERM)

    def _force(self) -> None:
        log.event("warning", "stopping_at_once")
        self.exit_code = 1
        self.deadline = time.monotonic() + FORCED_SECONDS
        for child in self._children():
            child.send(signal.SIGTERM)


def _plain_environ() -> dict[str, str]:
    """Return what workers may see of the environment: not the secrets, which reach them with the Snapshot alone."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(("PYTHON", "LC_", "COVERAGE_"))
    }


def main() -> int:
    """Run the gateway; return its exit code."""
    log.configure(process="supervisor")
    return Supervisor(sys.argv[1:]).run()


if __name__ == "__main__":
    sys.exit(main())
