from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flumegate.quota import book as constants
from flumegate.quota.book import Book, Holder, Over, Room
from flumegate.quota.ledger import Ledger, Line, Short, Unknown
from flumegate.quota.stay import NOTHING, Allowance, Stay, allowance_at
from flumegate.records.access import Budget, Limits

KEY = Holder("key:1", Limits(requests_per_minute=6, concurrency=3))
OTHER = Holder("key:2", Limits(tokens_per_minute=500, max_requests=9))
PROJECT = Holder("project:1", Limits(requests_per_minute=10, tokens_per_minute=900, concurrency=5))
FREE = Holder("key:3", Limits())
HOLDERS = [KEY, OTHER, PROJECT, FREE]
LINES = [Line("key:1@2026-11-21", 1_000, 86_400.0), Line("project:1@2026-11", 1_500, 0.0), Line("key:2@total", 700)]
REQUESTS = st.sampled_from("abcdefgh")
MONEY = st.integers(0, 900)
NOW = 1_000.0
NOON = 1_795_262_400.0
"""2026-11-21 12:00 UTC."""


class Place:
    """A book and a ledger, and who asks there."""

    def __init__(self) -> None:
        self.book, self.ledger = Book(), Ledger()

    def bound(self, holders: list[Holder], lines: list[Line] | None = None, now: float = NOW) -> Allowance:
        """Return an allowance that knows where it is counted."""
        allowance = Allowance(holders, [], lines or [])
        assert allowance.bind(self.book, self.ledger, now) is None
        return allowance

    def ask(
        self, holders: list[Holder], lines: list[Line] | None = None, *, tokens: int = 0, micros: int = 0,
        now: float = NOW,
    ) -> Stay | Over | Short:  # fmt: skip
        """Ask for a request to be admitted."""
        allowance = self.bound(holders, lines, now)
        stay = allowance.enter(tokens, micros, int(now))
        if stay is not None:
            assert stay.held == micros
            return stay
        return allowance.refused(tokens, micros, now) or allowance.count(tokens, micros, int(now))

    def open(self, *lines: Line) -> None:
        for line in lines:
            self.ledger.open(line.account, 0)

    def left(self, line: Line) -> int:
        """Return what may still be spent, beside what is held."""
        account = self.ledger.account(line.account)
        return line.limit_micros - account.spent - account.held

    def rooms(self, holder: Holder, now: float = NOW) -> tuple[Room | None, Room | None]:
        """Return what is left to a holder."""
        allowance = self.bound([holder], now=now)
        for sheet in allowance.sheets:
            sheet.turn(int(now))
        return allowance.rooms()


