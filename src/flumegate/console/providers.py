"""`/manage/providers`, `/manage/models`, `/manage/routes`: what the configuration has, as the workers have it now.

Read only but for credentials: those may be given here, and are never shown.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from flumegate.console.endpoint import Endpoint
from flumegate.console.fields import Body, SecretText, as_time
from flumegate.console.permission import READ, WRITE_CREDENTIALS
from flumegate.console.problems import ConsoleError
from flumegate.console.request import ActorOf, DeskOf
from flumegate.manage import credentials
from flumegate.snapshot import Provider, Route, Snapshot, Target
from flumegate.store.credentials import Credential

_Name = Annotated[str, Path(max_length=64)]
_Project = Annotated[str, Query(alias="project_id", pattern="^[0-9A-Za-z._-]{0,64}$", description="Of a project.")]


def _snapshot(request: Request) -> Snapshot:
    look: Callable[[], Snapshot | None] = request.app.state.snapshot
    found = look()
    if found is None:
        raise ConsoleError(503, "store_unavailable", "The configuration is not compiled yet. Try again shortly.")
    return found


SnapshotOf = Annotated[Snapshot, Depends(_snapshot)]
"""What the workers have now."""


class SecretBody(Body):
    """A credential."""

    secret: SecretText


class StoredCredentialShape(BaseModel):
    """That there is a credential; never what it is."""

    id: str
    provider: str
    project_id: str = Field(description="Empty = for all projects.")
    created_at: datetime | None
    updated_at: datetime | None


class ProviderShape(BaseModel):
    """Where requests go."""

    name: str
    type: str
    address: str
    speaks: list[str]
    default: bool
    configured_credentials: int = Field(description="How many the configuration gives it.")
    stored_credentials: list[StoredCredentialShape]


class ProvidersShape(BaseModel):
    """Providers by name."""

    providers: list[ProviderShape]


class RouteTargetShape(BaseModel):
    """A model at a provider."""

    use: str
    weight: int
    tier: int


class RouteShape(BaseModel):
    """What serves a name."""

    name: str
    strategy: str
    targets: list[RouteTargetShape]
    fallback: list[str]


class RoutesShape(BaseModel):
    """Routes by name, those with a star last."""

    routes: list[RouteShape]


class ModelsShape(BaseModel):
    """The names that the configuration has for models."""

    models: list[str]


def list_providers(desk: DeskOf, snapshot: SnapshotOf) -> ProvidersShape:
    """List the providers of the configuration."""
    kept = credentials.listed(desk)
    return ProvidersShape(
        providers=[
            _shape_provider(provider, snapshot, [each for each in kept if each.provider == name])
            for name, provider in sorted(snapshot.providers.items())
        ]
    )


def put_credential(
    desk: DeskOf, actor: ActorOf, name: _Name, body: SecretBody, project: _Project = ""
) -> StoredCredentialShape:
    """Give a provider a credential, for all projects or for one; it is bound to the provider's host."""
    return _shape_credential(credentials.put(desk, actor, name, body.secret, project))


def delete_credential(desk: DeskOf, actor: ActorOf, name: _Name, project: _Project = "") -> Response:
    """Take a stored credential away."""
    credentials.remove(desk, actor, name, project)
    return Response(status_code=204)


def list_models(snapshot: SnapshotOf) -> ModelsShape:
    """List the names that clients may ask for by themselves; provider/model works besides."""
    return ModelsShape(
        models=[*sorted(snapshot.models), *(f"{each.prefix}*{each.suffix}" for each in snapshot.wildcards)]
    )


def list_routes(snapshot: SnapshotOf) -> RoutesShape:
    """List what serves each name."""
    routes = [_shape_route(name, route) for name, route in sorted(snapshot.models.items())]
    routes += [_shape_route(f"{each.prefix}*{each.suffix}", each.route) for each in snapshot.wildcards]
    return RoutesShape(routes=routes)


def _shape_provider(provider: Provider, snapshot: Snapshot, kept: list[Credential]) -> ProviderShape:
    return ProviderShape(
        name=provider.name,
        type=provider.type,
        address=f"{provider.scheme}://{provider.host}:{provider.port}{provider.base_path}",
        speaks=list(provider.speaks),
        default=provider.name == snapshot.default_provider,
        configured_credentials=bool(provider.credential or provider.signing) + len(provider.more_credentials),
        stored_credentials=[_shape_credential(each) for each in kept],
    )


def _shape_credential(stored: Credential) -> StoredCredentialShape:
    return StoredCredentialShape(
        id=f"{stored.project}/{stored.provider}" if stored.project else stored.provider,
        provider=stored.provider,
        project_id=stored.project,
        created_at=as_time(stored.created_at),
        updated_at=as_time(stored.updated_at),
    )


def _shape_route(name: str, route: Route) -> RouteShape:
    return RouteShape(
        name=name,
        strategy=route.strategy,
        targets=[_shape_target(target) for target in route.targets],
        fallback=list(route.fallback),
    )


def _shape_target(target: Target) -> RouteTargetShape:
    return RouteTargetShape(use=f"{target.provider}/{target.model or '*'}", weight=target.weight, tier=target.tier)


ENDPOINTS = (
    Endpoint("GET", "/manage/providers", list_providers, READ),
    Endpoint("PUT", "/manage/providers/{name}/credential", put_credential, WRITE_CREDENTIALS),
    Endpoint("DELETE", "/manage/providers/{name}/credential", delete_credential, WRITE_CREDENTIALS, None, 204),
    Endpoint("GET", "/manage/models", list_models, READ),
    Endpoint("GET", "/manage/routes", list_routes, READ),
)
