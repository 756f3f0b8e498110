"""The measurements: each starts its subjects afresh, in turns (nginx, gateway, nginx, gateway, …), and keeps medians.

In turns, because a neighbour's busy minute then hits everybody alike. Figures are plain numbers by subject and name;
what they mean stands in `report`. A subject that fails drops out of its section with a remark, the others go on.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from bench import load_unary, machine, question
from bench.launch import free_port, output_of
from bench.load_unary import Window
from bench.machine import Cores
from bench.problem import BenchError
from bench.samples import error_of_median, median, slope
from bench.subjects import COMMAND, DIRECT, Place, Running, Subject, gateway_process
from bench.upstreams import upstream

Figures = dict[str, dict[str, float]]
"""By subject, then by figure."""

LATE_US = 1000.0
FULL_PERCENT = 85.0
"""From this lateness (p99) or fill of the load's core on, the load is the bottleneck, and the rate is lowered."""
LOWER_RATE = 0.75
TRIES = 8
RAMP_SECONDS = 2.0
"""What load_stream takes to begin its streams evenly spread."""
QUIET_SECONDS = 0.5
QUIET_TURNS = 3
QUIET_SHARE = 0.1
"""Control counts as quiet after so many turns with less than this share of a core."""
STORED_SECONDS = 180.0
AGAIN = "again"
"""The plain gateway a second time, in the section of what is added."""
_END_SECONDS = 20.0
_FIRST_ANSWER_SECONDS = 20.0


@dataclass(frozen=True)
class Settings:
    """How long and how often; the defaults are those of a full run."""

    rounds: int = 5
    turns: int = 60
    window_seconds: float = 6.0
    warm_up_seconds: float = 1.0
    stream_rounds: int = 3
    stream_seconds: float = 8.0
    latency_rounds: int = 3
    latency_seconds: float = 5.0
    starts: int = 5
    helps: int = 10
    soak_requests: int = 0
    swap_rounds: int = 3
    swaps: int = 7
    """In a round, about."""


QUICK = Settings(
    rounds=1,
    turns=3,
    window_seconds=2.0,
    warm_up_seconds=0.5,
    stream_rounds=1,
    stream_seconds=2.0,
    latency_rounds=1,
    latency_seconds=1.5,
    starts=2,
    helps=3,
    swap_rounds=1,
    swaps=2,
)


@dataclass
class Bench:
    """One run: what it is done with, and the remarks that it gathered."""

    folder: Path
    cores: Cores
    settings: Settings
    remarks: list[str] = field(default_factory=list)

    def remark(self, text: str) -> None:
        """Keep a remark for the report, and say it at once."""
        self.remarks.append(text)
        print(f"  ! {text}", flush=True)

    @contextlib.contextmanager
    def running(self, subject: Subject, upstream_port: int, *, streamed: bool) -> Iterator[Running]:
        """Run a subject in a folder of its own for the length of the block."""
        with (
            tempfile.TemporaryDirectory(prefix=f"{subject.name}-", dir=self.folder) as name,
            subject.run(Place(Path(name), self.cores, upstream_port, streamed)) as running,
        ):
            yield running

    def upstream(self, *, streamed: bool) -> AbstractContextManager[int]:
        """Run the upstream for the length of the block; its port."""
        return upstream(folder=self.folder, cores=self.cores, streamed=streamed)

    def script(self, running: Running) -> Path:
        """Write wrk's script for a running subject and return where it lies."""
        return load_unary.write_script(
            self.folder, path=question.PATH, headers=running.headers, body=question.body(streamed=False)
        )

    def window(self, running: Running, seconds: float) -> Window:
        """Load a running subject with whole answers for some seconds."""
        return load_unary.run(
            self.script(running),
            port=running.port,
            seconds=seconds,
            cores=self.cores,
            metered=running.metered,
        )

    def generator_command(
        self, module: str, running: Running, *, streamed: bool, seconds: float, **options: object
    ) -> list[str | Path]:
        """Return the command that starts one of our own load generators against a subject."""
        arguments = [sys.executable, "-m", f"bench.{module}", "--port", str(running.port), "--path", question.PATH]
        arguments += ["--headers", json.dumps(running.headers), "--body", question.body(streamed=streamed)]
        arguments += ["--seconds", str(seconds), "--warm-up", str(self.settings.warm_up_seconds)]
        for name, value in options.items():
            arguments += [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]
        return [*arguments]

    def generator(self, module: str, running: Running, *, streamed: bool, seconds: float, **options: object) -> Sample:
        """Run one of our own load generators against a subject; what it found, by name."""
        arguments = self.generator_command(module, running, streamed=streamed, seconds=seconds, **options)
        limit = RAMP_SECONDS + self.settings.warm_up_seconds + seconds + _END_SECONDS
        found: Sample = json.loads(output_of(arguments, core=self.cores.load, within_seconds=limit))
        return found

    def in_turns(self, subjects: list[Subject], rounds: int) -> Iterator[Subject]:
        """Yield the subjects round by round; peers, slow to start and far off, come in the first round only."""
        for number in range(rounds):
            for subject in subjects:
                if number == 0 or not subject.peer:
                    print(f"  round {number + 1} of {rounds}: {subject.title}", flush=True)
                    yield subject


