from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from flumegate.records.access import Budget
from flumegate.store import budgets, credentials, keys, projects, tokens
from flumegate.store.changes import count_changes, note_change
from flumegate.store.database import Database

_CHANGES: dict[str, Callable[[Connection], object]] = {
    "project made": lambda it: projects.insert(it, projects.StoredProject("p2", "two")),
    "project changed": lambda it: projects.change(it, "p", 1, 5.0, {"active": False}),
    "key made": lambda it: keys.insert(it, keys.StoredKey("key00002", b"2")),
    "key changed": lambda it: keys.change(it, "key00001", 1, {"name": "x"}),
    "key revoked": lambda it: keys.revoke(it, ["key00001"], 5.0),
    "project's keys revoked": lambda it: keys.revoke_project(it, "p", 5.0),
    "all keys revoked": lambda it: keys.revoke_all(it, 5.0),
    "expired keys revoked": lambda it: keys.revoke_expired(it, 1e10),
    "budget made": lambda it: budgets.insert(it, Budget("key:a", "day", 5), 1.0),
    "budget changed": lambda it: budgets.replace(it, Budget("project:p", "day", 6), 1, 1.0),
    "budget removed": lambda it: budgets.remove(it, "project:p", "day"),
    "credential put": lambda it: credentials.put(it, "", "openai", b"s", 1.0),
    "credential of a project put": lambda it: credentials.put(it, "p", "openai", b"s", 1.0),
    "credential removed": lambda it: credentials.remove(it, "", "groq"),
    "token made": lambda it: tokens.insert(it, tokens.AdminToken("t2", "", b"2", "viewer", 1.0)),
    "token revoked": lambda it: tokens.revoke(it, "t", 5.0),
}
_NO_CHANGES: dict[str, Callable[[Connection], object]] = {
    "token used": lambda it: tokens.note_use(it, "t", 9.0),
    "nothing to revoke": lambda it: keys.revoke(it, ["nowhere"], 5.0),
    "read": lambda it: (list(keys.all_known(it, 5.0)), projects.find(it, "p"), budgets.all_budgets(it)),
}


def _fill(connection: Connection) -> None:
    projects.insert(connection, projects.StoredProject("p", "one"))
    keys.insert(connection, keys.StoredKey("key00001", b"1", "p", expires_at=100.0))
    budgets.insert(connection, Budget("project:p", "day", 5), 1.0)
    credentials.put(connection, "", "groq", b"s", 1.0)
    tokens.insert(connection, tokens.AdminToken("t", "", b"1", "owner", 1.0))


@pytest.mark.parametrize("what", _CHANGES)
def test_every_change_raises_the_counter(database: Database, what: str) -> None:
    """In its own transaction: a change that is rolled back leaves the counter as it was."""
    with database.transaction() as connection:
        _fill(connection)
        before = count_changes(connection)

    def change_and_fail() -> None:
        with database.transaction() as connection:
            _CHANGES[what](connection)
            assert count_changes(connection) == before + 1
            raise LookupError

    with pytest.raises(LookupError):
        change_and_fail()
    with database.transaction() as connection:
        assert count_changes(connection) == before
        _CHANGES[what](connection)
    with database.reader() as connection:
        assert count_changes(connection) == before + 1


@pytest.mark.parametrize("what", _NO_CHANGES)
def test_what_changes_nothing_leaves_it(database: Database, what: str) -> None:
    """Nobody is told to load everything anew for nothing."""
    with database.transaction() as connection:
        _fill(connection)
        before = count_changes(connection)
        _NO_CHANGES[what](connection)
        assert count_changes(connection) == before
        note_change(connection)
        assert count_changes(connection) == before + 1
