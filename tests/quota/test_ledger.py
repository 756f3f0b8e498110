from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flumegate.quota.ledger import Ledger, Line, Short, Unknown, line_of, recorded
from flumegate.records.access import Budget

REQUESTS = st.sampled_from("abcdefgh")
LINES = [Line("key:1@2026-11-21", 1_000, 86_400.0), Line("project:1@2026-11", 1_500, 0.0), Line("key:2@total", 700)]
SOME = st.lists(st.sampled_from(LINES), unique=True)
MONEY = st.integers(0, 900)
NOON = 1_795_262_400.0
"""2026-11-21 12:00 UTC."""


class Spending(RuleBasedStateMachine):
    """Any calls in any order, beside a list of what was done."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        for line in LINES:
            self.ledger.open(line.account, 0)
        self.holds: dict[str, tuple[list[Line], int]] = {}
        self.spent = {line.account: 0 for line in LINES}

    def held(self, line: Line) -> int:
        return sum(micros for lines, micros in self.holds.values() if line in lines)

    @rule(request=REQUESTS, lines=SOME, micros=MONEY)
    def reserve(self, request: str, lines: list[Line], micros: int) -> None:
        fits = all(line.limit_micros - self.spent[line.account] - self.held(line) >= max(1, micros) for line in lines)
        short = self.ledger.reserve(request, lines, micros)
        if request in self.holds:
            assert short is None
            return
        assert (short is None) == fits
        if short is None:
            self.holds[request] = (lines, micros)
            for line in lines:
                assert self.ledger.spent(line.account) + self.held(line) <= line.limit_micros

    @rule(request=REQUESTS, micros=MONEY)
    def extend(self, request: str, micros: int) -> None:
        lines, held = self.holds.get(request, ([], 0))
        fits = all(line.limit_micros - self.spent[line.account] - self.held(line) >= micros for line in lines)
        assert (self.ledger.extend(request, lines, micros) is None) == fits
        if fits and request in self.holds:
            self.holds[request] = (lines, held + micros)
            for line in lines:
                assert self.ledger.spent(line.account) + self.held(line) <= line.limit_micros

    @rule(request=REQUESTS, cost=st.none() | MONEY, times=st.integers(1, 3))
    def settle(self, request: str, cost: int | None, times: int) -> None:
        for _ in range(times):
            self.ledger.settle(request, cost)
        lines, held = self.holds.pop(request, ([], 0))
        for line in lines:
            self.spent[line.account] += held if cost is None else cost

    @rule(line=st.sampled_from(LINES), spent=MONEY)
    def open_again(self, line: Line, spent: int) -> None:
        self.ledger.open(line.account, spent)

    @invariant()
    def the_books_agree(self) -> None:
        for line in LINES:
            assert self.ledger.spent(line.account) == self.spent[line.account]
            assert self.ledger.left(line) == line.limit_micros - self.spent[line.account] - self.held(line)
        for request in "abcdefgh":
            assert self.ledger.holds(request) == (request in self.holds)
            assert self.ledger.held_for(request) == self.holds.get(request, ([], 0))[1]

    def teardown(self) -> None:
        for request in list(self.holds):
            self.settle(request, None, 2)
        assert self.ledger.held_total == 0
        for line in LINES:
            assert self.ledger.left(line) == line.limit_micros - self.spent[line.account]


Spending.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_spending_in_any_order = pytest.mark.timeout(120)(Spending.TestCase)


def test_nothing_is_held_on_an_account_that_nobody_opened() -> None:
    """What it has spent so far must be told first, else a restart would be a way around every budget."""
    ledger, (first, second, _) = Ledger(), LINES
    ledger.open(first.account, 900)
    assert ledger.reserve("a", [first, second], 10) == Unknown((second.account,))
    assert ledger.held_total == 0
    assert (ledger.left(first), ledger.left(second)) == (100, 1_500)
    ledger.open(second.account, 0)
    assert ledger.reserve("a", [first, second], 101) == Short(first, 100)
    assert ledger.reserve("a", [first, second], 100) is None
    assert ledger.spent("nobody's") == 0


def test_a_budget_without_anything_left_refuses_what_costs_nothing() -> None:
    """Nobody knows what a free answer will turn out to cost."""
    ledger, line = Ledger(), LINES[0]
    ledger.open(line.account, line.limit_micros)
    assert ledger.reserve("a", [line], 0) == Short(line, 0)


def test_two_lines_of_one_account_are_one_amount() -> None:
    """The stricter limit counts, and the money is held and spent once."""
    ledger, line = Ledger(), LINES[0]
    ledger.open(line.account, 0)
    strict = line._replace(limit_micros=50)
    assert ledger.reserve("a", [line, strict], 51) == Short(strict, 50)
    assert ledger.reserve("a", [line, strict], 50) is None
    assert ledger.left(line) == 950
    ledger.settle("a", 70)
    assert (ledger.spent(line.account), ledger.left(strict)) == (70, -20)


def test_a_new_limit_counts_for_the_next_extension() -> None:
    """Lowered while a stream is under way: it gets no more."""
    ledger, line = Ledger(), LINES[0]
    ledger.open(line.account, 0)
    assert ledger.reserve("a", [line], 100) is None
    lowered = line._replace(limit_micros=120)
    assert ledger.extend("a", [lowered], 21) == Short(lowered, 20)
    assert ledger.extend("a", [lowered], 20) is None
    assert ledger.held_for("a") == 120


def test_accounts_of_past_periods_are_forgotten_when_nobody_needs_them() -> None:
    """A request that began before midnight is settled in its own day."""
    ledger = Ledger()
    ledger.open("day", 0, ends_at=100.0)
    ledger.open("other day", 0, ends_at=100.0)
    ledger.open("tomorrow", 0, ends_at=200.0)
    ledger.open("total", 0)
    assert ledger.reserve("a", [Line("day", 10, 100.0)], 0) is None
    assert ledger.forget(100.0) == 0
    assert ledger.forget(101.0) == 1
    ledger.settle("a", 5)
    assert ledger.spent("day") == 5
    assert ledger.forget(101.0) == 1
    assert ledger.unknown([Line(name, 1) for name in ("day", "tomorrow", "total")]) == ("day",)


def test_a_line_is_a_budget_at_a_time() -> None:
    """Each period is its own account; what it was raised by counts until then and no longer."""
    budget = Budget("key:1", "day", 1_000, raised_micros=500, raised_until=NOON + 60)
    midnight = NOON + 12 * 3_600
    assert line_of(budget, NOON) == Line("key:1@2026-11-21", 1_500, midnight)
    assert line_of(budget, NOON + 60) == Line("key:1@2026-11-21", 1_000, midnight)
    assert line_of(budget, midnight).account == "key:1@2026-11-22"
    assert line_of(Budget("project:1", "month", 7), NOON).account == "project:1@2026-11"
    assert line_of(Budget("project:1", "total", 7), NOON) == Line("project:1@total", 7, 0.0)


def test_a_budget_that_is_set_again_has_another_account() -> None:
    """Which the records call the same, whatever stands in the names of models."""
    now = 1_795_262_400.0
    lines = [
        line_of(Budget(scope, "day", 1, since=since), now) for scope in ("key:k", "model:a@b#1") for since in (0, 7)
    ]
    assert [line.account for line in lines] == [
        "key:k@2026-11-21",
        "key:k@2026-11-21#7",
        "model:a@b#1@2026-11-21",
        "model:a@b#1@2026-11-21#7",
    ]
    names = ["key:k@2026-11-21", "model:a@b#1@2026-11-21"]
    assert [recorded(line.account) for line in lines] == [names[0], names[0], names[1], names[1]]
