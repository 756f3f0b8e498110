from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from flumegate.manage import logs
from flumegate.store.errors import StoreUnavailable
from flumegate.store.ingest import Ingest
from rig.records import make_content, make_record

_NOW = 1_750_000_100.0


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "flumegate.db"
    ingest = Ingest(f"sqlite:///{path}")
    ingest.insert([make_record(number, status=200 + number * 100) for number in range(4)], [make_content(2)])
    ingest.close()
    return path


def test_tail_then_follow_shows_each_request_once(database: Path) -> None:
    """What is stored after a look at the newest is exactly what the next look shows."""
    first = logs.tail(database, 2)
    assert [record.id[-1] for record in first.records] == ["2", "3"]
    assert logs.follow(database, first.sequence) == ([], first.sequence)
    ingest = Ingest(f"sqlite:///{database}")
    ingest.insert([make_record(8), make_record(7)])
    ingest.close()
    second = logs.follow(database, first.sequence)
    assert [record.id[-1] for record in second.records] == ["8", "7"]
    assert logs.follow(database, second.sequence).records == []
    assert logs.tail(database, -1) == ([], second.sequence)


def test_show_brings_bodies_where_they_are_kept(database: Path) -> None:
    """One request with its bodies, by either id; without bodies where none were kept."""
    assert logs.show(database, "record-00000002") == [(make_record(2, status=400), make_content(2))]
    assert logs.show(database, "req-00000001") == [(make_record(1, status=300), None)]
    assert logs.show(database, "nothing") == []


def test_search_understands_what_people_type(database: Path) -> None:
    """Ages, dates and classes of status select what they say."""

    def found(**typed: str) -> list[str]:
        page = logs.search(database, logs.Search(**typed), now=_NOW)
        return [record.id[-1] for record in page.records]

    assert found() == ["3", "2", "1", "0"]
    assert found(status="4xx") == ["2"]
    assert found(status="300") == ["1"]
    assert found(since="98s") == ["3", "2"]
    assert found(until="98s") == ["1", "0"]
    assert found(since="2025-06-15", until="2025-06-16T12:00:00+00:00") == ["3", "2", "1", "0"]
    assert found(text="record-00000003") == ["3"]
    assert found(provider="openai", model="smart", key="static-0a1b2c3d", outcome="ok") == ["3", "2", "1", "0"]
    assert found(outcome="failed") == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("90s", 90), ("30m", 1800), (" 2 h ", 7200), ("7d", 604_800), ("1w", 604_800)],
)
def test_ages_count_back_from_now(text: str, seconds: int) -> None:
    """An age is so long before now."""
    assert logs.read_moment(text, _NOW) == _NOW - seconds


def test_moments_keep_their_zone() -> None:
    """A time that names its zone is taken in it; one without is local."""
    moment = datetime(2026, 7, 25, 12, 0, tzinfo=UTC)
    assert logs.read_moment("2026-07-25T14:00:00+02:00", _NOW) == moment.timestamp()
    assert logs.read_moment("2026-07-25T12:00:00Z", _NOW) == moment.timestamp()
    assert logs.read_moment("2026-07-25", _NOW) == datetime.fromisoformat("2026-07-25").timestamp()


@pytest.mark.parametrize("text", ["", "yesterday", "5", "-5m", "5y", "2026-13-01", "9" * 30 + "d", "\x1b[31m", "٣m"])
def test_strange_times_are_explained(text: str) -> None:
    """What is no time is said to be none, with examples of what would be."""
    with pytest.raises(ValueError, match="is no time: use an age like 30m"):
        logs.read_moment(text, _NOW)


@pytest.mark.parametrize(("text", "statuses"), [("404", (404, 404)), ("4xx", (400, 499)), (" 5XX ", (500, 599))])
def test_statuses_are_numbers_or_classes(text: str, statuses: tuple[int, int]) -> None:
    """A number selects itself, a class its hundred."""
    assert logs.read_statuses(text) == statuses


@pytest.mark.parametrize("text", ["", "4", "40", "4x", "xx", "999", "4040", "ok", "-404", "٤٠٤"])
def test_strange_statuses_are_explained(text: str) -> None:
    """What is no status is said to be none, with examples of what would be."""
    with pytest.raises(ValueError, match="is no status: use a number like 404"):
        logs.read_statuses(text)


def test_before_the_first_start_it_says_so(tmp_path: Path) -> None:
    """Every way to read names the missing file and how to get it."""
    path = tmp_path / "flumegate.db"
    for read in (lambda: logs.tail(path, 1), lambda: logs.follow(path, 0), lambda: logs.show(path, "x")):
        with pytest.raises(StoreUnavailable, match="flumegate serve"):
            read()
    with pytest.raises(StoreUnavailable, match="flumegate serve"):
        logs.search(path, logs.Search(), now=_NOW)
