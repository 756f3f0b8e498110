"""Projects: made, changed by who has seen their last version, closed; on either database."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flumegate.manage import audit, credentials, keys, projects
from flumegate.manage.keys import NewKey
from flumegate.manage.projects import NewProject, ProjectPatch
from flumegate.manage.seal import unseal_credential
from flumegate.manage.workers import RefusedError
from flumegate.records.access import Limits
from flumegate.store.credentials import find as find_credential
from rig.desk import Bench, actor

SECRET = "sk-canary-project-secret-4711"
OWNER = actor()


def make(desk: Bench, name: str = "team", **more: Any) -> projects.Shown:
    return projects.create(desk, OWNER, NewProject(name, **more))


def code_of(refused: pytest.ExceptionInfo[RefusedError]) -> str:
    return refused.value.code


def test_a_project_is_active_from_its_first_moment(desk: Bench) -> None:
    made = make(desk, models=("gpt-*",), limits=Limits(requests_per_minute=5), credentials={"openai": SECRET})
    found = projects.find(desk, made.project.id)
    assert found == made
    assert found.project.active
    assert found.project.version == 1
    assert [each.provider for each in found.credentials] == ["openai"]
    assert desk.pushed == 1


def test_a_name_belongs_to_one(desk: Bench) -> None:
    """Also when another one is renamed to it; nothing is stored of what is refused, credentials included."""
    make(desk)
    other = make(desk, "other")
    with pytest.raises(RefusedError) as refused:
        make(desk, credentials={"openai": SECRET})
    assert code_of(refused) == "name_taken"
    with pytest.raises(RefusedError) as refused:
        projects.patch(desk, OWNER, other.project.id, ProjectPatch(name="team"))
    assert code_of(refused) == "name_taken"
    assert len(projects.page(desk, limit=10)[0]) == 2
    assert credentials.listed(desk) == []


def test_a_change_names_the_version_that_it_has_seen(desk: Bench) -> None:
    """Who comes second is told which version there is now."""
    project = make(desk).project
    changed = projects.patch(desk, OWNER, project.id, ProjectPatch(name="new"), version=1)
    assert (changed.project.name, changed.project.version) == ("new", 2)
    with pytest.raises(RefusedError) as refused:
        projects.patch(desk, OWNER, project.id, ProjectPatch(name="newer"), version=1)
    assert code_of(refused) == "version_conflict"
    assert refused.value.facts == {"version": 2}
    assert projects.find(desk, project.id).project.name == "new"


def test_what_is_not_named_stays(desk: Bench) -> None:
    project = make(desk, models=("a",), limits=Limits(1, 2, 3, 4)).project
    changed = projects.patch(desk, OWNER, project.id, ProjectPatch(limits={"concurrency": 9})).project
    assert changed.limits == Limits(1, 2, 9, 4)
    assert changed.models == ("a",)


def test_keys_are_revoked_only_with_their_project(desk: Bench) -> None:
    """`revoke_tokens` without `active: false` would be a slip of the pen."""
    project = make(desk).project
    key = keys.create(desk, OWNER, NewKey(project.id)).key
    for patch in (ProjectPatch(revoke_tokens=True), ProjectPatch(revoke_tokens=True, active=True)):
        with pytest.raises(RefusedError) as refused:
            projects.patch(desk, OWNER, project.id, patch)
        assert code_of(refused) == "revoke_needs_inactive"
    closed = projects.patch(desk, OWNER, project.id, ProjectPatch(revoke_tokens=True, active=False)).project
    assert not closed.active
    assert closed.deactivated_at == desk.time.now
    assert keys.state_of(keys.find(desk, key.id), desk.time.now) == "revoked"
    opened = projects.patch(desk, OWNER, project.id, ProjectPatch(active=True)).project
    assert (opened.active, opened.deactivated_at) == (True, 0.0)
    assert keys.state_of(keys.find(desk, key.id), desk.time.now) == "revoked"


@pytest.mark.parametrize("masked", ["sk-a...4711", "****", "sk-****4711", "sk-a…11"])
def test_a_masked_secret_is_not_saved_over_the_real_one(desk: Bench, masked: str) -> None:
    project = make(desk, credentials={"openai": SECRET}).project
    with pytest.raises(RefusedError) as refused:
        projects.patch(desk, OWNER, project.id, ProjectPatch(credentials={"openai": masked}))
    assert code_of(refused) == "masked_credential"
    with desk.reading() as connection:
        kept = find_credential(connection, project.id, "openai")
    assert kept is not None
    with desk.database.transaction() as connection:
        opened = unseal_credential(desk.ring(connection), kept.sealed, "project_credentials", f"{project.id}/openai")
    assert (opened.secret, opened.host) == (SECRET, "api.openai.com")


@pytest.mark.parametrize(
    ("new", "code"),
    [
        ({"name": " "}, "invalid_value"),
        ({"name": "a\nb"}, "invalid_value"),
        ({"name": "a", "models": ("a b",)}, "invalid_value"),
        ({"name": "a", "models": ("m",) * 201}, "invalid_value"),
        ({"name": "a", "endpoints": ("nothing",)}, "invalid_value"),
        ({"name": "a", "limits": Limits(-1)}, "invalid_value"),
        ({"name": "a", "default_provider": "gone"}, "provider_not_found"),
        ({"name": "a", "credentials": {"gone": SECRET}}, "provider_not_found"),
        ({"name": "a", "credentials": {"openai": "two words"}}, "invalid_value"),
        ({"name": "a", "credentials": {"openai": ""}}, "invalid_value"),
    ],
)
def test_what_cannot_be_is_refused_and_audited(desk: Bench, new: dict[str, Any], code: str) -> None:
    with pytest.raises(RefusedError) as refused:
        projects.create(desk, OWNER, NewProject(**new))
    assert code_of(refused) == code
    assert projects.page(desk, limit=10) == ([], None)
    (entry,), _ = audit.search(desk, audit.Filters())
    assert (entry.entry.outcome, entry.entry.details["reason"]) == ("denied", code)
    assert SECRET not in repr(entry)
    assert desk.pushed == 0


def test_limits_that_cannot_be_held_are_refused(desk: Bench) -> None:
    """Several workers without a place to count in common would each let all of it pass."""
    desk.no_limits = "Set redis.url."
    make(desk)
    with pytest.raises(RefusedError, match="redis") as refused:
        make(desk, "b", limits=Limits(requests_per_minute=1))
    assert code_of(refused) == "limits_need_redis"


def test_every_project_stands_on_one_page(desk: Bench) -> None:
    """Newest first, whatever arrives meanwhile."""
    for number in range(7):
        desk.time.now += number % 2  # several of one moment
        make(desk, f"p{number}")
    seen: list[str] = []
    after = None
    while True:
        found, after = projects.page(desk, limit=3, after=after)
        seen += [each.project.name for each in found]
        make(desk, f"late {len(seen)}")
        if after is None:
            break
    assert sorted(name for name in seen if name.startswith("p")) == [f"p{number}" for number in range(7)]
    assert len(seen) == len(set(seen))


def test_a_patch_can_be_told_from_its_absence() -> None:
    """An empty list is a change, no list is none."""
    assert msgspec.structs.asdict(ProjectPatch(models=()))["models"] == ()