Sample = dict[str, float]


class Gathered:
    """The samples of one section by subject; a subject that failed is not asked again."""

    def __init__(self, bench: Bench, section: str) -> None:
        self.bench = bench
        self.section = section
        self.samples: dict[str, list[Sample]] = {}
        self.failed: set[str] = set()

    @contextlib.contextmanager
    def attempt(self, subject: Subject) -> Iterator[None]:
        """Turn the failure of one subject into a remark."""
        try:
            yield
        except BenchError as problem:
            self.failed.add(subject.name)
            self.bench.remark(f"{self.section}, {subject.title}: {problem}")

    def add(self, subject: Subject, sample: Sample) -> None:
        """Keep one sample."""
        self.samples.setdefault(subject.name, []).append(sample)

    def medians(self, worst: tuple[str, ...] = ()) -> Figures:
        """Return the median of each figure, or its largest value for those named."""
        return {
            name: {
                figure: max(values) if figure in worst else median(values)
                for figure in samples[0]
                if (values := [sample[figure] for sample in samples])
            }
            for name, samples in self.samples.items()
            if name not in self.failed
        }


def measure_unary(bench: Bench, subjects: list[Subject]) -> Figures:
    """Closed loop: requests/s, processor time a request, how full the core was, what others took of it."""

    def measure(_subject: Subject, running: Running, _upstream: int) -> Sample:
        bench.window(running, bench.settings.warm_up_seconds)
        window = bench.window(running, bench.settings.window_seconds)
        return {
            "rate": window.rate,
            "cpu_us": window.cpu_us,
            "busy_percent": window.used_seconds / window.seconds * 100,
            "foreign_percent": window.foreign_seconds / window.seconds * 100,
        }

    return _gathered(bench, "unary", subjects, bench.settings.rounds, measure).medians()


def measure_added(bench: Bench, plain: Subject, others: list[Subject]) -> Figures:
    """Closed loop, one second for each in turns while all are up: processor time a request beside the plain one's.

    From one second to the next the machine moves less than from one start to another, so the median of what each is
    beside its neighbours of the same turn tells microseconds. The plain one runs twice: that row says how exact it is.
    """
    runs: dict[str, Running] = {}
    with bench.upstream(streamed=False) as port, contextlib.ExitStack() as stack:
        for name, subject in [(plain.name, plain), (AGAIN, plain), *((each.name, each) for each in others)]:
            print(f"  starting {subject.title}", flush=True)
            runs[name] = stack.enter_context(bench.running(subject, port, streamed=False))
            bench.window(runs[name], bench.settings.warm_up_seconds)
        order = list(runs)
        costs: dict[str, list[float]] = {name: [] for name in order}
        for number in range(bench.settings.turns):
            if number % 10 == 0:
                print(f"  turn {number + 1} of {bench.settings.turns}", flush=True)
            random.shuffle(order)
            for name in order:
                used = sum(map(machine.exact_cpu_seconds, runs[name].metered))
                window = bench.window(runs[name], 1.0)
                used = sum(map(machine.exact_cpu_seconds, runs[name].metered)) - used
                costs[name].append(used / window.requests * 1e6)
    figures: Figures = {}
    for name, values in costs.items():
        added = [value - base for value, base in zip(values, costs[plain.name], strict=True)]
        figures[name] = {"cpu_us": median(values), "added_us": median(added), "error_us": error_of_median(added)}
    return figures


