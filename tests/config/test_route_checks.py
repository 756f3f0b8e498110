from __future__ import annotations

from collections.abc import Callable

import pytest

from flumegate.config.load import Loaded
from flumegate.config.route_checks import Names
from flumegate.config.sections import Config, Provider

Load = Callable[..., Loaded]
Refuse = Callable[..., list[str]]

_PROVIDERS = "providers: {o: {type: ollama}, g: {type: ollama}}\n"
_OTHERS = 'b: o/b, "star-*": o/*'


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("a: o", 'models.a: must be provider/model, not "o"'),
        ("a: o/", "must be provider/model"),
        ("a: /x", "must be provider/model"),
        ("a: n/x", 'there is no provider "n"; there are: o'),
        ("a: o/x*", "a target is one model, or * alone"),
        ('"a*b*": o/x', "a model name may hold one *"),
        ("a: {targets: []}", "models.a.targets: needs one target"),
    ],
)
def test_a_route_that_leads_nowhere_is_refused(problems: Refuse, model: str, message: str) -> None:
    """A name that nothing can serve would be a 404 later."""
    assert any(message in problem for problem in problems(f"providers: {{o: {{type: ollama}}}}\nmodels: {{{model}}}\n"))


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        ("targets: [o/x, olama/x]", '2:29: models.a.targets[1]: there is no provider "olama"; did you mean "ollama"?'),
        ("targets: [o/x, {use: n/x}]", '2:35: models.a.targets[1].use: there is no provider "n"; there are: o, g, ol'),
        ("targets: [o/x, g/x, o/x]", "2:34: models.a.targets[2]: is the same as targets[0]; keep one"),
        ("targets: [{use: o/x, weight: 0}]", "2:23: models.a.targets: every weight is 0"),
        (
            "targets: [o/x, {use: g/x, tier: 1}], strategy: fastest",
            "2:46: models.a.targets[1].tier: only strategy priority knows tiers, and this is fastest; remove it",
        ),
        (
            "targets: [{use: o/x, max_queued: 3}]",
            "2:47: models.a.targets[0].max_queued: nothing ever waits without max_concurrency",
        ),
        ("targets: [o/x], fallback: [bb]", '2:41: models.a.fallback[0]: there is no model "bb"; did you mean "b"?'),
        ("targets: [o/x], fallback: [x]", '2:41: models.a.fallback[0]: there is no model "x"; write one of those in'),
        ('targets: [o/x], fallback: [""]', "2:41: models.a.fallback[0]: must be the name of a model, or provider/"),
        ("targets: [o/x], fallback: [b, n/x]", 'nothing serves "n/x": there is no provider "n"; there are: o, g, oll'),
        ("targets: [o/x], fallback: [o/]", 'nothing serves "o/"'),
        (
            'targets: [o/x], fallback: ["star-*"]',
            '2:41: models.a.fallback[0]: "star-*" is a pattern; write the name of',
        ),
        ("targets: [o/x], mirror: {use: g/*}", '2:44: models.a.mirror.use: "g/*" is a pattern; write the name of one'),
        ("targets: [o/x], mirror: {use: c}", '2:44: models.a.mirror.use: there is no model "c"'),
        (
            "targets: [o/x], rules: [{when: {tags: [x]}, use: c}]",
            '2:63: models.a.rules[0].use: there is no model "c"',
        ),
        ("targets: [o/x], rules: [{when: {}, use: b}]", "2:45: models.a.rules[0].when: asks for nothing"),
        (
            'targets: [o/x], rules: [{when: {tags: [x, "a,b"]}, use: b}]',
            '2:56: models.a.rules[0].when.tags[1]: "a,b" can be no tag: a comma separates them',
        ),
        ("targets: [o/x], hedge: {after: 1}", "2:37: models.a.hedge: needs somewhere else to ask"),
    ],
)
def test_what_cannot_work_is_refused_where_it_stands(problems: Refuse, route: str, problem: str) -> None:
    """With the place of the value, and the nearest name that would have worked."""
    providers = "providers: {o: {type: ollama}, g: {type: ollama}, ollama: {}}"
    (found,) = problems(f"{providers}\nmodels: {{a: {{{route}}}, {_OTHERS}}}\n")
    assert found.startswith("flumegate.yaml:2:")
    assert problem in found


@pytest.mark.parametrize(
    "route",
    [
        "targets: [o/x], fallback: [b, star-1, o/y]",
        "targets: [o/x], rules: [{when: {days: [sat]}, use: star-1}], mirror: {use: a}",
        "targets: [o/x], hedge: {after: 1}, fallback: [b]",
        "targets: [o/x, g/x], hedge: {after: 1}",
        "targets: [{use: o/x, weight: 0}, g/x], strategy: weighted",
        "targets: [{use: o/x, tier: 0}, {use: o/y, tier: 0}]",
        "targets: [{use: o/x, max_concurrency: 1, max_queued: 3}]",
    ],
)
def test_what_works_is_accepted_in_silence(load_text: Load, route: str) -> None:
    """Models by name and by pattern, and providers' own models."""
    assert load_text(f"{_PROVIDERS}models: {{a: {{{route}}}, {_OTHERS}}}\n").warnings == []


