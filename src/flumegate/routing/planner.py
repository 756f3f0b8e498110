"""Makes the courses of one Snapshot and remembers them, so that the hot path finds one by a dict look-up."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import msgspec

from flumegate.catalog.load import Price
from flumegate.catalog.lookup import lookup, price
from flumegate.catalog.rates import FREE
from flumegate.dialects.registry import Endpoint
from flumegate.errors import FORBIDDEN, INVALID_REQUEST, METHOD_NOT_ALLOWED, GatewayError
from flumegate.patterns import fits
from flumegate.records.access import Project
from flumegate.routing import lanes
from flumegate.routing.course import Candidate, Course, Stage
from flumegate.routing.health import Health, Siblings
from flumegate.routing.healths import Healths
from flumegate.routing.match import Matcher
from flumegate.routing.plan import Plan, path_at, translated, verbatim
from flumegate.snapshot import BreakerPolicy, Provider, Retry, Route, Snapshot, Target

_REMEMBERED = 16_384


class Planner:
    """Plans for one Snapshot."""

    def __init__(self, snapshot: Snapshot, healths: Healths) -> None:
        self._snapshot = snapshot
        self._healths = healths
        self._matcher = Matcher(snapshot)
        self._courses: dict[tuple[str, str], Course] = {}
        self._detours: dict[tuple[str, str, str], Course] = {}
        self._dressed: dict[str, tuple[Provider, ...]] = {}
        """The providers with one credential each."""
        self._projects: dict[str, Planner] = {}
        self.varied = bool(snapshot.project_credentials) or any(
            project.default_provider for project in snapshot.projects.values()
        )
        """There is a project for which another one plans."""
        self._mark = ""
        """What the healths of a project's own targets are told apart by."""
        self._own: frozenset[str] = frozenset()
        """Providers at which the project has a credential of its own."""
        routes = (*snapshot.models.values(), *(wildcard.route for wildcard in snapshot.wildcards))
        targets = [target for route in routes for target in route.targets]
        self._named = {(target.provider, target.model) for target in targets}
        self._limits: dict[str, tuple[int, int]] = {}
        """Of requests under way and waiting, by a target's name: the tightest that any route states holds for all."""
        for target in targets:
            if target.max_concurrency:
                name = f"{target.provider}/{target.model}" if target.model else target.provider
                limits = target.max_concurrency, target.max_queued
                self._limits[name] = min(limits, self._limits.get(name, limits))

    def of(self, project: str) -> Planner:
        """Return who plans for a project: this planner, unless it has credentials or a default provider of its own."""
        planner = self._projects.get(project)
        if planner is None:
            known = self._snapshot.projects.get(project)
            own = self._snapshot.project_credentials.get(project)
            planner = self
            if known is not None and (own or known.default_provider):
                planner = copy.copy(self)
                planner._become(known, own or {})  # noqa: SLF001 - it is one of us
            self._projects[project] = planner
        return planner

    def _become(self, project: Project, credentials: Mapping[str, str]) -> None:
        replace = msgspec.structs.replace
        providers = {
            name: replace(provider, credential=credentials[name], more_credentials=())
            if name in credentials
            else provider
            for name, provider in self._snapshot.providers.items()
        }
        default = project.default_provider or self._snapshot.default_provider
        self._snapshot = replace(self._snapshot, providers=providers, default_provider=default)
        if project.default_provider:
            self._matcher = Matcher(self._snapshot)
        self._mark = f"@{project.id}"
        self._own = frozenset(credentials)
        self._courses, self._detours, self._dressed = {}, {}, {}

    def known(self, kind: str, model: str) -> Course | None:
        """Return the remembered course of an endpoint and a model, if there is one."""
        return self._courses.get((kind, model))

    def detour(self, endpoint: Endpoint, use: str, asked: str) -> Course:
        """Return the course of `use` for a request that asks for another model: a rule or a mirror sends it there.

        Raises:
            GatewayError: see `course`.
        """
        known = self._detours.get((endpoint.name, use, asked))
        if known is None:
            if len(self._detours) >= _REMEMBERED:
                self._detours.clear()
            known = self._build(endpoint, asked, self._matcher.match(model=use), use)
            self._detours[endpoint.name, use, asked] = known
        return known

    def course(self, endpoint: Endpoint, model: str, upstream: str = "") -> Course:
        """Return the course of a request to one of the dialects' endpoints.

        Raises:
            GatewayError: unknown model or upstream, or none of the targets can do what is asked, or may.
        """
        route = self._matcher.match(model=model, upstream=upstream)
        course = self._build(endpoint, model, route)
        if not upstream:
            if len(self._courses) >= _REMEMBERED:
                self._courses.clear()  # names that nobody asks for again must not keep out those that everybody does
            self._courses[(endpoint.name, model)] = course
        return course

    def meet_targets(self) -> None:
        """Have the configured targets known by their health, also where nobody has asked for them yet."""
        for name, model in self._named:
            self._healths.of(self._snapshot.providers[name], model, self._snapshot.breaker, loose=False)

    def how(self, model: str, upstream: str = "") -> str:
        """Return in a few words how a model's route is found.

        Raises:
            GatewayError: it is not.
        """
        return self._matcher.find(model=model, upstream=upstream)[1]

    def lone(self, plan: Plan, model: str) -> Course:
        """Return the course of a request that is passed on as it is: one attempt, whatever its target's health."""
        provider = plan.provider
        health = Health(plan.target_name, provider, BreakerPolicy(enabled=False), Siblings(provider))
        target = Target(provider.name, plan.model)
        candidate = Candidate(target, (plan,), health, lookup(provider.type, plan.model), None)
        stage = Stage(model, "priority", "auto", (candidate,))
        retry = Retry(max_retries=0)
        return Course(model, Route((target,)), (stage,), retry, self._snapshot.timeout, answers=False)

    def _build(self, endpoint: Endpoint, model: str, route: Route, name: str = "") -> Course:
        """Return a course; `model` is what the request's body says, `name` the route's own name if that is another."""
        stages: list[Stage] = []
        problem: GatewayError | None = None
        seen: set[str] = set()
        for stage, each in enumerate((name or model, *self._fallbacks(route))):
            own = self._matcher.match(model=each) if stage else route
            candidates: list[Candidate] = []
            for target in own.targets:
                try:
                    candidate = self._candidate(endpoint, model, target)
                except GatewayError as error:
                    problem = problem or error
                    continue
                if candidate.health.name not in seen:
                    seen.add(candidate.health.name)
                    candidates.append(candidate)
            if candidates:
                stages.append(Stage(each, own.strategy, own.sticky_by, tuple(candidates)))
        if not stages:
            assert problem is not None  # noqa: S101 - a route has a target, and each became a candidate or a problem
            raise problem
        snapshot = self._snapshot
        timeout = snapshot.timeout if route.timeout is None else route.timeout
        retry = route.retry or snapshot.retry
        does = endpoint.does
        return Course(
            name or model, route, tuple(stages), retry, timeout, answers=does == "answer", free=does == "count"
        )

    def _fallbacks(self, route: Route) -> list[str]:
        """Return the fallbacks of a route and theirs in turn, each once, nearest first."""
        found: list[str] = []
        waiting = list(route.fallback)
        while waiting:
            name = waiting.pop(0)
            if name not in found:
                found.append(name)
                waiting += self._matcher.match(model=name).fallback
        return found

    def _candidate(self, endpoint: Endpoint, model: str, target: Target) -> Candidate:
        provider = self._snapshot.providers[target.provider]
        _check_allowed(provider, "POST", endpoint.path)
        if lanes.is_verbatim(provider, endpoint):
            plans = [verbatim(each, target, endpoint, model) for each in self._dress(provider)]
        else:
            codec = lanes.codec_of(provider, endpoint, target.model)
            plans = [translated(each, target, codec) for each in self._dress(provider)]
        loose = (target.provider, target.model) not in self._named
        mark = self._mark if provider.name in self._own else ""
        health = self._healths.of(provider, target.model, self._snapshot.breaker, loose=loose or bool(mark), mark=mark)
        limits = self._limits.get(health.name.removesuffix(mark))
        if limits is not None:
            health.limit(*limits)
        cost = self._price(provider, target.model)
        for plan in plans:
            plan.price = FREE if endpoint.does == "count" else cost
        return Candidate(target, tuple(plans), health, lookup(provider.type, target.model), cost)

    def _price(self, provider: Provider, model: str) -> Price | None:
        """Return what a model costs: by the operator's word, else by the catalogue's; None = nobody knows."""
        names = f"{provider.name}/{model}", model
        for row in self._snapshot.prices:
            if any(fits(row.pattern, name) for name in names):
                return row.price
        return price(provider.type, model)

    def _dress(self, provider: Provider) -> tuple[Provider, ...]:
        """Return the provider once for each of its credentials."""
        if not provider.more_credentials:
            return (provider,)
        known = self._dressed.get(provider.name)
        if known is None:
            replace = msgspec.structs.replace
            known = self._dressed[provider.name] = tuple(
                replace(provider, credential=credential, more_credentials=())
                for credential in (provider.credential, *provider.more_credentials)
            )
        return known

    def transparent(self, method: str, path: bytes, *, model: str = "", upstream: str = "") -> Plan:
        """Return the plan of a request that is passed on as it is; `path` begins behind the version prefix.

        Raises:
            GatewayError: unknown upstream or model, method or endpoint not allowed.
        """
        target = self._matcher.match(model=model, upstream=upstream).targets[0]
        provider = self._snapshot.providers[target.provider]
        text = path.decode("latin-1")
        _check_allowed(provider, method, text)
        if provider.signing is not None:
            raise GatewayError(
                INVALID_REQUEST,
                "passthrough_not_available",
                f"Requests to {provider.name!r} are signed over their whole body, so none is passed on as it comes. "
                "Give that provider an api_key, or ask one of the endpoints for answers.",
            )
        return Plan(
            self._dress(provider)[0], target, path_at(provider, target.model, text), lane="transparent", requested=model
        )


def _check_allowed(provider: Provider, method: str, suffix: str) -> None:
    if provider.allowed_methods and method not in provider.allowed_methods:
        raise GatewayError(
            METHOD_NOT_ALLOWED,
            "method_not_allowed",
            f"{provider.name!r} takes only {', '.join(provider.allowed_methods)} here (allowed_methods).",
        )
    if provider.allowed_endpoints and not any(
        suffix == allowed or suffix.startswith(allowed.rstrip("/") + "/")
        for allowed in (entry.removeprefix("/v1") for entry in provider.allowed_endpoints)
    ):
        raise GatewayError(
            FORBIDDEN,
            "endpoint_not_allowed",
            f"/v1{suffix[:100]} is not among the endpoints that {provider.name!r} allows (allowed_endpoints).",
        )
