from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.cli.amounts import read_days, read_dollars, read_end, read_secret, show_dollars
from flumegate.cli.operator import CommandError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.integers(0, 10**15))
def test_dollars_are_read_as_they_are_shown(micros: int) -> None:
    """To the last millionth."""
    assert read_dollars(show_dollars(micros).replace(",", "")) == micros


@pytest.mark.parametrize("text", ["", "much", "-1", "0.0000001", "1e999999999", "nan", "inf", "$$1"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(CommandError):
        read_dollars(text)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("30d", "2026-01-31T00:00:00+00:00"),
        ("12h", "2026-01-01T12:00:00+00:00"),
        ("2w", "2026-01-15T00:00:00+00:00"),
        ("2027-01-31", "2027-01-31T00:00:00+00:00"),
        ("2027-01-31T10:00:00+02:00", "2027-01-31T10:00:00+02:00"),
    ],
)
def test_an_end_is_a_span_or_a_date(text: str, end: str) -> None:
    assert read_end(text, NOW) == end


def test_what_is_no_time_is_refused() -> None:
    for text in ("", "soon", "30", "1y"):
        with pytest.raises(CommandError):
            read_end(text)
        with pytest.raises(CommandError):
            read_days(text)
    assert (read_days("0"), read_days("12h")) == (0.0, 0.5)


def test_a_secret_on_the_command_line_is_refused_without_being_repeated() -> None:
    for text in ("sk-canary-secret", "env:", "file:/nowhere/at/all", "env:NOT_SET_ANYWHERE"):
        with pytest.raises(CommandError) as refused:
            read_secret(text)
        assert "sk-canary" not in str(refused.value)
