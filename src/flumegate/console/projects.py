"""`/manage/projects`: projects, the credentials that their requests carry, and all of their keys at once."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import Query, Response
from pydantic import BaseModel, Field, model_validator

from flumegate.console.endpoint import Endpoint
from flumegate.console.fields import (
    Body,
    BudgetBodies,
    Entries,
    Id,
    LimitsBody,
    LimitsShape,
    Name,
    SecretText,
    Text,
    as_time,
    check_active,
    shape_limits,
)
from flumegate.console.keys import RevokedShape, shape_revoked
from flumegate.console.permission import READ, WRITE, WRITE_CREDENTIALS, Permission
from flumegate.console.problems import ConsoleError
from flumegate.console.request import ActorOf, AskedOf, DeskOf, PositionOf, RightsOf, VersionOf, versioned, write_cursor
from flumegate.manage import keys, projects
from flumegate.manage.projects import NewProject, ProjectPatch, Shown

Credentials = Annotated[dict[Annotated[Text, Field(max_length=64)], SecretText], Field(max_length=50)]


class ProjectBody(Body):
    """A new project."""

    name: Name
    models: Entries = Field(default_factory=list, description="Names that it may ask for, with *; empty = all.")
    endpoints: Entries = Field(default_factory=list, description="Endpoints that it may use; empty = all.")
    limits: LimitsBody = Field(default_factory=LimitsBody)
    default_provider: Annotated[Text, Field(max_length=64)] = ""
    credentials: Credentials = Field(
        default_factory=dict, description="Provider → the secret that this project's requests carry. Never shown again."
    )
    budgets: BudgetBodies = Field(default_factory=list)


class ProjectPatchBody(Body):
    """What changes; left out or null = stays."""

    name: Name | None = None
    active: bool | None = None
    is_active: bool | None = Field(default=None, description="The same as active.")
    revoke_tokens: bool = Field(default=False, description="Revoke all its keys; together with active: false only.")
    models: Entries | None = None
    endpoints: Entries | None = None
    limits: LimitsBody | None = None
    default_provider: Annotated[Text, Field(max_length=64)] | None = None
    credentials: dict[Annotated[Text, Field(max_length=64)], SecretText | None] | None = Field(
        default=None, description="Provider → a new secret, or null to take it away."
    )

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        check_active(self.active, self.is_active)
        return self


class CredentialShape(BaseModel):
    """That there is a credential; never what it is."""

    id: str = Field(description="`project/provider`, or `provider` alone.")
    provider: str
    created_at: datetime | None
    updated_at: datetime | None


class ProjectShape(BaseModel):
    """A project."""

    id: str
    name: str
    active: bool
    deactivated_at: datetime | None
    models: list[str]
    endpoints: list[str]
    limits: LimitsShape
    default_provider: str
    credentials: list[CredentialShape]
    created_at: datetime | None
    updated_at: datetime | None
    version: int = Field(description="For If-Match.")


class ProjectsShape(BaseModel):
    """A page of projects, newest first."""

    projects: list[ProjectShape]
    next: str | None = Field(description="Send it as cursor for the next page; null = that was all.")


def shape_project(shown: Shown) -> ProjectShape:
    """Return a project as it is told."""
    project = shown.project
    return ProjectShape(
        id=project.id,
        name=project.name,
        active=project.active,
        deactivated_at=as_time(project.deactivated_at),
        models=list(project.models),
        endpoints=list(project.endpoints),
        limits=shape_limits(project.limits),
        default_provider=project.default_provider,
        credentials=[
            CredentialShape(
                id=f"{each.project}/{each.provider}",
                provider=each.provider,
                created_at=as_time(each.created_at),
                updated_at=as_time(each.updated_at),
            )
            for each in shown.credentials
        ],
        created_at=as_time(project.created_at),
        updated_at=as_time(project.updated_at),
        version=project.version,
    )


def list_projects(
    desk: DeskOf, position: PositionOf, active: Annotated[bool | None, Query(description="Only such.")] = None
) -> ProjectsShape:
    """List projects, newest first."""
    found, following = projects.page(desk, limit=position.limit, after=position.after, active=active)
    return ProjectsShape(projects=[shape_project(each) for each in found], next=write_cursor(following))


def create_project(desk: DeskOf, asked: AskedOf, rights: RightsOf, body: ProjectBody) -> Response:
    """Make a project, active at once."""
    _check_right(rights, given=bool(body.credentials))
    new = NewProject(
        name=body.name,
        models=tuple(body.models),
        endpoints=tuple(body.endpoints),
        limits=body.limits.limits(),
        default_provider=body.default_provider,
        credentials=body.credentials,
        budgets=tuple(each.budget() for each in body.budgets),
    )
    return asked.answer(lambda actor: projects.create(desk, actor, new), shape_project, 201)


def get_project(desk: DeskOf, response: Response, project_id: Id) -> ProjectShape:
    """Show a project."""
    found = projects.find(desk, project_id)
    versioned(response, found.project.version)
    return shape_project(found)


def patch_project(
    desk: DeskOf, actor: ActorOf, rights: RightsOf, response: Response, version: VersionOf, project_id: Id,
    body: ProjectPatchBody,
) -> ProjectShape:  # fmt: skip
    """Change a project; with active: false it is closed, and with revoke_tokens its keys are revoked as well."""
    _check_right(rights, given=body.credentials is not None)
    patch = ProjectPatch(
        name=body.name,
        active=body.is_active if body.active is None else body.active,
        revoke_tokens=body.revoke_tokens,
        models=None if body.models is None else tuple(body.models),
        endpoints=None if body.endpoints is None else tuple(body.endpoints),
        limits=None if body.limits is None else body.limits.given(),
        default_provider=body.default_provider,
        credentials=body.credentials,
    )
    changed = projects.patch(desk, actor, project_id, patch, version)
    versioned(response, changed.project.version)
    return shape_project(changed)


def revoke_project_keys(desk: DeskOf, asked: AskedOf, project_id: Id) -> Response:
    """Revoke all keys of a project."""
    return asked.answer(lambda actor: keys.revoke_project(desk, actor, project_id), shape_revoked)


def _check_right(rights: frozenset[Permission], *, given: bool) -> None:
    if given and WRITE_CREDENTIALS not in rights:
        raise ConsoleError(
            403, "permission_denied", f"This token does not have the permission {WRITE_CREDENTIALS.name}."
        )


ENDPOINTS = (
    Endpoint("GET", "/manage/projects", list_projects, READ),
    Endpoint("POST", "/manage/projects", create_project, WRITE, ProjectShape, 201),
    Endpoint("GET", "/manage/projects/{project_id}", get_project, READ, versioned=True),
    Endpoint("PATCH", "/manage/projects/{project_id}", patch_project, WRITE, versioned=True),
    Endpoint("POST", "/manage/projects/{project_id}/tokens/revoke", revoke_project_keys, WRITE, RevokedShape),
    Endpoint("POST", "/manage/projects/{project_id}/keys/revoke", revoke_project_keys, WRITE, RevokedShape),
)
