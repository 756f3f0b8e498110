"""What of a request its routing depends on; looked at only where something is to be chosen."""

from __future__ import annotations

import math
from time import monotonic

from flumegate.dialects.needs import needs_of
from flumegate.dialects.session import prefix_of, session_of
from flumegate.errors import INVALID_REQUEST, UPSTREAM_TIMEOUT, GatewayError
from flumegate.exchange import Exchange
from flumegate.routing import rules
from flumegate.routing.course import Course
from flumegate.routing.failure import Failure
from flumegate.routing.planner import Planner
from flumegate.routing.tries import Ask
from flumegate.snapshot import Rule

BYTES_A_TOKEN = 4
EXPECTED_OUTPUT_TOKENS = 500
"""For comparing prices, before anybody knows."""
MOST_SECONDS = 86_400.0
OF_DEADLINE = frozenset(("deadline_exceeded", "upstream_first_token_timeout", "upstream_connect_timeout"))
"""What an attempt ends with when the request's time, or its part of that, is over."""
MOST_RULES = 8
"""In a row; the configuration refuses loops, so this is the second net."""


def ask_of(exchange: Exchange, course: Course) -> Ask:
    """Return what the choice of a target depends on."""
    failover = True
    if exchange.special and (wish := exchange.picked.get(b"x-flumegate-fallback")) is not None:
        failover = wish.strip().lower() != b"off"
    if course.only is not None:
        return Ask(failover=failover)
    session = prefix = b""
    ways = {stage.sticky_by for stage in course.stages if stage.strategy == "sticky"}
    if ways - {"prefix"}:
        session = session_of(dict(exchange.headers), exchange.body)
    if "prefix" in ways or ("auto" in ways and not session):
        prefix = prefix_of(exchange.body)
    needs = needs_of(exchange.body) if course.differs else frozenset()
    return Ask(session, prefix, needs, *expected_tokens(exchange), failover)


def expected_tokens(exchange: Exchange) -> tuple[int, int]:
    """Return input and output tokens that a request is expected to need, before anybody knows: to compare prices."""
    return len(exchange.body) // BYTES_A_TOKEN, EXPECTED_OUTPUT_TOKENS


def set_deadline(exchange: Exchange, timeout: float | None) -> None:
    """Set the time by which the request must have ended: the route's, or less if the client says so.

    Raises:
        GatewayError: 400, the client's wish is no number of seconds; 504, the time is over already.
    """
    wish = exchange.picked.get(b"x-flumegate-timeout") if exchange.special else None
    if wish is not None:
        try:
            seconds = float(wish)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds <= MOST_SECONDS:
            raise GatewayError(
                INVALID_REQUEST,
                "invalid_header",
                "x-flumegate-timeout must be a number of seconds above 0, as in 30 or 2.5.",
            )
        timeout = seconds if timeout is None else min(seconds, timeout)
    if timeout is not None:
        exchange.deadline = exchange.started + timeout
        if exchange.deadline <= monotonic():
            raise GatewayError(
                UPSTREAM_TIMEOUT,
                "deadline_exceeded",
                "The time of the request was over before it could be sent (routing.timeout or x-flumegate-timeout).",
            )


def blameless(exchange: Exchange, failure: Failure) -> Failure:
    """Return a failure as it is, or without blame for the target where the client's own haste may have caused it.

    Else one client with little patience could get a target left alone for everybody.
    """
    if failure.code in OF_DEADLINE and exchange.special and b"x-flumegate-timeout" in exchange.picked:
        return failure._replace(kind="busy")
    return failure


def follow_rules(exchange: Exchange, planner: Planner, course: Course, followed: list[str] | None = None) -> Course:
    """Return the course that a route's rules send a request to, or the route's own; `followed` takes their names.

    Raises:
        GatewayError: the course of a rule cannot be taken by this endpoint.
    """
    endpoint = exchange.endpoint
    seen: rules.Seen | None = None
    for _ in range(MOST_RULES):
        if not course.rules or endpoint is None:
            break
        if seen is None:
            seen = _seen(exchange)
        rule = _matching(course.rules, seen)
        if rule is None:
            break
        if followed is not None:
            followed.append(rule.use)
        course = planner.detour(endpoint, rule.use, exchange.model_requested)
    return course


def _seen(exchange: Exchange) -> rules.Seen:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in exchange.headers}
    tags = rules.read_tags(exchange.picked.get(b"x-flumegate-tags", b"").decode("latin-1"))
    if exchange.access is not None:
        tags += exchange.access.key.tags
    return rules.Seen(headers, exchange.key_id, tags, exchange.started_at)


def _matching(all_rules: tuple[Rule, ...], seen: rules.Seen) -> Rule | None:
    return next((rule for rule in all_rules if rules.holds(rule.when, seen)), None)


def seconds_left(exchange: Exchange, now: float) -> float:
    """Return how long the request may still take."""
    return math.inf if exchange.deadline == math.inf else max(exchange.deadline - now, 0.0)
