from __future__ import annotations

from typing import Any

import pytest

from flumegate.catalog.load import Price
from flumegate.dialects.registry import ENDPOINTS
from flumegate.errors import FORBIDDEN, INVALID_REQUEST, METHOD_NOT_ALLOWED, GatewayError
from flumegate.records.access import Project
from flumegate.routing.course import Course
from flumegate.routing.healths import Healths
from flumegate.routing.planner import Planner
from flumegate.snapshot import PriceRow, Retry, Route, Target, Wildcard
from rig.exchanges import provider, snapshot
from rig.plans import plan_of, planner_of

BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
CHAT = BY_NAME["chat"]
REMEMBERED = 16_384


def planner(**fields: Any) -> Planner:
    """Plan for one provider, `up`, that takes every model."""
    return planner_of(
        snapshot(provider(**fields), default_provider="up", models={"alias": Route((Target("up", "real"),))})
    )


def names(course: Course) -> list[list[str]]:
    """Return the targets of each stage."""
    return [[candidate.health.name for candidate in stage.candidates] for stage in course.stages]


def test_a_project_with_credentials_or_a_default_of_its_own_has_a_planner_of_its_own() -> None:
    """Its requests carry its credential, and its targets fare on their own; the others share one planner."""
    plans = planner_of(
        snapshot(
            provider(credential="ours", more_credentials=("ours too",)),
            provider("other", credential="others"),
            default_provider="up",
            projects={name: Project(name, name) for name in ("own", "plain")}
            | {"turned": Project("turned", "turned", default_provider="other")},
            project_credentials={"own": {"up": "theirs"}, "gone": {"up": "x"}},
        )
    )
    assert plans.of("plain") is plans.of("unheard of") is plans.of("gone") is plans
    own = plans.of("own")
    assert own is plans.of("own") is not plans
    (theirs,), ours = own.course(CHAT, "m").candidates, plans.course(CHAT, "m").candidates[0]
    assert [plan.provider.credential for plan in theirs.plans] == ["theirs"]
    assert [plan.provider.credential for plan in ours.plans] == ["ours", "ours too"]
    assert theirs.health is not ours.health
    turned = plans.of("turned").course(CHAT, "m").candidates[0]
    assert (turned.target.provider, turned.plans[0].provider.credential) == ("other", "others")
    assert turned.health is plans.course(CHAT, "other/m").candidates[0].health


def test_the_operators_price_comes_before_the_catalogues() -> None:
    """By the provider's name and the model's, or by the model's alone; the first that fits counts."""
    rows = (PriceRow("up/dear", Price(input=9)), PriceRow("che*", Price(input=1)), PriceRow("*", Price(input=5)))
    plans = planner_of(snapshot(provider(), default_provider="up", prices=rows))
    prices = {model: plans.course(CHAT, model).candidates[0].price for model in ("dear", "cheap", "gpt-4o")}
    assert prices == {"dear": Price(input=9), "cheap": Price(input=1), "gpt-4o": Price(input=5)}


def test_courses_are_remembered_by_endpoint_and_model() -> None:
    """The hot path makes no course twice."""
    plans = planner()
    assert plans.known("chat", "m") is None
    course = plans.course(CHAT, "m")
    assert plans.known("chat", "m") is course
    assert plans.known("completions", "m") is None


def test_courses_to_a_named_upstream_are_not_remembered() -> None:
    """They would answer for requests that name no upstream."""
    plans = planner()
    assert names(plans.course(CHAT, "m", "up")) == [["up/m"]]
    assert plans.known("chat", "m") is None


def test_memory_for_courses_is_bounded() -> None:
    """Made-up model names cannot fill the memory; they are planned all the same."""
    plans = planner()
    for number in range(REMEMBERED + 1):
        plans.course(CHAT, f"m{number}")
    assert sum(plans.known("chat", f"m{number}") is not None for number in range(REMEMBERED + 1)) <= REMEMBERED
    assert plans.known("chat", f"m{REMEMBERED}") is not None
    assert plans.known("chat", "m0") is None


def test_a_route_and_its_fallbacks_are_stages() -> None:
    """Nearest first, each once, circles cut, a target never twice, each stage with its own strategy."""
    known = snapshot(
        provider("a"),
        provider("b"),
        models={
            "first": Route((Target("a", "1"), Target("b", "1")), strategy="weighted", fallback=("second", "third")),
            "second": Route((Target("b", "2"), Target("a", "1")), sticky_by="prefix", fallback=("first", "fourth")),
            "third": Route((Target("a", "1"),)),
            "fourth": Route((Target("a", "4"),), strategy="fastest"),
        },
    )
    course = planner_of(known).course(CHAT, "first")
    assert names(course) == [["a/1", "b/1"], ["b/2"], ["a/4"]]
    assert [(stage.name, stage.strategy, stage.sticky_by) for stage in course.stages] == [
        ("first", "weighted", "auto"),
        ("second", "priority", "prefix"),
        ("fourth", "fastest", "auto"),
    ]
    assert [candidate.plans[0].splice for candidate in course.candidates] == [b'"1"', b'"1"', b'"2"', b'"4"']


