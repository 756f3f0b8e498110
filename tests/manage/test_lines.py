from __future__ import annotations

import re
import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flumegate.manage.lines import render_line, render_page
from flumegate.records.request import Attempt, Content, Record
from rig.records import make_content, make_record

_HOSTILE = st.text(alphabet=st.characters() | st.sampled_from("\x1b\r\n\0\x7f\x9b\u202e\u2028\t[]m;漢é"), max_size=40)
_COLOR = re.compile(r"\x1b\[[0-9]{1,2}m")


def _hostile_fields() -> dict[str, st.SearchStrategy[Any]]:
    fields = msgspec.structs.asdict(make_record(1))
    return {name: _HOSTILE for name, value in fields.items() if isinstance(value, str)}


_RECORDS = st.builds(
    make_record,
    st.just(1),
    started_at=st.floats(),
    status=st.integers(),
    duration_us=st.integers(0, 2**63),
    first_token_us=st.none() | st.integers(0, 2**63),
    input_tokens=st.none() | st.integers(0, 2**63),
    output_tokens=st.none() | st.integers(0, 2**63),
    attempts=st.lists(
        st.builds(
            Attempt,
            _HOSTILE,
            st.integers(0, 2**63),
            st.none() | st.integers(0, 2**63),
            st.none() | st.integers(0, 2**63),
            st.none() | st.integers(),
            _HOSTILE,
        ),
        max_size=3,
    ).map(tuple),
    losses=st.lists(_HOSTILE, max_size=2).map(tuple),
    **_hostile_fields(),
)


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


@settings(deadline=None, max_examples=300)
@given(record=_RECORDS, width=st.integers(1, 300))
def test_a_line_is_one_line_whatever_is_in_it(record: Record, width: int) -> None:
    """No field can end the line, command the terminal or push it over its width; colours add nothing but colours."""
    plain = render_line(record, width=width, color=False)
    assert plain.isprintable()
    colored = render_line(record, width=width, color=True)
    assert _COLOR.sub("", colored) == plain
    # Terminals agree on the width of marks that stand on other letters as little as Unicode does.
    marks = any(unicodedata.category(letter) in ("Mn", "Me", "Mc", "Cf") for letter in plain)
    assert len(plain) <= width or _columns(plain) <= width or marks


@settings(deadline=None, max_examples=200)
@given(record=_RECORDS, body=st.binary(max_size=200), color=st.booleans())
def test_a_page_holds_no_control_characters(record: Record, body: bytes, color: bool) -> None:
    """A page has lines and colours of our making only, whatever the fields and the bodies hold."""
    page = render_page(record, Content("id", body, body), color=color)
    if color:
        page = _COLOR.sub("", page)
    assert all(line.isprintable() for line in page.split("\n"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["200", "chat", "smart -> openai/gpt-4o", "1,203", "320", "1.23s", "record-00000001"]),
        ({"model_requested": "gpt-4o"}, [" openai/gpt-4o "]),
        ({"model_requested": "openai/gpt-4o"}, [" openai/gpt-4o "]),
        ({"outcome": "truncated"}, ["truncated"]),
        ({"provider": "", "model": "", "status": 401, "outcome": "refused"}, ["401", "refused", " smart "]),
        ({"method": "GET", "endpoint": "models"}, ["GET models"]),
        ({"endpoint": "", "path": "/v1/unknown"}, ["/v1/unknown"]),
        ({"first_token_us": 310_000}, ["1st 310ms"]),
        ({"input_tokens": None, "output_tokens": None}, [" - >      - "]),
        ({"input_tokens": 1_234_567, "output_tokens": 2**62}, ["1,235k", "many"]),
        ({"tags": "a", "duration_us": 850}, ["850us"]),
        ({"duration_us": 1_500}, ["1.5ms"]),
        ({"duration_us": 42_000}, ["42ms"]),
        ({"duration_us": 999_499}, ["999ms"]),
        ({"duration_us": 999_500}, ["1.00s"]),
        ({"duration_us": 59_949_999}, ["59.9s"]),
        ({"duration_us": 59_950_000}, ["1m00s"]),
        ({"duration_us": 125_000_000}, ["2m05s"]),
        ({"duration_us": 7_260_000_000}, ["2h01m"]),
    ],
)
def test_a_line_says_what_matters(fields: dict[str, Any], expected: list[str]) -> None:
    """Status, trouble, what was asked of whom, tokens, time and id are there, in units that people read."""
    line = render_line(make_record(1, **fields), width=160, color=False)
    for part in expected:
        assert part in line


