"""The attempts of one request: which target comes first, and after a failure which one next, or none.

Another target that is ready comes before a second try at the same one. Every step is a value; waiting, sending and
the clock are somebody else's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from flumegate.catalog.rates import cost_micros
from flumegate.dialects.needs import lacks
from flumegate.errors import UNAVAILABLE, UPSTREAM_LIMITED, GatewayError
from flumegate.routing import retry
from flumegate.routing.balance import Dice, Entry, order
from flumegate.routing.course import Candidate, Choice, Course, Stage
from flumegate.routing.failure import Failure
from flumegate.routing.health import FULL, READY, SHUT, SOFT, Health


class Ask(NamedTuple):
    """What of a request matters to the choice of its target."""

    session: bytes = b""
    """What the request says of its session; empty = nothing."""
    prefix: bytes = b""
    """What stays equal over the turns of one conversation; empty = not looked for."""
    needs: frozenset[str] = frozenset()
    """What its content asks of a model: `images`, `tools`, …"""
    input_tokens: int = 0
    output_tokens: int = 0
    failover: bool = True
    """Another target may be asked when the first one fails."""

    def affinity(self, sticky_by: str) -> bytes:
        """Return what binds the request to a target of a sticky stage; empty = nothing does."""
        if sticky_by == "prefix":
            return self.prefix
        return self.session if sticky_by == "session" else self.session or self.prefix


class Tries:
    """Chooses targets for one request."""

    __slots__ = ("_ask", "_course", "_dice", "_failures", "_most", "_orders", "made")

    def __init__(self, course: Course, ask: Ask, dice: Dice) -> None:
        self._course = course
        self._ask = ask
        self._dice = dice
        self._orders: list[list[Candidate]] = []
        """Of the stages that were entered so far."""
        self._failures: dict[Candidate, list[Failure]] = {}
        """What each target failed by, in the order in which they were tried."""
        accounts = sum(len(candidate.plans) for candidate in course.candidates)
        self._most = retry.most_attempts(course.retry, accounts)
        self.made = 0

    def first(self, now: float) -> Choice:
        """Return the first attempt.

        Raises:
            GatewayError: no target can take a request now.
        """
        choice = self._untried(now)
        if choice is None:
            raise none_left(self._course, now)
        return choice

    def after(self, candidate: Candidate, account: int, failure: Failure, now: float, deadline: float) -> Choice | None:
        """Return the attempt that follows a failed one, or None where it must stand as it is.

        Args:
            candidate: the target that failed.
            account: the credential that was used there.
            failure: by what.
            now: the time.
            deadline: when the client's patience ends.
        """
        self.note(candidate, failure)
        worth = failure.elsewhere or retry.may_repeat(self._course.retry, failure)
        if not worth or self.made >= self._most or now >= deadline:
            return None
        if failure.kind in ("credential", "limited") and candidate.health.spare_account(account, now):
            return Choice(candidate, candidate.health.pick_account(now))
        if self._ask.failover:
            choice = self._untried(now)
            if choice is not None:
                return choice
        return self._repeat(now, deadline)

    def waited(self, choice: Choice, now: float) -> Choice:
        """Return the attempt to make after a wait: the one that was chosen, if its target still takes requests.

        Many may have waited for the same moment, and the first of them may have met the same fault again.

        Raises:
            GatewayError: neither that target nor another one can take a request now.
        """
        health = choice.candidate.health
        rank, _ = health.availability(now)
        if rank in (READY, SOFT) or (rank == FULL and health.queued < health.max_queued):
            return Choice(choice.candidate, health.pick_account(now), queued=rank == FULL)
        other = (self._untried(now) or self._ready_again(now)) if self._ask.failover else None
        if other is None:
            raise none_left(self._course, now)
        return other

    def _ready_again(self, now: float) -> Choice | None:
        """Return a target that failed earlier, if its failure may have passed."""
        for candidate, failures in reversed(self._failures.items()):
            if retry.may_repeat(self._course.retry, failures[-1]) and candidate.health.availability(now)[0] == READY:
                return Choice(candidate, candidate.health.pick_account(now))
        return None

    def others(self, candidate: Candidate, now: float) -> int:
        """Return how many targets could follow this one: time must be left for them."""
        if not self._ask.failover:
            return 0
        ready = sum(
            other is not candidate and other not in self._failures and other.health.availability(now)[0] == READY
            for other in self._course.candidates
        )
        return min(ready, self._most - self.made - 1)

    def beside(self, candidate: Candidate, now: float) -> Choice | None:
        """Return a target that is ready and is not this one, for a second attempt at the same time."""
        if not self._ask.failover:
            return None
        for index in range(len(self._course.stages)):
            for other in self._enter(index, now):
                if other is candidate or other in self._failures:
                    continue
                if other.health.availability(now)[0] == READY:
                    return Choice(other, other.health.pick_account(now))
        return None

    def note(self, candidate: Candidate, failure: Failure) -> None:
        """Count an attempt that failed while another went on."""
        self.made += 1
        self._failures.setdefault(candidate, []).append(failure)

    def in_order(self) -> list[Candidate]:
        """Return all targets in the order of this request."""
        for index in range(len(self._course.stages)):
            self._enter(index)
        return [candidate for ranked in self._orders for candidate in ranked]

    def _enter(self, index: int, now: float | None = None) -> list[Candidate]:
        while len(self._orders) <= index:
            self._orders.append(self._ranked(self._course.stages[len(self._orders)], now))
        return self._orders[index]

    def _ranked(self, stage: Stage, now: float | None) -> list[Candidate]:
        candidates = stage.candidates
        if len(candidates) == 1:
            return [candidates[0]]
        entries = [self._entry(candidate, math.inf if now is None else now) for candidate in candidates]
        places = order(stage.strategy, entries, self._dice, affinity=self._ask.affinity(stage.sticky_by))
        return [candidates[place] for place in places]

    def _entry(self, candidate: Candidate, now: float) -> Entry:
        health, target, ask = candidate.health, candidate.target, self._ask
        price = candidate.price
        return Entry(
            health.name,
            target.weight,
            target.tier,
            health.in_flight + health.queued,
            health.latency,
            None if price is None else cost_micros(price, ask.input_tokens, ask.output_tokens),
            health.ramp(now),
            bool(ask.needs) and bool(lacks(candidate.abilities, ask.needs)),
        )

    def _untried(self, now: float) -> Choice | None:
        """Return a target that was not tried yet: one that is ready, else one with room in its queue.

        One that is only left as a last resort is a first attempt, but never a second.
        """
        full: Candidate | None = None
        soft: Candidate | None = None
        for index in range(len(self._course.stages)):
            for candidate in self._enter(index, now):
                if candidate in self._failures:
                    continue
                rank, _ = candidate.health.availability(now)
                if rank == READY:
                    return Choice(candidate, candidate.health.pick_account(now))
                if rank == FULL and full is None and candidate.health.queued < candidate.health.max_queued:
                    full = candidate
                elif rank == SOFT and soft is None:
                    soft = candidate
        if full is not None:
            return Choice(full, full.health.pick_account(now), queued=True)
        if soft is not None and not self._failures:
            return Choice(soft, soft.health.pick_account(now))
        return None

    def _repeat(self, now: float, deadline: float) -> Choice | None:
        """Return another attempt at a target that failed, the last one first, if its failure may pass."""
        policy = self._course.retry
        for candidate, failures in reversed(self._failures.items()):
            health = candidate.health
            if not retry.may_repeat(policy, failures[-1]) or len(failures) > policy.max_retries:
                continue
            seconds = retry.delay(policy, len(failures) - 1, failures[-1], self._dice.random())
            if seconds is None or now + seconds >= deadline:
                continue
            rank, _ = health.outlook(now + seconds)
            if rank == SHUT or not health.pay_out():
                continue
            return Choice(candidate, health.pick_account(now + seconds), seconds, queued=rank == FULL)
        return None


def none_left(course: Course, now: float) -> GatewayError:
    """Return the error for a request that no target can take now; it names no target."""
    states = [(candidate.health, *candidate.health.availability(now)) for candidate in course.candidates]
    shut = [until for _, rank, until in states if rank == SHUT]
    wait = max(1, math.ceil(min(shut) - now)) if shut else 1
    if any(rank == FULL for _, rank, _ in states):
        return GatewayError(
            UNAVAILABLE,
            "targets_busy",
            f"Every target of {course.name[:100]!r} is at its limit of concurrent requests (max_concurrency), and so "
            "is its queue. Try again shortly.",
            retry_after=1,
        )
    if all(rank == SHUT and health.state == "closed" and _is_left_to_itself(health) for health, rank, _ in states):
        return GatewayError(
            UPSTREAM_LIMITED,
            "targets_limited",
            f"Every target of {course.name[:100]!r} has asked to be left alone for now (429 with Retry-After). "
            f"Try again in {wait} s.",
            retry_after=wait,
        )
    return GatewayError(
        UNAVAILABLE,
        "no_target_available",
        f"No target of {course.name[:100]!r} takes requests now: all are left alone after failures. "
        f"Try again in {wait} s.",
        retry_after=wait,
    )


def _is_left_to_itself(health: Health) -> bool:
    return health.forced == "auto" and not health.unwell