class Coming(RuleBasedStateMachine):
    """Any calls in any order, beside lists of who came when and of what was spent."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Place()
        self.place.book.tell(OTHER.name, 2)
        self.place.open(*LINES)
        self.now = NOW
        self.stays: dict[str, Stay] = {}
        self.inside: dict[str, tuple[list[Holder], list[Line]]] = {}
        self.admitted: list[tuple[float, str]] = []
        self.held: dict[str, int] = {}
        self.spent = {line.account: 0 for line in LINES}
        self.served = 2

    def held_on(self, line: Line) -> int:
        return sum(self.held[request] for request, (_, lines) in self.inside.items() if line in lines)

    def fits(self, lines: list[Line], micros: int) -> bool:
        return all(line.limit_micros - self.spent[line.account] - self.held_on(line) >= micros for line in lines)

    @rule(seconds=st.floats(min_value=0, max_value=40))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        request=REQUESTS,
        holders=st.lists(st.sampled_from(HOLDERS), unique=True),
        lines=st.lists(st.sampled_from(LINES), unique=True),
        tokens=st.integers(0, 400),
        micros=MONEY,
    )
    def enter(self, request: str, holders: list[Holder], lines: list[Line], tokens: int, micros: int) -> None:
        if request in self.inside:
            return
        found = self.place.ask(holders, lines, tokens=tokens, micros=micros, now=self.now)
        if isinstance(found, Stay):
            assert self.fits(lines, max(1, micros))
            self.stays[request], self.inside[request], self.held[request] = found, (holders, lines), micros
            self.admitted += [(self.now, holder.name) for holder in holders]
            self.served += OTHER in holders
        elif isinstance(found, Over):
            assert found.wait_seconds is None or found.wait_seconds > 0
        else:
            assert not self.fits(lines, max(1, micros))

    @rule(request=REQUESTS, micros=MONEY)
    def extend(self, request: str, micros: int) -> None:
        if request in self.inside:
            fits = self.fits(self.inside[request][1], micros)
            assert (self.stays[request].extend(micros) is None) == fits
            self.held[request] += micros if fits else 0

    @rule(request=REQUESTS, tokens=st.none() | st.integers(0, 900), cost=st.none() | MONEY, times=st.integers(1, 3))
    def leave(self, request: str, tokens: int | None, cost: int | None, times: int) -> None:
        if request in self.inside:
            for _ in range(times):
                self.stays[request].leave(tokens, cost, self.now)
            _, lines = self.inside.pop(request)
            held = self.held.pop(request)
            for line in lines:
                self.spent[line.account] += held if cost is None else cost

    @invariant()
    def nobody_has_more_than_allowed(self) -> None:
        for holder in HOLDERS:
            inside = sum(holder in holders for holders, _ in self.inside.values())
            assert self.place.book.active(holder.name) == inside
            if most := holder.limits.concurrency:
                assert inside <= most
            recent = sum(name == holder.name and time > self.now - 60 for time, name in self.admitted)
            if most := holder.limits.requests_per_minute:
                assert recent <= most
                room, _ = self.place.rooms(holder, self.now)
                assert room is not None
                assert room.remaining <= most - recent
        assert self.served <= OTHER.limits.max_requests
        (sheet,) = self.place.book.sheets([OTHER.name], int(self.now))
        assert sheet.served == self.served

    @invariant()
    def the_accounts_agree(self) -> None:
        for line in LINES:
            account = self.place.ledger.account(line.account)
            assert (account.spent, account.held) == (self.spent[line.account], self.held_on(line))

    def teardown(self) -> None:
        for request in list(self.inside):
            self.leave(request, None, None, 2)
        assert all(self.place.book.active(holder.name) == 0 for holder in HOLDERS)
        assert self.place.ledger.held_total == 0


Coming.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_coming_and_going_in_any_order = pytest.mark.timeout(120)(Coming.TestCase)


def holder(name: str = "key:9", *, rpm: int = 0, tpm: int = 0, concurrency: int = 0, most: int = 0) -> Holder:
    """Return a holder with limits."""
    return Holder(name, Limits(rpm, tpm, concurrency, most))


def test_each_limit_says_what_it_was_and_how_long_it_lasts() -> None:
    """A rate knows when there is room again, a place and a life's count do not."""
    place = Place()
    cases = [
        (holder("a", rpm=1), Over("requests", holder("a", rpm=1), 1, 61.0)),
        (holder("b", tpm=100), Over("tokens", holder("b", tpm=100), 100, 61.0)),
        (holder("c", concurrency=1), Over("concurrency", holder("c", concurrency=1), 1, None)),
        (holder("d", most=1), Over("max_requests", holder("d", most=1), 1, None)),
    ]
    for limited, over in cases:
        unbound = Allowance([limited], [], [])
        told = None if limited.name != "d" else Unknown((), ("d",))
        assert unbound.bind(place.book, place.ledger, NOW) == told
        place.book.tell(limited.name, 0)
        assert isinstance(place.ask([limited], tokens=60), Stay)
        assert place.ask([FREE, limited], tokens=60) == over
    assert place.book.active(FREE.name) == 0


