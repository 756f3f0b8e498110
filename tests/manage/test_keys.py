"""Client keys: shown once, kept as digests, never more than their project allows; on either database."""

from __future__ import annotations

from typing import Any

import pytest

from flumegate.gates.digest import digest
from flumegate.manage import audit, budgets, keys, projects
from flumegate.manage.budgets import NewBudget
from flumegate.manage.keys import KeyPatch, NewKey
from flumegate.manage.projects import NewProject, ProjectPatch
from flumegate.manage.workers import RefusedError
from flumegate.records.access import Limits
from flumegate.store.keys import all_known
from rig.desk import PEPPER, Bench, actor

OWNER = actor()


def project_of(desk: Bench, name: str = "team", **more: Any) -> str:
    return projects.create(desk, OWNER, NewProject(name, **more)).project.id


def active_ids(desk: Bench) -> set[str]:
    """Return whom the workers will let in."""
    with desk.reading() as connection:
        known = [key for _, key in all_known(connection, desk.time.now) if key.state == "active"]
    return {key.id for key in known if not 0 < key.expires_at <= desk.time.now}


def refusal(desk: Bench, new: NewKey) -> str:
    with pytest.raises(RefusedError) as refused:
        keys.create(desk, OWNER, new)
    return refused.value.code


def test_a_key_is_found_by_what_the_data_plane_computes(desk: Bench) -> None:
    """And by nothing that is stored: the text stands in no row."""
    issued = keys.create(desk, OWNER, NewKey(name="ci", tags=("a",), limits=Limits(max_requests=3)))
    with desk.reading() as connection:
        rows = dict(all_known(connection, desk.time.now))
    assert rows[digest(PEPPER, issued.text.encode())].id == issued.key.id
    assert issued.text.startswith(f"sk-fg-{issued.key.id}-")
    assert issued.text not in repr(issued)
    assert keys.find(desk, issued.key.id) == issued.key
    assert issued.text not in repr(audit.search(desk, audit.Filters()))


def test_a_key_has_no_more_than_its_project(desk: Bench) -> None:
    project = project_of(desk, models=("gpt-*", "own"), endpoints=("chat",))
    keys.create(desk, OWNER, NewKey(project, models=("gpt-4o", "gpt-4*", "own"), endpoints=("chat",)))
    for models in (("claude",), ("*",), ("gp*",), ("gpt-4o", "own*")):
        assert refusal(desk, NewKey(project, models=models)) == "beyond_project"
    assert refusal(desk, NewKey(project, endpoints=("messages",))) == "beyond_project"
    issued = keys.create(desk, OWNER, NewKey(project))
    with pytest.raises(RefusedError) as refused:
        keys.patch(desk, OWNER, issued.key.id, KeyPatch(models=("claude",)))
    assert refused.value.code == "beyond_project"


def test_a_closed_project_gets_no_keys(desk: Bench) -> None:
    project = project_of(desk)
    key = keys.create(desk, OWNER, NewKey(project)).key
    projects.patch(desk, OWNER, project, ProjectPatch(active=False))
    assert refusal(desk, NewKey(project)) == "project_inactive"
    assert refusal(desk, NewKey("nobody")) == "project_not_found"
    with pytest.raises(RefusedError) as refused:
        keys.rotate(desk, OWNER, key.id, 3600)
    assert refused.value.code == "project_inactive"
    assert active_ids(desk) == {key.id}


@pytest.mark.parametrize(
    "new",
    [
        NewKey(expires_at=1.0),
        NewKey(networks=("10.0.0.0/33",)),
        NewKey(tags=("a b",)),
        NewKey(name="\0"),
        NewKey(limits=Limits(concurrency=-1)),
        NewKey(budgets=(NewBudget("day", -1),)),
    ],
)
def test_what_cannot_be_is_refused(desk: Bench, new: NewKey) -> None:
    assert refusal(desk, new) == "invalid_value"
    assert active_ids(desk) == set()


def test_a_rotated_key_works_for_its_overlap(desk: Bench) -> None:
    """The new one has its rights; the old one ends by itself, and is not rotated twice."""
    new = NewKey(project_of(desk), models=("m",), networks=("10.0.0.0/8",), budgets=(NewBudget("day", 100),))
    old = keys.create(desk, OWNER, new).key
    issued = keys.rotate(desk, OWNER, old.id, 3600)
    assert (issued.key.models, issued.key.networks, issued.key.project) == (old.models, old.networks, old.project)
    assert active_ids(desk) == {old.id, issued.key.id}
    kept = keys.find(desk, old.id)
    assert (kept.replaced_by, keys.state_of(kept, desk.time.now)) == (issued.key.id, "replaced")
    with pytest.raises(RefusedError) as refused:
        keys.rotate(desk, OWNER, old.id, 3600)
    assert refused.value.code == "key_not_active"
    desk.time.now += 3600
    assert active_ids(desk) == {issued.key.id}
    assert keys.state_of(keys.find(desk, old.id), desk.time.now) == "expired"


def test_a_line_of_keys_has_one_account(desk: Bench) -> None:
    """Its budgets are found, changed, raised and removed by the id of any of them, and stand there once."""
    first = keys.create(desk, OWNER, NewKey(budgets=(NewBudget("day", 100),))).key
    second = keys.rotate(desk, OWNER, first.id, 3600).key
    third = keys.rotate(desk, OWNER, second.id, 0).key
    scopes = [f"key:{key.id}" for key in (first, second, third)]
    assert {budgets.listed(desk, scope)[0].stored.budget.scope for scope in scopes} == {scopes[0]}
    budgets.put(desk, OWNER, scopes[2], NewBudget("day", 300))
    budgets.put(desk, OWNER, scopes[1], NewBudget("month", 900))
    budgets.lift(desk, OWNER, scopes[1], "day", micros=50, until=desk.time.now + 60)
    found = [(each.stored.budget.limit_micros, each.stored.budget.raised_micros) for each in budgets.listed(desk)]
    assert found == [(300, 50), (900, 0)]
    budgets.remove(desk, OWNER, scopes[2], "day")
    budgets.remove(desk, OWNER, scopes[2], "month")
    assert budgets.listed(desk) == []


@pytest.mark.parametrize("overlap", [-1.0, 7 * 86_400.0 + 1])
def test_an_overlap_is_a_week_at_most(desk: Bench, overlap: float) -> None:
    key = keys.create(desk, OWNER, NewKey()).key
    with pytest.raises(RefusedError) as refused:
        keys.rotate(desk, OWNER, key.id, overlap)
    assert refused.value.code == "invalid_value"
    assert active_ids(desk) == {key.id}


def test_without_an_overlap_the_old_key_ends_at_once(desk: Bench) -> None:
    key = keys.create(desk, OWNER, NewKey()).key
    assert active_ids(desk) == {key.id}
    issued = keys.rotate(desk, OWNER, key.id, 0)
    assert active_ids(desk) == {issued.key.id}


def test_a_key_that_was_replaced_works_no_longer_than_its_overlap(desk: Bench) -> None:
    """Revoked meanwhile, it may come back until then; without an overlap never."""
    ended = keys.create(desk, OWNER, NewKey()).key
    successor = keys.rotate(desk, OWNER, ended.id, 0).key
    with pytest.raises(RefusedError) as refused:
        keys.patch(desk, OWNER, ended.id, KeyPatch(active=True))
    assert refused.value.code == "key_not_active"
    assert active_ids(desk) == {successor.id}
    last = keys.rotate(desk, OWNER, successor.id, 3600).key
    keys.revoke(desk, OWNER, successor.id)
    keys.patch(desk, OWNER, successor.id, KeyPatch(active=True))
    assert active_ids(desk) == {successor.id, last.id}
    desk.time.now += 3600
    keys.patch(desk, OWNER, successor.id, KeyPatch(active=True))
    assert active_ids(desk) == {last.id}


def test_keys_are_revoked_by_one_by_many_and_by_project(desk: Bench) -> None:
    """Each again is no error, and counts what it did."""
    project = project_of(desk)
    made = [keys.create(desk, OWNER, NewKey(project if number < 3 else "")).key.id for number in range(5)]
    keys.revoke(desk, OWNER, made[0])
    keys.revoke(desk, OWNER, made[0])
    assert keys.revoke_batch(desk, OWNER, [made[0], made[4], made[4], "nobody00"]) == keys.Revoked(1, 1, 2)
    assert keys.revoke_project(desk, OWNER, project) == keys.Revoked(2, 1, 3)
    assert active_ids(desk) == {made[3]}
    keys.patch(desk, OWNER, made[0], KeyPatch(active=True))
    assert active_ids(desk) == {made[0], made[3]}
    for key_id in ("nobody00",):
        with pytest.raises(RefusedError) as refused:
            keys.revoke(desk, OWNER, key_id)
        assert refused.value.code == "key_not_found"


def test_what_has_expired_is_marked(desk: Bench) -> None:
    key = keys.create(desk, OWNER, NewKey(expires_at=desk.time.now + 60)).key
    assert keys.revoke_expired(desk, OWNER).revoked == 0
    desk.time.now += 60
    assert keys.state_of(keys.find(desk, key.id), desk.time.now) == "expired"
    assert keys.revoke_expired(desk, OWNER).revoked == 1
    assert keys.state_of(keys.find(desk, key.id), desk.time.now) == "revoked"


def test_a_change_names_the_version_that_it_has_seen(desk: Bench) -> None:
    key = keys.create(desk, OWNER, NewKey()).key
    keys.patch(desk, OWNER, key.id, KeyPatch(name="a", limits={"concurrency": 2}), version=1)
    with pytest.raises(RefusedError) as refused:
        keys.patch(desk, OWNER, key.id, KeyPatch(name="b"), version=1)
    assert refused.value.facts == {"version": 2}
    assert keys.find(desk, key.id).limits == Limits(concurrency=2)