@pytest.mark.parametrize(
    "model", ["o/a: g/a", '"o/*": g/*', "o/a: {targets: [o/a, g/a]}", "o/a: {targets: [o/a], timeout: 9}"]
)
def test_settings_that_requests_pass_by_are_warned_of(load_text: Load, model: str) -> None:
    """A name that begins with a provider's is served by that provider, whatever `models` says of it."""
    (warning,) = load_text(f"{_PROVIDERS}models: {{{model}}}\n").warnings
    assert 'requests for it go straight to the provider "o", past these settings' in str(warning)


@pytest.mark.parametrize("model", ["o/a: o/a", '"o/*": o/*', "n/a: g/a", "o/: g/a", "o-a: g/a"])
def test_a_name_that_leads_where_it_says_is_no_matter(load_text: Load, model: str) -> None:
    """It stands in the list of models; nor is a name whose beginning is no provider's."""
    assert load_text(f"{_PROVIDERS}models: {{{model}}}\n").warnings == []


def test_a_default_provider_serves_whatever_is_named(load_text: Load) -> None:
    """As it does for clients."""
    text = "providers: {o: {type: ollama, default: true}}\nmodels: {a: {targets: [o/x], fallback: [anything]}}"
    assert load_text(text).config.models["a"].fallback == ["anything"]


def test_a_faulty_model_is_not_reported_as_missing_too(problems: Refuse) -> None:
    """One mistake is one message."""
    (problem,) = problems(f"{_PROVIDERS}models: {{a: {{targets: [o/x], fallback: [b]}}, b: [1]}}")
    assert "models.b: must be a mapping" in problem


_WHEN = "when: {tags: [x]}"


@pytest.mark.parametrize(
    ("models", "found"),
    [
        ("a: {targets: [o/x], fallback: [a]}", ["models.a.fallback[0]: leads in a circle: a → a; leave this step out"]),
        (
            "a: {targets: [o/x], fallback: [b]}, b: {targets: [o/x], fallback: [o/y, a]}",
            ["models.b.fallback[1]: leads in a circle: a → b → a; leave this step out"],
        ),
        (
            f"a: {{targets: [o/x], rules: [{{{_WHEN}, use: b}}]}}, b: {{targets: [o/x], rules: [{{{_WHEN}, use: a}}]}}",
            ["models.b.rules[0].use: leads in a circle: a → b → a; leave this step out"],
        ),
        (
            (
                f"a: {{targets: [o/x], fallback: [d]}}, b: o/x, c: {{targets: [o/x], rules: [{{{_WHEN}, use: d}}]}}, "
                "d: {targets: [o/x], fallback: [b, e]}, e: {targets: [g/x], fallback: [c]}"
            ),
            ["models.c.rules[0].use: leads in a circle: d → e → c → d; leave this step out"],
        ),
        (
            '"a-*": {targets: [o/*], fallback: [b]}, b: {targets: [o/x], fallback: [a-1]}',
            ["models.b.fallback[0]: leads in a circle: a-* → b → a-*; leave this step out"],
        ),
        (
            '"a-*": {targets: [o/*], fallback: [a-long-1]}, "a-long-*": {targets: [o/*], fallback: [a-1]}',
            ["models.a-long-*.fallback[0]: leads in a circle: a-* → a-long-* → a-*; leave"],
        ),
        (
            "a: {targets: [o/x], fallback: [a, b]}, b: {targets: [o/x], fallback: [a, b]}",
            ["circle: a → a;", "circle: a → b → a;", "circle: b → b;"],
        ),
    ],
)
def test_a_circle_is_refused_and_named(problems: Refuse, models: str, found: list[str]) -> None:
    """Fallbacks, rules and both mixed, by name or by pattern: no request may go round for ever."""
    printed = "\n".join(problems(f"{_PROVIDERS}models: {{{models}}}"))
    assert all(text in printed for text in found), printed


def test_two_ways_to_one_place_are_no_circle(load_text: Load) -> None:
    """Nor is a provider's own model that has the name of a route, nor a mirror."""
    text = """
models:
  a: {targets: [o/x], fallback: [b, c], mirror: {use: a}}
  b: {targets: [o/x], fallback: [d]}
  c: {targets: [o/x], fallback: [d, o/a]}
  d: g/x
"""
    assert load_text(_PROVIDERS + text).warnings == []


def test_a_long_chain_of_fallbacks_is_followed_to_its_end(problems: Refuse) -> None:
    """However long a file makes it, and it is a located error in the end."""
    count = 1_500
    lines = [f"  m{index}: {{targets: [o/x], fallback: [m{(index + 1) % count}]}}" for index in range(count)]
    (problem,) = problems(_PROVIDERS + "models:\n" + "\n".join(lines))
    assert problem.startswith(f"flumegate.yaml:{count + 2}:")
    assert "m0 → m1 → m2 → m3 → m4 → m5 → … → m1495 → " in problem


def test_names_are_looked_up_in_the_order_of_a_worker() -> None:
    """`provider/model` before an exact name, that before patterns, the longest of these first."""
    config = Config(providers={"o": Provider(type="ollama")})
    names = Names(config, ["o"], ["o/x", "p/x", "gpt-*", "gpt-4*", "*", "a*b*"])
    assert names.entry("o/x") is None
    assert names.leads_somewhere("o/x")
    assert [names.entry(name) for name in ("p/x", "gpt-4o", "gpt-5", "gpt-*", "else")] == [
        "p/x",
        "gpt-4*",
        "gpt-*",
        "gpt-*",
        "*",
    ]
    assert not Names(config, ["o"], ["b"]).leads_somewhere("c")
