from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flumegate.records.request import COPY_MARK, Record
from flumegate.store import keys
from flumegate.store.accounts import share
from flumegate.store.ingest import Ingest
from flumegate.store.keys import StoredKey
from flumegate.store.spend import Spend, day_name, period_names, scopes_of, totals
from rig.records import make_record

_MIDNIGHT = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("at", "names"),
    [
        (_MIDNIGHT, ("2026-01-01", "2026-01", "total")),
        (_MIDNIGHT - 0.001, ("2025-12-31", "2025-12", "total")),
        (0.0, ("1970-01-01", "1970-01", "total")),
        (-1e300, ("1970-01-01", "1970-01", "total")),
        (float("nan"), ("1970-01-01", "1970-01", "total")),
        (1e300, ("9999-12-31", "9999-12", "total")),
    ],
)
def test_periods_are_named_in_utc(at: float, names: tuple[str, str, str]) -> None:
    """Wherever the gateway runs, and however absurd a clock was."""
    assert period_names(at) == names
    assert day_name(at) == names[0]


@pytest.mark.parametrize(
    ("fields", "scopes"),
    [
        ({"key_id": "k", "project": "p"}, ["key:k", "project:p", "model:smart", "project:p/model:smart"]),
        ({"key_id": "k"}, ["key:k", "model:smart"]),
        ({"key_id": ""}, ["model:smart"]),
        ({"key_id": "k", "model_requested": ""}, ["key:k"]),
        ({"key_id": "old", "model_requested": ""}, ["key:k"]),
        ({"key_id": "", "model_requested": "a\0b" * 200}, ["model:" + ("a\ufffdb" * 100)]),
    ],
)
def test_a_request_counts_for_each_of_its_scopes(fields: dict[str, object], scopes: list[str]) -> None:
    """Under the names that an index of either database takes."""
    assert list(scopes_of(make_record(1, **fields), {"old": "k", "other": "p"})) == scopes


def test_keys_of_one_line_are_summed_up_together(url: str) -> None:
    """Each request counts once, on the account of the first of them."""
    ingest = Ingest(url)
    with ingest.database.transaction() as connection:
        share(connection, "k2", "k1")
        share(connection, "k3", "k1")
    ingest.insert([make_record(number, key_id=f"k{number}", cost_micros=10) for number in (1, 2, 3, 4)])
    with ingest.database.reader() as connection:
        found = totals(connection, [f"key:k{number}" for number in (1, 2, 3, 4)], ["total"])
    assert {scope: (sums.micros, sums.requests) for (scope, _), sums in found.items()} == {
        "key:k1": (30, 3),
        "key:k4": (10, 1),
    }
    ingest.close()


def test_only_known_costs_count_as_money(url: str) -> None:
    """A cost that is not known counts as none, its request and tokens all the same; a refused request not at all."""
    ingest = Ingest(url)
    ingest.insert(
        [
            make_record(1, key_id="k", cost_micros=None, input_tokens=None, output_tokens=7),
            make_record(2, key_id="k", cost_micros=30, input_tokens=5, output_tokens=None),
            make_record(3, key_id="k", cost_micros=0, input_tokens=2**64, outcome="truncated"),
            make_record(4, key_id="k", cost_micros=-5, input_tokens=1, outcome="failed"),
            make_record(5, key_id="k", cost_micros=999, outcome="refused"),
        ]
    )
    with ingest.database.reader() as connection:
        found = totals(connection, ["key:k", "key:other"], ["total"])
    assert found == {("key:k", "total"): Spend(30, 4, 5 + 10**12 + 1, 7 + 320 + 320)}
    ingest.close()


def test_what_came_to_no_provider_is_not_counted(url: str) -> None:
    """So what a client makes up as a model's name adds no rows; its key was used all the same, but by no copy."""
    ingest = Ingest(url)
    with ingest.database.transaction() as connection:
        keys.insert(connection, StoredKey("k", b"digest", created_at=1.0))
    nowhere = {"key_id": "k", "provider": "", "cost_micros": 7}
    ingest.insert(
        [
            make_record(1, started_at=10.0, endpoint="models", lane="local", **nowhere),
            make_record(2, started_at=20.0, outcome="cancelled", **nowhere),
            make_record(3, started_at=30.0, id=f"0{COPY_MARK}1", key_id="k", cost_micros=7),
        ]
    )
    with ingest.database.reader() as connection:
        assert not totals(connection, ["key:k", "model:smart"], ["total"])
        key = keys.find(connection, "k")
    assert key is not None
    assert (key.request_count, key.last_used_at) == (0, 20.0)
    ingest.close()


def test_absurd_amounts_add_up_without_end(url: str) -> None:
    """No sum of what an upstream reports keeps other records out."""
    ingest = Ingest(url)
    for first in range(0, 3000, 1000):
        batch = [make_record(number, cost_micros=2**63 - 1) for number in range(first, first + 1000)]
        assert ingest.insert(batch) == 1000
    with ingest.database.reader() as connection:
        (found,) = totals(connection, ["model:smart"], ["total"]).values()
    assert found.micros == 3000 * 10**12
    ingest.close()


def test_many_scopes_are_asked_for_at_once(url: str) -> None:
    """A whole installation's, more than a statement may have parameters for."""
    ingest = Ingest(url)
    ingest.insert([make_record(number, key_id=f"k{number}", cost_micros=1) for number in range(1200)])
    with ingest.database.reader() as connection:
        found = totals(connection, [f"key:k{number}" for number in range(40_000)], ["total", "1999-01"])
    assert len(found) == 1200
    assert set(found.values()) == {Spend(1, 1, 1203, 320)}
    ingest.close()


@pytest.fixture(scope="module")
def shared(module_url: str) -> Iterator[Ingest]:
    ingest = Ingest(module_url)
    yield ingest
    ingest.close()


_RECORDS = st.lists(
    st.builds(
        make_record,
        st.integers(0, 30),
        key_id=st.sampled_from(["", "k1", "k2"]),
        project=st.sampled_from(["", "p"]),
        provider=st.sampled_from(["", "openai"]),
        outcome=st.sampled_from(["ok", "refused", "truncated"]),
        cost_micros=st.none() | st.integers(0, 100),
        started_at=st.sampled_from([_MIDNIGHT, _MIDNIGHT - 1]),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=40)
@given(batches=st.lists(_RECORDS, max_size=4))
def test_sums_are_those_of_the_rows_that_are_stored(shared: Ingest, batches: list[list[Record]]) -> None:
    """However batches overlap and repeat: each stored record counts once, as it was stored."""
    expected: Counter[str] = Counter()
    with shared.database.transaction() as connection:
        for table in ("requests", "spend", "usage_days"):
            connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - names of our own
    stored: dict[str, Record] = {}
    for batch in batches:
        shared.insert(batch)
        for record in batch:
            stored.setdefault(record.id, record)
    for record in stored.values():
        if record.is_counted:
            for scope in scopes_of(record, {}):
                expected[scope] += record.cost_micros or 0
                expected[f"count {scope}"] += 1
    with shared.database.reader() as connection:
        found = totals(connection, [name for name in expected if not name.startswith("count")], ["total"])
        days = totals(connection, [scope for scope, _ in found], ["2026-01-01", "2025-12-31"])
    assert {scope: spent.micros for (scope, _), spent in found.items()} == {
        name: amount for name, amount in expected.items() if not name.startswith("count")
    }
    for (scope, _), spent in found.items():
        assert spent.requests == expected[f"count {scope}"]
        parts = [part for (name, _), part in days.items() if name == scope]
        assert spent == Spend(*map(sum, zip(*parts, strict=True)))
