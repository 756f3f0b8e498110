from __future__ import annotations

import pytest

from flumegate.quota import book as constants
from flumegate.quota.book import Book, Holder, limit_of
from flumegate.records.access import Limits

LIMITED = Holder("key:1", Limits(max_requests=3))
FREE = Holder("key:3", Limits(requests_per_minute=6))


def test_limits_are_called_by_name() -> None:
    """Each name has its own number."""
    names: list[constants.LimitName] = ["requests", "tokens", "concurrency", "max_requests"]
    assert [limit_of(Limits(1, 2, 3, 4), name) for name in names] == [1, 2, 3, 4]


def test_a_life_s_count_is_told_once() -> None:
    """What the book has counted since is not undone by an older number."""
    book = Book()
    assert book.unknown([LIMITED, FREE]) == (LIMITED.name,)
    (sheet,) = book.sheets([LIMITED.name], 1_000)
    sheet.served += 1
    assert book.unknown([LIMITED]) == (LIMITED.name,)
    book.tell(LIMITED.name, 5)
    assert (sheet.served, sheet.told) == (5, True)
    sheet.served += 1
    book.tell(LIMITED.name, 0)
    assert sheet.served == 6
    assert book.unknown([LIMITED, FREE]) == ()


def test_a_name_is_counted_in_one_place() -> None:
    """Whoever asks for it, and as long as nothing was forgotten in the same era."""
    book = Book()
    first, second = book.sheets(["a", "b"], 1_000)
    era = book.era
    assert book.sheets(["b", "a"], 1_001) == [second, first]
    assert book.era is era
    assert (book.active("a"), book.active("nobody")) == (0, 0)


def test_quiet_holders_are_forgotten_and_nothing_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many keys cost no memory for ever, and are no way around a rate."""
    monkeypatch.setattr(constants, "MOST_HOLDERS", 5)
    book = Book()
    book.tell("counted", 4)
    quiet, tokens, requests, staying = book.sheets(["quiet", "tokens", "requests", "staying"], 1_000)
    quiet.turn(1_000)
    quiet.requests += 1
    staying.active += 1
    for sheet in (tokens, requests):
        sheet.turn(1_050)
    tokens.tokens += 1
    requests.requests += 1
    era = book.era
    assert book.sheets(["tokens", "new", "requests", "staying"], 1_080)[::2] == [tokens, requests]
    assert book.era is not era
    assert set(book._sheets) == {"counted", "tokens", "requests", "staying", "new"}
    assert book.sheets(["staying"], 1_080) == [staying]
    assert book.unknown([Holder("counted", LIMITED.limits)]) == ()
