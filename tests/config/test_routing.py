from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic_core import PydanticCustomError

from flumegate.config.load import Loaded
from flumegate.config.routing import DAYS, RouteRule, RouteTarget, RuleWhen, read_hours

Load = Callable[..., Loaded]
Refuse = Callable[..., list[str]]

_PROVIDERS = "providers: {o: {type: ollama}, g: {type: ollama}}\n"


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("22:00-06:00", (1320, 360)), ("00:00-24:00", (0, 1440)), ("09:30-17:05", (570, 1025)), ("00:00-00:01", (0, 1))],
)
def test_hours_are_minutes_of_the_day(text: str, minutes: tuple[int, int]) -> None:
    """From included, to excluded; over midnight where the first is larger."""
    assert read_hours(text) == minutes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("22-06", "write it like 22:00-06:00, in UTC"),
        ("24:00-06:00", "write it like"),
        ("09:60-10:00", "write it like"),
        ("9:00-10:00", "write it like"),
        ("10:00-24:30", "write it like"),
        ("10:00-10:00", "write 00:00-24:00 for the whole day"),
    ],
)
def test_hours_that_are_none_are_refused(text: str, message: str) -> None:
    """A rule that never fits would go unnoticed."""
    with pytest.raises(PydanticCustomError, match=message):
        read_hours(text)


def test_a_target_may_be_written_in_short(load_text: Load) -> None:
    """A list of texts, a list of mappings and a mixture mean the same."""
    text = """
models:
  a: {targets: [o/x, g/y]}
  b: {targets: [{use: o/x}, g/y]}
  c: o/x
"""
    models = load_text(_PROVIDERS + text).config.models
    assert models["a"] == models["b"]
    assert models["a"].targets == [RouteTarget(use="o/x"), RouteTarget(use="g/y")]
    assert models["c"].targets == [RouteTarget(use="o/x")]


def test_a_rule_is_brought_to_one_form(load_text: Load) -> None:
    """Names of header fields and of days have no case, and days a short name."""
    text = (
        'models: {a: {targets: [o/x], rules: [{when: {headers: {X-Tier: "gold*"}, days: [Saturday, SUN]}, use: g/y}]}}'
    )
    (rule,) = load_text(_PROVIDERS + text).config.models["a"].rules
    assert rule == RouteRule(when=RuleWhen(headers={"x-tier": "gold*"}, days=["sat", "sun"]), use="g/y")
    assert len(DAYS) == 7


