from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from flumegate.records.request import Attempt, Record
from flumegate.store import keys
from flumegate.store.database import Database, read_only
from flumegate.store.errors import StoreUnavailable
from flumegate.store.ingest import Ingest
from flumegate.store.queries import find_content, find_requests
from flumegate.store.spend import Spend, totals
from flumegate.store.usage import days
from rig.records import make_content, make_record

_TEXT = st.text(max_size=20)
_NUMBERS = itertools.count()
_COUNT = st.integers(0, 2**63 - 1)


def _stored(url: str, record_id: str) -> Record:
    with read_only(url) as connection:
        (record,) = find_requests(connection, record_id)
    return record


def test_record_comes_back_equal(url: str) -> None:
    """Every field, attempts and losses included, is what it was."""
    attempts = (Attempt("openai/gpt-4o", 5, outcome="upstream_timeout"), Attempt("groq/llama", 9, 10, 11, 200))
    record = make_record(1, attempts=attempts, losses=("dropped: $.seed",), stream=True, client_abort=True, tags="a,b")
    ingest = Ingest(url)
    assert ingest.insert([record], [make_content(1)]) == 1
    assert _stored(url, record.id) == record
    with read_only(url) as connection:
        assert find_content(connection, record.id) == make_content(1)
        assert find_content(connection, "another") is None
    ingest.close()


@pytest.fixture(scope="module")
def shared(module_url: str) -> Iterator[Ingest]:
    ingest = Ingest(module_url)
    yield ingest
    ingest.close()


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_any_record_comes_back_equal(data: st.DataObject, shared: Ingest) -> None:
    """Whatever a worker may write comes back as it is: any text, any number; PostgreSQL marks NUL, which it lacks."""
    attempt = st.builds(Attempt, _TEXT, _COUNT, st.none() | _COUNT, st.none() | _COUNT, st.none() | _COUNT, _TEXT)
    plain = {
        name: _TEXT if isinstance(value, str) else st.booleans() if isinstance(value, bool) else _COUNT
        for name, value in msgspec.structs.asdict(make_record(1)).items()
        if name not in {"id", "started_at", "attempts", "losses"}
    }
    record = data.draw(
        st.builds(
            Record,
            id=st.just(f"record-{next(_NUMBERS)}"),
            started_at=st.floats(allow_nan=False, allow_infinity=False),
            attempts=st.lists(attempt, max_size=3).map(tuple),
            losses=st.lists(_TEXT, max_size=3).map(tuple),
            **plain,
        )
    )
    shared.insert([record])
    expected = record
    if shared.database.url.startswith("postgresql"):
        texts = {name: value for name, value in msgspec.structs.asdict(record).items() if isinstance(value, str)}
        marked = {name: value.replace("\0", "\ufffd") for name, value in texts.items()}
        expected = msgspec.structs.replace(record, **marked)
    with shared.database.reader() as connection:
        assert find_requests(connection, record.id) == [expected]


def test_no_record_is_stored_twice(url: str) -> None:
    """A batch that comes again, in part or whole, adds only what is new, and changes nothing that is there."""
    ingest = Ingest(url)
    first = [make_record(number) for number in range(10)]
    assert ingest.insert(first, [make_content(1)]) == 10
    again = [make_record(number, provider="another") for number in range(5, 15)]
    assert ingest.insert(again, [make_content(1, 7), make_content(2)]) == 5
    assert ingest.insert(again) == 0
    assert _stored(url, first[7].id) == first[7]
    ingest.close()


def test_nothing_to_insert_is_fine(url: str) -> None:
    """Contents without records, and nothing at all, are batches too."""
    ingest = Ingest(url)
    assert ingest.insert([], []) == 0
    assert ingest.insert([], [make_content(1)]) == 0
    ingest.close()


def test_absurd_numbers_do_not_keep_other_records_out(url: str) -> None:
    """A number that no column holds is stored as the nearest that it does; its neighbours are stored as they are."""
    ingest = Ingest(url)
    records = [make_record(1), make_record(2, input_tokens=2**64 - 1), make_record(3, started_at=float("nan"))]
    assert ingest.insert(records) == 3
    assert _stored(url, records[0].id) == records[0]
    assert _stored(url, records[1].id).input_tokens == 2**63 - 1
    assert _stored(url, records[2].id).started_at == 0.0
    ingest.close()


