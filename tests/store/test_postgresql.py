from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from flumegate.spool.append import SpoolWriter
from flumegate.spool.tail import SpoolReader
from flumegate.store import postgresql
from flumegate.store.database import Database, read_only
from flumegate.store.errors import StoreUnavailable
from flumegate.store.ingest import Ingest
from flumegate.store.pump import Pump
from flumegate.store.queries import find_requests
from flumegate.store.spend import totals
from rig.postgres import PASSWORD, Postgres, postgres_cluster
from rig.records import framed, make_record


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """A cluster that a test may stop."""
    with postgres_cluster() as cluster:
        yield cluster


@pytest.fixture
def ingest(own: Postgres) -> Iterator[Ingest]:
    made = Ingest(own.create_database())
    made.insert([make_record(1)])
    yield made
    made.close()


def test_a_frozen_server_holds_nobody(own: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes everything and answers nothing is an error for whoever writes, reads or opens; no more."""
    monkeypatch.setattr(postgresql, "CONNECT_SECONDS", 2)
    database = Database(own.create_database(), statement_seconds=0.3)
    with database.transaction():
        pass
    own.freeze()
    try:
        for _ in range(2):
            fault = pytest.raises(StoreUnavailable, match="cannot be used: check that the server runs")
            with fault, database.transaction() as connection:
                connection.execute(text("SELECT 1"))
        with pytest.raises(StoreUnavailable, match="cannot be used"), database.reader(seconds=0.1):
            pass
    finally:
        own.thaw()
    with database.transaction() as connection:
        assert connection.execute(text("SELECT changes FROM state")).scalar() == 0
    with database.reader() as reader:
        assert reader.execute(text("SELECT changes FROM state")).scalar() == 0
    database.close()


def test_a_server_that_freezes_under_a_reader_gets_no_connection_back(own: Postgres) -> None:
    """The connection that was waited for in vain is closed: its late answer must not be the next one's."""
    database = Database(own.create_database())
    with database.transaction():
        pass

    def read() -> None:
        with database.reader(seconds=0.1) as reader:
            own.freeze()
            reader.execute(text("SELECT 'late'"))

    try:
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            read()
    finally:
        own.thaw()
    with database.reader() as reader:
        assert reader.execute(text("SELECT 'mine'")).scalar() == "mine"
    database.close()


def test_a_restart_of_the_server_is_noticed_before_anything_is_lost(own: Postgres, ingest: Ingest) -> None:
    """Killed and started anew between two uses: the next batch and the next question go through at once."""
    with ingest.database.reader() as reader:
        assert len(find_requests(reader, "record-00000001")) == 1
    own.kill()
    own.start()
    assert ingest.insert([make_record(1), make_record(2)]) == 1
    with ingest.database.reader() as reader:
        assert len(find_requests(reader, "record-00000002")) == 1


def test_a_connection_that_is_ended_in_a_transaction_costs_that_transaction(own: Postgres, ingest: Ingest) -> None:
    """As in a failover: nothing of it is stored, it is said, and the next one is on a connection of its own."""
    end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    name = ingest.database.url.rpartition("/")[2]

    def change() -> None:
        with ingest.database.transaction() as connection:
            connection.execute(text("DELETE FROM requests"))
            own.execute(f"{end_all} AND pid <> pg_backend_pid()", database=name)
            connection.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailable, match="cannot be used"):
        change()
    assert ingest.insert([make_record(1)]) == 0


def test_a_stopped_server_is_named_without_its_password(own: Postgres) -> None:
    """Who the server is and what it said, in one line; nothing that its URL keeps secret."""
    wrong = [
        own.url("nowhere"),
        own.url(own.create_database().rpartition("/")[2], password="hunter22"),
        f"postgresql://flumegate:hunter22@127.0.0.1:1/{PASSWORD[:4]}",
    ]
    for url in wrong:
        for use in (Database(url).transaction, lambda url=url: read_only(url)):
            fault = pytest.raises(StoreUnavailable, match=r"on 127\.0\.0\.1 cannot be used: check that the server")
            with fault as caught, use():
                pass
            said = str(caught.value)
            assert "\n" not in said
            assert not any(secret in said for secret in ("hunter22", PASSWORD, "made-up"))


def test_a_url_that_cannot_be_read_is_not_repeated() -> None:
    """With how to write it, since a password with an @ in it is how one comes here."""
    with pytest.raises(StoreUnavailable, match="%40 for an @") as caught:
        Database("postgresql://flumegate:hunter22@[::1/name")
    assert "hunter22" not in str(caught.value)


def test_a_change_that_takes_too_long_is_given_up(own: Postgres) -> None:
    """The server stops it; what waits for it goes on."""
    database = Database(own.create_database(), statement_seconds=0.2)
    fault = pytest.raises(StoreUnavailable, match=r"took longer than 0\.2 seconds for one change")
    with fault, database.transaction() as connection:
        connection.execute(text("SELECT pg_sleep(60)"))
    database.close()


def test_an_outage_keeps_the_spool(own: Postgres, tmp_path: Path) -> None:
    """Stopped, then frozen: nothing leaves the spool meanwhile; afterwards each record is there once, and paid once."""
    writer = SpoolWriter(tmp_path, "w0", max_bytes=10**9)
    for number in range(100):
        writer.write(framed(make_record(number, cost_micros=3)))
    writer.close()
    ingest = Ingest(own.create_database())
    ingest.database = Database(ingest.database.url, statement_seconds=0.3)
    pump = Pump(SpoolReader(tmp_path), ingest, lambda _: None)
    own.stop()
    assert pump.step() == 0
    assert "cannot be used: check that the server runs" in pump.failure
    own.start()
    own.freeze()
    try:
        assert pump.step() == 0
    finally:
        own.thaw()
    while pump.step():
        pass
    assert (pump.failure, pump.stored) == ("", 100)
    with ingest.database.reader() as connection:
        assert totals(connection, ["model:smart"], ["total"])["model:smart", "total"].micros == 300
    ingest.close()


def test_text_needs_an_encoding_that_holds_it(own: Postgres) -> None:
    """A database that could not store what people write is refused before the first of it is lost."""
    statement = "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    own.execute(statement, database="postgres")
    with pytest.raises(StoreUnavailable, match=r"holds text as LATIN1.*ENCODING 'UTF8'"):
        Ingest(own.url("latin")).insert([make_record(1)])
    own.execute("DROP DATABASE latin", database="postgres")


def test_readers_are_few(own: Postgres, ingest: Ingest) -> None:
    """Questions share a handful of connections, so that the server's own limit is never met."""
    for _ in range(20):
        with ingest.database.reader() as reader:
            reader.execute(text("SELECT 1"))
    name = ingest.database.url.rpartition("/")[2]
    count = own.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'flumegate'", database=name)
    assert int(count) <= 2


def test_nothing_was_made_yet(own: Postgres) -> None:
    """Reading before the first start says what to do."""
    fault = pytest.raises(StoreUnavailable, match="has no tables of ours yet: start the gateway")
    with fault, read_only(own.create_database()):
        pass
