"""What a new Snapshot costs the requests of that moment where there are a hundred thousand keys, and what memory.

One connection asks at a steady pace, first while nothing changes, then as long while key after key is made over the
management API; a swap counts once the worker has said that it applied the Snapshot. What the longest answer during
swaps took longer than the longest without is the stall: so what the machine does to both is not held against the swaps.
Before that, without any load, what a swap takes of the worker's processor: the firmer figure for the same thing.
Control and the load share a core, so control has to leave it whenever the load wants it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from bench import machine
from bench.problem import BenchError
from bench.samples import median
from bench.sections import LATE_US, Bench, Figures, Gathered, Sample
from bench.subjects import GATEWAY, Running, Subject

RATE = 1000
"""Requests a second: one is due in each millisecond of a stall."""
PATIENCE_SECONDS = 60.0
START_SECONDS = 1.0
"""What the load takes until it begins to ask, roughly; what is applied before its window opens does not count."""
LOOK_SECONDS = 0.02
BASE_SECONDS = 2.0
"""How long the worker is watched doing nothing."""
SLOWER = 1.5
"""How much longer a swap takes under load than without, so long enough windows can be opened; roughly, too."""
MOST_SECONDS = 40.0
"""A window is no longer than this, however slow the machine."""
_APPLIED = b'"snapshot_applied"'


class Swap(NamedTuple):
    """One new Snapshot: when its key was asked for and when the worker had it, by the monotonic clock."""

    asked_at: float
    applied_at: float


class Manager:
    """The management API of a running gateway, and what its worker says of Snapshots."""

    def __init__(self, running: Running) -> None:
        """Wait until it answers.

        Raises:
            BenchError: it does not.
        """
        self.data = running.folder / "data"
        self.log = running.folder / f"{GATEWAY}.log"
        _await(self._is_open, "the management API did not open")

    def swap(self) -> Swap:
        """Make a key and wait until the worker has heard of it.

        Raises:
            BenchError: it was refused, or never heard of.
        """
        known = self._applied()
        asked_at = time.monotonic()
        status, text = self._ask("POST", "/manage/keys", json.dumps({"name": "one more"}))
        if not 200 <= status < 300:
            raise BenchError(f"the management API makes no key: {status} {text[:300]}")
        _await(lambda: self._applied() > known, "the worker did not hear of a new key")
        return Swap(asked_at, time.monotonic())

    def _is_open(self) -> bool:
        # The console opens after the gateway's own port, and before the store.
        with contextlib.suppress(FileNotFoundError):
            return self._ask("GET", "/manage/keys?limit=1")[0] == 200
        return False

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        port = int((self.data / "console.url").read_text().strip().rstrip("/").rpartition(":")[2])
        token = (self.data / "admin.token").read_text().strip()
        fields = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, body, fields)
                answer = connection.getresponse()
                return answer.status, answer.read().decode(errors="replace")
            except (OSError, http.client.HTTPException) as problem:
                raise BenchError(f"the management API does not answer: {problem}") from problem

    def _applied(self) -> int:
        return self.log.read_bytes().count(_APPLIED)


def _await(happened: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise BenchError(f"{complaint} within {PATIENCE_SECONDS:.0f} s")
        time.sleep(LOOK_SECONDS)


def measure_keys(bench: Bench, subject: Subject) -> Figures:
    """Answer times with and without swaps, the stall between them, and memory before and after."""
    gathered = Gathered(bench, "keys")
    with (
        gathered.attempt(subject),
        bench.upstream(streamed=False) as port,
        bench.running(subject, port, streamed=False) as running,
    ):
        processes = {"worker": running.metered[0], **running.beside}
        idle = {name: machine.rss_mb(pid) for name, pid in processes.items()}
        machine.run_when_idle(running.beside["control"])
        samples, swaps = _rounds(bench, running)
        for name, pid in processes.items():
            samples[name] = [{"idle_mb": idle[name], "swapped_mb": machine.rss_mb(pid)}]
        late_us = max(sample["latest_us"] for name in ("quiet", "swaps") for sample in samples[name])
        if late_us > LATE_US:
            bench.remark(
                f"keys: the generator was up to {late_us / 1e3:.1f} ms late, as others took its core: what is said of "
                "stalls under load is as far off"
            )
        if swaps:
            samples["stall"] = [_stall(samples, swaps)]
        else:
            bench.remark("keys: no Snapshot was applied under load, the machine is too busy: nothing is said of stalls")
        gathered.samples = samples
    return gathered.medians(worst=("longest_us", "latest_us", "longest_cpu_ms"))


def _rounds(bench: Bench, running: Running) -> tuple[dict[str, list[Sample]], list[Swap]]:
    """Return the samples of quiet and of busy times in turns, and the swaps that fell into the latter."""
    manager, rounds = Manager(running), bench.settings.swap_rounds
    alone = _alone(bench, running, manager)
    seconds = min(MOST_SECONDS, bench.settings.swaps * SLOWER * median([each["seconds"] for each in alone]))
    samples: dict[str, list[Sample]] = {"alone": alone, "quiet": [], "swaps": []}
    swaps: list[Swap] = []
    for number in range(rounds):
        print(f"  round {number + 1} of {rounds}: {seconds:.0f} s in which nothing changes", flush=True)
        samples["quiet"].append(_timed(bench, running, seconds))
        print(f"  round {number + 1} of {rounds}: {seconds:.0f} s in which key after key is made", flush=True)
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(_timed, bench, running, seconds)
            made = _swap_until(manager, load)
        found = load.result()
        samples["swaps"].append(found)
        swaps += [each for each in made if found["from_seconds"] <= each.applied_at <= found["until_seconds"]]
    return samples, swaps


def _alone(bench: Bench, running: Running, manager: Manager) -> list[Sample]:
    """Swap some times without load; the worker's processor time for each, less what it uses in doing nothing."""
    worker = running.metered[0]
    used = machine.exact_cpu_seconds(worker)
    time.sleep(BASE_SECONDS)
    base = (machine.exact_cpu_seconds(worker) - used) / BASE_SECONDS
    samples = []
    for number in range(bench.settings.swaps):
        print(f"  swap {number + 1} of {bench.settings.swaps}, without load", flush=True)
        used, began = machine.exact_cpu_seconds(worker), time.monotonic()
        manager.swap()
        seconds = time.monotonic() - began
        cpu_ms = (machine.exact_cpu_seconds(worker) - used - base * seconds) * 1e3
        samples.append({"seconds": seconds, "cpu_ms": cpu_ms, "longest_cpu_ms": cpu_ms})
    return samples


