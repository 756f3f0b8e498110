"""`python -m bench.load_stream`: streams in closed loops, one after the other on each connection; prints JSON.

Options: --port --path --headers (JSON) --body (text) --streams --seconds --warm-up --pids (processes to
meter).
Streams begin evenly spread over one stream's length. Only what arrives between the end of the warm-up and the end of
the window counts; a stream is checked for its full number of events when it completes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import httptools
import uvloop
from bench import machine
from bench.samples import percentile
from bench.sse_upstream import EVENT_SECONDS, EVENTS_A_STREAM

EVENTS_WITH_DONE = EVENTS_A_STREAM + 1


class Findings:
    """What the window saw."""

    def __init__(self) -> None:
        self.counting = False
        self.events = 0
        self.streams = 0
        self.lost = 0
        self.failed = 0
        self.first_event_ms: list[float] = []

    def reset(self) -> None:
        """Begin the window."""
        self.counting = True
        self.events = self.streams = self.lost = self.failed = 0
        self.first_event_ms.clear()


class Reader(asyncio.Protocol):
    """One connection that asks for a stream again as soon as one is complete."""

    def __init__(self, request: bytes, findings: Findings) -> None:
        self.request = request
        self.findings = findings
        self.transport: asyncio.Transport
        self.parser: httptools.HttpResponseParser
        self.asked_at = 0.0
        self.events = 0
        self.tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first stream."""
        self.transport = transport  # type: ignore[assignment] # asyncio types the argument as BaseTransport
        self.ask()

    def ask(self) -> None:
        """Ask for a stream."""
        self.parser = httptools.HttpResponseParser(self)
        self.events = 0
        self.tail = b""
        self.asked_at = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Count events; a mark that is split between two pieces is found through the tail of the first."""
        count = (self.tail + body).count(b"data:")
        self.tail = body[-4:]
        if not count:
            return
        if self.events == 0:
            self.findings.first_event_ms.append((time.perf_counter() - self.asked_at) * 1e3)
        self.events += count
        self.findings.events += count

    def on_message_complete(self) -> None:
        """Check the stream, then ask for the next one."""
        self.findings.streams += 1
        if self.parser.get_status_code() != 200:
            self.findings.failed += 1
        else:
            self.findings.lost += max(0, EVENTS_WITH_DONE - self.events)
        asyncio.get_running_loop().call_soon(self.ask)

    def connection_lost(self, _problem: Exception | None) -> None:
        """Count what the stream still owed; after the window nobody reads the count any more."""
        self.findings.failed += 1


async def measure(options: argparse.Namespace) -> dict[str, float]:
    """Run the load; return counts, first-event times in ms and the processes' processor time in seconds."""
    body = options.body.encode()
    fields = {**json.loads(options.headers), "content-length": str(len(body)), "host": f"127.0.0.1:{options.port}"}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    request = f"POST {options.path} HTTP/1.1\r\n{head}\r\n".encode() + body
    loop = asyncio.get_running_loop()
    findings = Findings()
    for _ in range(options.streams):
        await loop.create_connection(lambda: Reader(request, findings), "127.0.0.1", options.port)
        await asyncio.sleep(EVENT_SECONDS * EVENTS_A_STREAM / options.streams)
    await asyncio.sleep(options.warm_up)
    findings.reset()
    used, began = machine.cpu_seconds(options.pids), time.perf_counter()
    await asyncio.sleep(options.seconds)
    taken = time.perf_counter() - began
    used = machine.cpu_seconds(options.pids) - used
    if not findings.events or not findings.first_event_ms:
        raise SystemExit("no stream began within the window: is the subject answering?")
    return {
        "seconds": taken,
        "cpu_seconds": used,
        "events": findings.events,
        "streams": findings.streams,
        "lost": findings.lost,
        "failed": findings.failed,
        "first_event_p50_ms": percentile(findings.first_event_ms, 50),
        "first_event_p99_ms": percentile(findings.first_event_ms, 99),
    }


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description="closed-loop streams")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--headers", required=True)
    parser.add_argument("--body", required=True)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--pids", type=int, nargs="*", default=[])
    print(json.dumps(uvloop.run(measure(parser.parse_args()))))


if __name__ == "__main__":
    main()
