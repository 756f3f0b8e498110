from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.quota.period import end_of, name_of
from flumegate.records.access import Period

TIMES = st.floats(min_value=-60_000_000_000, max_value=250_000_000_000)
EDGES = [
    ("2024-02-29", "2024-02", "2024-03-01", "2024-03-01"),  # a leap day
    ("2023-02-28", "2023-02", "2023-03-01", "2023-03-01"),
    ("2026-12-31", "2026-12", "2027-01-01", "2027-01-01"),
    ("2026-03-29", "2026-03", "2026-03-30", "2026-04-01"),  # summer time begins in Europe
    ("2026-01-31", "2026-01", "2026-02-01", "2026-02-01"),
]


def unix(date: str) -> float:
    """Return the first moment of a day."""
    return dt.datetime.fromisoformat(date).replace(tzinfo=dt.UTC).timestamp()


@given(TIMES)
def test_the_calendar_agrees_with_another_one(time: float) -> None:
    """Names are those of the date in UTC, at any time of six thousand years."""
    moment = dt.datetime.fromtimestamp(time // 1, dt.UTC)
    assert name_of("day", time) == f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}"
    assert name_of("month", time) == f"{moment.year:04d}-{moment.month:02d}"


@pytest.mark.parametrize("period", ["day", "month"])
@given(time=TIMES)
def test_a_period_lasts_until_its_end_and_no_longer(period: Period, time: float) -> None:
    """No moment belongs to no period or to two: the last one before the end has the name, the end has another."""
    end = end_of(period, time)
    assert end is not None
    assert end > time
    assert name_of(period, end - 0.001) == name_of(period, time) != name_of(period, end)


@pytest.mark.parametrize(("day", "month", "next_day", "next_month"), EDGES)
def test_edges_of_the_calendar(day: str, month: str, next_day: str, next_month: str) -> None:
    """Leap days, year's ends and the nights of summer time are days like any other."""
    last = unix(day) + 86_399.9
    assert (name_of("day", last), name_of("month", last)) == (day, month)
    assert (end_of("day", last), end_of("month", last)) == (unix(next_day), unix(next_month))


def test_a_total_never_ends() -> None:
    """It has one name for ever."""
    assert name_of("total", 0.0) == name_of("total", 4e9) == "total"
    assert end_of("total", 0.0) is None
