"""Promise (row 11): an upstream whose TLS is not good gets nothing of a request, and costs nobody else anything."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rig import road
from rig.authority import Authority
from rig.certificates import self_signed
from rig.fault_proxy import Ending, FaultProxy, Way, fault_proxy
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.load import Load
from rig.peer import CHAT, Peer, answer, run_peer
from rig.sockets import WireAnswer, call

CANARY = "body-canary-of-row-11"
UPLOAD = CANARY.encode() * 10_000
CERTIFICATES = ("expired", "wrong-name", "self-signed", "untrusted", "outdated")
REFUSED = {
    **{name: {(502, "upstream_tls_failed")} for name in (*CERTIFICATES, "plain")},
    **{name: {(504, "upstream_connect_timeout")} for name in ("silent", "stalled")},
    "cut": {(502, "upstream_connect_failed"), (502, "upstream_tls_failed"), (502, "upstream_closed")},
}
"""What clients are told, by what is wrong."""


class Scale(NamedTuple):
    rounds: int
    """Requests of each shape for each fault."""
    swaps: int


SMALL = Scale(2, 1)
STATED = Scale(50, 20)
SCALES = [pytest.param(SMALL, id="small"), pytest.param(STATED, id="stated", marks=pytest.mark.faults)]


class PlainPort:
    """A server that takes what comes and answers in plain HTTP; `heard` is all of it."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._server.getsockname()[1]
        self.heard = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                end, _ = self._server.accept()
                with end, contextlib.suppress(OSError):
                    end.settimeout(20)
                    self.heard += end.recv(65536)
                    end.sendall(answer(CHAT))
                    while data := end.recv(65536):
                        self.heard += data

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


class Stage(NamedTuple):
    gateway: Gateway
    peers: dict[str, Peer]
    proxies: dict[str, FaultProxy]
    plain: PlainPort
    contexts: dict[str, ssl.SSLContext]

    @property
    def received(self) -> int:
        """Bytes that bad upstreams could read."""
        return sum(peer.received_bytes for name, peer in self.peers.items() if name not in ("good", "swapped"))


def contexts(folder: Path) -> tuple[Authority, dict[str, ssl.SSLContext]]:
    (folder / "stranger").mkdir()
    authority, stranger = Authority(folder), Authority(folder / "stranger")
    return authority, {
        "good": authority.server("localhost"),
        "expired": authority.server("localhost", days=-1),
        "wrong-name": authority.server("elsewhere.test"),
        "self-signed": self_signed(folder, "localhost")[0],
        "untrusted": stranger.server("localhost"),
        "outdated": authority.outdated("localhost"),
    }


def config(ports: dict[str, int], ca_file: Path) -> dict[str, Any]:
    def at(port: int, **more: Any) -> dict[str, Any]:
        where = {"base_url": f"https://localhost:{port}/v1", "ca_file": str(ca_file), "timeouts": {"connect": 1}}
        return road.compatible(port, **more) | where

    return road.settings(
        {name: at(port, default=name == "good") for name, port in ports.items()},
        server={"workers": 1},
        routing={"retry": {"max_retries": 0}, "breaker": {"enabled": False}},
    )


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    authority, made = contexts(tmp_path)
    with contextlib.ExitStack() as stack:
        peers = {name: stack.enter_context(run_peer(context)) for name, context in made.items()}
        peers["swapped"] = stack.enter_context(run_peer(made["good"]))
        peers["behind"] = stack.enter_context(run_peer(made["good"]))
        plain = PlainPort()
        stack.callback(plain.close)
        proxies: dict[str, FaultProxy] = {
            name: stack.enter_context(fault_proxy(peers["behind"].port)) for name in ("silent", "stalled", "cut")
        }
        proxies["silent"].door = "hold"
        proxies["stalled"].answers = Way(end_at=100, ending=Ending.STALL)
        proxies["cut"].answers = Way(end_at=100, ending=Ending.RESET)
        ports = {name: peer.port for name, peer in peers.items() if name != "behind"} | {"plain": plain.port}
        ports |= {name: proxy.port for name, proxy in proxies.items()}
        gateway = stack.enter_context(run_gateway(config=config(ports, authority.ca_file)))
        yield Stage(gateway, peers, proxies, plain, made)


