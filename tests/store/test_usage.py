from __future__ import annotations

from flumegate.store.ingest import Ingest
from flumegate.store.usage import UsageDay, days
from rig.records import make_record

_NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z
_DAY = 86_400.0


def test_usage_is_summed_by_day_project_key_provider_and_model(url: str) -> None:
    """Errors are those that ended without a whole, good answer; refused requests are among them."""
    ingest = Ingest(url)
    mine = {"key_id": "k", "project": "p", "cost_micros": 5}
    ingest.insert(
        [
            make_record(1, started_at=_NOON, **mine),
            make_record(2, started_at=_NOON + 60, **mine),
            make_record(3, started_at=_NOON + 60, **mine, status=502, outcome="failed", input_tokens=None),
            make_record(4, started_at=_NOON + _DAY, **mine),
            make_record(5, started_at=_NOON, key_id="", outcome="refused", status=401, provider="", model="made up"),
        ]
    )
    with ingest.database.reader() as connection:
        refused = UsageDay("2026-01-01", "", "", "", "", 1, 1, 1203, 320, 0)
        first = UsageDay("2026-01-01", "p", "k", "openai", "gpt-4o", 3, 1, 2 * 1203, 3 * 320, 15)
        second = UsageDay("2026-01-02", "p", "k", "openai", "gpt-4o", 1, 0, 1203, 320, 5)
        assert days(connection, since="2026-01-01", until="2026-01-02") == [refused, first, second]
        assert days(connection, since="2026-01-01", until="2026-01-01", project="p") == [first]
        assert days(connection, since="2026-01-02", until="2026-12-31", key="k") == [second]
        assert days(connection, since="2026-01-02", until="2026-12-31", key="other") == []
        assert days(connection, since="2026-01-01", until="2026-01-02", limit=1) == [refused]
    ingest.close()


def test_long_names_are_cut_where_an_index_would_not_hold_them(url: str) -> None:
    """And the day's sum is kept all the same."""
    ingest = Ingest(url)
    long = "ä" * 5000
    ingest.insert([make_record(1, started_at=_NOON, project=long, key_id=long, provider=long, model=long)])
    with ingest.database.reader() as connection:
        (found,) = days(connection, since="2026-01-01", until="2026-01-01")
    assert long.startswith(found.model)
    assert found.requests == 1
    ingest.close()
