from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flumegate.records.access import Key, Limits
from flumegate.store import keys
from flumegate.store.database import Database
from flumegate.store.errors import ConflictError, DuplicateError, MissingError
from flumegate.store.keys import StoredKey

_NUMBERS = itertools.count()
_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_TEXTS = st.lists(_TEXT, max_size=3).map(tuple)
_TIME = st.floats(0, 1e10)
_COUNT = st.integers(0, 2**63 - 1)
_FULL = StoredKey(
    "AbCd0123",
    b"\0digest\xff",
    "p",
    "mine",
    "active",
    100.0,
    ("gpt-*",),
    ("chat", "messages"),
    ("10.0.0.0/8",),
    ("team-a",),
    Limits(1, 2, 3, 4),
    5.5,
    "admin",
)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.builds(
        StoredKey,
        id=st.just(""),
        digest=st.binary(max_size=32),
        project=_TEXT,
        name=_TEXT,
        state=st.sampled_from(["active", "revoked"]),
        expires_at=_TIME,
        models=_TEXTS,
        endpoints=_TEXTS,
        networks=_TEXTS,
        tags=_TEXTS,
        limits=st.builds(Limits, _COUNT, _COUNT, _COUNT, _COUNT),
        created_at=_TIME,
        created_by=_TEXT,
        revoked_at=_TIME,
        replaced_by=_TEXT,
        grace_until=_TIME,
        last_used_at=_TIME,
        request_count=_COUNT,
        version=st.integers(1, 2**62),
    )
)
def test_any_key_comes_back_equal(database: Database, key: StoredKey) -> None:
    """By its id and by its digest; the digest of another finds nothing."""
    number = next(_NUMBERS)
    key = key._replace(id=f"id{number}", digest=b"%d " % number + key.digest)
    with database.transaction() as connection:
        keys.insert(connection, key)
        assert keys.find(connection, key.id) == keys.find_by_digest(connection, key.digest) == key
        assert keys.find_by_digest(connection, key.digest + b"x") is None


def test_ids_and_digests_are_given_once(database: Database) -> None:
    """Of many that come together all are stored or none."""
    with database.transaction() as connection:
        keys.insert(connection, _FULL)
        keys.insert_many(connection, [])

    def add(*new: StoredKey) -> None:
        with database.transaction() as connection:
            keys.insert_many(connection, new)

    for other in (_FULL._replace(id="other"), _FULL._replace(digest=b"other")):
        with pytest.raises(DuplicateError, match="already"):
            add(StoredKey("fresh", b"fresh"), other)
    with database.reader() as connection:
        assert keys.page(connection, limit=10) == ([_FULL], None)


def test_only_who_saw_the_last_version_changes_it(database: Database) -> None:
    """The loser is told; what is not named stays."""
    with database.transaction() as connection:
        keys.insert(connection, _FULL)
        keys.change(connection, _FULL.id, 1, {"tags": (), "limits": Limits(requests_per_minute=9), "name": "new"})
        with pytest.raises(ConflictError, match="at version 2, not 1"):
            keys.change(connection, _FULL.id, 1, {"name": "late"})
        with pytest.raises(MissingError):
            keys.change(connection, "none", 1, {"name": "late"})
        changed = _FULL._replace(tags=(), limits=Limits(9), name="new", version=2)
        assert keys.find(connection, _FULL.id) == changed


