"""Checks of models: where each name leads, and that no request goes round in circles.

Names of models are looked up in the order in which a worker does: `provider/model`, exact name, longest wildcard,
default provider. What is refused here could otherwise only fail one request after the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from flumegate.config.problem import Path, nearest
from flumegate.config.routing import Route
from flumegate.config.sections import Config

Finding = tuple[Path, str]
_BY_PLACE = "priority"
_SHOWN = 12
"""Most names of a circle that are printed."""


class Names:
    """What a client could ask for.

    Args:
        config: what could be read of the configuration.
        providers: the names of all providers that were written down, faulty ones included.
        models: the names of all models that were, likewise.
    """

    def __init__(self, config: Config, providers: Collection[str], models: Collection[str]) -> None:
        self.providers = providers
        self.models = models
        self._has_default = any(provider.default for provider in config.providers.values())
        patterns = [(name, *name.split("*")) for name in models if name.count("*") == 1]
        self._patterns = sorted(patterns, key=lambda each: -len(each[0]))
        self._found: dict[str, str | None] = {}

    def entry(self, name: str) -> str | None:
        """Return the entry of `models` that serves a name; None = none does."""
        if name not in self._found:
            self._found[name] = self._look_up(name)
        return self._found[name]

    def leads_somewhere(self, name: str) -> bool:
        """Tell whether anything serves a name."""
        return bool(name) and (self._is_direct(name) or self.entry(name) is not None or self._has_default)

    def _is_direct(self, name: str) -> bool:
        provider, _, model = name.partition("/")
        return bool(model) and provider in self.providers

    def _look_up(self, name: str) -> str | None:
        if self._is_direct(name):
            return None
        if name in self.models:
            return name
        for pattern, before, after in self._patterns:
            if len(name) >= len(before) + len(after) and name.startswith(before) and name.endswith(after):
                return pattern
        return None


def refusals(config: Config, providers: Collection[str], models: Collection[str]) -> Iterator[Finding]:
    """Yield everything that makes a model's settings unusable.

    Args:
        config: what could be read of the configuration.
        providers: the names of all providers that were written down, faulty ones included.
        models: the names of all models that were, likewise.
    """
    names = Names(config, providers, models)
    for name, route in config.models.items():
        path: Path = ("models", name)
        if not name or name.count("*") > 1:
            yield path, "a model name may hold one *, as in claude-*; write one entry for each pattern"
        for place, message in (*_targets(route, providers), *_pointless(route), *_rules(route)):
            yield (*path, *place), message
        for place, used in _uses(route):
            if "*" in used:
                yield (*path, *place), f'"{used}" is a pattern; write the name of one model, or provider/model'
            elif not names.leads_somewhere(used):
                yield (*path, *place), _unknown(used, names)
    yield from _loops(config.models, names)


def warnings(config: Config) -> Iterator[Finding]:
    """Yield the models whose settings hardly any request meets: those that are called `provider/model`.

    They are no mistake for sure: they stand in the list of models, and `x-upstream-name` may lead to their targets. One
    that leads where its name does is only listed.
    """
    for name, route in config.models.items():
        provider, _, model = name.partition("/")
        only_listed = [target.use for target in route.targets] == [name] and route.model_fields_set == {"targets"}
        if model and provider in config.providers and not only_listed:
            passed_by = f'requests for it go straight to the provider "{provider}", past these settings'
            yield ("models", name), f'{passed_by}; give it a name that does not begin with "{provider}/"'


def _targets(route: Route, providers: Collection[str]) -> Iterator[Finding]:
    if not route.targets:
        yield ("targets",), "needs one target, as in [openai/gpt-4o]"
    elif not any(target.weight for target in route.targets):
        yield ("targets",), "every weight is 0, so none of them would be chosen; give one of them a weight of 1"
    seen: dict[str, int] = {}
    for index, target in enumerate(route.targets):
        place = ("targets", index)
        provider, slash, model = target.use.partition("/")
        if not slash or not provider or not model:
            yield (*place, "use"), f'must be provider/model, not "{target.use}"; provider/* keeps the name asked for'
        elif provider not in providers:
            known = nearest(provider, providers) or f"; there are: {', '.join(providers) or 'none'}"
            yield (*place, "use"), f'there is no provider "{provider}"{known}'
        elif "*" in model and model != "*":
            yield (*place, "use"), "a target is one model, or * alone for the name that the client asked for"
        elif target.use in seen:
            yield (*place, "use"), f"is the same as targets[{seen[target.use]}]; keep one, and give it a larger weight"
        seen.setdefault(target.use, index)
        if target.tier is not None and route.strategy != _BY_PLACE:
            yield (*place, "tier"), f"only strategy {_BY_PLACE} knows tiers, and this is {route.strategy}; remove it"
        if target.max_queued and not target.max_concurrency:
            yield (*place, "max_queued"), "nothing ever waits without max_concurrency; set that too, or remove this"


def _pointless(route: Route) -> Iterator[Finding]:
    if route.hedge is not None and len(route.targets) < 2 and not route.fallback:
        yield ("hedge",), "needs somewhere else to ask: a second target, or a fallback; add one, or remove it"


def _rules(route: Route) -> Iterator[Finding]:
    for index, rule in enumerate(route.rules):
        when = rule.when
        if not (when.headers or when.keys or when.tags or when.hours or when.days):
            yield (
                ("rules", index, "when"),
                "asks for nothing, so the rule would take every request; name headers, keys, tags, hours or days",
            )
        for number, tag in enumerate(when.tags):
            if "," in tag:
                place = ("rules", index, "when", "tags", number)
                yield place, f'"{tag}" can be no tag: a comma separates them in x-flumegate-tags; write each by itself'


def _uses(route: Route) -> Iterator[tuple[Path, str]]:
    """Yield every name of a model that a route mentions."""
    yield from _next(route)
    if route.mirror is not None:
        yield ("mirror", "use"), route.mirror.use


def _next(route: Route) -> Iterator[tuple[Path, str]]:
    """Yield every name that a request of the route may go on to."""
    for index, name in enumerate(route.fallback):
        yield ("fallback", index), name
    for index, rule in enumerate(route.rules):
        yield ("rules", index, "use"), rule.use


def _unknown(name: str, names: Names) -> str:
    if not name:
        return "must be the name of a model, or provider/model"
    provider, slash, _ = name.partition("/")
    if slash:
        near = nearest(provider, names.providers) or f"; there are: {', '.join(names.providers) or 'none'}"
        return f'nothing serves "{name}": there is no provider "{provider}"{near}'
    near = nearest(name, names.models) or "; write one of those in models, or provider/model"
    return f'there is no model "{name}"{near}'


def _loops(routes: Mapping[str, Route], names: Names) -> Iterator[Finding]:
    """Yield each step by which a request would come back to a model where it has been.

    Depth first and without recursion: a chain of fallbacks may be as long as the file.
    """
    done: set[str] = set()
    for start in routes:
        trail: dict[str, Iterator[tuple[Path, str]]] = {} if start in done else {start: _next(routes[start])}
        while trail:
            last = next(reversed(trail))
            step = next(trail[last], None)
            if step is None:
                done.add(last)
                del trail[last]
                continue
            place, name = step
            entry = names.entry(name)
            if entry in trail:
                yield ("models", last, *place), f"leads in a circle: {_circle(list(trail), entry)}; leave this step out"
            elif entry is not None and entry in routes and entry not in done:
                trail[entry] = _next(routes[entry])


def _circle(trail: list[str], entry: str) -> str:
    steps = [*trail[trail.index(entry) :], entry]
    if len(steps) > _SHOWN:
        steps[_SHOWN // 2 : -_SHOWN // 2] = ["…"]
    return " → ".join(steps)
