"""Row 19: a stampede of equal requests is one call, and one more if the client that led them leaves."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from rig import road
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock

FULL = 1_000
SMALL = 60


@pytest.fixture
def stage() -> Iterator[tuple[Gateway, Mock]]:
    with run_mock() as mock:
        models = {"vectors": {"targets": ["up/vectors+latency_ms=2000"], "coalesce": True}}
        with run_gateway(config=road.settings({"up": road.compatible(mock.port)}, models=models)) as gateway:
            yield gateway, mock


def _ask(nonce: str) -> bytes:
    body = json.dumps({"model": "vectors", "input": f"nonce-{nonce} heron"}).encode()
    head = f"POST /v1/embeddings HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Bearer {road.KEY}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def _connect(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=60)


def _read(end: socket.socket) -> bytes:
    data = bytearray()
    while piece := end.recv(65536):
        data += piece
    return bytes(data)


def stampede(gateway: Gateway, mock: Mock, count: int, nonce: str, *, leader_leaves: bool) -> tuple[int, int]:
    """Send equal requests at once; return how many of those that stayed were served, and the upstream's calls."""
    leader = _connect(gateway)
    leader.sendall(_ask(nonce))
    road.eventually(lambda: mock.ledger(tag=f"nonce-{nonce}"), "the leader's call")
    others = [_connect(gateway) for _ in range(count - 1)]
    for end in others:
        end.sendall(_ask(nonce))
    if leader_leaves:
        leader.close()
    staying = others if leader_leaves else [leader, *others]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(_read, staying))
    for end in staying:
        end.close()
    served = sum(answer.startswith(b"HTTP/1.1 200 ") and b'"embedding"' in answer for answer in answers)
    return served, len(mock.ledger(tag=f"nonce-{nonce}"))


@pytest.mark.parametrize("leader_leaves", [False, True])
def test_a_stampede_is_one_call(stage: tuple[Gateway, Mock], leader_leaves: bool) -> None:
    """Everybody who stays is served; the upstream sees one call, or two."""
    served, calls = stampede(*stage, SMALL, f"small-{leader_leaves}", leader_leaves=leader_leaves)
    assert served == SMALL - leader_leaves
    assert calls == 1 + leader_leaves


@pytest.mark.faults
@pytest.mark.parametrize("leader_leaves", [False, True])
def test_a_large_stampede_is_one_call(stage: tuple[Gateway, Mock], leader_leaves: bool) -> None:
    """The same with a thousand requests."""
    served, calls = stampede(*stage, FULL, f"full-{leader_leaves}", leader_leaves=leader_leaves)
    staying = FULL - leader_leaves
    what = "leader leaves" if leader_leaves else "leader stays"
    figure(
        19,
        f"{what}: {calls} upstream calls of {FULL} requests ({1 + leader_leaves}), "
        f"{served / staying:.0%} of those that stayed served (100 %)",
    )
    assert served == staying
    assert calls == 1 + leader_leaves
