"""Row 4: once the first word has reached the client nothing is sent again, though retries are on.

The proxy cuts the first answer of each request at some byte; a second one would be whole. So whoever gets a whole
answer got all of it from one call, and whoever got a beginning gets an error behind it, and no second call was made.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from rig import pairs, raw, road
from rig.fault_proxy import CLEAN, Ending, FaultProxy, Way, fault_proxy
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock
from rig.pairs import PAIRS, Pair

RETRYING = {"retry": {"max_retries": 2, "initial_delay": 0.01}, "breaker": {"enabled": False}}
NUMBER = itertools.count()
SEED = 4


class Stage(NamedTuple):
    gateway: Gateway
    proxy: FaultProxy
    mock: Mock


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_mock() as mock, fault_proxy(mock.port) as proxy:
        settings = road.settings(pairs.providers(proxy.port), routing=RETRYING)
        with run_gateway(config=settings) as gateway:
            yield Stage(gateway, proxy, mock)


class Asked(NamedTuple):
    """One request whose first answer was cut."""

    what: str
    nonce: str
    told: pairs.Said
    whole: str

    @property
    def is_honest(self) -> bool:
        """It is whole, word for word, or it says that it is not."""
        return self.told.text == self.whole if self.told.looks_whole else self.told.failed

    @property
    def had_begun(self) -> bool:
        """Some of it had reached the client when it broke off."""
        return self.told.failed and bool(self.told.text)


def ask(stage: Stage, pair: Pair, *, cut_at: int, ending: Ending, stream: bool) -> Asked:
    """Ask once, with the first answer cut after so many bytes."""
    nonce = f"nonce-replay-{next(NUMBER)}"
    text = f"{nonce} one two"
    stage.proxy.answers = Way(end_at=cut_at, ending=ending, times=1)
    with raw.wire(stage.gateway.port) as wire:
        wire.send(pair.question(text, stream=stream))
        answers = wire.answers(1)
    told = pairs.said(pair.client, answers[0]) if answers else pairs.Said("", ended=False, failed=True)
    what = f"{pair.client} at {pair.provider}, stream={stream}, {ending.name} at {cut_at}"
    return Asked(what, nonce, told, f"echo: {text}")


def cut_everywhere(stage: Stage, some: int) -> list[Asked]:
    """Cut the answers of all pairs at so many seeded bytes each."""
    dice = random.Random(SEED)
    asked = []
    for pair, stream in itertools.product(PAIRS, (True, False)):
        stage.proxy.answers = CLEAN
        before = stage.proxy.returned_bytes
        raw.ask(stage.gateway.port, pair.question(f"nonce-replay-{next(NUMBER)} one two", stream=stream))
        size = stage.proxy.returned_bytes - before
        for _ in range(some):
            ending = dice.choice((Ending.FIN, Ending.RESET))
            asked.append(ask(stage, pair, cut_at=dice.randrange(size), ending=ending, stream=stream))
    return asked


def check(stage: Stage, asked: list[Asked]) -> None:
    calls = Counter(row["nonce"] for row in stage.mock.ledger())
    begun = [each for each in asked if each.had_begun]
    most = max(calls[each.nonce] for each in begun)
    dishonest = [f"{each.what}: {each.told}" for each in asked if not each.is_honest]
    saved = sum(each.told.looks_whole and calls[each.nonce] == 2 for each in asked)
    figure(4, f"upstream calls of {len(begun)} answers that broke off after their beginning: at most {most} (1)")
    figure(4, f"answers without an explicit error that are not whole: {len(dishonest)} of {len(asked)} (0)")
    figure(4, f"saved by another attempt before the first word: {saved}")
    assert most == 1
    assert not dishonest, "\n".join(dishonest)
    assert max(calls[each.nonce] for each in asked) <= 2
    assert saved > 0


def test_nothing_is_sent_again_behind_the_first_word(stage: Stage) -> None:
    """Some bytes of each pair of dialects, streams and plain answers."""
    check(stage, cut_everywhere(stage, 8))


@pytest.mark.faults
def test_nothing_is_ever_sent_again_behind_the_first_word(stage: Stage) -> None:
    """A hundred bytes of each."""
    check(stage, cut_everywhere(stage, 100))
