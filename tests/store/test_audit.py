from __future__ import annotations

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from flumegate.store import audit
from flumegate.store.audit import Entry
from flumegate.store.database import Database
from flumegate.store.errors import RowRefused, StoreUnavailable

_KEY = b"a key that the database does not hold"
_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
).filter(lambda value: "\\ud" not in ascii(value))


def _fill(database: Database, count: int) -> None:
    for number in range(count):
        with database.transaction() as connection:
            audit.append(connection, Entry(float(number), "me", "key.create", f"k{number}", "p" * (number % 2)), _KEY)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entry=st.builds(
        Entry,
        st.floats(0, 1e10) | st.integers(0, 10**9),
        *[_TEXT] * 7,
        st.dictionaries(st.text(max_size=9).filter(lambda key: "\\ud" not in ascii(key)), _VALUE, max_size=3),
    )
)
def test_any_entry_keeps_its_place_in_the_chain(database: Database, entry: Entry) -> None:
    """What is read proves itself, whatever its details hold."""
    with database.transaction() as connection:
        stored = audit.append(connection, entry, _KEY)
        assert audit.last(connection) == stored
        assert stored.entry[1:8] == entry[1:8]
        assert audit.find_fault(audit.entries(connection), _KEY) is None


def test_the_trail_is_read_in_both_directions(database: Database) -> None:
    """Oldest first for whoever verifies, newest first for people; from any place on."""
    _fill(database, 6)
    with database.reader() as connection:
        assert [stored.sequence for stored in audit.entries(connection)] == [1, 2, 3, 4, 5, 6]
        assert [stored.sequence for stored in audit.entries(connection, after=4)] == [5, 6]
        assert [stored.sequence for stored in audit.newest(connection, limit=2)] == [6, 5]
        assert [stored.sequence for stored in audit.newest(connection, limit=2, before=5)] == [4, 3]
        assert [stored.sequence for stored in audit.newest(connection, limit=9, project="p")] == [6, 4, 2]


def test_the_empty_trail_has_no_last(database: Database) -> None:
    with database.transaction() as connection:
        assert audit.last(connection) is None
        assert audit.find_fault(audit.entries(connection), _KEY) is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'nobody'",
        "UPDATE audit SET actor = 'nobody' WHERE sequence = 2",
        "DELETE FROM audit",
        "INSERT INTO audit SELECT * FROM audit",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE sequence = 2",
        "TRUNCATE audit",
    ],
)
def test_the_database_refuses_to_change_it(database: Database, statement: str) -> None:
    """On both engines, and by REPLACE and TRUNCATE too, which ask no ordinary trigger."""
    _fill(database, 3)
    with pytest.raises((RowRefused, StoreUnavailable)), database.transaction() as connection:
        connection.execute(text(statement))
    with database.reader() as connection:
        assert audit.find_fault(audit.entries(connection), _KEY) is None
        assert audit.last(connection) is not None


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit SET actor = 'nobody' WHERE sequence = 2", "entry 2 was changed"),
        ("UPDATE audit SET details = '{\"a\":1}' WHERE sequence = 3", "entry 3 was changed"),
        ("UPDATE audit SET at = at + 1 WHERE sequence = 1", "entry 1 was changed"),
        ("DELETE FROM audit WHERE sequence = 2", "entry 2 is missing"),
        ("DELETE FROM audit WHERE sequence = 1", "entry 1 is missing"),
        ("UPDATE audit SET sequence = 9 - sequence", "entry 1 is missing"),
        ("UPDATE audit SET sequence = 9 WHERE sequence = 4", "entry 4 is missing"),
        ("UPDATE audit SET mac = previous WHERE sequence = 4", "entry 4 was not written with this installation's key"),
    ],
)
def test_who_does_it_all_the_same_is_found_out(database: Database, statement: str, fault: str) -> None:
    """An owner of the database who takes the triggers away edits, deletes or moves nothing unseen."""
    _fill(database, 4)
    names = ("audit_no_update", "audit_no_delete", "audit_no_replace")
    drops = [f"DROP TRIGGER {name}" for name in names]
    if database.url.startswith("postgresql"):
        drops = ["DROP TRIGGER audit_insert_only ON audit"]
    with database.transaction() as connection:
        for drop in drops:
            connection.execute(text(drop))
        connection.exec_driver_sql(statement)
    with database.reader() as connection:
        assert audit.find_fault(audit.entries(connection), _KEY) == fault


def test_a_trail_of_somebody_else_is_found_out(database: Database) -> None:
    """Whoever writes the whole chain anew lacks the key."""
    _fill(database, 2)
    with database.reader() as connection:
        fault = audit.find_fault(audit.entries(connection), b"another key")
    assert fault == "entry 1 was not written with this installation's key"


def test_writers_of_several_instances_make_one_chain(database: Database) -> None:
    """Each with a connection of its own, at the same time: every entry is there, in one unbroken chain."""
    with database.transaction():
        pass

    def write(name: str) -> None:
        own = Database(database.url)
        for number in range(10):
            with own.transaction() as connection:
                audit.append(connection, Entry(float(number), name, "key.create"), _KEY)
        own.close()

    threads = [threading.Thread(target=write, args=(f"instance-{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reader() as connection:
        assert audit.find_fault(audit.entries(connection), _KEY) is None
        last = audit.last(connection)
    assert last is not None
    assert last.sequence == 30
