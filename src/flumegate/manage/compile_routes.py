"""From the settings of models to routes: short forms and inherited settings are spelt out here, once.

A worker finds in a Route everything that it needs; what it leaves to the Snapshot is only what no setting of the model
names. The configuration has been checked: every name leads somewhere, and no fallback leads back.
"""

from __future__ import annotations

from flumegate.config import routing
from flumegate.config.sections import Config
from flumegate.snapshot import BreakerPolicy, Hedge, Mirror, Retry, Route, Rule, Target, When, Wildcard


def configured_models(config: Config) -> tuple[dict[str, Route], list[Wildcard]]:
    """Return the routes of the configured names, and those of the names that hold a star."""
    models: dict[str, Route] = {}
    wildcards: list[Wildcard] = []
    for name, section in config.models.items():
        route = _route(section, config.routing.retry)
        prefix, star, suffix = name.partition("*")
        if star:
            wildcards.append(Wildcard(prefix, suffix, route))
        else:
            models[name] = route
    return models, wildcards


def retry_policy(section: routing.Retry) -> Retry:
    """Return what holds for every model that says nothing else."""
    return Retry(
        section.max_retries, tuple(section.on_status), section.initial_delay, section.factor, section.max_delay
    )


def breaker_policy(section: routing.Breaker) -> BreakerPolicy:
    """Return when a target is left alone."""
    return BreakerPolicy(
        section.enabled, section.failures, section.failure_rate, section.min_requests, section.open_seconds
    )


def _route(section: routing.Route, default: routing.Retry) -> Route:
    by_place = section.strategy == "priority"
    strict = section.translation == "strict"
    return Route(
        targets=tuple(
            _target(target, tier=place if by_place else 0, strict=strict)
            for place, target in enumerate(section.targets)
        ),
        strategy=section.strategy,
        fallback=tuple(section.fallback),
        retry=_retry(section.retry, default),
        timeout=section.timeout,
        rules=tuple(Rule(_when(rule.when), rule.use) for rule in section.rules),
        sticky_by=section.sticky_by,
        hedge=Hedge(section.hedge.after, section.hedge.share) if section.hedge else None,
        mirror=Mirror(section.mirror.use, section.mirror.share) if section.mirror else None,
        coalesce=section.coalesce,
    )


def _target(section: routing.RouteTarget, *, tier: int, strict: bool) -> Target:
    provider, _, model = section.use.partition("/")
    return Target(
        provider,
        "" if model == "*" else model,
        strict=strict,
        weight=section.weight,
        tier=tier if section.tier is None else section.tier,
        max_concurrency=section.max_concurrency,
        max_queued=section.max_queued,
        queue_seconds=section.queue_seconds,
    )


def _retry(section: routing.RouteRetry, default: routing.Retry) -> Retry | None:
    own = {name: value for name in routing.RouteRetry.model_fields if (value := getattr(section, name)) is not None}
    return retry_policy(default.model_copy(update=own)) if own else None


def _when(section: routing.RuleWhen) -> When:
    return When(
        headers=tuple(section.headers.items()),
        keys=tuple(section.keys),
        tags=tuple(section.tags),
        hours=None if section.hours is None else routing.read_hours(section.hours),
        days=tuple(sorted({routing.DAYS.index(day) for day in section.days})),
    )
