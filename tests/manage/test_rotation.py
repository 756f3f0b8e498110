from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, update

from flumegate.manage.audit import key_of
from flumegate.manage.rotation import (
    CANARY,
    RotationError,
    WrongMasterKeyError,
    claim,
    installation_of,
    rotate,
    share_pepper,
    unreadable,
)
from flumegate.manage.seal import Credential, Ring, read_master_key, seal_credential, unseal_credential
from flumegate.store.database import Database
from flumegate.store.tables import meta, project_credentials, projects, provider_credentials
from rig.postgres import Postgres

OLD = read_master_key("an-old-master-key-for-tests-0123456789")
NEW = read_master_key("the-new-master-key-for-tests-9876543210")
STRANGE = read_master_key("some-other-master-key-for-tests-55555")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'flumegate.db'}"
    else:
        cluster: Postgres = request.getfixturevalue("postgres")
        url = cluster.create_database()
    made = Database(url)
    yield made
    made.close()


def store(connection: Connection, ring: Ring, provider: str, secret: str, project: str = "") -> None:
    """Store a credential of a provider, or of a project with a provider."""
    credential = Credential("api.example.com", secret)
    times = {"created_at": 0.0, "updated_at": 0.0}
    if not project:
        sealed = seal_credential(ring, credential, "provider_credentials", provider)
        connection.execute(insert(provider_credentials).values(provider=provider, sealed=sealed, **times))
        return
    if connection.execute(select(projects.c.id).where(projects.c.id == project)).scalar() is None:
        texts = {"models": "[]", "endpoints": "[]", "default_provider": ""}
        numbers = dict.fromkeys(("requests_per_minute", "tokens_per_minute", "concurrency", "max_requests"), 0)
        connection.execute(
            insert(projects).values(
                id=project, name=project, active=True, deactivated_at=0.0, version=1, **texts, **numbers, **times
            )
        )
    sealed = seal_credential(ring, credential, "project_credentials", f"{project}/{provider}")
    connection.execute(insert(project_credentials).values(project=project, provider=provider, sealed=sealed, **times))


def opened(connection: Connection, ring: Ring) -> list[str]:
    """Return all credentials, opened."""
    found = [
        unseal_credential(ring, row.sealed, "provider_credentials", row.provider).secret
        for row in connection.execute(select(provider_credentials))
    ]
    found += [
        unseal_credential(ring, row.sealed, "project_credentials", f"{row.project}/{row.provider}").secret
        for row in connection.execute(select(project_credentials))
    ]
    return sorted(found)


def test_a_database_becomes_one_installation_and_stays_it(database: Database) -> None:
    """Whoever opens it later, with the same key, finds the same installation; values of another do not open here."""
    with database.transaction() as connection:
        assert installation_of(connection) == ""
        ring = claim(connection, Ring([OLD]))
        assert ring.installation == installation_of(connection) != ""
    with database.transaction() as connection:
        assert claim(connection, Ring([OLD])).installation == ring.installation


def test_a_wrong_master_key_is_told_from_the_right_one(database: Database) -> None:
    """By the canary, before anything is sealed under it; the message names what is missing."""
    with database.transaction() as connection:
        claim(connection, Ring([OLD]))
    with database.transaction() as connection, pytest.raises(WrongMasterKeyError, match=OLD.id.hex()):
        claim(connection, Ring([STRANGE]))
    with database.transaction() as connection:
        claim(connection, Ring([STRANGE, OLD]))


def test_a_damaged_canary_is_no_right_key(database: Database) -> None:
    with database.transaction() as connection:
        claim(connection, Ring([OLD]))
        connection.execute(update(meta).where(meta.c.name == CANARY).values(value="no hexadecimal"))
        with pytest.raises(WrongMasterKeyError):
            claim(connection, Ring([OLD]))


def test_rotation_seals_everything_anew(database: Database) -> None:
    """Afterwards the old key may go; what was sealed under the new one already is left alone."""
    with database.transaction() as connection:
        ring = claim(connection, Ring([OLD]))
        store(connection, ring, "openai", "one")
        store(connection, ring, "groq/eu", "two", "p1")
        store(connection, ring.of(ring.installation), "groq", "three", "p1")
        trail = key_of(connection, ring)
        assert share_pepper(connection, ring, b"the first") == b"the first"
    both = Ring([NEW, OLD])
    with database.transaction() as connection:
        planned = rotate(connection, both, dry_run=True)
        assert (planned.resealed, planned.kept, planned.key) == (5, 0, NEW.id.hex())
        assert opened(connection, ring) == ["one", "three", "two"]
        assert rotate(connection, both) == planned
        assert rotate(connection, both)._replace(resealed=5, kept=0) == planned
    with database.transaction() as connection:
        alone = claim(connection, Ring([NEW]))
        assert key_of(connection, alone) == trail
        assert share_pepper(connection, alone, b"another machine's") == b"the first"
        assert opened(connection, alone) == ["one", "three", "two"]
        with pytest.raises(WrongMasterKeyError):
            claim(connection, Ring([OLD]))


@pytest.mark.parametrize("dry_run", [True, False])
def test_one_row_that_does_not_open_stops_a_rotation(database: Database, dry_run: bool) -> None:
    """It is named, and nothing at all is changed."""
    with database.transaction() as connection:
        ring = claim(connection, Ring([OLD]))
        store(connection, ring, "openai", "one")
        store(connection, Ring([STRANGE], ring.installation), "groq", "two", "p1")
    with pytest.raises(RotationError, match="p1/groq") as caught, database.transaction() as connection:
        rotate(connection, Ring([NEW, OLD]), dry_run=dry_run)
    (broken,) = caught.value.broken
    assert (broken.table, broken.row) == ("project_credentials", "p1/groq")
    with database.transaction() as connection:
        assert [each.row for each in unreadable(connection, ring)] == ["p1/groq"]
        row = connection.execute(select(provider_credentials)).one()
        assert ring.seals_with(row.sealed)


def test_credentials_that_were_swapped_are_unreadable(database: Database) -> None:
    """A row's seal does not open in another row."""
    with database.transaction() as connection:
        ring = claim(connection, Ring([OLD]))
        store(connection, ring, "openai", "one")
        store(connection, ring, "groq", "two")
        seals = {row.provider: row.sealed for row in connection.execute(select(provider_credentials))}
        for provider, other in (("openai", "groq"), ("groq", "openai")):
            connection.execute(
                update(provider_credentials)
                .where(provider_credentials.c.provider == provider)
                .values(sealed=seals[other])
            )
        assert sorted(each.row for each in unreadable(connection, ring)) == ["groq", "openai"]
