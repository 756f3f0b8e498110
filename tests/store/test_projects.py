from __future__ import annotations

import pytest

from flumegate.records.access import Limits, Project
from flumegate.store import projects
from flumegate.store.database import Database
from flumegate.store.errors import ConflictError, DuplicateError, MissingError
from flumegate.store.projects import StoredProject

_BLUE = StoredProject(
    "b7c1",
    "blue",
    models=("gpt-*", "claude-*"),
    endpoints=("chat",),
    limits=Limits(1, 2, 3, 4),
    default_provider="openai",
    created_at=5.5,
    updated_at=5.5,
)


def test_a_project_comes_back_as_it_was_stored(database: Database) -> None:
    with database.transaction() as connection:
        projects.insert(connection, _BLUE)
    with database.reader() as connection:
        assert projects.find(connection, "b7c1") == projects.find_by_name(connection, "blue") == _BLUE
        assert projects.find(connection, "blue") is projects.find_by_name(connection, "b7c1") is None
        expected = Project("b7c1", "blue", True, ("gpt-*", "claude-*"), ("chat",), Limits(1, 2, 3, 4), (), "openai")
        assert list(projects.all_projects(connection)) == [expected]


def test_names_and_ids_are_given_once(database: Database) -> None:
    """The second is refused, and the transaction in which that happened is still good."""
    with database.transaction() as connection:
        projects.insert(connection, _BLUE)
        for other in (_BLUE._replace(id="other"), _BLUE._replace(name="other")):
            with pytest.raises(DuplicateError, match="already"):
                projects.insert(connection, other)
        projects.insert(connection, _BLUE._replace(id="r", name="red"))
        with pytest.raises(DuplicateError, match="named red"):
            projects.change(connection, "b7c1", 1, 6.0, {"name": "red"})
        projects.change(connection, "b7c1", 1, 6.0, {"name": "blue"})
    with database.reader() as connection:
        assert len(list(projects.all_projects(connection))) == 2


def test_only_who_saw_the_last_version_changes_it(database: Database) -> None:
    """What is not named stays as it is; the loser of two changes is told and changes nothing."""
    with database.transaction() as connection:
        projects.insert(connection, _BLUE)
        projects.change(connection, "b7c1", 1, 7.0, {"active": False, "deactivated_at": 7.0, "models": ()})
        with pytest.raises(ConflictError, match="at version 2, not 1"):
            projects.change(connection, "b7c1", 1, 8.0, {"active": True})
        with pytest.raises(MissingError):
            projects.change(connection, "none", 1, 8.0, {"active": True})
    with database.reader() as connection:
        changed = _BLUE._replace(active=False, deactivated_at=7.0, models=(), updated_at=7.0, version=2)
        assert projects.find(connection, "b7c1") == changed


def test_pages_run_newest_first(database: Database) -> None:
    """Each project once, whatever the size of a page; inactive ones only if they are asked for."""
    with database.transaction() as connection:
        for number in range(7):
            made = StoredProject(f"p{number}", f"n{number}", number != 3, created_at=float(number // 2))
            projects.insert(connection, made)
    for limit in (1, 2, 3, 7, 1000):
        seen: list[str] = []
        place = None
        with database.reader() as connection:
            while True:
                found, place = projects.page(connection, limit=limit, after=place)
                seen += [each.id for each in found]
                if place is None:
                    break
        assert seen == ["p6", "p5", "p4", "p3", "p2", "p1", "p0"]
    with database.reader() as connection:
        found, _ = projects.page(connection, limit=10, active=False)
        assert [each.id for each in found] == ["p3"]
