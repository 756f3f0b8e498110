from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flumegate.records.request import Attempt, Record
from flumegate.store.database import read_only
from flumegate.store.ingest import Ingest
from flumegate.store.queries import find_content, find_requests
from rig.records import make_content, make_record

_TEXT = st.text(max_size=20)
_COUNT = st.integers(0, 2**63 - 1)


def _stored(path: Path, record_id: str) -> Record:
    with read_only(path) as connection:
        (record,) = find_requests(connection, record_id)
    return record


def test_record_comes_back_equal(tmp_path: Path) -> None:
    """Every field, attempts and losses included, is what it was."""
    attempts = (Attempt("openai/gpt-4o", 5, outcome="upstream_timeout"), Attempt("groq/llama", 9, 10, 11, 200))
    record = make_record(1, attempts=attempts, losses=("dropped: $.seed",), stream=True, client_abort=True, tags="a,b")
    ingest = Ingest(f"sqlite:///{tmp_path}/flumegate.db")
    assert ingest.insert([record], [make_content(1)]) == 1
    assert _stored(tmp_path / "flumegate.db", record.id) == record
    with read_only(tmp_path / "flumegate.db") as connection:
        assert find_content(connection, record.id) == make_content(1)
        assert find_content(connection, "another") is None
    ingest.close()


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_any_record_comes_back_equal(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever a worker may write is stored and read as it is: any text, any number, NUL and quotes included."""
    attempt = st.builds(Attempt, _TEXT, _COUNT, st.none() | _COUNT, st.none() | _COUNT, st.none() | _COUNT, _TEXT)
    plain = {
        name: _TEXT if isinstance(value, str) else st.booleans() if isinstance(value, bool) else _COUNT
        for name, value in msgspec.structs.asdict(make_record(1)).items()
        if name not in {"id", "started_at", "attempts", "losses"}
    }
    record = data.draw(
        st.builds(
            Record,
            id=st.just("the-record"),
            started_at=st.floats(allow_nan=False, allow_infinity=False),
            attempts=st.lists(attempt, max_size=3).map(tuple),
            losses=st.lists(_TEXT, max_size=3).map(tuple),
            **plain,
        )
    )
    folder = tmp_path_factory.mktemp("store")
    ingest = Ingest(f"sqlite:///{folder}/flumegate.db")
    assert ingest.insert([record]) == 1
    ingest.close()
    assert _stored(folder / "flumegate.db", "the-record") == record


def test_no_record_is_stored_twice(tmp_path: Path) -> None:
    """A batch that comes again, in part or whole, adds only what is new, and changes nothing that is there."""
    ingest = Ingest(f"sqlite:///{tmp_path}/flumegate.db")
    first = [make_record(number) for number in range(10)]
    assert ingest.insert(first, [make_content(1)]) == 10
    again = [make_record(number, provider="another") for number in range(5, 15)]
    assert ingest.insert(again, [make_content(1, 7), make_content(2)]) == 5
    assert ingest.insert(again) == 0
    assert _stored(tmp_path / "flumegate.db", first[7].id) == first[7]
    ingest.close()


def test_nothing_to_insert_is_fine(tmp_path: Path) -> None:
    """Contents without records, and nothing at all, are batches too."""
    ingest = Ingest(f"sqlite:///{tmp_path}/flumegate.db")
    assert ingest.insert([], []) == 0
    assert ingest.insert([], [make_content(1)]) == 0
    ingest.close()


def test_absurd_numbers_do_not_keep_other_records_out(tmp_path: Path) -> None:
    """A number that no column holds is stored as the nearest that it does; its neighbours are stored as they are."""
    ingest = Ingest(f"sqlite:///{tmp_path}/flumegate.db")
    records = [make_record(1), make_record(2, input_tokens=2**64 - 1), make_record(3, started_at=float("nan"))]
    assert ingest.insert(records) == 3
    path = tmp_path / "flumegate.db"
    assert _stored(path, records[0].id) == records[0]
    assert _stored(path, records[1].id).input_tokens == 2**63 - 1
    assert _stored(path, records[2].id).started_at == 0.0
    ingest.close()


def test_attempts_can_be_read_with_plain_sql(tmp_path: Path) -> None:
    """Operators query attempts by name with SQLite's own JSON functions."""
    ingest = Ingest(f"sqlite:///{tmp_path}/flumegate.db")
    ingest.insert([make_record(1)])
    ingest.close()
    with closing(sqlite3.connect(tmp_path / "flumegate.db")) as connection:
        query = (
            "SELECT json_extract(value, '$.target'), json_extract(value, '$.status') FROM requests, json_each(attempts)"
        )
        assert connection.execute(query).fetchall() == [("openai/gpt-4o", 200)]