def test_a_target_that_cannot_take_the_request_is_left_out() -> None:
    """As long as another one can; where none can, the first one's problem is the answer."""
    route = Route((Target("closed", "m"), Target("open", "m")), fallback=("mute",))
    known = snapshot(
        provider("closed", allowed_endpoints=("/embeddings",)),
        provider("open"),
        provider("mute", speaks=()),
        models={
            "m": route,
            "mute": Route((Target("mute", "m"),)),
            "none": Route((Target("closed", "m"),), fallback=("mute",)),
        },
    )
    assert names(planner_of(known).course(CHAT, "m")) == [["open/m"]]
    with pytest.raises(GatewayError) as refused:
        planner_of(known).course(CHAT, "none")
    assert refused.value.code == "endpoint_not_allowed"


def test_retries_and_patience_are_the_routes_or_else_the_snapshots() -> None:
    """What a route does not say is said once for all."""
    own = Retry(max_retries=7)
    known = snapshot(
        provider(),
        models={
            "own": Route((Target("up", "m"),), retry=own, timeout=3.0),
            "none": Route((Target("up", "m"),)),
        },
        timeout=9.0,
    )
    plans = planner_of(known)
    assert (plans.course(CHAT, "own").retry, plans.course(CHAT, "own").timeout) == (own, 3.0)
    assert (plans.course(CHAT, "none").retry, plans.course(CHAT, "none").timeout) == (known.retry, 9.0)


def test_each_credential_has_a_plan() -> None:
    """All for one target with one health; the provider's credentials are dressed once for all models."""
    known = snapshot(provider(credential="k0", more_credentials=("k1", "k2")), default_provider="up")
    plans = planner_of(known)
    candidate = plans.course(CHAT, "m").straight.candidate
    assert [plan.head.split(b"Bearer ")[1].strip() for plan in candidate.plans] == [b"k0", b"k1", b"k2"]
    assert len(candidate.health.accounts) == 3
    assert not candidate.health.calm, "requests must ask which credential is next"
    other = plans.course(CHAT, "n").straight.candidate
    assert [plan.provider for plan in other.plans] == [plan.provider for plan in candidate.plans]


def test_limits_reach_the_targets_health() -> None:
    """A target keeps its limits whoever asks for it, until a Snapshot says otherwise."""
    healths = Healths()
    limited = Route((Target("up", "m", max_concurrency=2, max_queued=3),))
    known = snapshot(provider(), default_provider="up", models={"alias": limited})
    health = Planner(known, healths).course(CHAT, "alias").straight.candidate.health
    assert (health.max_concurrency, health.max_queued) == (2, 3)
    assert Planner(known, healths).course(CHAT, "m").straight.candidate.health is health
    assert (health.max_concurrency, health.max_queued) == (2, 3)


def test_targets_that_no_configuration_names_are_loose() -> None:
    """They may be forgotten, the configured ones not."""
    healths = Healths()
    wildcard = Wildcard("claude-", "", Route((Target("up", "wild"),)))
    known = snapshot(
        provider(), default_provider="up", models={"alias": Route((Target("up", "real"),))}, wildcards=(wildcard,)
    )
    plans = Planner(known, healths)
    for model in ("alias", "claude-x", "made-up"):
        plans.course(CHAT, model)
    kept = {health.name for health in healths.all()}
    assert kept == {"up/real", "up/wild", "up/made-up"}
    for number in range(Healths.MOST_LOOSE):
        plans.course(CHAT, f"m{number}")
    kept = {health.name for health in healths.all()}
    assert {"up/real", "up/wild"} <= kept
    assert "up/made-up" not in kept


def test_a_lone_course_is_one_attempt() -> None:
    """What is passed on as it is goes to its target whatever that one's health, and once."""
    plans = planner()
    plan = plans.transparent("GET", b"/files")
    course = plans.lone(plan, "")
    assert course.only is not None
    assert (course.only.plans, course.only.health.calm, course.retry.max_retries) == ((plan,), True, 0)
    assert not course.only.health.policy.enabled


def test_a_provider_that_speaks_nothing_is_refused() -> None:
    """Nothing is sent to a server that would not understand it; the answer says what to do."""
    with pytest.raises(GatewayError, match="nothing that is known") as refused:
        planner(speaks=()).course(CHAT, "m")
    assert (refused.value.kind, refused.value.code) == (INVALID_REQUEST, "translation_not_available")


