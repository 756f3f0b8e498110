"""Row 12: bytes of a hostile upstream are contained: told as an error, in bounded memory, without harm to others.

The upstream speaks OpenAI's dialect as far as it speaks any; some clients are relayed to it and others translated.
"""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest

from rig import pairs, raw, road
from rig.fault_proxy import FaultProxy, Way, fault_proxy
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.memory import forget_peak
from rig.mock import Mock, run_mock
from rig.pairs import CLIENTS
from rig.scripted import ScriptedUpstream, Step, answer, scripted_upstream

MEMORY_KIB = 64 * 1024
NUMBER = itertools.count()
OK = b"HTTP/1.1 200 OK\r\n"
JSON = b"content-type: application/json\r\n"
EVENTS = b"content-type: text/event-stream\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
PIECE = b"x" * 65_536
MOVED = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def bomb(size: int) -> bytes:
    """Return a document of so many bytes, packed to a thousandth."""
    return gzip.compress(b'{"choices":[' + b" " * size, compresslevel=6)


_PACKED = bomb(256 << 20)
_ERROR = b'{"error":{"message":"overloaded","type":"server_error","param":null,"code":null}}'
_DELTA = json.dumps({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "Hel"}}]}).encode()
HOSTILE: dict[str, Sequence[bytes | Step]] = {
    "no status": [b"HTTP/1.1\r\n\r\n", Step.FIN],
    "status no number": [b"HTTP/1.1 abc OK\r\n\r\n", Step.FIN],
    "another protocol": [b"SSH-2.0-OpenSSH_9.6\r\n", Step.FIN],
    "binary": [bytes(range(256)) * 40, Step.FIN],
    "a header of 1 MB": [OK + b"x-long: " + b"y" * (1 << 20) + b"\r\n\r\n", Step.FIN],
    "a header without end": [OK + b"x-long: ", *[PIECE] * 64, Step.FIN],
    "100,000 headers": [OK + b"x: y\r\n" * 100_000 + b"\r\n", Step.FIN],
    "a length too large": [OK + JSON + b"content-length: 5000\r\n\r\n{}", Step.FIN],
    "a negative length": [OK + JSON + b"content-length: -1\r\n\r\n{}", Step.FIN],
    "two lengths": [OK + JSON + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", Step.FIN],
    "a chunk of another size": [OK + JSON + CHUNKED + b"\r\nffff\r\n{}\r\n0\r\n\r\n", Step.FIN],
    "a chunk size without end": [OK + JSON + CHUNKED + b"\r\n" + b"0" * 100_000, Step.FIN],
    "a page": [OK + b"content-type: text/html\r\ncontent-length: 15\r\n\r\n<html>no</html>"],
    "nothing": [answer(b"")],
    "an error within 200": [answer(_ERROR)],
    "an error event within 200": [OK + EVENTS + CHUNKED + b"\r\n" + chunk(b"data: " + _ERROR + b"\n\n") + chunk(b"")],
    "events of no dialect": [OK + EVENTS + b"connection: close\r\n\r\n" + b"data: {]\n\n" * 20, Step.FIN],
    "a bomb": [answer(_PACKED, headers=b"content-encoding: gzip\r\n")],
    "a bomb of a stream": [
        OK + EVENTS + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(_PACKED) + _PACKED
    ],
    "a coding that is none": [answer(b"plain", headers=b"content-encoding: gzip\r\n")],
    "an upgrade": [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", Step.FIN],
    "a thousand interim answers": [b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, Step.FIN],
    "a redirect": [MOVED],
}
HALVES: dict[str, Sequence[bytes | Step]] = {
    "a length too small": [OK + JSON + b'content-length: 9\r\n\r\n{"choices":[{}]}', Step.FIN],
    "half a document": [answer(b'{"choices":[{"index":0,"mess')],
}
"""Whole by their framing, and broken all the same."""
VERBATIM = ("chat", "responses")
TRANSLATED = tuple(client for client in CLIENTS if client not in VERBATIM)


def endless(pieces: int) -> dict[str, Sequence[bytes | Step]]:
    """Return answers that go on for so many pieces of 64 KiB, then break off."""
    more: list[bytes | Step] = [*[chunk(PIECE)] * pieces, Step.FIN]
    return {
        "a page": [OK + b"content-type: text/html\r\n" + CHUNKED + b"\r\n", *more],
        "a document": [OK + JSON + CHUNKED + b"\r\n" + chunk(b'{"choices":['), *more],
        "an event": [OK + EVENTS + CHUNKED + b"\r\n" + chunk(b"data: " + _DELTA + b"\n\ndata: "), *more],
    }


class Stage(NamedTuple):
    gateway: Gateway
    upstream: ScriptedUpstream
    proxy: FaultProxy


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


@pytest.fixture
def stage(mock: Mock) -> Iterator[Stage]:
    with scripted_upstream() as upstream, fault_proxy(upstream.port) as proxy:
        patience = {"first_byte": 10, "idle": 10}
        providers = {"up": road.compatible(proxy.port, timeouts=patience), "well": road.compatible(mock.port)}
        with run_gateway(config=road.settings(providers)) as gateway:
            yield Stage(gateway, upstream, proxy)


def is_explicit(client: str, port: int, question: bytes) -> bool:
    """Ask, read as it comes without keeping more than its end, and tell whether an error was to be seen."""
    with raw.wire(port) as wire:
        wire.send(question)
        seen = 0
        while wire.end == "open" and (len(wire.data) > 1 << 20 or not _is_over(wire)):
            seen += len(wire.receive(1 << 18))
            if len(wire.data) > 8 << 20:
                return _ends_broken(wire)
        answers = wire.answers(1)
    return not answers or pairs.said(client, answers[0]).failed or answers[0].status in range(300, 600)


def _is_over(wire: raw.Wire) -> bool:
    talk = raw.read_answers(bytes(wire.data), wire.end)
    return any(answer.complete for answer in talk.answers)


def _ends_broken(wire: raw.Wire) -> bool:
    """Read a long answer to its end, and tell whether that is told as an error or cut."""
    tail = b""
    while piece := wire.receive(1 << 18):
        tail = (tail + piece)[-1000:]
        wire.data.clear()
        if tail.endswith(b"0\r\n\r\n"):
            return b"error" in tail
    return True


class Suffered(NamedTuple):
    """What became of hostile answers: which were not told, the memory that they took, how many they were."""

    untold: list[str]
    grown_kib: int
    asked: int


def suffer(
    stage: Stage, answers: dict[str, Sequence[bytes | Step]], clients: Sequence[str] = CLIENTS, *, piece_bytes: int = 0
) -> Suffered:
    """Let every client meet every hostile answer, asked for as a stream and in one piece."""
    gateway, upstream, proxy = stage
    (worker,) = gateway.worker_pids()
    forget_peak(worker)
    before = road.resident_kib(worker)
    untold, count = [], 0
    proxy.answers = Way(piece_bytes=piece_bytes)
    for (name, steps), client, stream in itertools.product(answers.items(), clients, (True, False)):
        upstream.play(*steps)
        path, body = pairs.asked(client, "up/m", "hi", stream=stream)
        headers = [("x-request-id", f"hostile-{next(NUMBER)}")]
        count += 1
        if not is_explicit(client, gateway.port, raw.request(path, body, key=road.KEY, headers=headers)):
            untold.append(f"{name}, {client}, stream={stream}")
    return Suffered(untold, road.peak_kib(worker) - before, count)


def check(stage: Stage, suffered: list[Suffered]) -> None:
    """Judge what clients were told, what it cost, and that the worker is well."""
    untold = [what for each in suffered for what in each.untold]
    grown_kib = max(each.grown_kib for each in suffered)
    count = sum(each.asked for each in suffered)
    starts = stage.gateway.logs().count('"serving"')
    figure(12, f"told as an error: {count - len(untold)} of {count} (all)")
    figure(12, f"memory: +{grown_kib / 1024:.1f} MB (64)")
    figure(12, f"crashes: {starts - 1} (0)")
    assert not untold, "\n".join(untold)
    assert grown_kib <= MEMORY_KIB
    assert starts == 1
    well = raw.ask(stage.gateway.port, raw.request(body=road.chat("well/m"), key=road.KEY))
    assert well.status == 200
    assert "request failed" not in stage.gateway.logs()
    assert "Traceback" not in stage.gateway.logs()


def test_hostile_answers_are_contained(stage: Stage) -> None:
    """Each of them to each client, as a stream and in one piece: an error to the client, and nothing to the worker."""
    check(stage, [suffer(stage, HOSTILE), suffer(stage, HALVES, TRANSLATED)])


def test_answers_that_go_on_are_contained(stage: Stage) -> None:
    """Tens of megabytes that nobody can use."""
    check(stage, [suffer(stage, endless(300))])


def test_half_a_document_is_told_to_who_is_relayed_to(stage: Stage) -> None:
    """A body whose framing is whole and whose JSON is not is no answer, in the verbatim lane either."""
    check(stage, [suffer(stage, HALVES, VERBATIM)])


@pytest.mark.faults
def test_hostile_answers_are_contained_for_long(stage: Stage) -> None:
    """Ten times over, cut in different ways; then answers of 200 MB, relayed as they are."""
    cuts = (0, 1000, 65_000)
    rounds = [suffer(stage, HOSTILE, piece_bytes=cuts[turn % 3]) for turn in range(10)]
    rounds.append(suffer(stage, endless(3000), VERBATIM))
    check(stage, rounds)


@pytest.mark.faults
def test_endless_answers_are_contained_where_they_are_translated(stage: Stage) -> None:
    """Answers of 200 MB that are gathered before they can be read."""
    check(stage, [suffer(stage, endless(3000), TRANSLATED)])
