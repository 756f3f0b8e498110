"""A world without sockets: requests arrive, targets answer or not, on a clock that jumps from event to event.

The decisions are the real ones of `routing`; what the engine does with them is done here by events, step for step as
`engine/trip.py` does it. All chance comes from one seed, so a run is the same every time.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from flumegate.dialects.registry import ENDPOINTS
from flumegate.errors import GatewayError
from flumegate.routing.course import Choice, Course
from flumegate.routing.failure import Failure
from flumegate.routing.health import SHUT, Health
from flumegate.routing.healths import Healths
from flumegate.routing.planner import Planner
from flumegate.routing.tries import Ask, Tries
from flumegate.snapshot import BreakerPolicy, Retry, Route, Target
from rig.exchanges import provider, snapshot

CHAT = next(endpoint for endpoint in ENDPOINTS if endpoint.name == "chat")
RATE = 100.0
"""Requests a second."""
ANSWER_SECONDS = 0.3
"""To the first piece; the whole answer takes three times as long."""
NOISE = Failure("server", "upstream_500", 500)


class Sickness(NamedTuple):
    """How attempts fail."""

    failure: Failure
    seconds: float = 0.05
    """Until they do."""


class Attempt(NamedTuple):
    """One that was sent."""

    at: float
    target: str


class Served(NamedTuple):
    """One request, when it had ended."""

    at: float
    attempts: int
    error: str


class World:
    """Targets of one course, named `a`, `b`, …, and what happened to them.

    Attributes:
        course: the real one.
        sick: how a target fails at a time, or None where it is well.
        noise: the part of attempts that fail at any time, at any target.
    """

    def __init__(
        self,
        targets: tuple[Target, ...],
        *,
        strategy: str = "priority",
        fallback: tuple[Target, ...] = (),
        retry: Retry | None = None,
        seed: int = 1,
    ) -> None:
        routes = {"m": Route(targets, strategy, ("other",) if fallback else ())}
        if fallback:
            routes["other"] = Route(fallback)
        known = snapshot(
            *(provider(target.provider) for target in (*targets, *fallback)),
            models=routes,
            retry=retry or Retry(),
            breaker=BreakerPolicy(),
        )
        self.course: Course = Planner(known, Healths()).course(CHAT, "m")
        self.dice = random.Random(seed)
        self.now = 0.0
        self.sick: Callable[[str, float], Sickness | None] = lambda _target, _now: None
        self.noise = 0.0
        self.slower: dict[str, float] = {}
        """How many times longer than others a target takes."""
        self.attempts: list[Attempt] = []
        self.served: list[Served] = []
        self.opened: list[Attempt] = []
        """When whose breaker opened."""
        self.intruders: list[Attempt] = []
        """Attempts at targets that were to be left alone, beside their one probe."""
        self.most_probes: Counter[str] = Counter()
        self._probes: Counter[str] = Counter()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, time: float, happening: Callable[[], None]) -> None:
        """Let something happen."""
        heapq.heappush(self._events, (time, next(self._numbers), happening))

    def arrive(self, start: float, end: float, rate: float = RATE) -> None:
        """Let requests arrive, evenly but for a little jitter."""
        for number in range(round((end - start) * rate)):
            self.at(start + (number + self.dice.random()) / rate, lambda: Journey(self).begin())

    def burst(self, time: float, requests: int) -> None:
        """Let requests arrive at the same moment."""
        for _ in range(requests):
            self.at(time, lambda: Journey(self).begin())

    def run(self) -> None:
        """Let everything happen that is to happen."""
        while self._events:
            self.now, _, happening = heapq.heappop(self._events)
            happening()

    def enter(self, choice: Choice) -> bool:
        """Note an attempt; return whether it is a probe."""
        health = choice.candidate.health
        name = health.provider.name
        shut = health.availability(self.now)[0] == SHUT
        probe = health.begin(self.now, choice.account)
        note = Attempt(self.now, name)
        self.attempts.append(note)
        if shut:
            self.intruders.append(note)
        if probe:
            self._probes[name] += 1
            self.most_probes[name] = max(self.most_probes[name], self._probes[name])
        return probe

    def told(self, health: Health, *, probe: bool, was: str) -> None:
        """Note what an attempt's end did to its target."""
        self._probes[health.provider.name] -= probe
        if health.state == "open" and was != "open":
            self.opened.append(Attempt(self.now, health.provider.name))

    # figures

    def share(self, target: str, start: float, end: float) -> float:
        """Return the part of all attempts within a time that went to one target."""
        inside = [attempt.target for attempt in self.attempts if start <= attempt.at < end]
        return inside.count(target) / max(len(inside), 1)

    def amplification(self, start: float, end: float) -> float:
        """Return attempts per request of those that came within a time."""
        inside = [served.attempts for served in self.served if start <= served.at < end]
        return sum(inside) / len(inside)

    def errors(self, start: float, end: float = math.inf) -> float:
        """Return the part of the requests that came within a time and were not served."""
        inside = [bool(served.error) for served in self.served if start <= served.at < end]
        return sum(inside) / len(inside)

    def peak(self, start: float) -> float:
        """Return the most attempts within a second since then."""
        return max(Counter(int(attempt.at - start) for attempt in self.attempts if attempt.at >= start).values())


class Journey:
    """One request."""

    def __init__(self, world: World, timeout: float = 30.0) -> None:
        self._world = world
        self._at = world.now
        self._deadline = world.now + timeout
        self._made = 0
        session = b"session %d" % world.dice.randrange(1_000)
        self._tries = Tries(world.course, Ask(session=session), world.dice)

    def begin(self) -> None:
        """Make the first attempt, if there is a target for it."""
        world = self._world
        choice = world.course.straight
        if world.course.only is None or not world.course.only.health.calm:
            try:
                choice = world.course.quick(world.dice) or self._tries.first(world.now)
            except GatewayError as error:
                self._end(error.code)
                return
        choice.candidate.health.pay_in()
        self._attempt(choice)

    def _attempt(self, choice: Choice) -> None:
        world = self._world
        health = choice.candidate.health
        name = health.provider.name
        self._made += 1
        probe = world.enter(choice)
        sickness = world.sick(name, world.now)
        if sickness is None and world.dice.random() < world.noise:
            sickness = Sickness(NOISE)
        seconds = (0.8 + 0.4 * world.dice.random()) * (ANSWER_SECONDS if sickness is None else sickness.seconds)
        if sickness is None:
            seconds *= world.slower.get(name, 1.0)
            world.at(world.now + seconds, lambda: self._succeed(choice, probe, seconds))
        else:
            failure = sickness.failure
            world.at(world.now + seconds, lambda: self._fail(choice, probe, failure))

    def _succeed(self, choice: Choice, probe: bool, seconds: float) -> None:
        world, health = self._world, choice.candidate.health
        was = health.state
        health.succeed(world.now, choice.account, probe=probe)
        health.measure(seconds)
        world.told(health, probe=probe, was=was)
        world.at(world.now + 2 * seconds, health.leave)
        self._end("")

    def _fail(self, choice: Choice, probe: bool, failure: Failure) -> None:
        world, health = self._world, choice.candidate.health
        was = health.state
        health.fail(world.now, failure, choice.account, probe=probe)
        world.told(health, probe=probe, was=was)
        following = self._tries.after(choice.candidate, choice.account, failure, world.now, self._deadline)
        health.leave()
        if following is None:
            self._end(failure.code)
        elif following.wait_seconds:
            world.at(world.now + following.wait_seconds, lambda: self._go_on(following))
        else:
            self._attempt(following)

    def _go_on(self, following: Choice) -> None:
        try:
            choice = self._tries.waited(following, self._world.now)
        except GatewayError as error:
            self._end(error.code)
        else:
            self._attempt(choice)

    def _end(self, error: str) -> None:
        self._world.served.append(Served(self._at, self._made, error))