def test_what_nobody_has_told_must_be_told_before_anything_is_held() -> None:
    """Neither an account nor a life's count begins at nothing."""
    place, limited = Place(), holder(most=1)
    place.open(LINES[0])
    allowance = Allowance([limited], [], LINES[:2])
    assert allowance.bind(place.book, place.ledger, NOW) == Unknown((LINES[1].account,), (limited.name,))
    assert allowance.era is None
    place.open(LINES[1])
    place.book.tell(limited.name, 1)
    assert allowance.bind(place.book, place.ledger, NOW) is None
    assert allowance.era is place.book.era
    assert allowance.refused(0, 0, NOW) == Over("max_requests", limited, 1, None)


def test_more_tokens_than_a_limit_has_are_admitted_when_nothing_else_counts() -> None:
    """Else such a request never were; the next one waits for all of it."""
    place, limited = Place(), holder(tpm=100)
    place.open(LINES[0])
    stay = place.ask([limited], [LINES[0]], tokens=300, micros=7)
    assert isinstance(stay, Stay)
    assert place.left(LINES[0]) == 993
    assert stay.allowance.rooms() == (None, Room(100, 0, 61))
    assert place.ask([limited], tokens=1) == Over("tokens", limited, 100, 61.0)
    stay.leave(60, None, NOW)
    assert isinstance(place.ask([limited], tokens=40), Stay)


def test_tokens_are_corrected_when_they_are_known() -> None:
    """More than expected counts from now on, less is given back, unknown stays as expected."""
    place, limited = Place(), holder(tpm=1_000)
    for step, (real, used) in enumerate(((50, 50), (300, 350), (None, 450), (100, 550), (40, 590))):
        stay = place.ask([limited], tokens=100, now=NOW + 2 * step)
        assert isinstance(stay, Stay)
        stay.leave(real, None, NOW + 2 * step + (1 if step < 4 else 0))
        assert place.rooms(limited, NOW + 2 * step + 1) == (None, Room(1_000, 1_000 - used, 61))


def test_what_was_not_taken_is_given_back_where_it_was_counted() -> None:
    """In the second in which the request came, though another one has begun since."""
    place, limited = Place(), holder(tpm=1_000)
    stay = place.ask([limited], tokens=100)
    assert isinstance(stay, Stay)
    assert isinstance(place.ask([limited], tokens=10, now=NOW + 1), Stay)
    stay.leave(40, None, NOW + 1)
    assert place.rooms(limited, NOW + 1) == (None, Room(1_000, 950, 61))
    assert place.rooms(limited, NOW + 61) == (None, Room(1_000, 990, 61))


def test_a_request_leaves_where_it_was_counted() -> None:
    """Whatever the limits have become meanwhile."""
    place = Place()
    before, after = holder(rpm=5, tpm=1_000), holder(tpm=800)
    stay = place.ask([before], tokens=500)
    assert isinstance(stay, Stay)
    assert place.rooms(after) == (None, Room(800, 300, 61))
    stay.leave(100, None, NOW)
    assert place.rooms(after) == (None, Room(800, 700, 61))
    assert place.book.active(before.name) == 0


def test_the_tightest_of_several_limits_is_told() -> None:
    """Of requests and of tokens each, whoever has it."""
    place = Place()
    wide, tight, between = holder("a", rpm=9, tpm=900), holder("b", rpm=5, tpm=1_000), holder("c", rpm=7, tpm=950)
    one = place.ask([wide, tight, between], tokens=100)
    assert isinstance(one, Stay)
    assert one.allowance.rooms() == (Room(5, 4, 61), Room(900, 800, 61))
    other = place.ask([tight, wide, between, FREE], tokens=200)
    assert isinstance(other, Stay)
    assert other.allowance.rooms() == (Room(5, 3, 61), Room(900, 600, 61))
    assert place.rooms(FREE) == (None, None)


