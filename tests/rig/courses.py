"""Courses without sockets: targets named `a`, `b`, … that were never asked."""

from __future__ import annotations

from typing import Any

from flumegate.dialects.registry import ENDPOINTS
from flumegate.routing.course import Candidate, Course
from flumegate.routing.failure import Failure
from flumegate.routing.health import Health
from flumegate.routing.healths import Healths
from flumegate.routing.planner import Planner
from flumegate.snapshot import BreakerPolicy, Retry, Route, Target
from rig.exchanges import provider, snapshot

CHAT = next(endpoint for endpoint in ENDPOINTS if endpoint.name == "chat")


def course_of(
    *targets: Target, fallback: tuple[Target, ...] = (), retry: Retry | None = None, credentials: int = 1, **route: Any
) -> Course:
    """Return the course of a route with these targets."""
    more = tuple(f"k{number}" for number in range(1, credentials))
    routes = {"m": Route(targets, fallback=("other",) if fallback else (), **route), "other": Route(fallback)}
    known = snapshot(
        *(provider(target.provider, more_credentials=more) for target in (*targets, *fallback)),
        models=routes if fallback else {"m": routes["m"]},
        retry=retry or Retry(),
        breaker=BreakerPolicy(),
    )
    return Planner(known, Healths()).course(CHAT, "m")


def targets(names: str, **fields: Any) -> tuple[Target, ...]:
    """Return a target for each letter, each in a tier of its own: `priority` tries them in that order."""
    return tuple(Target(name, "x", tier=tier, **fields) for tier, name in enumerate(names))


def candidate_of(course: Course, name: str) -> Candidate:
    """Return the target of that letter."""
    return next(candidate for candidate in course.candidates if candidate.target.provider == name)


def break_down(health: Health, now: float) -> None:
    """Let a target fail until its breaker opens."""
    while health.state != "open":
        health.fail(now, Failure("server", "upstream_503", 503), 0, probe=health.begin(now))
        health.leave()
