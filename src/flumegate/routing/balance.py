"""In which order a route's targets are tried: one function for each strategy. Dice and measurements are arguments.

A weight of 0 is last in every strategy. Targets that lack what the request needs stand behind those that have it, and
targets that come back from an outage take their full share only by and by.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

EXPLORE = 0.02
"""Strategy `fastest`: requests that go anywhere, so that a target that was slow once is measured again."""


class Dice(Protocol):
    """A source of chance, as `random.Random`."""

    def random(self) -> float:
        """Return a number from 0 (included) to 1 (excluded)."""


class Entry(NamedTuple):
    """One target as a strategy sees it.

    Attributes:
        name: stable over restarts and workers.
        weight: its share beside others.
        tier: lower ones first, for `priority`.
        load: requests under way there or waiting.
        latency: seconds, or None where nothing was measured yet.
        cost: of this request in micro-dollars, or None where no price is known.
        ramp: which part of its share it should get, 0 to 1.
        lacks: it is known not to take what the request needs.
    """

    name: str
    weight: int = 1
    tier: int = 0
    load: int = 0
    latency: float | None = None
    cost: int | None = None
    ramp: float = 1.0
    lacks: bool = False


def order(strategy: str, entries: Sequence[Entry], dice: Dice, *, affinity: bytes = b"") -> list[int]:
    """Return the places of the entries in the order in which they are to be tried.

    Args:
        strategy: a name of STRATEGIES.
        entries: the route's targets.
        dice: source of chance.
        affinity: what requests of one session have in common, for `sticky`; empty = this request has no session.
    """
    ranked = STRATEGIES[strategy](entries, dice, affinity)
    late = {index for index in ranked if entries[index].ramp < 1.0 and dice.random() >= entries[index].ramp}
    return sorted(ranked, key=lambda index: (entries[index].lacks, entries[index].weight == 0, index in late))


def _shuffled(entries: Sequence[Entry], dice: Dice) -> list[int]:
    """Return places drawn one after another by weight (Efraimidis and Spirakis 2006, algorithm A)."""
    keys = [math.log(max(dice.random(), 1e-300)) / (entry.weight or 1e-9) for entry in entries]
    return sorted(range(len(entries)), key=lambda index: -keys[index])


def _weighted(entries: Sequence[Entry], dice: Dice, _: bytes) -> list[int]:
    return _shuffled(entries, dice)


def _priority(entries: Sequence[Entry], dice: Dice, _: bytes) -> list[int]:
    if len({entry.tier for entry in entries}) == len(entries):
        return sorted(range(len(entries)), key=lambda index: entries[index].tier)
    return sorted(_shuffled(entries, dice), key=lambda index: entries[index].tier)


def _least_busy(entries: Sequence[Entry], dice: Dice, _: bytes) -> list[int]:
    return sorted(_shuffled(entries, dice), key=lambda index: entries[index].load / (entries[index].weight or 1))


def _fastest(entries: Sequence[Entry], dice: Dice, _: bytes) -> list[int]:
    """Take the better of two drawn at random, by latency times what is under way there: no herd runs to one target."""
    drawn = _shuffled(entries, dice)
    if len(drawn) < 2 or dice.random() < EXPLORE:
        return drawn
    first, second = entries[drawn[0]], entries[drawn[1]]
    if is_quicker(second.latency, second.load, first.latency, first.load):
        drawn[:2] = drawn[1], drawn[0]
    return drawn


def is_quicker(latency: float | None, load: int, other_latency: float | None, other_load: int) -> bool:
    """Tell whether one target may answer before another; one that was never measured is taken to be like the other."""
    if latency is None or other_latency is None:
        return load < other_load
    return latency * (load + 1) < other_latency * (other_load + 1)


def _cheapest(entries: Sequence[Entry], dice: Dice, _: bytes) -> list[int]:
    def price(index: int) -> float:
        cost = entries[index].cost
        return math.inf if cost is None else cost

    return sorted(_shuffled(entries, dice), key=price)


def _sticky(entries: Sequence[Entry], dice: Dice, affinity: bytes) -> list[int]:
    """Keep a session where it is without remembering it (weighted rendezvous hashing, Thaler and Ravishankar 1998).

    When a target goes away only its own sessions move; they come back with it.
    """
    if not affinity:
        return _shuffled(entries, dice)

    def score(index: int) -> float:
        entry = entries[index]
        digest = hashlib.blake2b(affinity + b"\0" + entry.name.encode(), digest_size=8).digest()
        chance = (int.from_bytes(digest, "big") + 1) / (2**64 + 1)
        return math.log(chance) / (entry.weight or 1e-9)

    return sorted(range(len(entries)), key=lambda index: -score(index))


STRATEGIES: dict[str, Callable[[Sequence[Entry], Dice, bytes], list[int]]] = {
    "priority": _priority,
    "weighted": _weighted,
    "least_busy": _least_busy,
    "fastest": _fastest,
    "cheapest": _cheapest,
    "sticky": _sticky,
}
