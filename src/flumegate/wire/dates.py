"""When an upstream wants to be asked again: `retry-after` (RFC 9110 §10.2.3), in seconds or as a date of any form.

The clock is an argument. What is no date and no number says nothing; what is longer than a day is cut to one, so that
one strange answer cannot take a target away for good.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable

LONGEST_SECONDS = 86_400.0

_NUMBER = re.compile(rb"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})\Z", re.ASCII)
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}
_DAY = rb"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?"
_TIME = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_MONTH = rb"(?P<month>" + b"|".join(_MONTHS) + rb")"
_FORMS = tuple(
    re.compile(form, re.ASCII)
    for form in (
        _DAY + rb", (?P<day>\d\d) " + _MONTH + rb" (?P<year>\d{4}) " + _TIME + rb" (?:gmt|utc)\Z",  # IMF-fixdate
        _DAY + rb", (?P<day>\d\d)-" + _MONTH + rb"-(?P<year>\d\d) " + _TIME + rb" (?:gmt|utc)\Z",  # RFC 850
        _DAY + rb" " + _MONTH + rb" (?P<day>[ \d]\d) " + _TIME + rb" (?P<year>\d{4})\Z",  # asctime
    )
)


def retry_after(value: bytes, now_unix: float) -> float | None:
    """Return how many seconds a `retry-after` field asks for, from 0 to a day; None = it says nothing.

    Args:
        value: the field's value.
        now_unix: the time, in seconds since 1970.
    """
    text = value.strip().lower()
    if _NUMBER.match(text) is not None:
        return _bounded(float(text))
    at = _read_date(text, now_unix)
    return None if at is None else _bounded(at - now_unix)


def retry_after_of(headers: Iterable[tuple[bytes, bytes]], now_unix: float) -> float | None:
    """Return how many seconds an answer asks for: `retry-after-ms`, which is finer, before `retry-after`.

    Args:
        headers: names in lower case, and values.
        now_unix: the time, in seconds since 1970.
    """
    coarse: float | None = None
    for name, value in headers:
        if name == b"retry-after-ms":
            text = value.strip()
            if _NUMBER.match(text) is not None:
                return _bounded(float(text) / 1000)
        elif name == b"retry-after" and coarse is None:
            coarse = retry_after(value, now_unix)
    return coarse


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_SECONDS)


def _read_date(text: bytes, now_unix: float) -> int | None:
    """Return the time that an HTTP-date names (RFC 9110 §5.6.7); None = it is none."""
    found = next((match for form in _FORMS if (match := form.match(text)) is not None), None)
    if found is None:
        return None
    year, day = int(found["year"]), int(found["day"])
    month = _MONTHS[found["month"]]
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    if len(found["year"]) == 2:
        year = _full_year(year, now_unix)
    if not (1 <= day <= _days(year, month) and hour < 24 and minute < 60 and second <= 60):
        return None
    return calendar.timegm((year, month, day, hour, minute, second))


def _full_year(year: int, now_unix: float) -> int:
    """Return a year of two digits with its century: one that seems 50 years ahead is the past (RFC 9110 §5.6.7)."""
    latest = 2020 + int(now_unix // 31_556_952)  # the mean year of the calendar; a day off changes nothing
    return latest - (latest - year) % 100


def _days(year: int, month: int) -> int:
    if month == 2:
        return 29 if calendar.isleap(year) else 28
    return 30 if month in (4, 6, 9, 11) else 31
