"""Projects as they are stored. Names are unique; nothing is deleted, a project is made inactive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypedDict

from sqlalchemy import Connection, Row, select

from flumegate.records.access import NO_LIMITS, Limits, Project
from flumegate.store.changes import note_change
from flumegate.store.errors import DuplicateError
from flumegate.store.rows import Place, add_rows, change_row, columns_of, page_of, read_limits, read_list
from flumegate.store.tables import projects


class StoredProject(NamedTuple):
    """One row."""

    id: str
    name: str
    active: bool = True
    deactivated_at: float = 0.0
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    default_provider: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0
    version: int = 1


class ProjectChanges(TypedDict, total=False):
    """What of a project can be changed."""

    name: str
    active: bool
    deactivated_at: float
    models: tuple[str, ...]
    endpoints: tuple[str, ...]
    limits: Limits
    default_provider: str


def insert(connection: Connection, project: StoredProject) -> None:
    """Store a new project.

    Raises:
        DuplicateError: there is one with that id or name.
    """
    if not add_rows(connection, projects, [columns_of(project._asdict())]):
        raise DuplicateError(f"there is a project named {project.name} already")
    note_change(connection)


def find(connection: Connection, project_id: str) -> StoredProject | None:
    """Return the project of that id."""
    row = connection.execute(select(projects).where(projects.c.id == project_id)).one_or_none()
    return _read(row) if row is not None else None


def find_by_name(connection: Connection, name: str) -> StoredProject | None:
    """Return the project of that name."""
    row = connection.execute(select(projects).where(projects.c.name == name)).one_or_none()
    return _read(row) if row is not None else None


def page(
    connection: Connection, *, limit: int, after: Place | None = None, active: bool | None = None
) -> tuple[list[StoredProject], Place | None]:
    """Return projects, newest first, and where the next page begins; None = this was the last.

    Raises:
        ValueError: the limit is not between 1 and 1000.
    """
    query = select(projects)
    if active is not None:
        query = query.where(projects.c.active == active)
    found = [_read(row) for row in connection.execute(page_of(query, projects, after, limit))]
    return found[:limit], Place(found[limit - 1].created_at, found[limit - 1].id) if len(found) > limit else None


def change(connection: Connection, project_id: str, version: int, now: float, changes: ProjectChanges) -> None:
    """Change a project whose version is the expected one, and raise it.

    Raises:
        MissingError: there is no such project.
        ConflictError: somebody else changed it first.
        DuplicateError: there is another one of the new name.
    """
    name = changes.get("name")
    if name is not None:
        other = find_by_name(connection, name)
        if other is not None and other.id != project_id:
            raise DuplicateError(f"there is a project named {name} already")
    values = {**columns_of(changes), "updated_at": now}
    change_row(connection, projects, projects.c.id == project_id, version, values)


def all_projects(connection: Connection) -> Iterator[Project]:
    """Yield all of them as the workers know them, inactive ones too, without budgets."""
    for row in connection.execute(select(projects).order_by(projects.c.id)):
        stored = _read(row)
        yield Project(
            id=stored.id,
            name=stored.name,
            active=stored.active,
            models=stored.models,
            endpoints=stored.endpoints,
            limits=stored.limits,
            default_provider=stored.default_provider,
        )


def _read(row: Row[tuple[object, ...]]) -> StoredProject:
    return StoredProject(
        id=row.id,
        name=row.name,
        active=row.active,
        deactivated_at=row.deactivated_at,
        models=read_list(row.models),
        endpoints=read_list(row.endpoints),
        limits=read_limits(row),
        default_provider=row.default_provider,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )
