"""Providers' credentials: sealed with their host, never told; on either database."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from flumegate.manage import credentials, projects
from flumegate.manage.projects import NewProject
from flumegate.manage.seal import UnsealError, unseal_credential
from flumegate.manage.workers import RefusedError
from rig.desk import Bench, actor

SECRET = "sk-canary-credential-0815"
OWNER = actor()


def test_a_credential_is_sealed_with_the_host_that_it_is_for(desk: Bench) -> None:
    """A copy in another row opens nothing."""
    project = projects.create(desk, OWNER, NewProject("team")).project.id
    own = credentials.put(desk, OWNER, "openai", SECRET, project)
    every = credentials.put(desk, OWNER, "openai", SECRET)
    assert SECRET not in repr((own, every))
    with desk.database.transaction() as connection:
        ring = desk.ring(connection)
        opened = unseal_credential(ring, own.sealed, "project_credentials", f"{project}/openai")
        assert (opened.host, opened.secret) == ("api.openai.com", SECRET)
        with pytest.raises(UnsealError):
            unseal_credential(ring, own.sealed, "provider_credentials", "openai")
        tables = ("project_credentials", "provider_credentials", "audit", "projects")
        dump = repr([connection.execute(text(f"SELECT * FROM {name}")).all() for name in tables])  # noqa: S608 - our names
    assert SECRET not in dump
    assert [(each.project, each.provider) for each in credentials.listed(desk)] == [("", "openai"), (project, "openai")]


def test_what_is_taken_away_is_gone(desk: Bench) -> None:
    credentials.put(desk, OWNER, "openai", SECRET)
    credentials.remove(desk, OWNER, "openai")
    assert credentials.listed(desk) == []
    with pytest.raises(RefusedError) as refused:
        credentials.remove(desk, OWNER, "openai")
    assert refused.value.code == "credential_not_found"


@pytest.mark.parametrize(
    ("provider", "secret", "project", "code"),
    [
        ("gone", SECRET, "", "provider_not_found"),
        ("openai", "sk-...1", "", "masked_credential"),
        ("openai", "a b", "", "invalid_value"),
        ("openai", SECRET, "gone", "project_not_found"),
    ],
)
def test_what_cannot_be_is_refused(desk: Bench, provider: str, secret: str, project: str, code: str) -> None:
    with pytest.raises(RefusedError) as refused:
        credentials.put(desk, OWNER, provider, secret, project)
    assert refused.value.code == code
    assert SECRET not in str(refused.value)
