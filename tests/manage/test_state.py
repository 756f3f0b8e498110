from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from flumegate.manage.rotation import claim
from flumegate.manage.seal import Credential, Ring, UnsealError, read_master_key, seal_credential
from flumegate.manage.state import (
    CURRENT,
    KEPT,
    STALE,
    DatabaseState,
    astray,
    load_state,
    overlay,
    seal_state,
    unseal_state,
)
from flumegate.records.access import Budget, Key, Limits, Project
from flumegate.snapshot import Provider, Snapshot
from flumegate.store import credentials, keys
from flumegate.store.accounts import share
from flumegate.store.database import Database
from flumegate.store.keys import StoredKey
from rig.databases import ENGINES, add_budget, add_key, add_project, digest_of, opened, revoke_key, url_of

PEPPER = b"p" * 32
RING = Ring([read_master_key("a-master-key-for-tests-0123456789-abcdef")])
STRANGE = Ring([read_master_key("another-master-key-for-tests-987654321")])
ONE = Project("one", "first", models=("gpt-*",), limits=Limits(requests_per_minute=5))
SET = 1_000
"""When budgets are set here, in milliseconds."""


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with opened(url_of(request.param, request, tmp_path)) as database:
        yield database


def load(database: Database) -> DatabaseState:
    with database.transaction() as connection:
        ring = claim(connection, RING)
    with database.reader() as connection:
        return load_state(connection, ring, 7.0)


def put(database: Database, project: str, provider: str, credential: Credential, ring: Ring = RING) -> None:
    table, row = ("project_credentials", f"{project}/{provider}") if project else ("provider_credentials", provider)
    with database.transaction() as connection:
        bound = ring.of(claim(connection, RING).installation)
        credentials.put(connection, project, provider, seal_credential(bound, credential, table, row), 1.0)


def provider(name: str, host: str, **fields: object) -> Provider:
    made = Provider(name, "openai_compatible", "https", host, 443, "/v1", ("openai",))
    return msgspec.structs.replace(made, **fields)


def test_an_empty_database_adds_nothing(database: Database) -> None:
    """And a Snapshot of the configuration stays what it is."""
    state = load(database)
    assert (state.changes, state.as_of, state.keys, state.limited, state.metered) == (0, 7.0, [], "", [])
    plain = Snapshot(3, {"up": provider("up", "api.example.com")})
    assert overlay(plain, state, CURRENT) == plain
    assert overlay(plain, None, STALE) == msgspec.structs.replace(plain, keys_are=STALE)


def test_everything_that_workers_need_is_read(database: Database) -> None:
    """Keys by digest and with their budgets, projects with theirs, budgets of models apart."""
    add_project(database, ONE)
    add_project(database, Project("two", "second", active=False))
    add_key(database, PEPPER, "sk-one", "k1", project="one", limits=Limits(max_requests=9))
    add_key(database, PEPPER, "sk-two", "k2")
    add_key(database, PEPPER, "sk-gone", "k3")
    revoke_key(database, "k3")
    of_key, of_project = Budget("key:k2", "day", 100, since=SET), Budget("project:one", "month", 200, since=SET)
    of_model, of_both = (
        Budget("model:gpt-4o", "total", 300, since=SET),
        Budget("project:one/model:gpt-4o", "day", 400, since=SET),
    )
    for budget in (of_key, of_project, of_model, of_both):
        add_budget(database, budget)
    state = load(database)
    assert dict(state.keys) == {
        digest_of(PEPPER, "sk-one"): Key("k1", "one", limits=Limits(max_requests=9)),
        digest_of(PEPPER, "sk-two"): Key("k2", budgets=(of_key,)),
        digest_of(PEPPER, "sk-gone"): Key("k3", state="revoked"),
    }
    assert state.key_count == 2
    assert state.projects == {
        "one": msgspec.structs.replace(ONE, budgets=(of_project,)),
        "two": Project("two", "second", active=False),
    }
    assert state.model_budgets == {"model:gpt-4o": (of_model,), "project:one/model:gpt-4o": (of_both,)}
    assert state.metered == ["key:k1", "key:k2", "model:gpt-4o", "project:one", "project:one/model:gpt-4o"]
    assert state.limited == "the budget of key:k2"
    assert state.changes == 10


