from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from flumegate.records.request import Record
from flumegate.store.database import read_only
from flumegate.store.ingest import Ingest
from flumegate.store.queries import (
    LONGEST_TEXT,
    MOST_ROWS,
    Filters,
    find_content,
    find_requests,
    list_after,
    list_latest,
    list_requests,
)
from rig.records import make_record

_RECORDS = [
    make_record(1, provider="openai", model="gpt-4o", status=200, tags="team-a"),
    make_record(2, provider="anthropic", model="claude-sonnet-4-5", model_requested="claude_x", status=200),
    make_record(3, provider="openai", status=429, outcome="upstream_error", error_code="rate_limited"),
    make_record(4, provider="groq", status=502, outcome="failed", path="/v1/100%/free", key_id="static-ffffffff"),
    make_record(5, provider="", status=401, outcome="refused", error_code="invalid_key", path="/v1/it's/a\\path"),
    make_record(6, provider="openai", request_id="from-the-client"),
    make_record(7, provider="openai", request_id="from-the-client", trace_id="4bf92f3577b34da6a3ce929d0e0e4736"),
]
_CORPUS = [
    "'",
    '"; DROP TABLE requests; --',
    "' OR '1'='1",
    "') OR 1=1 --",
    "%",
    "_",
    "\\",
    "/",
    "%%%%%%_____",
    "\0",
    "a\0b",
    "\ud800",
    "?",
    ":id",
    "$1",
    "{}",
    "%s",
    "[*]",
    "$.messages[?@.role=='system']",
    "NEAR(a b) AND NOT *",
    "x" * LONGEST_TEXT,
    "\u202e\u0000\r\n\x1b[31m",
    "1e999",
    "NULL",
]


@pytest.fixture(scope="module")
def database(module_url: str) -> str:
    ingest = Ingest(module_url)
    ingest.insert(_RECORDS)
    ingest.close()
    return module_url


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with read_only(database, seconds=60) as connection:
        yield connection


def _numbers(records: list[Record]) -> list[int]:
    return [int(record.id[-8:]) for record in records]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(), [7, 6, 5, 4, 3, 2, 1]),
        (Filters(provider="anthropic"), [2]),
        (Filters(model="claude-sonnet-4-5"), [2]),
        (Filters(model="claude_x"), [2]),
        (Filters(statuses=(400, 499)), [5, 3]),
        (Filters(statuses=(200, 200)), [7, 6, 2, 1]),
        (Filters(outcome="failed"), [4]),
        (Filters(key="static-ffffffff"), [4]),
        (Filters(since=1_750_000_003.0), [7, 6, 5, 4, 3]),
        (Filters(until=1_750_000_003.0), [2, 1]),
        (Filters(since=1_750_000_003.0, provider="openai", statuses=(0, 299)), [7, 6]),
        (Filters(text="TEAM-A"), [1]),
        (Filters(text="record-00000003"), [3]),
        (Filters(text="req-00000002"), [2]),
        (Filters(text="rate_lim"), [3]),
        (Filters(text="4bf92f35"), [7]),
        (Filters(text="anthro"), [2]),
        (Filters(text="100%"), [4]),
        (Filters(text="%"), [4]),
        (Filters(text="_x"), [2]),
        (Filters(text="it's"), [5]),
        (Filters(text="a\\p"), [5]),
        (Filters(text="nowhere"), []),
        (Filters(provider="open%"), []),
    ],
)
def test_filters_find_what_they_name(connection: Connection, filters: Filters, found: list[int]) -> None:
    """Each filter narrows by its own field, newest first; wildcards are letters like all others."""
    assert _numbers(list_requests(connection, filters, limit=100).records) == found


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8])
def test_pages_hold_every_row_once(connection: Connection, limit: int) -> None:
    """Going from cursor to cursor shows each row once, whatever the size of a page."""
    seen: list[int] = []
    cursor: str | None = None
    while True:
        page = list_requests(connection, Filters(), limit=limit, cursor=cursor)
        seen += _numbers(page.records)
        cursor = page.cursor
        if cursor is None:
            break
        assert len(page.records) == limit
    assert seen == [7, 6, 5, 4, 3, 2, 1]


