"""`python -m bench.load_open`: requests at moments fixed beforehand, whatever the answers do; prints findings as JSON.

Options: --port --path --headers (JSON) --body (text) --rate (requests/s) --seconds --warm-up --connections --seed
--core (where this runs) --beside (processes on that core that the load does not need) --steady (no dice).
Arrivals are a Poisson process, or steady as a clock. A latency runs from the moment that a request was due, not from
when it could be sent: one that waits for a connection, or that this program sends late, counts from its due time, so
that a subject that stalls cannot hide it by slowing the load down (coordinated omission). How late the sending itself
was is reported too, and how full this program's core was with it and the upstream: where either is high, the figures
are the load's own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import time
from collections import deque

import httptools
import uvloop
from bench import machine
from bench.clock import Alarm
from bench.samples import percentile

LAST_ANSWERS_SECONDS = 5.0


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.transport: asyncio.Transport
        self.parser = httptools.HttpResponseParser(self)
        self.due_ns = 0
        self.counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready for a request."""
        self.transport = transport  # type: ignore[assignment] # asyncio types the argument as BaseTransport
        self.generator.idle.append(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Note the latency, then send what waits."""
        generator = self.generator
        if self.counted:
            generator.latencies_ns.append(time.monotonic_ns() - self.due_ns)
        generator.open -= 1
        if self.parser.get_status_code() != 200:
            generator.failed += 1
        if generator.waiting:
            self.send(*generator.waiting.popleft())
        else:
            generator.idle.append(self)

    def send(self, due_ns: int, counted: bool) -> None:  # noqa: FBT001 - part of one plain tuple in the queue
        """Send the request that was due then."""
        self.due_ns = due_ns
        self.counted = counted
        self.transport.write(self.generator.request)

    def connection_lost(self, _problem: Exception | None) -> None:
        """Note that the subject hung up; at the end nobody reads the count any more."""
        self.generator.failed += 1


class Fill:
    """How full a core is from now on, without what some processes that happen to run there take of it."""

    def __init__(self, core: int, beside: list[int]) -> None:
        self.core = core
        self.beside = beside
        self.began = self.idle = self.aside = 0.0

    def begin(self) -> None:
        """Begin the window."""
        self.began, self.idle = time.monotonic(), machine.core_times(self.core).idle
        self.aside = machine.cpu_seconds(self.beside)

    def percent(self) -> float:
        """Return how full it has been."""
        elapsed = time.monotonic() - self.began
        idle = machine.core_times(self.core).idle - self.idle
        return (elapsed - idle - (machine.cpu_seconds(self.beside) - self.aside)) / elapsed * 100


class Generator:
    """The schedule and what became of it."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.idle: list[Connection] = []
        self.waiting: deque[tuple[int, bool]] = deque()
        self.latencies_ns: list[int] = []
        self.lateness_ns: list[int] = []
        self.open = 0
        self.failed = 0

    async def run(self, due: list[int], counted_from_ns: int) -> None:
        """Send a request at each of these moments (of `time.monotonic_ns()`, ascending), then await what is open."""
        loop = asyncio.get_running_loop()
        alarm = Alarm()
        done = asyncio.Event()
        position = 0

        def ring() -> None:
            nonlocal position
            alarm.hush()
            now = time.monotonic_ns()
            while position < len(due) and due[position] <= now:
                moment = due[position]
                position += 1
                counted = moment >= counted_from_ns
                if counted:
                    self.lateness_ns.append(now - moment)
                self.open += 1
                if self.idle:
                    self.idle.pop().send(moment, counted)
                else:
                    self.waiting.append((moment, counted))
            if position < len(due):
                alarm.set(due[position])
            else:
                done.set()

        loop.add_reader(alarm.descriptor, ring)
        alarm.set(due[0])
        try:
            await done.wait()
            deadline = loop.time() + LAST_ANSWERS_SECONDS
            while self.open and loop.time() < deadline:  # noqa: ASYNC110 - an event would cost a check an answer
                await asyncio.sleep(0.01)
        finally:
            loop.remove_reader(alarm.descriptor)
            alarm.close()


def schedule(rate: float, seconds: float, seed: int, *, steady: bool) -> list[int]:
    """Return due times in nanoseconds from the beginning: those of a Poisson process, or of a clock."""
    if steady:
        return [round(number * 1e9 / rate) for number in range(int(seconds * rate))]
    dice = random.Random(seed)
    moments, moment = [], 0.0
    while (moment := moment + dice.expovariate(rate)) < seconds:
        moments.append(round(moment * 1e9))
    return moments


async def measure(options: argparse.Namespace) -> dict[str, float]:
    """Run the load; return latencies and lateness in microseconds, and counts."""
    body = options.body.encode()
    fields = {**json.loads(options.headers), "content-length": str(len(body)), "host": f"127.0.0.1:{options.port}"}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    generator = Generator(f"POST {options.path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    offsets = schedule(options.rate, options.warm_up + options.seconds, options.seed, steady=options.steady)
    loop = asyncio.get_running_loop()
    for _ in range(options.connections):
        await loop.create_connection(lambda: Connection(generator), "127.0.0.1", options.port)
    # A collection in the middle would be measured as the subject's latency.
    gc.collect()
    gc.freeze()
    gc.disable()
    begin = time.monotonic_ns() + 10_000_000
    counted_from = begin + round(options.warm_up * 1e9)
    fill = Fill(options.core, options.beside)
    loop.call_later((counted_from - time.monotonic_ns()) / 1e9, fill.begin)
    await generator.run([begin + offset for offset in offsets], counted_from)
    core_percent = fill.percent()
    if not generator.latencies_ns:
        raise SystemExit("no answer came within the window: is the subject answering?")
    return {
        "sent": len(offsets),
        "requests": len(generator.latencies_ns),
        "failed": generator.failed,
        "unanswered": generator.open,
        "p50_us": percentile(generator.latencies_ns, 50) / 1e3,
        "p99_us": percentile(generator.latencies_ns, 99) / 1e3,
        "longest_us": max(generator.latencies_ns) / 1e3,
        "from_seconds": counted_from / 1e9,
        "until_seconds": time.monotonic(),
        "late_p50_us": percentile(generator.lateness_ns, 50) / 1e3,
        "late_p99_us": percentile(generator.lateness_ns, 99) / 1e3,
        "latest_us": max(generator.lateness_ns) / 1e3,
        "core_percent": core_percent,
    }


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description="open-loop requests")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--headers", required=True)
    parser.add_argument("--body", required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--steady", action="store_true")
    parser.add_argument("--beside", type=int, nargs="*", default=[])
    print(json.dumps(uvloop.run(measure(parser.parse_args()))))


if __name__ == "__main__":
    main()
