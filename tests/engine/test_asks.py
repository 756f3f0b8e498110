from __future__ import annotations

import math
from time import monotonic
from typing import Any

import msgspec
import pytest

from flumegate.dialects.registry import ENDPOINTS
from flumegate.engine.asks import (
    EXPECTED_OUTPUT_TOKENS,
    MOST_RULES,
    ask_of,
    blameless,
    expected_tokens,
    follow_rules,
    seconds_left,
    set_deadline,
)
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.routing.failure import Failure
from flumegate.routing.tries import Ask
from flumegate.snapshot import Route, Rule, Target, When
from rig.courses import CHAT, course_of, targets
from rig.exchanges import exchange, provider, snapshot
from rig.plans import planner_of

BODY = (
    b'{"model":"m","tools":[{"type":"function","function":{"name":"f"}}],"messages":[{"role":"user","content":"hi"}]}'
)
LATER = BODY[:-2] + b',{"role":"assistant","content":"a"},{"role":"user","content":"b"}]}'


def asked(*headers: tuple[bytes, bytes], body: bytes = BODY) -> Exchange:
    """Return an exchange that began just now."""
    made = exchange(headers=list(headers), body=body)
    made.endpoint = CHAT
    made.model_requested = "m"
    made.started = monotonic()
    made.started_at = 0.0
    return made


@pytest.mark.parametrize(
    ("wish", "failover"), [(None, True), (b"off", False), (b" OFF ", False), (b"on", True), (b"", True)]
)
def test_a_client_may_do_without_other_targets(wish: bytes | None, failover: bool) -> None:
    """`X-Flumegate-Fallback: off`, whether there is a choice of targets or not."""
    one = asked() if wish is None else asked((b"x-flumegate-fallback", wish))
    assert ask_of(one, course_of(*targets("a"))).failover is failover
    assert ask_of(one, course_of(*targets("ab"))).failover is failover
    one.special = False
    assert ask_of(one, course_of(*targets("a"))).failover


def test_a_request_without_choice_is_not_looked_at() -> None:
    """Its body says nothing that could matter."""
    assert ask_of(asked(), course_of(*targets("a"), strategy="sticky")) == Ask()


