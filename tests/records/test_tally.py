from __future__ import annotations

import pytest

from flumegate.records.counters import LATENCY_BUCKETS, Counters
from flumegate.records.tally import Tally
from rig.records import make_record


def counted(*records: dict[str, object]) -> Counters:
    tally = Tally()
    for number, fields in enumerate(records):
        tally.count(make_record(number, **fields))
    return tally.counters()


def test_requests_are_counted_by_endpoint_provider_and_status() -> None:
    """Latencies are put together over the statuses."""
    row: dict[str, object] = {"endpoint": "chat", "provider": "up", "duration_us": 1000}
    counters = counted(row | {"status": 200}, row | {"status": 200}, row | {"status": 502}, row | {"provider": "b"})
    statuses = {key: count for key, count in counters.requests.items() if key[1] == "up"}
    assert statuses == {("chat", "up", 200): 2, ("chat", "up", 502): 1}
    assert counters.latency["chat", "up"] == [3, *[0] * len(LATENCY_BUCKETS)]
    assert counters.latency_us["chat", "up"] == 3000
    assert sum(counters.latency["chat", "b"]) == 1


@pytest.mark.parametrize(
    ("duration_us", "bucket"),
    [
        (0, 0),
        (5_000, 0),
        (5_001, 1),
        (60_000_000, len(LATENCY_BUCKETS) - 1),
        (60_000_001, len(LATENCY_BUCKETS)),
        *[(round(bound * 1e6), number) for number, bound in enumerate(LATENCY_BUCKETS)],
    ],
)
def test_a_bound_belongs_to_its_bucket(duration_us: int, bucket: int) -> None:
    """Prometheus' `le`: less than or equal."""
    counters = counted({"endpoint": "e", "provider": "p", "duration_us": duration_us})
    assert counters.latency["e", "p"].index(1) == bucket


def test_tokens_are_summed_where_reported() -> None:
    """What was not reported counts nothing, and a provider without tokens has no row."""
    row: dict[str, object] = {"endpoint": "chat", "provider": "up", "status": 200}
    counters = counted(
        row | {"input_tokens": 3, "output_tokens": 4},
        row | {"input_tokens": 5, "output_tokens": None, "status": 500},
        row | {"input_tokens": 0, "output_tokens": 1, "endpoint": "messages"},
        row | {"provider": "silent", "input_tokens": None, "output_tokens": None},
    )
    assert counters.tokens == {("up", "input"): 8, ("up", "output"): 5}


def test_totals_are_a_copy() -> None:
    """What was reported does not change when the worker counts on."""
    tally = Tally()
    tally.totals["records_dropped"] = 1
    counters = tally.counters()
    tally.totals["records_dropped"] = 2
    assert counters.totals == {"records_dropped": 1}


def test_nothing_counted() -> None:
    """A fresh worker reports empty counters."""
    assert counted() == Counters()
