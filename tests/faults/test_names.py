"""Promise (row 13): a name server that stalls or changes its mind delays those who ask for its names, nobody else.

Everything runs in a network namespace whose only name server is the test's own.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rig import road
from rig.figures import figure, percentile
from rig.gateway import Gateway, run_gateway
from rig.name_server import SILENCE, NameServer, name_server
from rig.namespace import namespace
from rig.sockets import Caller, WireAnswer, call, head


class Scale(NamedTuple):
    names: int
    """Names that stall at the same time."""
    requests: int
    """Requests to another provider meanwhile."""
    probes: int
    """Looks at the event loop meanwhile."""


SMALL = Scale(8, 40, 40)
STATED = Scale(48, 2_000, 4_000)
SCALES = [pytest.param(SMALL, id="small"), pytest.param(STATED, id="stated", marks=pytest.mark.faults)]
LAG_SECONDS = 0.05
STALE_SECONDS = 10.0
"""Lifetime of an answer plus five seconds."""


class Here(BaseHTTPRequestHandler):
    """Answers with the address that was connected to, and closes."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps({"choices": [], "here": self.connection.getsockname()[0]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's own name
        """Say nothing."""


@contextlib.contextmanager
def serving(host: str, port: int = 0) -> Iterator[int]:
    server = ThreadingHTTPServer((host, port), Here)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(gateway: Gateway, provider: str) -> WireAnswer:
    body = json.dumps(road.chat(f"{provider}/m")).encode()
    return call(gateway.port, "POST", "/v1/chat/completions", body=body, key=road.KEY)


def code(got: WireAnswer) -> str:
    return str(got.json()["error"]["code"])


def config(port: int, names: list[str]) -> dict[str, Any]:
    def at(host: str, **more: Any) -> dict[str, Any]:
        return road.compatible(port, **more) | {"base_url": f"http://{host}:{port}/v1"}

    providers = {name: at(f"{name}.test", timeouts={"connect": 2}) for name in names}
    providers |= {
        "missing": at("missing.test"),
        "moving": at("moving.test"),
        "proxied": at("unasked.test", proxy=f"http://stalled-0.test:{port}", timeouts={"connect": 2}),
    }
    return road.settings(providers, server={"workers": 1})


def stalls(gateway: Gateway, server: NameServer, names: list[str], scale: Scale) -> tuple[int, list[float]]:
    """Let names stall; return how many others were served meanwhile, and how late the loop was."""
    for name in names:
        server.tell(f"{name}.test", SILENCE)
    late: list[float] = []
    with ThreadPoolExecutor(len(names) + 1) as clients:
        waiting = [clients.submit(ask, gateway, name) for name in [*names, "proxied"]]
        server.wait_asked({f"{name}.test" for name in names})
        served = sum(ask(gateway, "moving").status == 200 for _ in range(scale.requests))
        with Caller(gateway.port) as probe:
            for _ in range(scale.probes):
                begun = time.monotonic()
                probe.send(head("GET", "/health"))
                assert probe.read_answer().status == 200
                late.append(time.monotonic() - begun)
        for each in waiting:
            got = each.result()
            assert (got.status, code(got)) == (504, "upstream_connect_timeout")
    assert "unasked.test" not in server.asked
    return served, late


def moves(gateway: Gateway, server: NameServer, address: str) -> float:
    """Let a name lead elsewhere; return after how many seconds no answer came from where it led before."""
    begun = time.monotonic()
    server.tell("moving.test", (address,))
    road.eventually(lambda: ask(gateway, "moving").json()["here"] == address, "the new address is used")
    took = time.monotonic() - begun
    assert all(ask(gateway, "moving").json()["here"] == address for _ in range(10))
    return took


@pytest.mark.parametrize("scale", SCALES)
def test_a_name_server_harms_only_those_who_ask(tmp_path: Path, scale: Scale) -> None:
    """Names that do not exist, that stall, or that move: an error, a timeout, the new address; others are served."""

    def within() -> None:
        names = [f"stalled-{number}" for number in range(scale.names)]
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(name_server())
            port = stack.enter_context(serving("127.0.0.2"))
            stack.enter_context(serving("127.0.0.3", port))
            server.tell("moving.test", ("127.0.0.2",))
            gateway = stack.enter_context(run_gateway(config=config(port, names)))
            assert ask(gateway, "moving").json()["here"] == "127.0.0.2"
            got = ask(gateway, "missing")
            assert (got.status, code(got)) == (502, "upstream_dns_failed")
            served, late = stalls(gateway, server, names, scale)
            stale = moves(gateway, server, "127.0.0.3")
            for name in names:
                server.tell(f"{name}.test", ("127.0.0.3",))
            assert {ask(gateway, name).status for name in names} == {200}
        lag = percentile(late, 0.99)
        figure(13, f"others served while {scale.names} names stall: {served} of {scale.requests} (all)")
        assert served == scale.requests
        if scale is STATED:
            figure(13, f"loop lag p99: {lag * 1000:.1f} ms (<= {LAG_SECONDS * 1000:.0f})")
            figure(13, f"stale address: {stale:.1f} s (<= {STALE_SECONDS:.0f})")
            assert lag <= LAG_SECONDS
            assert stale <= STALE_SECONDS

    # The C library waits longer than the test lasts: a name stalls until the server is told otherwise.
    with namespace(tmp_path, resolver="nameserver 127.0.0.1\noptions timeout:30 attempts:1\n") as enter:
        enter(within)
