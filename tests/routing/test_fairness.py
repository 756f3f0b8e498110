"""Who gets a place when there are not enough of them."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flumegate.routing.fairness import Admission, Verdict

KEYS = ("ann", "bob", "cid", "dot")


def book(max_active: int, max_queued: int, *entries: str) -> Admission[str]:
    """Return a book into which `ann1`, `bob1` … have entered in this order."""
    admission: Admission[str] = Admission(max_active, max_queued)
    for ticket in entries:
        admission.enter(ticket[:3], ticket)
    return admission


def test_a_key_alone_may_have_every_place() -> None:
    """Nothing is set aside for keys that do not ask."""
    admission = book(3, 0)
    assert [admission.enter("ann", f"ann{n}").verdict for n in range(4)] == [*[Verdict.ADMITTED] * 3, Verdict.REFUSED]


def test_free_places_go_round_and_each_key_is_served_in_its_order() -> None:
    """A key with five that wait gets one place for each place of the key with two."""
    admission = book(1, 9, "ann0", "ann1", "ann2", "ann3", "bob1", "bob2", "cid1")
    order: list[str] = ["ann0"]
    while admission.active:
        order += admission.leave(order[-1][:3])
    assert order == ["ann0", "ann1", "bob1", "cid1", "ann2", "bob2", "ann3"]


def test_a_full_queue_refuses_the_newest_of_the_key_that_queues_most() -> None:
    """Who comes late is queued in its place."""
    admission = book(1, 3, "ann0", "ann1", "ann2", "ann3")
    assert admission.enter("bob", "bob1") == (Verdict.QUEUED, "ann3")
    assert admission.enter("ann", "ann4") == (Verdict.REFUSED, None)
    assert admission.enter("cid", "cid1") == (Verdict.QUEUED, "ann2")
    assert admission.leave("ann") == ["ann1"]


def test_among_equals_nobody_is_displaced() -> None:
    """A newcomer that would queue as much as anybody is the newest: it is the one to be refused."""
    admission = book(1, 2, "ann0", "ann1", "bob1")
    assert admission.enter("cid", "cid1") == (Verdict.REFUSED, None)
    assert admission.enter("bob", "bob2") == (Verdict.REFUSED, None)


def test_without_a_queue_everybody_beyond_the_places_is_refused() -> None:
    """`max_queued: 0` means no waiting."""
    assert book(1, 0, "ann0").enter("bob", "bob1") == (Verdict.REFUSED, None)


def test_who_withdraws_is_not_served_and_frees_the_queue() -> None:
    """A second withdrawal, or one of a request that has a place, does nothing."""
    admission = book(1, 2, "ann0", "ann1", "bob1")
    assert admission.withdraw("ann1") is True
    assert admission.withdraw("ann1") is False
    assert admission.withdraw("ann0") is False
    assert (admission.active, admission.queued) == (1, 1)
    assert admission.leave("ann") == ["bob1"]


def test_more_places_serve_those_who_wait_and_fewer_take_nothing_away() -> None:
    """A changed setting counts at once for what is free."""
    admission = book(1, 4, "ann0", "ann1", "bob1", "ann2")
    assert admission.resize(3, 4) == ["ann1", "bob1"]
    assert list(admission.resize(1, 0)) == []
    assert admission.active == 3
    assert admission.leave("ann") == []
    assert admission.leave("ann") == []
    assert admission.leave("bob") == ["ann2"]


@pytest.mark.parametrize(
    ("held", "key", "verdict"),
    [
        ("ann ann ann ann bob", "ann", Verdict.REFUSED),
        ("ann ann ann ann bob", "bob", Verdict.ADMITTED),
        ("ann ann ann ann bob", "cid", Verdict.ADMITTED),
        ("ann bob", "ann", Verdict.REFUSED),
        ("ann ann ann ann", "ann", Verdict.ADMITTED),
        ("", "ann", Verdict.ADMITTED),
    ],
)
def test_under_pressure_no_key_grows_beyond_the_mean(held: str, key: str, verdict: Verdict) -> None:
    """The key with most is refused first, and a key alone shares with nobody."""
    admission = book(100, 100, *held.split())
    assert admission.enter(key, "new", pressed=True).verdict is verdict


class Book(RuleBasedStateMachine):
    """Requests enter, leave and withdraw in any order; a plain list of who waits is the model."""

    def __init__(self) -> None:
        super().__init__()
        self.max_active, self.max_queued = 3, 4
        self.book: Admission[int] = Admission(self.max_active, self.max_queued)
        self.active: dict[int, str] = {}
        self.waiting: dict[int, str] = {}
        self.patience: dict[str, int] = {}
        """Waiting key → how many places may still become free before it gets one."""
        self.number = 0

    @rule(key=st.sampled_from(KEYS), pressed=st.booleans())
    def enter(self, key: str, pressed: bool) -> None:
        self.number += 1
        free, lengths = len(self.active) < self.max_active, self.lengths()
        verdict, displaced = self.book.enter(key, self.number, pressed=pressed)
        if verdict is Verdict.ADMITTED:
            assert free
            self.active[self.number] = key
        elif verdict is Verdict.QUEUED:
            assert not free
            if displaced is not None:
                loser = self.waiting[displaced]
                assert lengths[loser] == max(lengths.values()) > lengths.get(key, 0) + 1
                assert displaced == max(ticket for ticket, owner in self.waiting.items() if owner == loser)
                self.strike(displaced)
            if key not in self.lengths():
                self.patience[key] = len(self.lengths()) + 1
            self.waiting[self.number] = key
        else:
            full = len(self.waiting) >= self.max_queued
            assert pressed or (full and not free and max(lengths.values(), default=0) <= lengths.get(key, 0) + 1)

    @precondition(lambda self: self.active)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.active)))
        key = self.active.pop(ticket)
        self.seat(self.book.leave(key))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.waiting)))
        assert self.book.withdraw(ticket)
        self.strike(ticket)

    @rule(max_active=st.integers(1, 5), max_queued=st.integers(0, 5))
    def resize(self, max_active: int, max_queued: int) -> None:
        self.max_active, self.max_queued = max_active, max_queued
        self.seat(self.book.resize(max_active, max_queued))

    def seat(self, tickets: object) -> None:
        assert isinstance(tickets, list | tuple)
        for ticket in tickets:
            key = self.waiting[ticket]
            assert ticket == min(other for other, owner in self.waiting.items() if owner == key), "not in its order"
            self.patience = {other: left - 1 for other, left in self.patience.items()}
            assert self.patience[key] >= 0
            self.strike(ticket)
            self.active[ticket] = key
            if key in self.lengths():
                self.patience[key] = len(self.lengths())
        assert all(left >= 0 for left in self.patience.values()), "somebody starves"

    def strike(self, ticket: int) -> None:
        key = self.waiting.pop(ticket)
        if key not in self.lengths():
            del self.patience[key]

    def lengths(self) -> dict[str, int]:
        owners = list(self.waiting.values())
        return {key: owners.count(key) for key in owners}

    @invariant()
    def the_book_is_right(self) -> None:
        assert (self.book.active, self.book.queued) == (len(self.active), len(self.waiting))
        assert not self.waiting or len(self.active) >= self.max_active, "a place is free while somebody waits"

    def teardown(self) -> None:
        """Whatever happened, no place is lost."""
        while self.active:
            _, key = self.active.popitem()
            self.seat(self.book.leave(key))
        assert (self.book.active, self.book.queued, self.waiting) == (0, 0, {})
        for number in range(self.max_active):
            assert self.book.enter("new", -number - 1).verdict is Verdict.ADMITTED


TestBook = Book.TestCase
TestBook.settings = settings(stateful_step_count=40, deadline=None)