def ask(gateway: Gateway, provider: str, shape: str) -> WireAnswer:
    """Ask a provider whole, for a stream, or by an upload that is passed on as it comes."""
    if shape == "upload":
        way = [("x-upstream-name", provider), ("content-type", "application/octet-stream")]
        return call(gateway.port, "POST", "/proxy/v1/upload", way, body=UPLOAD, key=road.KEY)
    body = json.dumps(road.chat(f"{provider}/m", CANARY, stream=shape == "stream")).encode()
    return call(gateway.port, "POST", "/v1/chat/completions", body=body, key=road.KEY)


def told(got: WireAnswer) -> tuple[int, str]:
    return got.status, got.json()["error"]["code"] if got.status != 200 else ""


def refusals(stage: Stage, rounds: int) -> int:
    """Ask every bad upstream in every shape; return how often."""
    shapes = ("whole", "stream", "upload")
    with ThreadPoolExecutor(12) as clients:
        asked = {
            (name, shape, number): clients.submit(ask, stage.gateway, name, shape)
            for number in range(rounds)
            for name in REFUSED
            for shape in shapes
        }
        for (name, _, _), each in asked.items():
            assert told(each.result()) in REFUSED[name], name
    return len(asked)


def swap(stage: Stage) -> int:
    """Let a provider's certificate go bad and good again; return how many requests were refused."""
    peer = stage.peers["swapped"]
    for name in CERTIFICATES:
        assert told(ask(stage.gateway, "swapped", "whole")) == (200, "")
        peer.swap(stage.contexts[name])
        received, seen = peer.received_bytes, len(peer.seen)
        for shape in ("whole", "stream", "upload"):
            assert told(ask(stage.gateway, "swapped", shape)) == (502, "upstream_tls_failed"), name
        assert (peer.received_bytes, len(peer.seen)) == (received, seen)
        peer.swap(stage.contexts["good"])
    assert told(ask(stage.gateway, "swapped", "whole")) == (200, "")
    return 3 * len(CERTIFICATES)


def speaks_to_the_lax(port: int) -> str | None:
    """Return the version in which an outdated server serves a client that accepts it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with socket.create_connection(("127.0.0.1", port), timeout=20) as end, context.wrap_socket(end) as secured:
        return secured.version()


@pytest.mark.parametrize("scale", SCALES)
def test_bad_tls_is_refused_before_a_byte_of_the_request(stage: Stage, scale: Scale) -> None:
    """No body leaves, no older version is agreed to, clients are told, and those with good upstreams notice nothing."""
    assert speaks_to_the_lax(stage.peers["outdated"].port) == "TLSv1.1"
    road.eventually(lambda: "TLSv1.1" in stage.peers["outdated"].versions, "the server has noted that one too")
    stage.peers["outdated"].versions.clear()
    with Load(stage.gateway, 4) as load:
        load.wait_for(10)
        asked = refusals(stage, scale.rounds) + sum(swap(stage) for _ in range(scale.swaps))
        load.wait_for(10)
    versions = set().union(*(peer.versions for peer in stage.peers.values()))
    if scale is STATED:
        figure(11, f"bytes of {asked} requests that bad upstreams could read: {stage.received} (0)")
        figure(11, f"versions agreed to: {', '.join(sorted(map(str, versions)))} (>= TLSv1.2)")
        figure(11, f"others that failed: {load.broken + load.refused.total()} of {len(load.answered)} (0)")
    assert stage.received == 0
    assert stage.plain.heard
    assert CANARY.encode() not in stage.plain.heard
    assert b"POST" not in stage.plain.heard
    assert versions <= {"TLSv1.2", "TLSv1.3"}
    assert (load.broken, load.refused.total()) == (0, 0)
    for proxy in stage.proxies.values():
        assert proxy.accepted
    road.eventually(
        lambda: not any(proxy.open for proxy in stage.proxies.values()), "no handshake is left that has stalled"
    )