def test_pages_stay_in_place_while_rows_arrive(url: str) -> None:
    """New rows, and rows of the same instant, neither repeat nor hide a row on a later page."""
    ingest = Ingest(url)
    ingest.insert([make_record(number, started_at=100.0) for number in range(6)])
    with read_only(url) as connection:
        first = list_requests(connection, Filters(), limit=3)
    ingest.insert([make_record(number, started_at=101.0) for number in range(6, 9)])
    with read_only(url) as connection:
        second = list_requests(connection, Filters(), limit=3, cursor=first.cursor)
    assert _numbers(first.records + second.records) == [5, 4, 3, 2, 1, 0]
    assert second.cursor is None
    ingest.close()


def test_found_by_either_id(connection: Connection) -> None:
    """A record is found by its own id and by the id that the client saw; the latter may be used more than once."""
    assert _numbers(find_requests(connection, "record-00000003")) == [3]
    assert _numbers(find_requests(connection, "from-the-client")) == [7, 6]
    assert find_requests(connection, "record-0000000_") == []


def test_new_rows_are_listed_as_they_were_stored(url: str) -> None:
    """Following shows each row once and in order of arrival, also those that started earlier."""
    ingest = Ingest(url)
    ingest.insert([])
    with read_only(url) as connection:
        assert list_latest(connection, 5) == ([], 0)
    ingest.insert([make_record(3), make_record(1)])
    with read_only(url) as connection:
        latest = list_latest(connection, 1)
        assert _numbers(latest.records) == [1]
        assert list_latest(connection, 0).sequence == latest.sequence
        assert list_after(connection, latest.sequence, 10) == ([], latest.sequence)
    ingest.insert([make_record(9), make_record(2)])
    with read_only(url) as connection:
        arrivals = list_after(connection, latest.sequence, 10)
        assert _numbers(arrivals.records) == [9, 2]
        assert list_after(connection, latest.sequence, 1).sequence == arrivals.sequence - 1
    ingest.close()


@pytest.mark.parametrize("limit", [0, -1, MOST_ROWS + 1])
def test_limits_are_kept(connection: Connection, limit: int) -> None:
    """A page has between one row and a thousand."""
    with pytest.raises(ValueError, match="between 1 and 1000"):
        list_requests(connection, Filters(), limit=limit)


def test_too_long_a_text_is_refused(connection: Connection) -> None:
    """A text that no field could hold is refused with a hint, before the database sees it."""
    with pytest.raises(ValueError, match="use a part of it"):
        list_requests(connection, Filters(text="x" * (LONGEST_TEXT + 1)), limit=1)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "!!!!",
        "é",
        "null",
        *(base64.urlsafe_b64encode(data).decode() for data in (b"[1]", b"[NaN,1]", b"\xff")),
    ],
)
def test_strange_cursors_are_refused(connection: Connection, cursor: str) -> None:
    """A cursor that is not one of ours is an error of the caller, with what to do about it."""
    with pytest.raises(ValueError, match="copy it whole"):
        list_requests(connection, Filters(), limit=1, cursor=cursor)


@pytest.mark.parametrize("text", _CORPUS)
def test_injections_find_nothing_and_break_nothing(connection: Connection, text: str) -> None:
    """Text that means something to a database means nothing here, in any place that takes text."""
    for filters in (
        Filters(provider=text),
        Filters(model=text),
        Filters(key=text),
        Filters(outcome=text),
    ):
        assert list_requests(connection, filters, limit=10).records == []
    assert find_requests(connection, text) == []
    assert find_content(connection, text) is None
    list_requests(connection, Filters(text=text), limit=10)
    assert len(list_requests(connection, Filters(), limit=10).records) == len(_RECORDS)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(), max_size=40))
@example("\ud800")
@example("/%/_//")
def test_search_is_a_plain_search(connection: Connection, text: str) -> None:
    """Any text finds exactly the rows that contain it."""
    wanted = text.replace("\0", "").encode("utf-8", "replace").decode()

    def fold(value: str) -> str:
        return "".join(letter.lower() if letter.isascii() else letter for letter in value)

    def contains(record: Record) -> bool:
        fields = [record.id, record.request_id, record.trace_id, record.model, record.model_requested]
        fields += [record.provider, record.path, record.error_code, record.tags]
        return any(fold(wanted) in fold(field) for field in fields)

    found = list_requests(connection, Filters(text=text), limit=100).records
    assert found == [record for record in reversed(_RECORDS) if contains(record)]