def test_lines_stand_under_one_another() -> None:
    """Whatever the records are, the id begins in the same column."""
    records = [
        make_record(1),
        make_record(2, outcome="upstream_error", status=529, first_token_us=5, input_tokens=None),
        make_record(3, model="模型" * 40, endpoint="count_tokens", duration_us=3),
        make_record(4, provider="", model_requested="", method="DELETE", endpoint="transparent"),
    ]
    lines = [render_line(record, width=170, color=False) for record in records]
    assert len({_columns(line[: line.index("record-")]) for line in lines}) == 1


def test_lists_that_go_back_further_show_the_day() -> None:
    """With the day in front nothing else moves out of its column; impossible times keep their width."""
    with_day = [
        render_line(make_record(1, started_at=started_at), width=170, color=False, date=True)
        for started_at in (1_750_000_000.0, float("nan"), 1e300, -1e300)
    ]
    assert re.match(r"06-1[4-6] [0-9]{2}:[0-9]{2}:40 200 ", with_day[0])
    assert {line[:19] for line in with_day[1:]} == {"----- --:--:-- 200 "}
    assert len({line.index("record-") for line in with_day}) == 1


def test_a_narrow_terminal_gets_a_cut_line() -> None:
    """Where the columns do not fit, what comes first stays, and the cut shows."""
    line = render_line(make_record(1), width=40, color=True)
    assert len(line) == 40
    assert line.endswith("…")
    assert "200" in line
    assert render_line(make_record(1), width=0, color=True) == ""


def test_a_page_tells_the_whole_story() -> None:
    """Ids, who asked and who answered, each attempt with its times, tokens, losses and bodies are on the page."""
    record = make_record(
        1,
        attempts=(Attempt("groq/llama", 1000, None, 400_000, 503, "overloaded"), Attempt("openai/gpt-4o", 400_000)),
        losses=("dropped $.seed",),
        cached_tokens=7,
        cost_micros=1500,
        usage_source="partial",
        client_abort=True,
    )
    page = render_page(record, make_content(1, 5), color=False)
    for part in (
        "POST /v1/chat/completions  200 ok",
        "req-00000001",
        "openai/gpt-4o",
        "attempts (2)",
        "503 overloaded",
        "1.0ms to 400ms",
        "dropped $.seed",
        "0.001500 USD",
        "partial: the answer broke off",
        "request body (5 bytes kept)\nqqqqq",
        "response body (5 bytes kept)\naaaaa",
    ):
        assert part in page
    assert len({line.index("|", 6) for line in page.splitlines() if line.lstrip().startswith(("1 |", "2 |"))}) == 1


def test_a_page_leaves_out_what_is_not_known() -> None:
    """Nothing is invented: what was not reported has no line, and a local answer is said to be one."""
    page = render_page(Record("id", "", 0.0, "GET", "/v1/models", lane="local"), None, color=False)
    assert "the gateway itself" in page
    for absent in ("tokens", "attempts", "body (", "cost", "trace", "first byte"):
        assert absent not in page


def test_a_long_body_is_cut_and_says_so() -> None:
    """A page stays readable: very long bodies end with how much is missing and how to get it."""
    page = render_page(make_record(1), Content("id", b"x" * 150_000), color=False)
    assert "50,000 characters more: --json prints all of it" in page
    assert len(page) < 110_000
