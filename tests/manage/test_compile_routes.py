from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flumegate import snapshot
from flumegate.config.load import load
from flumegate.manage.compile import compile_snapshot
from flumegate.snapshot import BreakerPolicy, Hedge, Mirror, Retry, Route, Rule, Snapshot, Target, When

Compile = Callable[..., Snapshot]

_PROVIDERS = "providers: {o: {type: ollama}, g: {type: ollama}}\n"


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """Compile a file of this text with this environment."""

    def run(text: str, environ: Mapping[str, str] | None = None) -> Snapshot:
        path = tmp_path / "flumegate.yaml"
        path.write_text(_PROVIDERS + text, encoding="utf-8")
        return compile_snapshot(load(path, environ or {}), version=1, pepper=b"p")

    return run


def test_every_setting_of_a_route_reaches_the_worker(compiled: Compile) -> None:
    """Nothing that can be written down is without effect."""
    text = """
routing: {retry: {max_retries: 1, initial_delay: 7}}
models:
  other: g/z
  full:
    targets:
      - {use: o/x, weight: 3, max_concurrency: 4, max_queued: 5, queue_seconds: 6}
      - g/*
    strategy: sticky
    sticky_by: prefix
    fallback: [other, o/w]
    retry: {on_status: [500], factor: 3, max_delay: 9}
    timeout: 20
    translation: strict
    rules:
      - when:
          headers: {X-Tier: "gold*"}
          keys: ["static-*"]
          tags: [batch]
          hours: 22:00-06:00
          days: [sun, sat, sat]
        use: other
    hedge: {after: 2, share: 0.1}
    mirror: {use: other, share: 0.5}
    coalesce: true
"""
    value = compiled(text)
    assert value.models["other"] == Route((Target("g", "z"),))
    when = When((("x-tier", "gold*"),), ("static-*",), ("batch",), (22 * 60, 6 * 60), (5, 6))
    assert value.models["full"] == Route(
        targets=(
            Target("o", "x", strict=True, weight=3, max_concurrency=4, max_queued=5, queue_seconds=6),
            Target("g", "", strict=True),
        ),
        strategy="sticky",
        fallback=("other", "o/w"),
        retry=Retry(1, (500,), 7, 3, 9),
        timeout=20,
        rules=(Rule(when, "other"),),
        sticky_by="prefix",
        hedge=Hedge(2, 0.1),
        mirror=Mirror("other", 0.5),
        coalesce=True,
    )
    assert snapshot.decode(snapshot.encode(value)) == value


def test_the_order_of_the_list_is_the_order_of_the_targets(compiled: Compile) -> None:
    """Unless tiers say otherwise; the other strategies know no order."""
    text = "models: {{a: {{targets: [o/x, {{use: g/x{tier}}}, g/y], strategy: {strategy}}}}}"
    tiers = [target.tier for target in compiled(text.format(tier="", strategy="priority")).models["a"].targets]
    assert tiers == [0, 1, 2]
    tiers = [target.tier for target in compiled(text.format(tier=", tier: 0", strategy="priority")).models["a"].targets]
    assert tiers == [0, 0, 2]
    for strategy in ("weighted", "least_busy", "fastest", "cheapest", "sticky"):
        route = compiled(text.format(tier="", strategy=strategy)).models["a"]
        assert route.strategy == strategy
        assert {target.tier for target in route.targets} == {0}


def test_what_holds_for_all_models_is_that_of_the_snapshot_unless_set(compiled: Compile) -> None:
    """The two lists of defaults are one, and a route that says nothing leaves its own empty."""
    plain = compiled("models: {a: o/x, b: {targets: [o/x], retry: {}}}")
    assert (plain.retry, plain.breaker, plain.timeout) == (Retry(), BreakerPolicy(), None)
    assert plain.models["a"] == plain.models["b"] == Route((Target("o", "x"),))
    text = """
routing:
  timeout: 50
  retry: {max_retries: 4, on_status: [418], initial_delay: 0, factor: 1, max_delay: 3}
  breaker: {enabled: false, failures: 6, failure_rate: 0.25, min_requests: 7, open_seconds: 8}
models: {a: o/x}
"""
    value = compiled(text)
    assert (value.retry, value.timeout) == (Retry(4, (418,), 0, 1, 3), 50)
    assert value.breaker == BreakerPolicy(enabled=False, failures=6, failure_rate=0.25, min_requests=7, open_seconds=8)
    assert value.models["a"].retry is None
    assert value.models["a"].timeout is None


def test_a_retry_setting_that_a_model_leaves_out_is_that_of_all_models(compiled: Compile) -> None:
    """Wherever each of the two comes from, file or environment."""
    text = "routing: {retry: {max_delay: 5}}\nmodels: {a: {targets: [o/x], retry: {max_retries: 0}}}"
    assert compiled(text).models["a"].retry == Retry(max_retries=0, max_delay=5)
    value = compiled(text, {"FLUMEGATE_ROUTING__RETRY__MAX_RETRIES": "0", "FLUMEGATE_MODELS__A__RETRY__FACTOR": "9"})
    assert value.retry == Retry(max_retries=0, max_delay=5)
    assert value.models["a"].retry == Retry(max_retries=0, factor=9, max_delay=5)


def test_a_pattern_has_a_route_like_any_name(compiled: Compile) -> None:
    """With all that a route may have."""
    (wildcard,) = compiled('models: {"gpt-*-mini": {targets: [o/*, g/m], fallback: [o/x]}}').wildcards
    assert (wildcard.prefix, wildcard.suffix) == ("gpt-", "-mini")
    assert wildcard.route == Route((Target("o", ""), Target("g", "m", tier=1)), fallback=("o/x",))
