"""Row 5: a cut answer never looks complete, wherever it is cut, and its record says what the client saw.

The proxy between gateway and provider ends the answer after every number of bytes, head and framing included.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from rig import pairs, raw, road
from rig.fault_proxy import CLEAN, Ending, FaultProxy, Way, fault_proxy
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.mock import run_mock
from rig.pairs import PAIRS, Pair

TEXT = "one two"
WHOLE = "echo: one two"
NUMBER = itertools.count()
SEED = 5


class Stage(NamedTuple):
    gateway: Gateway
    proxy: FaultProxy


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_mock() as mock, fault_proxy(mock.port) as proxy:
        settings = road.settings(pairs.providers(proxy.port, timeouts={"first_byte": 20, "idle": 20}))
        with run_gateway(config=settings) as gateway:
            yield Stage(gateway, proxy)


class Verdicts:
    """What clients saw, by request id, to be compared with the records."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.looked_whole: dict[str, bool] = {}
        self.false_ends: list[str] = []
        self.statuses: dict[str, int] = {}

    def ask(self, pair: Pair, what: str, *, fault: str = "", stream: bool) -> None:
        """Ask once, and judge what comes."""
        name = f"cut-{next(NUMBER)}"
        question = pair.question(TEXT, fault=fault, stream=stream, request_id=name)
        with raw.wire(self._stage.gateway.port) as wire:
            wire.send(question)
            answers = wire.answers(1)
        if not answers:  # not even a head: no library takes that for an answer
            self.looked_whole[name], self.statuses[name] = False, 0
            return
        told = pairs.said(pair.client, answers[0])
        self.looked_whole[name], self.statuses[name] = told.looks_whole, answers[0].status
        is_false = told.text != WHOLE if told.looks_whole else not told.failed
        if is_false:
            self.false_ends.append(f"{pair} {what}: {answers[0]}")

    def wrong_records(self) -> list[str]:
        """Return what the records say otherwise than the clients saw."""

        def stored() -> dict[str, str]:
            rows = road.rows(self._stage.gateway, "request_id LIKE 'cut-%'", columns="request_id, outcome")
            outcomes = {row["request_id"]: row["outcome"] for row in rows if row["request_id"] in self.looked_whole}
            return outcomes if len(outcomes) == len(self.looked_whole) else {}

        outcomes = road.eventually(stored, "all records", seconds=60)
        wrong = []
        for name, whole in self.looked_whole.items():
            broken = ("truncated",) if self.statuses[name] == 200 else ("failed",)
            if outcomes[name] not in (("ok",) if whole else broken):
                wrong.append(f"{name}: {outcomes[name]}, the client saw {self.statuses[name]}, whole: {whole}")
        return wrong


def offsets(size: int, some: int | None, dice: random.Random) -> Iterable[int]:
    """Return every offset of an answer, or some of them: the outermost ones and seeded others."""
    if some is None:
        return range(size)
    return sorted({0, size - 1, *(dice.randrange(size) for _ in range(some))})


def measured(stage: Stage, pair: Pair, *, stream: bool) -> int:
    """Return how many bytes the provider's answer has on the wire."""
    stage.proxy.answers = CLEAN
    before = stage.proxy.returned_bytes
    answer = raw.ask(stage.gateway.port, pair.question(TEXT, stream=stream))
    assert pairs.said(pair.client, answer) == (WHOLE, True, False), pair
    return stage.proxy.returned_bytes - before


def cut_everywhere(stage: Stage, some: int | None) -> Verdicts:
    """Cut the answers of all pairs, streams and others, by FIN and by RST."""
    dice = random.Random(SEED)
    verdicts = Verdicts(stage)
    for pair, stream in itertools.product(PAIRS, (True, False)):
        size = measured(stage, pair, stream=stream)
        for ending in (Ending.FIN, Ending.RESET):
            for offset in offsets(size, some, dice):
                stage.proxy.answers = Way(end_at=offset, ending=ending)
                verdicts.ask(pair, f"{ending.name} at {offset} of {size}", stream=stream)
    stage.proxy.answers = CLEAN
    for pair in PAIRS:
        verdicts.ask(pair, "no terminal event", fault="no_done", stream=True)
    return verdicts


def check(stage: Stage, verdicts: Verdicts) -> None:
    wrong = verdicts.wrong_records()
    count = len(verdicts.looked_whole)
    figure(5, f"falsely complete answers of {count}: {len(verdicts.false_ends)} (0)")
    figure(5, f"records that say otherwise: {len(wrong)} (0)")
    assert not verdicts.false_ends, verdicts.false_ends[:5]
    assert not wrong, wrong[:5]
    assert "request failed" not in stage.gateway.logs()


def test_cut_answers_never_look_complete(stage: Stage) -> None:
    """Some offsets of each pair of dialects: told as an error, or whole to the last word; the records agree."""
    check(stage, cut_everywhere(stage, 4))


@pytest.mark.faults
def test_answers_cut_at_every_byte_never_look_complete(stage: Stage) -> None:
    """Every offset of each pair of dialects."""
    check(stage, cut_everywhere(stage, None))
