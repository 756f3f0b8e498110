from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from flumegate.records.counters import LATENCY_BUCKETS, Counters
from rig import cuts

NAMES = st.sampled_from(["a", "b"])
COUNTS = st.integers(0, 1000)
BUCKETS = st.lists(COUNTS, min_size=len(LATENCY_BUCKETS) + 1, max_size=len(LATENCY_BUCKETS) + 1)
COUNTERS = st.builds(
    Counters,
    requests=st.dictionaries(st.tuples(NAMES, NAMES, st.sampled_from([200, 500])), COUNTS),
    latency=st.dictionaries(st.tuples(NAMES, NAMES), BUCKETS),
    latency_us=st.dictionaries(st.tuples(NAMES, NAMES), COUNTS),
    tokens=st.dictionaries(st.tuples(NAMES, NAMES), COUNTS),
    totals=st.dictionaries(NAMES, COUNTS),
    gauges=st.dictionaries(NAMES, COUNTS),
)


def total(*many: Counters) -> Counters:
    summed = Counters()
    for one in many:
        summed.add(one)
    return summed


@cuts.law
@given(COUNTERS, COUNTERS, COUNTERS)
def test_the_order_of_adding_does_not_matter(first: Counters, second: Counters, third: Counters) -> None:
    """Workers report when they can; the sum is the same."""
    assert total(first, second, third) == total(third, total(second, first))
    assert total(first) == first


@cuts.law
@given(COUNTERS, COUNTERS)
def test_adding_leaves_the_other_as_it_was(first: Counters, second: Counters) -> None:
    """The sum of all shares nothing with what it was made of: counting on changes only one of them."""
    before = msgspec.msgpack.encode(second)
    summed = total(second)
    summed.add(first)
    assert msgspec.msgpack.encode(second) == before


@cuts.law
@given(COUNTERS)
def test_counters_travel(counters: Counters) -> None:
    """What a worker sends is what control reads."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(counters), type=Counters) == counters


def test_buckets_rise() -> None:
    """Upper bounds in seconds, in order."""
    assert list(LATENCY_BUCKETS) == sorted(set(LATENCY_BUCKETS))
