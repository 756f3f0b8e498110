"""Calendar periods of budgets, in UTC: when one ends, and how it is called. The clock is an argument.

UTC has no summer time, so no hour is missing or comes twice, and all machines agree on a period's name.
"""

from __future__ import annotations

import datetime as dt
import functools
from typing import NamedTuple

from flumegate.records.access import Period

DAY_SECONDS = 86_400
_EPOCH = dt.date(1970, 1, 1).toordinal()


class _Day(NamedTuple):
    name: str
    month: str
    month_ends_at: float


def name_of(period: Period, unix_time: float) -> str:
    """Return the name of the period that a time falls into: `2026-11-21`, `2026-11`, or `total`."""
    if period == "total":
        return "total"
    day = _day(int(unix_time // DAY_SECONDS))
    return day.name if period == "day" else day.month


def end_of(period: Period, unix_time: float) -> float | None:
    """Return the Unix time at which the period ends that a time falls into; None = never."""
    if period == "total":
        return None
    number = int(unix_time // DAY_SECONDS)
    return float((number + 1) * DAY_SECONDS) if period == "day" else _day(number).month_ends_at


@functools.lru_cache(maxsize=8)
def _day(number: int) -> _Day:
    """Return what is to be known of a day, counted from 1970: asked for with every request, made once a day."""
    date = dt.date.fromordinal(_EPOCH + number)
    next_month = (date.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    return _Day(date.isoformat(), date.isoformat()[:7], float((next_month.toordinal() - _EPOCH) * DAY_SECONDS))