def test_a_text_that_no_index_holds_keeps_nobody_out(url: str) -> None:
    """A model's name of a megabyte is stored with its beginning where a database has such a limit."""
    noise = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789äöü", k=1_000_000))
    ingest = Ingest(url)
    records = [make_record(1), make_record(2, model=noise, model_requested=noise, tags=noise)]
    assert ingest.insert(records) == 2
    assert _stored(url, records[0].id) == records[0]
    stored = _stored(url, records[1].id)
    assert noise.startswith(stored.model)
    assert len(stored.model) >= 500
    assert stored.tags == noise
    ingest.close()


def test_attempts_can_be_read_with_plain_sql(url: str) -> None:
    """Operators query attempts by name with the database's own JSON functions."""
    ingest = Ingest(url)
    ingest.insert([make_record(1)])
    ingest.close()
    query = (
        "SELECT value ->> '$.target', value ->> '$.status' FROM requests, json_each(attempts)"
        if url.startswith("sqlite")
        else "SELECT value ->> 'target', (value ->> 'status')::int FROM requests, json_array_elements(attempts::json)"
    )
    with read_only(url) as connection:
        assert connection.execute(text(query)).all() == [("openai/gpt-4o", 200)]


def test_what_was_spent_is_counted_with_what_is_new(url: str) -> None:
    """Records that come again, in part or whole, with other amounts even, count once, and so does a key's use."""
    ingest = Ingest(url)
    with ingest.database.transaction() as connection:
        keys.insert(connection, keys.StoredKey("abcd1234", b"digest"))
    first = [make_record(number, key_id="abcd1234", project="blue", cost_micros=7) for number in range(10)]
    ingest.insert(first)
    ingest.insert([make_record(number, key_id="abcd1234", project="blue", cost_micros=900) for number in range(5, 10)])
    ingest.insert([*first, make_record(10, key_id="abcd1234", project="blue"), make_record(10, cost_micros=1)])
    with ingest.database.reader() as connection:
        found = totals(connection, ["key:abcd1234", "project:blue/model:smart"], ["total", "2025-06"])
        used = connection.execute(text("SELECT request_count, last_used_at FROM keys")).one()
        (usage,) = days(connection, since="2025-06-15", until="2025-06-15")
    assert set(found.values()) == {Spend(70, 11, 11 * 1203, 11 * 320)}
    assert len(found) == 4
    assert used == (11, first[0].started_at + 10)
    assert (usage.requests, usage.errors, usage.micros) == (11, 0, 70)
    ingest.close()


def test_instances_that_share_a_database_count_into_the_same_sums(url: str) -> None:
    """Several that store at once, while keys are revoked: nobody waits in a circle, and every amount is there once."""
    names = [f"key{number:05d}" for number in range(20)]
    setup = Ingest(url)
    with setup.database.transaction() as connection:
        keys.insert_many(connection, [keys.StoredKey(name, name.encode(), "p") for name in names])
    setup.close()
    problems: list[StoreUnavailable] = []

    def store(instance: int) -> None:
        own = Ingest(url)
        dice = random.Random(instance)
        try:
            for batch in range(10):
                first = instance * 1000 + batch * 50
                records = [make_record(first + each, key_id=dice.choice(names), cost_micros=1) for each in range(50)]
                own.insert(records)
                own.insert(records)
        except StoreUnavailable as problem:
            problems.append(problem)
        own.close()

    def revoke() -> None:
        own = Database(url)
        try:
            for turn in range(10):
                with own.transaction() as connection:
                    keys.revoke_all(connection, float(turn))
                    keys.change(connection, names[turn], 2, {"state": "active"})
        except StoreUnavailable as problem:
            problems.append(problem)
        own.close()

    threads = [threading.Thread(target=store, args=(number,)) for number in range(3)]
    threads.append(threading.Thread(target=revoke))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with read_only(url) as connection:
        spent = totals(connection, [f"key:{name}" for name in names], ["total"])
        counted = connection.execute(text("SELECT sum(request_count) FROM keys")).scalar_one()
        (everything,) = totals(connection, ["model:smart"], ["total"]).values()
    assert sum(each.micros for each in spent.values()) == everything.requests == int(counted) == 1500
