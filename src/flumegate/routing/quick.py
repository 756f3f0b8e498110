"""The first target of most requests, drawn at once: all targets are well, and nothing of the request matters.

Draws with the same chances as `routing.balance`, without ranking the targets that will not be needed.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from flumegate.routing.balance import EXPLORE, Dice, is_quicker

if TYPE_CHECKING:
    from flumegate.routing.course import Candidate

Draw = Callable[[Dice], "Candidate"]


def draw_of(strategy: str, candidates: Sequence[Candidate]) -> Draw | None:
    """Return what draws the first target; None for a strategy that must look at the request."""
    heavy = [candidate for candidate in candidates if candidate.target.weight] or list(candidates)
    if strategy == "weighted":
        return _weighted(heavy)
    if strategy == "priority":
        first = min(candidate.target.tier for candidate in heavy)
        return _weighted([candidate for candidate in heavy if candidate.target.tier == first])
    if strategy == "least_busy":
        return _least_busy(heavy)
    if strategy == "fastest":
        return _fastest(heavy)
    return None


def _weighted(candidates: list[Candidate]) -> Draw:
    if len(candidates) == 1:
        return lambda _: candidates[0]
    bounds = list(itertools.accumulate(candidate.target.weight or 1 for candidate in candidates))
    total = bounds[-1]

    def draw(dice: Dice) -> Candidate:
        return candidates[bisect.bisect_right(bounds, dice.random() * total)]

    return draw


def _least_busy(candidates: list[Candidate]) -> Draw:
    def draw(dice: Dice) -> Candidate:
        loads = [candidate.health.in_flight / (candidate.target.weight or 1) for candidate in candidates]
        least = min(loads)
        idlest = [candidate for candidate, load in zip(candidates, loads, strict=True) if load == least]
        return idlest[0] if len(idlest) == 1 else _weighted(idlest)(dice)

    return draw


def _fastest(candidates: list[Candidate]) -> Draw:
    if len(candidates) == 1:
        return _weighted(candidates)
    weighted = _weighted(candidates)
    others = {
        candidate: _weighted([other for other in candidates if other is not candidate]) for candidate in candidates
    }

    def draw(dice: Dice) -> Candidate:
        first = weighted(dice)
        second = others[first](dice)
        if dice.random() < EXPLORE:
            return first
        one, other = second.health, first.health
        return second if is_quicker(one.latency, one.in_flight, other.latency, other.in_flight) else first

    return draw
