"""How long to wait, compared with the dates of the standard library."""

from __future__ import annotations

import calendar
import time
from email.utils import formatdate, parsedate_to_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flumegate.wire.dates import LONGEST_SECONDS, retry_after, retry_after_of
from rig import cuts

NOW = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT: the example of RFC 9110
CLOCK = st.integers(0, 4_000_000_000)
WAITS = st.integers(-200_000, 200_000)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b"120", 120.0),
        (b" 7 ", 7.0),
        (b"+7", 7.0),
        (b"1.5", 1.5),
        (b"2.", 2.0),
        (b".25", 0.25),
        (b"-1", 0.0),
        (b"-0.5", 0.0),
        (b"86400", 86_400.0),
        (b"86401", 86_400.0),
        (b"9" * 400, 86_400.0),
        (b"-" + b"9" * 400, 0.0),
        (b"Sun, 06 Nov 1994 08:49:40 GMT", 3.0),
        (b"sun, 06 nov 1994 08:49:40 gmt", 3.0),
        (b"Sun, 06 Nov 1994 08:49:40 UTC", 3.0),
        (b"Sunday, 06-Nov-94 08:49:40 GMT", 3.0),
        (b"Sun Nov  6 08:49:40 1994", 3.0),
        (b"Sun Nov 06 08:49:40 1994", 3.0),
        (b"Wed, 09 Nov 1994 08:49:37 GMT", 86_400.0),
        (b"Sun, 06 Nov 1994 08:49:36 GMT", 0.0),
        (b"Sun, 06 Nov 1994 08:49:60 GMT", 23.0),
        (b"Sunday, 06-Nov-44 08:49:37 GMT", 86_400.0),
        (b"Sunday, 06-Nov-45 08:49:37 GMT", 0.0),
        (b"Thu, 01 Jan 0001 00:00:00 GMT", 0.0),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
    ],
)
def test_what_a_field_asks_for(value: bytes, seconds: float) -> None:
    """Whole and fractional seconds, and dates in the three forms of RFC 9110 §5.6.7, from nothing to a day."""
    assert retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b".",
        b"-",
        b"soon",
        b"1e3",
        b"inf",
        b"nan",
        b"1_000",
        b"0x10",
        b"1,5",
        b"5 seconds",
        b"5\n5",
        "٣".encode(),
        b"\xff",
        b"9" * 401,
        b"Sun, 06 Nov 1994",
        b"Sun, 06 Nov 1994 08:49:40",
        b"Sun, 06 Nov 1994 08:49:40 CET",
        b"Sun, 06 Nov 1994 08:49:40 +0100",
        b"Sun, 06 Nox 1994 08:49:40 GMT",
        b"Sun, 00 Nov 1994 08:49:40 GMT",
        b"Sun, 31 Nov 1994 08:49:40 GMT",
        b"Sun, 29 Feb 1995 08:49:40 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 1994 23:60:00 GMT",
        b"Sun, 06 Nov 1994 23:59:61 GMT",
        b"1994-11-06T08:49:40Z",
    ],
)
def test_what_is_neither_number_nor_date_says_nothing(value: bytes) -> None:
    """A guess would be worse than our own pause."""
    assert retry_after(value, NOW) is None


@cuts.law
@given(now=CLOCK, wait=WAITS)
@example(now=NOW, wait=3)
@example(now=946_684_790, wait=20)  # into the year 2000
@example(now=951_782_400, wait=0)  # 29 February 2000
@example(now=1_709_164_800, wait=86_400)  # 29 February 2024
def test_a_date_that_the_library_writes_is_read(now: int, wait: int) -> None:
    """However it is written, a date asks for the time until then."""
    expected = float(min(max(wait, 0), LONGEST_SECONDS))
    then = time.gmtime(now + wait)
    for written in (
        formatdate(now + wait, usegmt=True),
        time.strftime("%A, %d-%b-%y %H:%M:%S GMT", then),
        time.asctime(then),
    ):
        assert retry_after(written.encode(), now) == expected


@cuts.law
@given(
    now=CLOCK,
    text=st.from_regex(
        r"\A(Mon|Thu), [0-3][0-9] (Jan|Feb|Apr|Nov|Dec) (19|20)[0-9][0-9] [0-2][0-9]:[0-6][0-9]:[0-5][0-9] GMT\Z"
    ),
)
def test_a_date_is_one_exactly_where_the_library_says_so(now: int, text: str) -> None:
    """Days that no month has, and hours that no day has, are none."""
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        assert retry_after(text.encode(), now) is None
    else:
        expected = min(max(calendar.timegm(at.utctimetuple()) - now, 0.0), LONGEST_SECONDS)
        assert retry_after(text.encode(), now) == expected


@cuts.law
@given(st.binary(max_size=40), CLOCK)
def test_any_bytes_give_seconds_or_nothing(value: bytes, now: int) -> None:
    """An upstream can write what it likes."""
    seconds = retry_after(value, now)
    assert seconds is None or 0 <= seconds <= LONGEST_SECONDS


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        ([(b"content-type", b"1")], None),
        ([(b"retry-after", b"2")], 2.0),
        ([(b"retry-after-ms", b"1500")], 1.5),
        ([(b"retry-after", b"2"), (b"retry-after-ms", b"1500")], 1.5),
        ([(b"retry-after-ms", b" 250.5 "), (b"retry-after", b"2")], 0.2505),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"2")], 2.0),
        ([(b"retry-after-ms", b"-1"), (b"retry-after", b"2")], 0.0),
        ([(b"retry-after-ms", b"9" * 20)], 86_400.0),
        ([(b"retry-after", b"2"), (b"retry-after", b"9")], 2.0),
        ([(b"retry-after", b"soon"), (b"retry-after", b"9")], 9.0),
        ([(b"retry-after", b"Sun, 06 Nov 1994 08:49:40 GMT")], 3.0),
    ],
)
def test_the_finer_field_wins(headers: list[tuple[bytes, bytes]], seconds: float | None) -> None:
    """OpenAI's and Azure's milliseconds before the seconds beside them; what cannot be read is passed over."""
    assert retry_after_of(headers, NOW) == seconds
