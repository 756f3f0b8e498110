"""The course of a request: every target that may serve it, in stages, with all that can be prepared prepared.

A course depends only on the Snapshot, the endpoint and the model's name, so courses are remembered. Its first stage are
the targets of the route itself; each further stage are those of one fallback.
"""

from __future__ import annotations

from typing import NamedTuple

from flumegate.catalog.load import Price
from flumegate.catalog.rates import flat
from flumegate.dialects.needs import NEEDS, needs_of
from flumegate.ir.written import Abilities
from flumegate.routing.balance import Dice
from flumegate.routing.health import Health
from flumegate.routing.plan import Plan
from flumegate.routing.quick import draw_of
from flumegate.snapshot import Hedge, Mirror, Retry, Route, Rule, Target

MOST_SAVED_HEDGES = 10.0
"""Hedges that a quiet time earns for a busy one."""


class Candidate:
    """One target of a course.

    Attributes:
        target: as configured.
        plans: how it is asked, one for each of its provider's credentials.
        health: how it fares.
        abilities: what its model is known to take.
        price: what its model costs, or None where nobody knows.
        straight: the choice of it, made in advance.
    """

    __slots__ = ("abilities", "health", "plans", "price", "straight", "target")

    def __init__(
        self, target: Target, plans: tuple[Plan, ...], health: Health, abilities: Abilities, price: Price | None
    ) -> None:
        self.target = target
        self.plans = plans
        self.health = health
        self.abilities = abilities
        self.price = price
        self.straight = Choice(self)


class Choice(NamedTuple):
    """The next attempt."""

    candidate: Candidate
    account: int = 0
    """Which of its provider's credentials."""
    wait_seconds: float = 0.0
    """Before it is sent."""
    queued: bool = False
    """It waits for a place at the target first."""


class Stage(NamedTuple):
    """Targets that are chosen from by one strategy."""

    name: str
    """The model whose targets they are."""
    strategy: str
    sticky_by: str
    candidates: tuple[Candidate, ...]


class Course:
    """Where a request may go.

    Attributes:
        answers: its endpoint's answers are as long as they become; others have no output.
        name: the model as the client asked for it.
        stages: in the order in which they are tried.
        candidates: all targets, stage by stage.
        only: the one candidate of a course that has no other, else None: most requests have nothing to choose.
        flat: what a million tokens of its input and output cost, if that is all there is to its price.
        straight: that candidate as a choice made in advance.
        differs: what some targets are known not to take, and others may: where a request needs that, it matters who.
    """

    __slots__ = (
        "_draw",
        "_hedges",
        "answers",
        "candidates",
        "coalesce",
        "differs",
        "flat",
        "hedge",
        "mirror",
        "name",
        "only",
        "plain",
        "retry",
        "rules",
        "stages",
        "straight",
        "timeout",
    )

    def __init__(
        self,
        name: str,
        route: Route,
        stages: tuple[Stage, ...],
        retry: Retry,
        timeout: float | None,
        *,
        answers: bool,
        free: bool = False,
    ) -> None:
        """`free`: its requests cost nothing, whatever its candidates' models do."""
        self.name = name
        self.answers = answers
        self.stages = stages
        self.candidates = [candidate for stage in stages for candidate in stage.candidates]
        self.retry = retry
        self.timeout = timeout
        self.rules: tuple[Rule, ...] = route.rules
        self.hedge: Hedge | None = route.hedge
        self.mirror: Mirror | None = route.mirror
        self._hedges = 1.0
        self.coalesce = route.coalesce
        self.differs = frozenset(
            need
            for need in NEEDS
            if len({getattr(candidate.abilities, need) is False for candidate in self.candidates}) > 1
        )
        alone = len(stages) == 1 and len(stages[0].candidates) == 1
        self.only = stages[0].candidates[0] if alone else None
        self.flat = flat(self.only.price) if self.only is not None and self.only.price is not None else None
        if free:
            self.flat = 0, 0
        self.straight = stages[0].candidates[0].straight
        self._draw = draw_of(stages[0].strategy, stages[0].candidates)
        self.plain = not (route.rules or route.hedge or route.mirror or route.coalesce)
        """Nothing beside choosing a target is to be done."""

    def quick(self, dice: Dice, body: bytes = b"") -> Choice | None:
        """Return the first attempt without looking any closer; None = something must be looked at."""
        if self._draw is None:
            return None
        for candidate in self.stages[0].candidates:
            if not candidate.health.calm:
                return None
        if self.differs and not self.differs.isdisjoint(needs_of(body)):
            return None
        return self._draw(dice).straight

    def count(self) -> None:
        """Count a request that may cause a hedge."""
        if self.hedge is not None:
            self._hedges = min(self._hedges + self.hedge.share, MOST_SAVED_HEDGES)

    def may_hedge(self) -> bool:
        """Take the price of one hedge; False = as many were made as the route's share allows."""
        if self._hedges < 1.0:
            return False
        self._hedges -= 1.0
        return True
