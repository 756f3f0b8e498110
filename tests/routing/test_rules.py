from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.routing.rules import Seen, holds, read_tags
from flumegate.snapshot import When
from rig import cuts

MONDAY_NOON = datetime(2024, 1, 1, 12, tzinfo=UTC).timestamp()
SEEN = Seen({"x-team": "red-7", "x-empty": ""}, "key_ab12", ("batch", "night"), MONDAY_NOON)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (When(), True),
        (When(headers=(("x-team", "red-*"),)), True),
        (When(headers=(("x-team", "blue"),)), False),
        (When(headers=(("x-team", "*"), ("x-none", "*"))), False),
        (When(headers=(("x-empty", "*"),)), True),
        (When(keys=("key_x", "key_ab*")), True),
        (When(keys=("key_x",)), False),
        (When(tags=("day", "night")), True),
        (When(tags=("day", "nigh")), False),
        (When(hours=(720, 721)), True),
        (When(hours=(700, 720)), False),
        (When(hours=(1200, 721)), True),
        (When(hours=(1200, 720)), False),
        (When(hours=(600, 599)), True),
        (When(days=(0, 6)), True),
        (When(days=(1, 2)), False),
        (When(keys=("*",), tags=("batch",), days=(0,)), True),
        (When(keys=("*",), tags=("batch",), days=(1,)), False),
    ],
)
def test_every_part_of_a_condition_must_hold(when: When, expected: bool) -> None:
    """A part that is empty asks for nothing."""
    assert holds(when, SEEN) is expected


@cuts.law
@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - made aware below
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.sets(st.integers(0, 6), min_size=1),
)
def test_hours_and_days_are_those_of_the_calendar(moment: datetime, start: int, end: int, days: set[int]) -> None:
    """In UTC, also over midnight, in every year."""
    aware = moment.replace(tzinfo=UTC)
    seen = SEEN._replace(unix_time=aware.timestamp())
    minute = aware.hour * 60 + aware.minute
    inside = {*range(start, end)} if start <= end else {*range(start, 1440), *range(end)}
    assert holds(When(hours=(start, end)), seen) is (minute in inside)
    assert holds(When(days=tuple(days)), seen) is (aware.weekday() in days)


@pytest.mark.parametrize(
    ("value", "tags"),
    [("", ()), (" , ,", ()), ("a", ("a",)), (" a, b c ,,d\xe9", ("a", "b c", "d\xe9"))],
)
def test_tags_are_separated_by_commas(value: str, tags: tuple[str, ...]) -> None:
    """Empty ones are none."""
    assert read_tags(value) == tags
