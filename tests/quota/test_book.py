from __future__ import annotations

import copy

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flumegate.quota import book as constants
from flumegate.quota.book import Book, Holder, Over, Room, limit_of
from flumegate.records.access import Limits

KEY = Holder("key:1", Limits(requests_per_minute=6, concurrency=3))
OTHER = Holder("key:2", Limits(tokens_per_minute=500, max_requests=9))
PROJECT = Holder("project:1", Limits(requests_per_minute=10, tokens_per_minute=900, concurrency=5))
FREE = Holder("key:3", Limits())
HOLDERS = [KEY, OTHER, PROJECT, FREE]
REQUESTS = st.sampled_from("abcdefgh")
NOW = 1_000.0


def left(book: Book, holder: Holder, now: float) -> tuple[Room | None, Room | None]:
    """Return what one more request of a holder would be told, one without tokens; it is not made."""
    book = copy.deepcopy(book)
    assert book.enter("one more", [holder], 0, now, admitted=True) is None
    return book.rooms("one more")


class Coming(RuleBasedStateMachine):
    """Any calls in any order, beside a list of who came when."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book()
        self.book.tell(OTHER.name, 2)
        self.now = NOW
        self.inside: dict[str, tuple[list[Holder], int, float]] = {}
        self.admitted: list[tuple[float, str]] = []
        self.served = 2

    @rule(seconds=st.floats(min_value=0, max_value=40))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(request=REQUESTS, holders=st.lists(st.sampled_from(HOLDERS), unique=True), tokens=st.integers(0, 400))
    def enter(self, request: str, holders: list[Holder], tokens: int) -> None:
        before = {holder.name: self.book.active(holder.name) for holder in HOLDERS}
        over = self.book.enter(request, holders, tokens, self.now)
        if request in self.inside:
            assert over is None
        elif over is None:
            self.inside[request] = (holders, tokens, self.now)
            self.admitted += [(self.now, holder.name) for holder in holders]
            self.served += OTHER in holders
        if over is not None:
            assert over.wait_seconds is None or over.wait_seconds > 0
            assert before == {holder.name: self.book.active(holder.name) for holder in HOLDERS}

    @rule(request=REQUESTS, tokens=st.none() | st.integers(0, 900), times=st.integers(1, 3))
    def leave(self, request: str, tokens: int | None, times: int) -> None:
        self.inside.pop(request, None)
        for _ in range(times):
            self.book.leave(request, tokens, self.now)

    @rule(request=REQUESTS, times=st.integers(1, 3))
    def withdraw(self, request: str, times: int) -> None:
        holders, _, entered = self.inside.pop(request, ([], 0, 0.0))
        for _ in range(times):
            self.book.withdraw(request, self.now)
        self.served -= OTHER in holders
        for holder in holders:
            self.admitted.remove((entered, holder.name))

    @invariant()
    def nobody_has_more_than_allowed(self) -> None:
        for holder in HOLDERS:
            inside = sum(holder in holders for holders, _, _ in self.inside.values())
            assert self.book.active(holder.name) == inside
            if most := holder.limits.concurrency:
                assert inside <= most
            recent = sum(name == holder.name and time > self.now - 60 for time, name in self.admitted)
            if most := holder.limits.requests_per_minute:
                assert recent <= most
                room, _ = left(self.book, holder, self.now)
                assert room is not None
                assert room.remaining <= max(0, most - recent - 1)
        assert self.served <= OTHER.limits.max_requests
        assert self.book._places[OTHER.name].counts.served == self.served

    def teardown(self) -> None:
        for request in list(self.inside):
            self.leave(request, None, 2)
        assert all(self.book.active(holder.name) == 0 for holder in HOLDERS)


Coming.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_coming_and_going_in_any_order = pytest.mark.timeout(120)(Coming.TestCase)


def holder(name: str = "key:9", *, rpm: int = 0, tpm: int = 0, concurrency: int = 0, most: int = 0) -> Holder:
    """Return a holder with limits."""
    return Holder(name, Limits(rpm, tpm, concurrency, most))


def test_each_limit_says_what_it_was_and_how_long_it_lasts() -> None:
    """A rate knows when there is room again, a place and a life's count do not."""
    book = Book()
    cases = [
        (holder("a", rpm=1), Over("requests", holder("a", rpm=1), 1, 61.0)),
        (holder("b", tpm=100), Over("tokens", holder("b", tpm=100), 100, 61.0)),
        (holder("c", concurrency=1), Over("concurrency", holder("c", concurrency=1), 1, None)),
        (holder("d", most=1), Over("max_requests", holder("d", most=1), 1, None)),
    ]
    for limited, over in cases:
        assert bool(book.unknown([limited])) == (limited.name == "d")
        book.tell(limited.name, 0)
        assert book.enter(f"1{limited.name}", [limited], 60, NOW) is None
        assert book.enter(f"2{limited.name}", [FREE, limited], 60, NOW) == over
    assert book.active(FREE.name) == 0