def test_keys_of_one_line_share_what_is_left(database: Database) -> None:
    """Workers are told under which name they count; a count for life is asked for under that name."""
    limits = Limits(max_requests=9)
    add_key(database, PEPPER, "sk-one", "k1", limits=limits)
    add_key(database, PEPPER, "sk-two", "k2", limits=limits)
    with database.transaction() as connection:
        share(connection, "k2", "k1")
    budget = Budget("key:k1", "day", 100, since=SET)
    add_budget(database, budget)
    state = load(database)
    assert dict(state.keys) == {
        digest_of(PEPPER, "sk-one"): Key("k1", limits=limits, budgets=(budget,)),
        digest_of(PEPPER, "sk-two"): Key("k2", limits=limits, budgets=(budget,), account="k1"),
    }
    assert (state.metered, state.accounts) == (["key:k1"], {"k2": "k1"})


@pytest.mark.parametrize("whose", ["nobody", "project", "key"])
def test_who_needs_one_count_is_named(database: Database, whose: str) -> None:
    """So that several workers without Redis are not started on limits that none of them could hold."""
    if whose == "project":
        add_project(database, ONE)
    add_key(database, PEPPER, "sk-one", "k1", limits=Limits(concurrency=2) if whose == "key" else None)
    expected = {"nobody": "", "project": "the limits of project 'first'", "key": "the limits of key k1"}
    assert load(database).limited == expected[whose]


def test_credentials_go_to_the_host_that_they_are_for(database: Database) -> None:
    """The file owns what it names; a provider that moved gets none, and is named."""
    add_project(database, ONE)
    put(database, "", "bare", Credential("bare.example.com", "sk-bare"))
    put(database, "", "own", Credential("own.example.com", "sk-never"))
    put(database, "", "moved", Credential("old.example.com", "sk-never"))
    put(database, "one", "own", Credential("own.example.com", "sk-project"))
    put(database, "one", "moved", Credential("old.example.com", "sk-never"))
    put(database, "one", "gone", Credential("gone.example.com", "sk-never"))
    state = load(database)
    providers = {
        "bare": provider("bare", "bare.example.com"),
        "own": provider("own", "own.example.com", credential="sk-of-the-file"),
        "moved": provider("moved", "new.example.com"),
    }
    merged = overlay(Snapshot(1, providers), state, CURRENT)
    assert {name: each.credential for name, each in merged.providers.items()} == {
        "bare": "sk-bare",
        "own": "sk-of-the-file",
        "moved": "",
    }
    assert merged.project_credentials == {"one": {"own": "sk-project"}}
    assert astray(merged, state) == ["moved", "one/moved"]
    assert "sk-never" not in repr(state) + repr(merged)


def test_a_credential_that_does_not_open_is_told_and_costs_no_other(database: Database) -> None:
    """Never skipped in silence."""
    put(database, "", "good", Credential("good.example.com", "sk-good"))
    put(database, "", "strange", Credential("strange.example.com", "sk-strange"), STRANGE)
    state = load(database)
    assert list(state.credentials) == ["good"]
    (told,) = state.unreadable
    assert told.startswith("provider_credentials strange: it was sealed under the master key")


def test_a_digest_that_is_none_costs_no_other_key(database: Database) -> None:
    """It is told by the key's public id."""
    add_key(database, PEPPER, "sk-one", "k1")
    with database.transaction() as connection:
        keys.insert(connection, StoredKey("odd", b"short"))
    state = load(database)
    assert [key.id for _, key in state.keys] == ["k1"]
    assert state.unreadable == ["keys odd: its digest has 5 bytes, not 32"]


def test_a_state_is_kept_without_keys_and_sealed(database: Database) -> None:
    """What is on the disk shows nothing, and opens with the same master keys only."""
    add_project(database, ONE)
    add_key(database, PEPPER, "sk-one", "k1")
    put(database, "one", "own", Credential("own.example.com", "sk-canary"))
    state = load(database)
    sealed = seal_state(RING, state)
    assert b"canary" not in sealed
    assert b"first" not in sealed
    assert unseal_state(RING, sealed) == msgspec.structs.replace(state, keys=[])
    with pytest.raises(UnsealError):
        unseal_state(STRANGE, sealed)
    with pytest.raises(UnsealError):
        unseal_state(RING, sealed[:-1] + bytes([sealed[-1] ^ 1]))


def test_a_state_of_another_release_is_none() -> None:
    """It is read from the database instead."""
    assert unseal_state(RING, RING.seal(msgspec.msgpack.encode({"changes": "many"}), KEPT)) is None