@pytest.mark.parametrize("limit", [1, 2, 3, 9, 10, 11])
def test_pages_hold_every_key_once_while_others_arrive(database: Database, limit: int) -> None:
    """Newest first, ties by id; one that is made meanwhile is on no later page."""
    with database.transaction() as connection:
        for number in range(10):
            keys.insert(connection, StoredKey(f"k{number}", b"%d" % number, created_at=float(number // 3)))
    seen: list[str] = []
    place = None
    for turn in range(11):
        with database.transaction() as connection:
            found, place = keys.page(connection, limit=limit, after=place)
            keys.insert(connection, StoredKey(f"late{turn}", b"late%d" % turn, created_at=99.0))
        seen += [each.id for each in found]
        if place is None:
            break
    assert seen == [f"k{number}" for number in range(9, -1, -1)]


def test_lists_are_narrowed(database: Database) -> None:
    with database.transaction() as connection:
        keys.insert(connection, StoredKey("a", b"a", "p"))
        keys.insert(connection, StoredKey("b", b"b", "p", state="revoked"))
        keys.insert(connection, StoredKey("c", b"c", "q"))
        assert [key.id for key in keys.page(connection, limit=9, project="p")[0]] == ["b", "a"]
        assert [key.id for key in keys.page(connection, limit=9, state="active")[0]] == ["c", "a"]
        assert [key.id for key in keys.page(connection, limit=9, project="p", state="revoked")[0]] == ["b"]


def test_revoking_counts_what_worked_until_then(database: Database) -> None:
    """One, some, a project's, expired ones, all: a second time changes nothing, and keeps when it was first."""
    with database.transaction() as connection:
        for number, project in enumerate("ppppqqqq"):
            expires_at, grace_until = (10.0 if number == 6 else 0.0), (10.0 if number == 7 else 0.0)
            new = StoredKey(f"k{number}", b"%d" % number, project, expires_at=expires_at, grace_until=grace_until)
            keys.insert(connection, new)
        assert keys.revoke(connection, [], 1.0) == 0
        assert keys.revoke(connection, ["k0"], 1.0) == 1
        assert keys.revoke(connection, ["k0", "k1", "none", "' OR 1=1 --"], 2.0) == 1
        assert keys.revoke_project(connection, "p", 3.0) == 2
        assert keys.revoke_expired(connection, 9.9) == 0
        assert keys.revoke_expired(connection, 10.0) == 2
        assert keys.revoke_all(connection, 11.0) == 2
        assert keys.revoke_all(connection, 12.0) == 0
        found = [keys.find(connection, f"k{number}") for number in range(8)]
    assert [(key.state, key.revoked_at, key.version) for key in found if key is not None] == [
        ("revoked", at, 2) for at in (1.0, 2.0, 3.0, 3.0, 11.0, 11.0, 10.0, 10.0)
    ]


def test_workers_are_told_of_what_works(database: Database) -> None:
    """A key that was replaced ends with its grace, or when it would have ended anyway."""
    with database.transaction() as connection:
        keys.insert(connection, _FULL)
        for name, expires_at, grace_until in (("a", 0.0, 50.0), ("b", 20.0, 50.0), ("c", 80.0, 50.0), ("d", 0.0, 0.0)):
            keys.insert(connection, StoredKey(name, name.encode(), expires_at=expires_at, grace_until=grace_until))
    with database.reader() as connection:
        found = {key.id: (digest, key) for digest, key in keys.all_known(connection, 10.0)}
    lists = (_FULL.models, _FULL.endpoints, _FULL.networks, _FULL.tags)
    assert found.pop("AbCd0123") == (_FULL.digest, Key("AbCd0123", "p", "active", 100.0, *lists, Limits(1, 2, 3, 4)))
    assert {name: key.expires_at for name, (_, key) in found.items()} == {"a": 50.0, "b": 20.0, "c": 50.0, "d": 0.0}


def test_workers_are_told_of_what_was_revoked_of_late(database: Database) -> None:
    """For thirty days, and without a right; then nobody knows such a key."""
    with database.transaction() as connection:
        keys.insert(connection, _FULL)
        keys.revoke(connection, [_FULL.id], 1000.0)
    with database.reader() as connection:
        told = (_FULL.digest, Key("AbCd0123", "p", "revoked"))
        assert list(keys.all_known(connection, 1000.0)) == [told]
        assert list(keys.all_known(connection, 1000.0 + keys.REMEMBER_SECONDS - 1)) == [told]
        assert list(keys.all_known(connection, 1000.0 + keys.REMEMBER_SECONDS)) == []


@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=pytest.mark.faults)])
def test_all_of_a_large_installation_are_read_at_once(database: Database, count: int) -> None:
    """A hundred thousand keys in less than a second; the time is looked at only where it is stated."""
    for first in range(0, count, 1000):
        with database.transaction() as connection:
            numbers = range(first, first + 1000)
            new = [StoredKey(f"{number:08d}", b"%d" % number, f"p{number % 100}") for number in numbers]
            keys.insert_many(connection, new)
    start = time.monotonic()
    with database.reader(seconds=10.0) as connection:
        found = {digest for digest, _ in keys.all_known(connection, 10.0)}
    took = time.monotonic() - start
    assert len(found) == count
    if count == 100_000:
        assert took < 1.0
