from __future__ import annotations

from collections.abc import Iterator

import pytest

from flumegate.records.request import Content, Record
from flumegate.records.stored import Stored, Wanted
from flumegate.store import responses
from flumegate.store.ingest import Ingest
from flumegate.store.queries import find_content, find_requests
from flumegate.store.responses import find_response, forget_response
from rig.records import make_record

ASKED = b'{"input":"x"}'
SAID = b'{"id":"resp_1"}'


def response_record(**fields: object) -> Record:
    """Return the record of a translated response whose content is kept whole."""
    usual = {
        "id": "0123456789abcdef",
        "endpoint": "responses",
        "lane": "translated",
        "key_id": "key-a",
        "project": "blue",
        "response_bytes": len(SAID),
    }
    return make_record(1, **(usual | fields))


CONTENT = Content("0123456789abcdef", ASKED, SAID)
MINE = Wanted("0123456789abcdef", "key-a", "blue")


@pytest.fixture
def ingest(url: str) -> Iterator[Ingest]:
    made = Ingest(url)
    yield made
    made.close()


def find(ingest: Ingest, wanted: Wanted) -> Stored:
    with ingest.database.reader() as connection:
        return find_response(connection, wanted)


def test_its_owner_finds_a_response(ingest: Ingest) -> None:
    ingest.insert([response_record()], [CONTENT])
    assert find(ingest, MINE) == Stored("found", ASKED, SAID)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted("0123456789abcdef", "key-b", "blue"),
        Wanted("0123456789abcdef", "key-a", "red"),
        Wanted("0123456789abcdef", "", ""),
        Wanted("0123456789abcde", "key-a", "blue"),
        Wanted("%", "key-a", "blue"),
        Wanted("\ud800", "key-a", "blue"),
        Wanted("' OR '1'='1", "key-a", "blue"),
    ],
)
def test_nobody_else_finds_or_deletes_it(ingest: Ingest, wanted: Wanted) -> None:
    """A stranger is told what everybody is told of an id that was never given."""
    ingest.insert([response_record()], [CONTENT])
    assert find(ingest, wanted) == Stored("unknown")
    forget_response(ingest.database, wanted)
    assert find(ingest, MINE).state == "found"


@pytest.mark.parametrize(
    "fields",
    [
        {"endpoint": "chat"},
        {"endpoint": "response"},
        {"lane": "verbatim"},
        {"status": 400},
        {"outcome": "truncated"},
        {"outcome": "cancelled"},
    ],
)
def test_what_is_no_whole_answer_of_ours_is_no_response(ingest: Ingest, fields: dict[str, object]) -> None:
    ingest.insert([response_record(**fields)], [CONTENT])
    assert find(ingest, MINE) == Stored("unknown")


def test_without_a_record_or_a_content_nothing_is_known(ingest: Ingest) -> None:
    """Whose a content is, only its record tells; and without content there is nothing to tell."""
    ingest.insert([], [CONTENT])
    assert find(ingest, MINE) == Stored("unknown")
    ingest.insert([response_record(id="1123456789abcdef")])
    assert find(ingest, Wanted("1123456789abcdef", "key-a", "blue")) == Stored("unknown")


def test_an_answer_that_was_kept_in_part_is_cut(ingest: Ingest) -> None:
    ingest.insert([response_record(response_bytes=len(SAID) + 1)], [CONTENT])
    assert find(ingest, MINE) == Stored("cut")


def test_what_does_not_fit_through_the_link_is_not_read(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "MOST_BYTES", len(ASKED) + len(SAID) - 1)
    ingest.insert([response_record()], [CONTENT])
    assert find(ingest, MINE) == Stored("too_large")


def test_a_deleted_response_stays_deleted(ingest: Ingest) -> None:
    """Its words are gone and its record stays; a segment of the spool that is read again does not bring it back."""
    ingest.insert([response_record()], [CONTENT])
    forget_response(ingest.database, MINE)
    ingest.insert([response_record()], [CONTENT])
    assert find(ingest, MINE) == Stored("deleted")
    with ingest.database.reader() as connection:
        assert find_content(connection, MINE.id) == Content(MINE.id)
        assert len(find_requests(connection, MINE.id)) == 1