def test_needs_are_looked_for_only_where_a_target_may_lack_something() -> None:
    """What a model is not known to lack it is taken to have."""
    course = course_of(*targets("ab"))
    plain = Ask(input_tokens=len(BODY) // 4, output_tokens=EXPECTED_OUTPUT_TOKENS)
    assert ask_of(asked(), course) == plain
    course.differs = frozenset(("tools",))
    assert ask_of(asked(), course) == plain._replace(needs=frozenset(("tools",)))
    assert expected_tokens(asked()) == (plain.input_tokens, plain.output_tokens)


@pytest.mark.parametrize(
    ("by", "named", "unnamed"),
    [("auto", "session", "prefix"), ("session", "session", "none"), ("prefix", "prefix", "prefix")],
)
def test_affinity_is_what_the_route_says(by: str, named: str, unnamed: str) -> None:
    """The session that the client names, or what stays equal over its turns, or nothing."""
    course = course_of(*targets("ab"), strategy="sticky", sticky_by=by)

    def kind(*headers: tuple[bytes, bytes]) -> str:
        first = ask_of(asked(*headers), course).affinity(by)
        later = ask_of(asked(*headers, body=LATER), course).affinity(by)
        assert first == later
        if not first:
            return "none"
        return "session" if first == b"s-1" else "prefix"

    assert kind((b"x-flumegate-session", b"s-1")) == named
    assert kind() == unnamed


def test_nothing_is_looked_for_that_no_stage_asks_for() -> None:
    """A fallback may be sticky in another way than the route itself."""
    headers = (b"x-flumegate-session", b"s-1")
    plain = course_of(*targets("ab"))
    assert ask_of(asked(headers), plain)[:2] == (b"", b"")
    session = course_of(*targets("ab"), strategy="sticky", sticky_by="session")
    assert ask_of(asked(headers), session)[:2] == (b"s-1", b"")
    auto = course_of(*targets("ab"), strategy="sticky")
    assert ask_of(asked(headers), auto)[:2] == (b"s-1", b"")
    assert ask_of(asked(), auto).prefix
    prefix = course_of(*targets("ab"), strategy="sticky", sticky_by="prefix")
    found = ask_of(asked(headers), prefix)
    assert (found.session, bool(found.prefix)) == (b"", True)


@pytest.mark.parametrize(
    ("timeout", "wish", "seconds"),
    [
        (None, None, math.inf),
        (5.0, None, 5.0),
        (None, b"2.5", 2.5),
        (5.0, b"2", 2.0),
        (5.0, b"30", 5.0),
        (None, b"86400", 86_400.0),
    ],
)
def test_the_deadline_is_the_routes_or_the_clients_if_that_is_sooner(
    timeout: float | None, wish: bytes | None, seconds: float
) -> None:
    """From the request's begin."""
    one = asked() if wish is None else asked((b"x-flumegate-timeout", wish))
    set_deadline(one, timeout)
    assert one.deadline == one.started + seconds
    assert seconds_left(one, one.started) == pytest.approx(seconds)
    assert seconds_left(one, one.started + 1e6) == (math.inf if seconds == math.inf else 0.0)


def test_a_deadline_in_the_past_is_the_end() -> None:
    """A large body, or the wait for a place, may have taken longer than the route gives."""
    one = asked()
    one.started -= 100.0
    with pytest.raises(GatewayError) as over:
        set_deadline(one, 5.0)
    assert (over.value.code, over.value.kind.status) == ("deadline_exceeded", 504)


@pytest.mark.parametrize("code", ["deadline_exceeded", "upstream_first_token_timeout", "upstream_connect_timeout"])
def test_a_clients_haste_is_not_the_targets_fault(code: str) -> None:
    """A timeout that the client's own wish may have caused; the same without a wish is, and so is every other."""
    failure = Failure("timeout", code)
    hasty, patient = asked((b"x-flumegate-timeout", b"2")), asked()
    assert not blameless(hasty, failure).blames_target
    assert blameless(hasty, failure).elsewhere
    assert blameless(patient, failure) == failure
    idle = Failure("timeout", "upstream_first_byte_timeout")
    assert blameless(hasty, idle) == idle


@pytest.mark.parametrize("wish", [b"0", b"-1", b"nan", b"inf", b"soon", b"", b"86401", b"1e999", b"\xff"])
def test_a_timeout_that_is_none_is_refused(wish: bytes) -> None:
    """Rather than ignored: the client counts on it."""
    with pytest.raises(GatewayError) as refused:
        set_deadline(asked((b"x-flumegate-timeout", wish)), 5.0)
    assert refused.value.code == "invalid_header"


def test_a_header_that_was_not_looked_for_is_no_wish() -> None:
    """The door says whether there is one."""
    one = asked((b"x-flumegate-timeout", b"2"))
    one.special = False
    set_deadline(one, None)
    assert one.deadline == math.inf


def rule(use: str, **when: Any) -> Rule:
    return Rule(When(**when), use)


RULES = snapshot(
    provider("up"),
    models={
        "m": Route(
            (Target("up", "m"),),
            rules=(
                rule("night", hours=(1320, 360), tags=("batch",)),
                rule("team", headers=(("x-team", "red-*"),)),
                rule("mine", keys=("key_1",)),
            ),
        ),
        "night": Route((Target("up", "night"),)),
        "team": Route((Target("up", "team"),), rules=(rule("both", keys=("key_1",)),)),
        "mine": Route((Target("up", "mine"),)),
        "both": Route((Target("up", "both"),)),
        "loop": Route((Target("up", "loop"),), rules=(rule("loop"),)),
    },
)


@pytest.mark.parametrize(
    ("headers", "key", "followed"),
    [
        ([], "", []),
        ([(b"x-flumegate-tags", b"day, batch")], "", ["night"]),
        ([(b"x-team", b"red-1")], "", ["team"]),
        ([(b"x-team", b"blue")], "key_1", ["mine"]),
        ([(b"x-team", b"red-1")], "key_1", ["team", "both"]),
        ([(b"x-flumegate-tags", b"batch"), (b"x-team", b"red-1")], "key_1", ["night"]),
    ],
)
def test_the_first_rule_that_holds_is_followed(
    headers: list[tuple[bytes, bytes]], key: str, followed: list[str]
) -> None:
    """At midnight; so are the rules of where it leads. The target's name takes the place of the client's."""
    plans = planner_of(RULES)
    one = asked(*headers)
    one.key_id = key
    names: list[str] = []
    course = follow_rules(one, plans, plans.course(CHAT, "m"), names)
    assert names == followed
    assert course is follow_rules(one, plans, plans.course(CHAT, "m")) or not followed
    served = (followed or ["m"])[-1]
    assert course.name == served
    assert course.straight.candidate.plans[0].splice == (b'"%b"' % served.encode() if followed else b"")


def test_rules_in_a_circle_come_to_an_end() -> None:
    """The configuration refuses them; this is the second net."""
    plans = planner_of(RULES)
    names: list[str] = []
    follow_rules(asked(), plans, plans.course(CHAT, "loop"), names)
    assert names == ["loop"] * MOST_RULES


def test_a_request_of_no_endpoint_follows_no_rules() -> None:
    """What is passed on as it is goes where its path says."""
    plans = planner_of(RULES)
    course = plans.course(CHAT, "loop")
    one = asked()
    one.endpoint = None
    assert follow_rules(one, plans, course) is course


def test_every_endpoint_can_follow_a_rule() -> None:
    """Where the provider speaks its dialect or can be asked in another."""
    plans = planner_of(msgspec.structs.replace(RULES, providers={"up": provider("up")}))
    for endpoint in ENDPOINTS:
        if endpoint.dialect != "openai":
            continue
        one = asked((b"x-team", b"red-1"))
        one.endpoint = endpoint
        assert follow_rules(one, plans, plans.course(endpoint, "m")).name == "team"