def measure_streams(bench: Bench, subjects: list[Subject]) -> Figures:
    """200 streams at 50 events/s: processor time an event, time to the first event, events lost."""

    def measure(_subject: Subject, running: Running, _upstream: int) -> Sample:
        seconds = bench.settings.stream_seconds
        found = bench.generator("load_stream", running, streamed=True, seconds=seconds, pids=running.metered)
        return {
            "rate": found["events"] / found["seconds"],
            "cpu_us": found["cpu_seconds"] / found["events"] * 1e6,
            "first_p50_ms": found["first_event_p50_ms"],
            "first_p99_ms": found["first_event_p99_ms"],
            "streams": found["streams"],
            "lost": found["lost"],
            "failed": found["failed"],
        }

    gathered = _gathered(bench, "sse", subjects, bench.settings.stream_rounds, measure, streamed=True)
    return gathered.medians(worst=("lost", "failed"))


def measure_latency(bench: Bench, subjects: list[Subject], capacities: dict[str, float]) -> Figures:
    """Open loop at half of each subject's own capacity: what it adds to the direct upstream at the same rate."""
    rates: dict[str, float] = {}

    def measure(subject: Subject, running: Running, upstream: int) -> Sample:
        if subject.name not in rates:
            rates[subject.name] = (capacities.get(subject.name) or _capacity(bench, running)) / 2
        return _added(bench, subject, running, upstream, rates)

    return _gathered(bench, "latency", subjects, bench.settings.latency_rounds, measure).medians()


def _gathered(
    bench: Bench,
    section: str,
    subjects: list[Subject],
    rounds: int,
    measure: Callable[[Subject, Running, int], Sample],
    *,
    streamed: bool = False,
) -> Gathered:
    """Measure each subject in its turn, started afresh before an upstream on the port that is told."""
    gathered = Gathered(bench, section)
    with bench.upstream(streamed=streamed) as port:
        for subject in bench.in_turns(subjects, rounds):
            if subject.name in gathered.failed:
                continue
            with gathered.attempt(subject), bench.running(subject, port, streamed=streamed) as running:
                gathered.add(subject, measure(subject, running, port))
    return gathered


def _capacity(bench: Bench, running: Running) -> float:
    bench.window(running, bench.settings.warm_up_seconds)
    return bench.window(running, bench.settings.window_seconds).rate


def _added(bench: Bench, subject: Subject, running: Running, port: int, rates: dict[str, float]) -> Sample:
    """Return the added latency at a rate that the load's core can keep; `rates` holds that rate afterwards."""
    for number in range(TRIES):
        rate = rates[subject.name]
        with bench.running(DIRECT, port, streamed=False) as upstream_itself:
            direct = _paced(bench, upstream_itself, list(running.beside.values()), rate)
        through = _paced(bench, running, list(running.beside.values()), rate)
        late_us = max(direct["late_p99_us"], through["late_p99_us"])
        full_percent = max(direct["core_percent"], through["core_percent"])
        if late_us < LATE_US and full_percent < FULL_PERCENT:
            return {
                "rate": rate,
                "added_p50_us": through["p50_us"] - direct["p50_us"],
                "added_p99_us": through["p99_us"] - direct["p99_us"],
                "direct_p50_us": direct["p50_us"],
                "direct_p99_us": direct["p99_us"],
                "late_p99_us": late_us,
                "full_percent": full_percent,
            }
        # Lateness alone may be a neighbour's burst: only at the second time is it the rate.
        if full_percent >= FULL_PERCENT or number % 2:
            rates[subject.name] = rate * LOWER_RATE
            bench.remark(
                f"latency, {subject.title}: at {rate:,.0f} requests/s the load's core was {full_percent:.0f} % full, "
                f"the generator {late_us / 1e3:.1f} ms late, so {rates[subject.name]:,.0f} is tried"
            )
    raise BenchError("the load was late at every rate: the machine is too busy to measure latency now")


def _paced(bench: Bench, running: Running, beside: list[int], rate: float) -> Sample:
    found = bench.generator(
        "load_open",
        running,
        streamed=False,
        seconds=bench.settings.latency_seconds,
        rate=f"{rate:.0f}",
        core=bench.cores.load,
        beside=beside,
    )
    if found["failed"] or found["unanswered"]:
        raise BenchError(
            f"{found['failed']:.0f} answers were no success and {found['unanswered']:.0f} never came at {rate:,.0f} "
            "requests/s: latencies over failures would mean nothing"
        )
    return found


