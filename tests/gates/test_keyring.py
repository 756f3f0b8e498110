from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from flumegate.gates.digest import digest
from flumegate.gates.keyring import Access, Keyring
from flumegate.keytable import build
from flumegate.manage.foreign_keys import digest_of_hash
from flumegate.records.access import Budget, Key, Project
from flumegate.snapshot import Snapshot

PEPPER = b"p" * 32


def keyring(folder: Path, *keys: tuple[bytes, Key]) -> Keyring:
    path = folder / "keys.tbl"
    path.write_bytes(build(keys))
    found = Keyring()
    found.apply(Snapshot(version=1, providers={}, pepper=PEPPER, key_table=str(path)))
    return found


def test_a_key_that_was_taken_over_by_its_hash_is_found_by_its_text(tmp_path: Path) -> None:
    """And by nothing else: neither the hash nor what is stored is a key."""
    theirs = b"sk-their-own-key"
    hashed = hashlib.sha256(theirs)
    stored = digest_of_hash(PEPPER, hashed.digest())
    known = keyring(tmp_path, (stored, Key("a")), (digest(PEPPER, b"sk-ours"), Key("b")))
    for _ in range(2):
        access = known.find(theirs)
        assert access is not None
        assert access.key.id == "a"
    ours = known.find(b"sk-ours")
    assert ours is not None
    assert ours.key.id == "b"
    for text in (
        hashed.hexdigest().encode(),
        hashed.digest(),
        b"sha256:" + hashed.digest(),
        stored,
        stored.hex().encode(),
    ):
        assert known.find(text) is None


@pytest.mark.parametrize(
    ("own", "of_project", "left"),
    [
        ((), (), None),
        (("chat",), (), {"chat"}),
        ((), ("chat",), {"chat"}),
        (("chat", "messages"), ("chat", "embeddings"), {"chat"}),
        (("chat",), ("embeddings",), set()),
    ],
)
def test_a_project_that_was_narrowed_narrows_its_keys(
    own: tuple[str, ...], of_project: tuple[str, ...], left: set[str] | None
) -> None:
    """What key and project do not both allow is not allowed; where nothing is left, that is nothing, not everything."""
    access = Access(Key("k", "p", endpoints=own), Project("p", "one", endpoints=of_project))
    assert [access.may_use_endpoint(name) for name in ("chat", "messages", "embeddings")] == [
        left is None or name in left for name in ("chat", "messages", "embeddings")
    ]
    assert access.free == (left is None)


def test_a_key_that_was_revoked_after_the_table_was_written_is_revoked(tmp_path: Path) -> None:
    """It is known, and has no rights left; the others are as they were, and a newer table has the last word."""
    path = tmp_path / "keys.tbl"
    path.write_bytes(build([(digest(PEPPER, name.encode()), Key(name, models=("m",))) for name in ("one", "two")]))
    snapshot = Snapshot(version=1, providers={}, pepper=PEPPER, key_table=str(path), revoked_keys=frozenset({"one"}))
    found = Keyring()
    found.apply(snapshot)
    states = {name: access.key for name in (b"one", b"two") if (access := found.find(name)) is not None}
    assert states == {b"one": Key("one", state="revoked"), b"two": Key("two", models=("m",))}
    found.apply(msgspec.structs.replace(snapshot, version=2, revoked_keys=frozenset()))
    again = found.find(b"one")
    assert again is not None
    assert again.key.state == "active"


@pytest.mark.parametrize("ahead", [3_600.0, 86_400.0, 400 * 86_400.0])
def test_a_clock_that_was_ahead_leaves_no_budget_in_the_future(ahead: float) -> None:
    """Once it is right again, the day counts that it is: what was spent on it, not what a day to come has left."""
    now = 1_795_302_000.0  # 23:00 in UTC
    budgets = (Budget("key:k", "day", 5, raised_micros=2, raised_until=now + 60), Budget("key:k", "month", 9))
    access = Access(Key("k", budgets=budgets), None)
    before = access.allow(now)
    assert before.begins <= now < before.ends
    later = access.allow(now + ahead)
    assert access.allowance is later
    assert later.lines != before.lines
    assert not later.begins <= now < later.ends
    assert access.allow(now).lines == before.lines
