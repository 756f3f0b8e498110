from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from flumegate.store import database as module
from flumegate.store.database import Database, read_only
from flumegate.store.errors import QueryTooSlow, RowRefused, StoreUnavailable
from flumegate.store.ingest import Ingest
from rig.records import make_record

_COUNT = text("SELECT count(*) FROM requests")


@pytest.mark.parametrize("url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql://user:hunter22@host/name"])
def test_other_urls_are_refused_without_repeating_them(url: str) -> None:
    """A URL that this release cannot use is refused at once, with what to write, and without its password."""
    with pytest.raises(StoreUnavailable, match=r"set it to an SQLite file, sqlite:///.*or to PostgreSQL") as caught:
        Database(url)
    assert "hunter22" not in str(caught.value)


def test_writing_waits_for_no_reader(url: str) -> None:
    """A reader in the middle of a query neither stops a write nor sees half of it."""
    ingest = Ingest(url, busy_seconds=0.05)
    ingest.insert([make_record(1)])
    with ingest.database.reader() as reader:
        assert reader.execute(_COUNT).scalar() == 1
        ingest.insert([make_record(2)])
        assert reader.execute(_COUNT).scalar() == 1
    with read_only(url) as reader:
        assert reader.execute(_COUNT).scalar() == 2
    ingest.close()


def test_read_only_means_it(url: str) -> None:
    """What only reads cannot change a row, whatever it is asked to run."""
    ingest = Ingest(url)
    ingest.insert([make_record(1)])
    with pytest.raises(StoreUnavailable, match="cannot be written"), ingest.database.reader() as reader:
        reader.execute(text("DELETE FROM requests"))
    ingest.close()


def test_slow_query_is_stopped(url: str) -> None:
    """No query holds the reader for long: it ends with a hint how to ask for less, and the next one is answered."""
    database = Database(url)
    with database.transaction():
        pass
    endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
    with (
        pytest.raises(QueryTooSlow, match=r"longer than 0\.01 seconds: narrow it"),
        database.reader(seconds=0.01) as it,
    ):
        it.execute(endless)
    with database.reader() as reader:
        assert reader.execute(_COUNT).scalar() == 0
    database.close()


def test_failed_transaction_leaves_no_trace(url: str) -> None:
    """A transaction that breaks is rolled back whole, and the connection goes on."""
    database = Database(url)

    def add_twice() -> None:
        with database.transaction() as connection:
            for _ in range(2):
                connection.execute(text("INSERT INTO meta VALUES ('a', 'b')"))

    with pytest.raises(RowRefused, match=r"(?i)unique"):
        add_twice()
    with database.transaction() as connection:
        names = connection.execute(text("SELECT name FROM meta")).scalars().all()
    assert names == ["schema_version"]
    database.close()


@pytest.mark.parametrize("value", ["\ud800", 2**63])
def test_what_no_column_holds_is_refused_as_a_row(url: str, value: object) -> None:
    """Whoever hands in half a character or too large a number is told so; the database itself is fine."""
    database = Database(url)
    with pytest.raises(RowRefused), database.transaction() as connection:
        connection.execute(text("INSERT INTO idempotency VALUES ('a', 'b', '', :it, '', 0)"), {"it": value})
    with database.transaction() as connection:
        assert connection.execute(_COUNT).scalar() == 0
    database.close()


def test_a_thread_waits_for_its_turn_but_not_for_ever(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that writes for too long costs the others an error that says so, not their threads."""
    monkeypatch.setattr(module, "TURN_SECONDS", 0.05)
    database = Database(url)
    said: list[str] = []

    def write() -> None:
        try:
            with database.transaction():
                said.append("written")
        except StoreUnavailable as problem:
            said.append(str(problem))

    with database.transaction():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert "is busy: another change has not ended yet" in said[0]
    write()
    assert said[1] == "written"
    database.close()


def test_what_a_newer_release_can_share_is_used(url: str) -> None:
    """While an installation is upgraded, the older release goes on with tables that only the newer one knows."""
    database = Database(url)
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with database.transaction() as connection:
        assert connection.execute(_COUNT).scalar() == 0
    with database.transaction() as connection:
        connection.execute(text("UPDATE meta SET value = '2' WHERE name = 'schema_version'"))
    database.close()
    with pytest.raises(StoreUnavailable, match="run the newer release"), database.transaction():
        pass
    with pytest.raises(StoreUnavailable, match="run the newer release"), database.reader():
        pass
    database.close()


def test_a_database_that_was_made_by_half_is_refused(url: str, tmp_path: Path) -> None:
    """Tables that do not fit the stamp are named, and nothing is added to them."""
    database = Database(url)
    with database.transaction() as connection:
        connection.execute(text("DROP TABLE spend"))
    database.close()
    for _ in range(2):
        fault = pytest.raises(StoreUnavailable, match=r"at migration 0003, yet its tables are not \(spend\)")
        with fault, database.transaction():
            pass
    database.close()
    assert not list(tmp_path.glob("*before*"))
