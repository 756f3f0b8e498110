"""Plans and courses without sockets, each from a Snapshot of its own with fresh healths."""

from __future__ import annotations

from flumegate.routing.course import Course
from flumegate.routing.healths import Healths
from flumegate.routing.plan import Plan
from flumegate.routing.planner import Planner
from flumegate.snapshot import Snapshot


def planner_of(known: Snapshot) -> Planner:
    """Return a planner that knows nothing yet of how targets fare."""
    return Planner(known, Healths())


def plan_of(course: Course) -> Plan:
    """Return how the first target of a course is asked with its first credential."""
    return course.straight.candidate.plans[0]
