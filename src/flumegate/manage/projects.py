"""Projects: what keys belong to, with the credentials that their requests carry.

Nothing is deleted: a project is made inactive, and its keys may be revoked with it. Names are unique.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from flumegate.manage import budgets as budget_rules
from flumegate.manage import credentials
from flumegate.manage.actor import Actor
from flumegate.manage.desk import Desk, Entry, expect, refuse
from flumegate.manage.grants import check_endpoints, check_limits, check_models, check_name, need_project
from flumegate.records.access import NO_LIMITS, Limits
from flumegate.store import keys as key_rows
from flumegate.store import projects as rows
from flumegate.store.credentials import Credential, all_credentials
from flumegate.store.projects import ProjectChanges, StoredProject
from flumegate.store.rows import Place


class NewProject(NamedTuple):
    """What a project is made of."""

    name: str
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    default_provider: str = ""
    credentials: Mapping[str, str] = {}
    """Provider → the secret that this project's requests carry there."""
    budgets: tuple[budget_rules.NewBudget, ...] = ()


class ProjectPatch(msgspec.Struct, kw_only=True):
    """What is to change; None = stays as it is."""

    name: str | None = None
    active: bool | None = None
    revoke_tokens: bool = False
    """Revoke all its keys; only while it becomes inactive."""
    models: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None
    limits: Mapping[str, int] | None = None
    """Those of Limits that change, by name."""
    default_provider: str | None = None
    credentials: Mapping[str, str | None] | None = None
    """Provider → a new secret, or None to take it away."""


class Shown(NamedTuple):
    """A project, and for which providers it has credentials of its own."""

    project: StoredProject
    credentials: tuple[Credential, ...]


def create(desk: Desk, actor: Actor, new: NewProject) -> Shown:
    """Store a new project, active at once.

    Raises:
        RefusedError: something in it cannot be, or the name is taken.
    """
    entry = Entry("project.create", details={"name": new.name[:100], "credentials": sorted(new.credentials)})

    def perform(connection: Connection) -> Shown:
        now = desk.clock()
        project = StoredProject(
            id=str(uuid.uuid4()),
            name=check_name(new.name),
            models=check_models(new.models),
            endpoints=check_endpoints(new.endpoints),
            limits=check_limits(desk.may_limit, new.limits),
            default_provider=_check_provider(desk, new.default_provider),
            created_at=now,
            updated_at=now,
        )
        entry.target = entry.project = project.id
        rows.insert(connection, project)
        for provider, secret in new.credentials.items():
            credentials.put_in(desk, connection, project.id, provider, secret)
        for budget in new.budgets:
            budget_rules.put_in(desk, connection, f"project:{project.id}", budget)
        return _shown(connection, project.id)

    return desk.change(actor, entry, perform)


def find(desk: Desk, project_id: str) -> Shown:
    """Return a project.

    Raises:
        RefusedError: there is none.
    """
    with desk.reading() as connection:
        return _shown(connection, project_id)


def page(
    desk: Desk, *, limit: int, after: Place | None = None, active: bool | None = None
) -> tuple[list[Shown], Place | None]:
    """Return projects, newest first, and where the next page begins."""
    with desk.reading() as connection:
        found, following = rows.page(connection, limit=limit, after=after, active=active)
        kept = all_credentials(connection)
    return [Shown(project, tuple(each for each in kept if each.project == project.id)) for project in found], following


def patch(desk: Desk, actor: Actor, project_id: str, asked: ProjectPatch, version: int | None = None) -> Shown:
    """Change a project that is still at the version that the caller has seen.

    Raises:
        RefusedError: there is none, it was changed meanwhile, or something cannot be.
    """
    named = {name: value for name, value in msgspec.structs.asdict(asked).items() if value is not None}
    fields = sorted(name for name, value in named.items() if value is not False or name == "active")
    entry = Entry("project.update", project_id, project_id, {"fields": fields})

    def perform(connection: Connection) -> Shown:
        project = need_project(connection, project_id)
        expect(project.version, version)
        if asked.revoke_tokens and asked.active is not False:
            raise refuse("revoke_needs_inactive", "revoke_tokens goes together with active: false only.")
        changes = _changes(desk, project, asked)
        entry.details["was"] = {
            name: getattr(project, name) for name in ("name", "active", "default_provider") if name in changes
        }
        rows.change(connection, project_id, project.version, desk.clock(), changes)
        for provider, secret in (asked.credentials or {}).items():
            if secret is None:
                credentials.remove_in(connection, project_id, provider)
            else:
                credentials.put_in(desk, connection, project_id, provider, secret)
        if asked.revoke_tokens:
            entry.details["revoked"] = key_rows.revoke_project(connection, project_id, desk.clock())
        return _shown(connection, project_id)

    return desk.change(actor, entry, perform)


def _changes(desk: Desk, project: StoredProject, asked: ProjectPatch) -> ProjectChanges:
    changes: ProjectChanges = {}
    if asked.name is not None:
        changes["name"] = check_name(asked.name)
    if asked.active is not None and asked.active != project.active:
        changes["active"] = asked.active
        changes["deactivated_at"] = 0.0 if asked.active else desk.clock()
    if asked.models is not None:
        changes["models"] = check_models(asked.models)
    if asked.endpoints is not None:
        changes["endpoints"] = check_endpoints(asked.endpoints)
    if asked.limits is not None:
        changes["limits"] = check_limits(desk.may_limit, msgspec.structs.replace(project.limits, **asked.limits))
    if asked.default_provider is not None:
        changes["default_provider"] = _check_provider(desk, asked.default_provider)
    return changes


def _check_provider(desk: Desk, name: str) -> str:
    if name and name not in desk.hosts():
        raise refuse("provider_not_found", f"There is no provider {name!r} in the configuration.")
    return name


def _shown(connection: Connection, project_id: str) -> Shown:
    project = need_project(connection, project_id)
    return Shown(project, tuple(each for each in all_credentials(connection) if each.project == project_id))