@pytest.mark.parametrize(
    ("allowed", "endpoint", "passes"),
    [
        ((), "chat", True),
        (("/v1/chat/completions",), "chat", True),
        (("/chat/completions",), "chat", True),
        (("/chat",), "chat", True),
        (("/v1/chat/",), "chat", True),
        (("/v1/",), "chat", True),
        (("/ch",), "chat", False),
        (("/embeddings", "/responses"), "chat", False),
        (("/embeddings", "/responses"), "responses", True),
    ],
)
def test_allowed_endpoints_are_path_prefixes(allowed: tuple[str, ...], endpoint: str, passes: bool) -> None:
    """Whole segments count, with and without `/v1`."""
    plans = planner(allowed_endpoints=allowed)
    if passes:
        assert plan_of(plans.course(BY_NAME[endpoint], "m")).model == "m"
    else:
        with pytest.raises(GatewayError, match="allowed_endpoints") as refused:
            plans.course(BY_NAME[endpoint], "m")
        assert (refused.value.kind, refused.value.code) == (FORBIDDEN, "endpoint_not_allowed")
        assert plans.known(endpoint, "m") is None


def test_allowed_methods() -> None:
    """A provider that takes only some methods gets no others, on either lane."""
    plans = planner(allowed_methods=("GET",))
    assert plans.transparent("GET", b"/files").path == b"/v1/files"
    with pytest.raises(GatewayError, match="takes only GET") as refused:
        plans.transparent("DELETE", b"/files")
    assert (refused.value.kind, refused.value.code) == (METHOD_NOT_ALLOWED, "method_not_allowed")
    with pytest.raises(GatewayError, match="takes only GET"):
        plans.course(CHAT, "m")


def test_a_transparent_plan_says_so() -> None:
    """Path, lane and target of a request that is passed on as it is."""
    plan = planner(base_path="/openai/v1").transparent("POST", b"/images/generations", model="alias")
    assert (plan.path, plan.model, plan.splice) == (b"/openai/v1/images/generations", "real", b'"real"')
    assert b"x-flumegate-lane: transparent\r\n" in plan.marks
    modelless = planner().transparent("GET", b"/files/\xff")
    assert (modelless.path, modelless.model, modelless.target_name) == (b"/v1/files/\xff", "", "up")
    assert b"x-flumegate-model" not in modelless.marks


def test_a_transparent_request_may_name_its_upstream() -> None:
    """`X-Upstream-Name` selects; an endpoint that is not allowed stays so."""
    plans = planner_of(snapshot(provider("a"), provider("b", allowed_endpoints=("/files",))))
    assert plans.transparent("GET", b"/files", upstream="b").provider.name == "b"
    with pytest.raises(GatewayError, match="allowed_endpoints"):
        plans.transparent("GET", b"/batches", upstream="b")


def test_a_detour_leads_elsewhere_for_another_models_request() -> None:
    """The body names what the client asked for, so the target's own name is spliced in; it is remembered, too."""
    known = snapshot(
        provider("up"),
        provider("other"),
        models={
            "asked": Route((Target("up", "asked"),)),
            "use": Route((Target("other", "real"),), fallback=("asked",)),
        },
    )
    plans = planner_of(known)
    course = plans.detour(CHAT, "use", "asked")
    assert (course.name, names(course)) == ("use", [["other/real"], ["up/asked"]])
    assert [candidate.plans[0].splice for candidate in course.candidates] == [b'"real"', b""]
    assert plans.detour(CHAT, "use", "asked") is course
    assert plans.detour(CHAT, "use", "unheard-of").candidates[1].plans[0].splice == b'"asked"'
    for number in range(REMEMBERED):
        plans.detour(CHAT, "use", f"m{number}")
    assert plans.detour(CHAT, "use", "asked") is not course


def test_how_a_route_is_found_can_be_told() -> None:
    """In a few words; what leads nowhere is refused."""
    wildcard = Wildcard("claude-", "", Route((Target("up", ""),)))
    plans = planner_of(snapshot(provider(), models={"alias": Route((Target("up", "real"),))}, wildcards=(wildcard,)))
    assert len({plans.how("alias"), plans.how("claude-x"), plans.how("up/m"), plans.how("", "up")}) == 4
    with pytest.raises(GatewayError):
        plans.how("unheard-of")


def test_configured_targets_can_be_looked_at_before_their_first_request() -> None:
    """The request finds what was looked at."""
    healths = Healths()
    wildcard = Wildcard("claude-", "", Route((Target("up", ""),)))
    known = snapshot(provider(), models={"alias": Route((Target("up", "real"),))}, wildcards=(wildcard,))
    plans = Planner(known, healths)
    assert healths.all() == []
    plans.meet_targets()
    met = {health.name: health for health in healths.all()}
    assert sorted(met) == ["up", "up/real"]
    assert plans.course(CHAT, "alias").candidates[0].health is met["up/real"]
    plans.meet_targets()
    assert healths.all() == list(met.values())