def test_a_request_that_was_admitted_elsewhere_is_counted() -> None:
    """Beyond any limit, and it leaves like any other."""
    place, limited = Place(), holder(rpm=1, concurrency=1)
    stays = [place.bound([limited]).count(0, 0, int(NOW)) for _ in "ab"]
    assert place.book.active(limited.name) == 2
    assert place.ask([limited]) == Over("concurrency", limited, 1, None)
    for stay in stays:
        stay.leave(None, None, NOW)
    assert place.ask([limited]) == Over("requests", limited, 1, 61.0)


def test_who_is_bound_notices_that_something_was_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the era: one that is bound anew is counted where all others are."""
    monkeypatch.setattr(constants, "MOST_HOLDERS", 1)
    place, limited = Place(), holder(rpm=1)
    old = place.bound([limited])
    assert old.era is place.book.era
    place.bound([holder("other")])
    assert old.era is not place.book.era
    assert isinstance(place.ask([limited]), Stay)
    assert old.bind(place.book, place.ledger, NOW) is None
    assert old.refused(0, 0, NOW) == Over("requests", limited, 1, 61.0)


def test_a_budget_without_anything_left_refuses_what_costs_nothing() -> None:
    """Nobody knows what a free answer will turn out to cost."""
    place, line = Place(), LINES[0]
    place.ledger.open(line.account, line.limit_micros)
    assert place.ask([], [line]) == Short(line, 0)


def test_a_request_is_admitted_by_all_or_by_none() -> None:
    """What one budget refuses takes nothing of another one, and no place."""
    place, (first, second, _) = Place(), LINES
    place.open(first, second)
    for _ in range(3):
        assert place.ask([KEY], [second, first], micros=1_001) == Short(first, 1_000)
    assert (place.left(first), place.left(second)) == (1_000, 1_500)
    assert place.rooms(KEY) == (Room(6, 6, 61), None)


def test_two_lines_of_one_account_are_one_amount() -> None:
    """The stricter limit counts, and the money is held and spent once."""
    place, line = Place(), LINES[0]
    place.open(line)
    strict = line._replace(limit_micros=50)
    assert place.ask([], [line, strict], micros=51) == Short(strict, 50)
    assert place.ask([], [strict, line], micros=51) == Short(strict, 50)
    stay = place.ask([], [line, strict], micros=50)
    assert isinstance(stay, Stay)
    assert place.left(line) == 950
    stay.leave(None, 70, NOW)
    assert (place.left(line), place.left(strict)) == (930, -20)


def test_what_is_held_grows_as_long_as_there_is_something() -> None:
    """What could not be had is not held, and what has left holds nothing any more."""
    place, line = Place(), LINES[0]
    place.open(line)
    stay = place.ask([], [line], micros=100)
    assert isinstance(stay, Stay)
    assert stay.extend(901) == Short(line, 900)
    assert stay.extend(900) is None
    assert (stay.held, place.left(line)) == (1_000, 0)
    stay.leave(None, None, NOW)
    assert stay.extend(5) is None
    assert (place.ledger.held_total, place.left(line)) == (0, 0)


def test_an_allowance_holds_until_its_lines_change() -> None:
    """With the day, or where a raise ends; and not before the time that it was made for."""
    midnight = NOON + 12 * 3_600
    raised = Budget("key:1", "total", 1_000, raised_micros=500, raised_until=NOON + 60)
    allowance = allowance_at([KEY], [raised], NOON)
    assert (allowance.begins, allowance.ends, allowance.metered) == (NOON, NOON + 60, True)
    assert allowance.lines == (Line("key:1@total", 1_500, 0.0, 1_200),)
    assert allowance_at([], [raised], NOON + 60).ends == midnight
    assert allowance_at([], [Budget("key:1", "day", 1)], NOON).ends == midnight
    more = allowance.beside([Budget("model:m", "total", 7)], NOON)
    assert more.holders == allowance.holders
    assert [line.account for line in more.lines] == ["key:1@total", "model:m@total"]
    assert not NOTHING.metered
    assert NOTHING.ends == -math.inf