def measure_memory(bench: Bench, gateway: Subject) -> Figures:
    """Resident memory of each process in MB: idle after the start, and after the load; with a soak, its slope."""
    gathered = Gathered(bench, "memory")
    with (
        gathered.attempt(gateway),
        bench.upstream(streamed=False) as port,
        bench.running(gateway, port, streamed=False) as running,
    ):
        processes = {"worker": running.metered[0], **running.beside}
        before = machine.cpu_seconds(running.beside.values())
        idle = {name: machine.rss_mb(pid) for name, pid in processes.items()}
        window = bench.window(running, bench.settings.window_seconds)
        for name, pid in processes.items():
            gathered.samples[name] = [{"idle_mb": idle[name], "loaded_mb": machine.rss_mb(pid)}]
        gathered.samples["stored"] = [_stored(running, window, before)]
        if bench.settings.soak_requests:
            gathered.samples["worker"][0] |= _soak(bench, running, window)
    return gathered.medians()


def _stored(running: Running, window: Window, used_before: float) -> Sample:
    """Wait until control is quiet again; what control and supervisor have used until then for each request."""
    used, quiet, began = 0.0, 0, time.monotonic()
    while quiet < QUIET_TURNS and time.monotonic() - began < STORED_SECONDS:
        time.sleep(QUIET_SECONDS)
        used_now = machine.cpu_seconds(running.beside.values()) - used_before
        quiet = quiet + 1 if used_now - used < QUIET_SECONDS * QUIET_SHARE else 0
        used = used_now
    return {"cpu_us": used / window.requests * 1e6, "seconds": time.monotonic() - began - QUIET_TURNS * QUIET_SECONDS}


def _soak(bench: Bench, running: Running, window: Window) -> Sample:
    """Return the slope of the worker's memory over at least so many requests, the first fifth left out as warm-up."""
    total = window.requests
    wanted = total + bench.settings.soak_requests
    began = total
    points = []
    while total < wanted:
        window = bench.window(running, bench.settings.window_seconds)
        total += window.requests
        memory_mb = machine.rss_mb(running.metered[0])
        points.append((total - began, memory_mb))
        print(f"  soak: {total - began:,} requests, worker {memory_mb:.1f} MB", flush=True)
    settled = [point for point in points if point[0] >= bench.settings.soak_requests / 5]
    return {
        "soak_requests": total - began,
        "soaked_mb": points[-1][1],
        "slope_mb": slope(settled) * 100_000 if len(settled) > 1 else 0.0,
    }


def measure_start(bench: Bench, gateway: Subject) -> Figures:
    """Seconds from the command to the first answer with status 200, and of `flumegate --help`, on a warm disk."""
    gathered = Gathered(bench, "start")
    with gathered.attempt(gateway), bench.upstream(streamed=False) as upstream_port:
        with tempfile.TemporaryDirectory(prefix="start-", dir=bench.folder) as name:
            place = Place(Path(name), bench.cores, upstream_port, streamed=False)
            # The first start makes the database and warms the disk; it is not counted.
            times = [_first_answer(place) for _ in range(bench.settings.starts + 1)][1:]
            gathered.samples["first_answer"] = [{"seconds": seconds} for seconds in times]
        helps = [_help() for _ in range(bench.settings.helps + 1)][1:]
        gathered.samples["help"] = [{"seconds": seconds} for seconds in helps]
    return gathered.medians()


def _first_answer(place: Place) -> float:
    port = free_port()
    began = time.perf_counter()
    with gateway_process(place, port=port, content="metadata", pinned=False) as program:

        def answers() -> bool:
            with contextlib.suppress(OSError):
                return question.ask(port, question.headers(), streamed=False)[0] == 200
            return False

        program.await_true(answers, within_seconds=_FIRST_ANSWER_SECONDS, what="answer with status 200")
        return time.perf_counter() - began


def _help() -> float:
    began = time.perf_counter()
    done = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, timeout=30, check=False)
    taken = time.perf_counter() - began
    if done.returncode:
        raise BenchError(f"flumegate --help failed: {done.stderr.strip()[-300:]}")
    return taken