def test_limits_are_called_by_name() -> None:
    """Each name has its own number."""
    names: list[constants.LimitName] = ["requests", "tokens", "concurrency", "max_requests"]
    assert [limit_of(Limits(1, 2, 3, 4), name) for name in names] == [1, 2, 3, 4]


def test_a_life_s_count_is_told_once() -> None:
    """What the book has counted since is not undone by an older number."""
    book, limited = Book(), holder(most=3)
    assert book.unknown([limited, FREE]) == [limited.name]
    book.tell(limited.name, 1)
    assert book.enter("a", [limited], 0, NOW) is None
    book.tell(limited.name, 0)
    assert book.enter("b", [limited], 0, NOW) is None
    assert book.enter("c", [limited], 0, NOW) == Over("max_requests", limited, 3, None)
    assert book.unknown([limited]) == []


def test_tokens_are_corrected_when_they_are_known() -> None:
    """More than expected counts from now on, less is given back, unknown stays as expected."""
    book, limited = Book(), holder(tpm=1_000)
    for step, (request, real, used) in enumerate((("a", 50, 50), ("b", 300, 350), ("c", None, 450), ("d", 100, 550))):
        assert book.enter(request, [limited], 100, NOW + 2 * step) is None
        book.leave(request, real, NOW + 2 * step + 1)
        _, room = left(book, limited, NOW + 2 * step + 1)
        assert room == Room(1_000, 1_000 - used, 61)


def test_a_limit_that_comes_later_counts_from_then_on() -> None:
    """A request that was not counted gives nothing back; one that was counted does, whatever the limit is now."""
    book, limited, free = Book(), holder(rpm=5, tpm=1_000), holder()
    assert book.enter("a", [free], 400, NOW) is None
    assert left(book, free, NOW) == (None, None)
    assert book.enter("b", [limited], 500, NOW) is None
    book.leave("a", 0, NOW)
    assert left(book, limited, NOW) == (Room(5, 3, 61), Room(1_000, 500, 61))
    assert left(book, free, NOW) == (None, None)
    assert book.enter("c", [free], 100, NOW) is None
    book.withdraw("b", NOW)
    book.withdraw("c", NOW)
    assert left(book, limited, NOW) == (Room(5, 4, 61), Room(1_000, 1_000, 61))


def test_the_tightest_of_several_limits_is_told() -> None:
    """Of requests and of tokens each, whoever has it; who is not in is told nothing."""
    book = Book()
    wide, tight, between = holder("a", rpm=9, tpm=900), holder("b", rpm=5, tpm=1_000), holder("c", rpm=7, tpm=950)
    assert book.enter("one", [wide, tight, between], 100, NOW) is None
    assert book.rooms("one") == (Room(5, 4, 61), Room(900, 800, 61))
    assert book.enter("other", [tight, wide, between], 200, NOW) is None
    assert book.rooms("other") == (Room(5, 3, 61), Room(900, 600, 61))
    assert book.rooms("nobody") == (None, None)


def test_a_withdrawn_request_was_never_there() -> None:
    """Neither its place, its tokens nor its number count."""
    book, limited = Book(), holder(rpm=1, tpm=10, concurrency=1, most=1)
    book.tell(limited.name, 0)
    for _ in range(3):
        assert book.enter("a", [limited], 10, NOW) is None
        book.withdraw("a", NOW)


def test_a_request_that_was_admitted_elsewhere_is_counted() -> None:
    """Beyond any limit, once, and it leaves like any other."""
    book, limited = Book(), holder(rpm=1, concurrency=1)
    for request in ("a", "b", "b"):
        assert book.enter(request, [limited], 0, NOW, admitted=True) is None
    assert book.active(limited.name) == 2
    assert book.enter("c", [limited], 0, NOW) == Over("concurrency", limited, 1, None)
    book.leave("a", None, NOW)
    book.leave("b", None, NOW)
    assert book.enter("c", [limited], 0, NOW) == Over("requests", limited, 1, 61.0)


def test_quiet_holders_are_forgotten_and_nothing_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many keys cost no memory for ever, and are no way around a rate."""
    monkeypatch.setattr(constants, "MOST_HOLDERS", 5)
    book = Book()
    quiet, busy = holder("quiet", rpm=1), holder("busy", rpm=1, tpm=9)
    staying, counted, free = holder("staying"), holder("counted", most=5), holder("free")
    book.tell(counted.name, 4)
    assert book.enter("q", [quiet, free], 0, NOW) is None
    assert book.enter("s", [staying], 0, NOW) is None
    book.leave("q", None, NOW)
    assert book.enter("b", [busy], 9, NOW + 100) is None
    book.leave("b", None, NOW + 100)
    assert set(book._places) == {"counted", "busy", "staying"}
    assert book.enter("n", [busy], 9, NOW + 100) == Over("requests", busy, 1, 61.0)
    assert book.unknown([counted]) == []