def _timed(bench: Bench, running: Running, seconds: float) -> Sample:
    """Ask at the steady pace and return how long the answers took."""
    found = bench.generator(
        "load_open",
        running,
        streamed=False,
        seconds=seconds,
        rate=RATE,
        connections=1,
        steady=[],
        core=bench.cores.load,
        beside=list(running.beside.values()),
    )
    if found["failed"] or found["unanswered"]:
        raise BenchError(
            f"{found['failed']:.0f} answers were no success and {found['unanswered']:.0f} never came at {RATE:,} "
            "requests/s: latencies over failures would mean nothing"
        )
    return found


def _swap_until(manager: Manager, load: Future[Sample]) -> list[Swap]:
    """Make keys one after the other until the load has ended."""
    time.sleep(START_SECONDS)
    made = []
    while not load.done():
        made.append(manager.swap())
    return made


def _stall(samples: dict[str, list[Sample]], swaps: list[Swap]) -> Sample:
    longest = {name: max(sample["longest_us"] for sample in samples[name]) for name in ("quiet", "swaps")}
    taken = [each.applied_at - each.asked_at for each in swaps]
    return {
        "swaps": len(swaps),
        "longest_ms": (longest["swaps"] - longest["quiet"]) / 1e3,
        "applied_seconds": median(taken),
        "applied_longest_seconds": max(taken),
    }
