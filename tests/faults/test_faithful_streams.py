"""Row 6: what a stream says arrives as it was said, however it is spelled and cut, in every pair of dialects.

Byte for byte equality where nothing is translated is proven in tests/road/test_bytes.py; here the words are compared.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from rig import pairs, raw, road
from rig.fault_proxy import CLEAN, FaultProxy, Way, fault_proxy
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.mock import run_mock
from rig.pairs import PAIRS, Pair

SEED = 6
SPELLINGS = ("", "crlf", "cr", "lf", "one_byte", "gzip", "br", "zstd", "chunk=3")
PIECES = (0, 1, 7, 1000)
LETTERS = "az09 .,\"'\\/{}[]:\t\u00e9\u0085\u2028\u2029\u200b\ufeff\u4e2d\U0001f600\U0001f1e6\u0301"
"""Ends of lines that are none in events, marks that JSON escapes, and characters of two to four bytes."""
LARGE_BYTES = 5_000_000
NUMBER = itertools.count()


class Stage(NamedTuple):
    gateway: Gateway
    proxy: FaultProxy


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_mock() as mock, fault_proxy(mock.port) as proxy:
        settings = road.settings(pairs.providers(proxy.port))
        with run_gateway(config=settings) as gateway:
            yield Stage(gateway, proxy)


def written(dice: random.Random) -> str:
    """Return some words of odd letters; neither begins nor ends with what a mock could take for space."""
    return "a" + "".join(dice.choice(LETTERS) for _ in range(dice.randrange(4, 60))) + "z"


def differs(stage: Stage, pair: Pair, text: str, *, fault: str, stream: bool) -> str:
    """Ask for a text to be echoed; return how what came differs from it, if it does."""
    answer = raw.ask(stage.gateway.port, pair.question(text, fault=fault, stream=stream))
    told = pairs.said(pair.client, answer)
    if told == (f"echo: {text}", True, False):
        return ""
    return f"{pair.client} at {pair.provider}, {fault!r}, stream={stream}: {text!r} became {told}"


def echo_everywhere(stage: Stage, rounds: int) -> tuple[list[str], int]:
    """Let every pair echo odd texts in every spelling; return the differences, and how many were asked."""
    dice = random.Random(SEED)
    found, count = [], 0
    for pair, spelling, _ in itertools.product(PAIRS, SPELLINGS, range(rounds)):
        stage.proxy.answers = Way(piece_bytes=dice.choice(PIECES))
        if pair.provider in ("ollama", "bedrock") and spelling in ("cr", "crlf", "lf"):
            continue  # their streams have no lines that could end otherwise
        found.append(differs(stage, pair, written(dice), fault=spelling, stream=dice.random() < 0.8))
        count += 1
    return [what for what in found if what], count


def check(stage: Stage, found: list[str], count: int) -> None:
    figure(6, f"decoded texts that differ of {count}: {len(found)} (0)")
    assert not found, "\n".join(found[:10])
    assert "request failed" not in stage.gateway.logs()


def test_what_is_said_arrives(stage: Stage) -> None:
    """Odd letters in nine spellings, cut in four ways."""
    check(stage, *echo_everywhere(stage, 1))


def large_events(stage: Stage, asked: Iterable[Pair]) -> list[str]:
    """Let pairs pass on two words of 5 MB each; return those that lost something."""
    stage.proxy.answers = CLEAN
    found = []
    for pair in asked:
        with raw.wire(stage.gateway.port) as wire:
            wire.send(pair.question("a", fault=f"event_bytes={LARGE_BYTES}"))
            while not wire.data.endswith(b"0\r\n\r\n"):
                assert wire.receive(1 << 20), f"{pair}: the stream was cut"
            told = pairs.said(pair.client, wire.answers(1)[0])
        if not told.looks_whole or len(told.text) < 2 * LARGE_BYTES - 2000:
            found.append(f"{pair}: {len(told.text)} characters, {told.ended}, {told.failed}")
    return found


def test_events_of_five_megabytes_arrive(stage: Stage) -> None:
    """In each dialect as it is, and in one translation."""
    asked = [pair for pair in PAIRS if pair.verbatim or pair == ("messages", "openai")]
    check(stage, large_events(stage, asked), len(asked))


@pytest.mark.faults
def test_whatever_is_said_arrives(stage: Stage) -> None:
    """Ten thousand texts, and large events in each pair of dialects."""
    check(stage, *echo_everywhere(stage, 50))
    check(stage, large_events(stage, PAIRS), len(PAIRS))
