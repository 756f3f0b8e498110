"""One transaction for a change, its entry and its answer's copy; done once however often it is sent."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest
from sqlalchemy import text

from flumegate.manage import audit, credentials, keys
from flumegate.manage.actor import Actor, Once
from flumegate.manage.desk import Entry, ReplayedError, refuse
from flumegate.manage.keys import Issued, NewKey
from flumegate.manage.rotation import claim
from flumegate.manage.seal import unseal_credential
from flumegate.manage.workers import RefusedError
from flumegate.store.changes import count_changes
from flumegate.store.credentials import find
from rig.desk import Bench, actor


def once(key: str, said: bytes = b"body", name: str = "admin.token") -> Actor:
    def render(issued: Issued) -> bytes:
        return issued.text.encode()

    return actor(name=name)._replace(once=Once(key, hashlib.sha256(said).digest(), 201, render))


def test_a_request_that_is_sent_again_is_answered_again(desk: Bench) -> None:
    """With the very same answer, the new key in it too, and nothing is done a second time."""
    issued = keys.create(desk, once("a"), NewKey())
    with pytest.raises(ReplayedError) as replayed:
        keys.create(desk, once("a"), NewKey())
    assert (replayed.value.status, replayed.value.body) == (201, issued.text.encode())
    assert len(keys.page(desk, limit=10)[0]) == 1
    assert desk.pushed == 1


def test_workers_are_waited_for_by_the_count_of_changes(desk: Bench) -> None:
    """Of the change that was made: what workers know of later ones includes it."""
    for made in (1, 2):
        keys.create(desk, actor(), NewKey())
        with desk.reading() as connection:
            assert desk.changes == count_changes(connection) == made


def test_the_copy_of_an_answer_gives_nothing_away(desk: Bench) -> None:
    """It holds a key that was shown once, so it is sealed; a dump of the database has it nowhere."""
    issued = keys.create(desk, once("a"), NewKey())
    with desk.database.transaction() as connection:
        for table in ("idempotency", "keys", "audit", "meta"):
            dump = repr(connection.execute(text(f"SELECT * FROM {table}")).all())  # noqa: S608 - names of our own
            assert issued.text not in dump
            assert issued.text.rsplit("-", 1)[1] not in dump


def test_another_request_under_the_same_name_is_refused(desk: Bench) -> None:
    keys.create(desk, once("a"), NewKey())
    with pytest.raises(RefusedError) as refused:
        keys.create(desk, once("a", b"other"), NewKey())
    assert refused.value.code == "idempotency_key_reused"
    keys.create(desk, once("a", name="token:other"), NewKey())
    keys.create(desk, once("b"), NewKey())
    assert len(keys.page(desk, limit=10)[0]) == 3


def test_a_name_is_forgotten_after_a_day(desk: Bench) -> None:
    keys.create(desk, once("a"), NewKey())
    desk.time.now += 86_401
    keys.create(desk, once("a", b"other"), NewKey())
    assert len(keys.page(desk, limit=10)[0]) == 2


def test_what_was_refused_may_be_tried_again_under_its_name(desk: Bench) -> None:
    with pytest.raises(RefusedError):
        keys.create(desk, once("a"), NewKey(project="gone"))
    keys.create(desk, once("a"), NewKey())


def test_of_two_that_come_at_once_one_is_done(desk: Bench) -> None:
    told: list[Any] = []

    def send() -> None:
        try:
            told.append(keys.create(desk, once("a"), NewKey()).text.encode())
        except ReplayedError as replayed:
            told.append(replayed.body)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 8
    assert len(set(told)) == 1
    assert len(keys.page(desk, limit=10)[0]) == 1


def test_a_refusal_undoes_everything_but_its_entry(desk: Bench) -> None:
    def perform(connection: Any) -> None:
        connection.execute(text("INSERT INTO meta (name, value) VALUES ('half', 'done')"))
        raise refuse("invalid_value", "No.")

    with pytest.raises(RefusedError):
        desk.change(actor(), Entry("project.create", details={"a": 1}), perform)
    with desk.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM meta WHERE name = 'half'")).scalar() == 0
    (stored,), _ = audit.search(desk, audit.Filters())
    assert (stored.entry.outcome, stored.entry.details["reason"]) == ("denied", "invalid_value")
    assert desk.pushed == 0


def test_what_is_sealed_opens_after_a_refused_beginning(desk: Bench) -> None:
    """The very first transaction gives the installation its id; undone, it must not be remembered by anybody."""

    def perform(connection: Any) -> None:
        desk.ring(connection)
        raise refuse("invalid_value", "No.")

    with pytest.raises(RefusedError), desk.database.transaction() as connection:
        perform(connection)
    credentials.put(desk, actor(), "openai", "sk-some-credential")
    with desk.database.transaction() as connection:
        stored = find(connection, "", "openai")
        assert stored is not None
        ring = claim(connection, desk.ring(connection).of(""))
        assert unseal_credential(ring, stored.sealed, "provider_credentials", "openai").secret == "sk-some-credential"
