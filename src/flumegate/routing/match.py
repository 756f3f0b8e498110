"""From what a client asks for to the route that serves it (resolver order of the design, §8).

explicit upstream → `provider/model` → exact model → longest wildcard → default provider.
"""

from __future__ import annotations

import msgspec

from flumegate.errors import INVALID_REQUEST, NOT_FOUND, GatewayError
from flumegate.snapshot import Route, Snapshot, Target


class Matcher:
    """Finds the routes of one Snapshot; how many names it has makes no difference to how long that takes."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._shapes: dict[tuple[int, int], dict[tuple[str, str], Route]] = {}
        """Wildcards by the lengths of their two ends, in the Snapshot's order, which is the longest first."""
        for wildcard in snapshot.wildcards:
            ends = wildcard.prefix, wildcard.suffix
            self._shapes.setdefault((len(ends[0]), len(ends[1])), {}).setdefault(ends, wildcard.route)

    def match(self, *, model: str, upstream: str = "") -> Route:
        """Return the route of a model name, an explicit upstream name, or both; its targets name what to send upstream.

        Raises:
            GatewayError: 400 for an unknown upstream name, 404 for a model that nothing serves.
        """
        return self.find(model=model, upstream=upstream)[0]

    def find(self, *, model: str, upstream: str = "") -> tuple[Route, str]:
        """Return the route, and in a few words how it was found.

        Raises:
            GatewayError: see `match`.
        """
        snapshot = self._snapshot
        if upstream:
            return _explicit(snapshot, upstream, model), "the upstream that the request names"
        if not model:
            return _default(snapshot), "no model is named: the default provider"
        provider, slash, rest = model.partition("/")
        if slash and rest and provider in snapshot.providers:
            return _direct(provider, rest), "provider/model"
        exact = snapshot.models.get(model)
        if exact is not None:
            return _named(exact, model), "a configured model of that name"
        for (before, after), routes in self._shapes.items():
            if len(model) >= before + after:
                ends = model[:before], model[len(model) - after :]
                route = routes.get(ends)
                if route is not None:
                    return _named(route, model), f"the wildcard {'*'.join(ends)}"
        if snapshot.default_provider:
            return _direct(snapshot.default_provider, model), "nothing else matches: the default provider"
        raise GatewayError(
            NOT_FOUND,
            "model_not_found",
            f"No provider here serves the model {model[:100]!r}. GET /v1/models lists what there is; "
            "'provider/model' addresses a provider directly.",
            param="model",
        )


def _direct(provider: str, model: str) -> Route:
    return Route((Target(provider, model),))


def _named(route: Route, model: str) -> Route:
    """Return the route with the client's name at the targets that have none of their own."""
    if all(target.model for target in route.targets):
        return route
    replace = msgspec.structs.replace
    targets = tuple(target if target.model else replace(target, model=model) for target in route.targets)
    return replace(route, targets=targets)


def _explicit(snapshot: Snapshot, upstream: str, model: str) -> Route:
    if upstream not in snapshot.providers:
        names = ", ".join(sorted(snapshot.providers)) or "none"
        raise GatewayError(
            INVALID_REQUEST,
            "unknown_upstream",
            f"There is no upstream {upstream[:100]!r}. X-Upstream-Name may be one of: {names}.",
        )
    provider, slash, rest = model.partition("/")
    if slash and rest and provider == upstream:
        return _direct(upstream, rest)
    configured = snapshot.models.get(model)
    if configured is not None:
        own = tuple(target for target in configured.targets if target.provider == upstream and target.model)
        if own:
            return Route(own, retry=configured.retry, timeout=configured.timeout)
    return _direct(upstream, model)


def _default(snapshot: Snapshot) -> Route:
    if snapshot.default_provider:
        return _direct(snapshot.default_provider, "")
    if len(snapshot.providers) == 1:
        return _direct(next(iter(snapshot.providers)), "")
    names = ", ".join(sorted(snapshot.providers)) or "none"
    raise GatewayError(
        INVALID_REQUEST,
        "upstream_required",
        f"This request names no model and there is no default provider. Send X-Upstream-Name: one of {names}.",
    )