@pytest.mark.parametrize(
    ("route", "message"),
    [
        (
            "strategy: fast",
            "must be priority, weighted, least_busy, fastest, cheapest or sticky; did",
        ),
        ("sticky_by: key", "models.a.sticky_by: must be auto, session or prefix"),
        ("timeout: 0", "models.a.timeout: must be more than 0"),
        ("retry: {max_retries: -1}", "models.a.retry.max_retries: must be at least 0"),
        ("retry: {on_status: [200]}", "models.a.retry.on_status[0]: must be at least 400"),
        ("retry: {on_status: [503, 600]}", "models.a.retry.on_status[1]: must be at most 599"),
        ("retry: {factor: 0.5}", "models.a.retry.factor: must be at least 1"),
        ("retry: {max_retry: 1}", 'models.a.retry.max_retry: unknown setting; did you mean "max_retries"?'),
        ("hedge: {share: 0.1}", "models.a.hedge.after: is required; add it"),
        ("hedge: {after: 1, share: 5}", "models.a.hedge.share: must be at most 1"),
        ("mirror: {use: g/y, share: -1}", "models.a.mirror.share: must be at least 0"),
        ("rules: [{use: g/y}]", "models.a.rules[0].when: is required; add it"),
        ("rules: [{when: {tags: [x]}}]", "models.a.rules[0].use: is required; add it"),
        ('rules: [{when: {tags: [""]}, use: g/y}]', "models.a.rules[0].when.tags[0]: is empty"),
        ("rules: [{when: {hours: 10-12}, use: g/y}]", 'models.a.rules[0].when.hours: "10-12" is no time of the day'),
        ("rules: [{when: {days: [today]}, use: g/y}]", "models.a.rules[0].when.days[0]: must be mon, tue, wed,"),
        ("rules: [{when: {days: [6]}, use: g/y}]", "models.a.rules[0].when.days[0]: must be mon, tue, wed,"),
        ('rules: [{when: {headers: {"x y": a}}, use: g/y}]', '"x y" is no header name'),
        ("rules: [{when: {headers: {X-A: a, x-a: b}}, use: g/y}]", "when.headers: names a header twice"),
        ("coalesce: maybe", "models.a.coalesce: must be true or false"),
    ],
)
def test_a_route_that_means_nothing_is_refused_where_it_stands(problems: Refuse, route: str, message: str) -> None:
    """What is wrong, where, and what to write instead."""
    (problem,) = problems(f"{_PROVIDERS}models: {{a: {{targets: [o/x, g/x], {route}}}}}\n")
    assert problem.startswith("flumegate.yaml:2:")
    assert message in problem


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{use: g/y, weight: -1}", "models.a.targets[1].weight: must be at least 0"),
        ("{use: g/y, tier: -1}", "models.a.targets[1].tier: must be at least 0"),
        ("{weight: 1}", "models.a.targets[1].use: is required; add it"),
        ("7", "models.a.targets[1]: must be a mapping"),
    ],
)
def test_a_target_that_means_nothing_is_refused_where_it_stands(problems: Refuse, target: str, message: str) -> None:
    """As above, within the list."""
    assert any(message in problem for problem in problems(f"{_PROVIDERS}models: {{a: {{targets: [o/x, {target}]}}}}\n"))


@pytest.mark.parametrize(
    ("routing", "message"),
    [
        ("{timeout: .inf}", "routing.timeout: must be a number; write null for no limit"),
        ("{retry: {max_retries: 101}}", "routing.retry.max_retries: must be at most 100"),
        ("{retry: {initial_delay: -1}}", "routing.retry.initial_delay: must be at least 0"),
        ("{breaker: {failures: 0}}", "routing.breaker.failures: must be at least 1"),
        ("{breaker: {failure_rate: 0}}", "routing.breaker.failure_rate: must be more than 0"),
        ("{breaker: {open_second: 1}}", 'routing.breaker.open_second: unknown setting; did you mean "open_seconds"?'),
    ],
)
def test_the_settings_of_all_models_are_bounded(problems: Refuse, routing: str, message: str) -> None:
    """A breaker that never opens is one that is switched off."""
    (problem,) = problems(f"routing: {routing}")
    assert message in problem


def test_the_environment_sets_what_holds_for_all_models_and_for_one(load_text: Load) -> None:
    """Numbers, lists by comma, and null where null has a meaning."""
    environ = {
        "FLUMEGATE_ROUTING__RETRY__MAX_RETRIES": "0",
        "FLUMEGATE_ROUTING__RETRY__ON_STATUS": "429,503",
        "FLUMEGATE_ROUTING__BREAKER__ENABLED": "false",
        "FLUMEGATE_ROUTING__TIMEOUT": "30",
        "FLUMEGATE_MODELS__A__TARGETS": "o/x,g/y",
        "FLUMEGATE_MODELS__A__FALLBACK": "o/z",
        "FLUMEGATE_MODELS__A__RETRY__FACTOR": "3",
        "FLUMEGATE_MODELS__A__RETRY__MAX_DELAY": "null",
        "FLUMEGATE_MODELS__A__RULES": '[{"when": {"tags": ["x"]}, "use": "o/z"}]',
    }
    config = load_text(_PROVIDERS, environ).config
    assert (config.routing.retry.max_retries, config.routing.retry.on_status) == (0, [429, 503])
    assert (config.routing.breaker.enabled, config.routing.timeout) == (False, 30)
    route = config.models["a"]
    assert ([target.use for target in route.targets], route.fallback) == (["o/x", "g/y"], ["o/z"])
    assert (route.retry.factor, route.retry.max_delay, route.rules[0].use) == (3, None, "o/z")
