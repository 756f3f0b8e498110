from __future__ import annotations

import pytest

from flumegate.quota import book as book_constants
from flumegate.quota.book import Holder, Over, limit_of
from flumegate.quota.ledger import Line, Short, Unknown
from flumegate.records.access import Limits
from flumegate.shared import alone as constants
from flumegate.shared.alone import LEASE_PERCENT, Alone

NOW = 1_000.0
LINE = Line("key:1@total", 100_000)


def enter(alone: Alone, request: str, holder: Holder | None = None, micros: int = 0, workers: int = 4) -> object:
    """Ask for a request with one line of budget, or with one holder; a look before it says the same."""
    holders = [] if holder is None else [holder]
    lines = [LINE] if holder is None else []
    looked = alone.look(holders, lines, 10, micros, now=NOW, workers=workers)
    found = alone.enter(request, holders, lines, 10, micros, now=NOW, workers=workers)
    assert found == looked
    return found


@pytest.mark.parametrize(
    ("limits", "admitted"),
    [
        (Limits(requests_per_minute=10), 2),
        (Limits(tokens_per_minute=80), 2),
        (Limits(concurrency=12), 3),
        (Limits(concurrency=3), 1),
    ],
)
def test_a_worker_has_its_share_of_a_limit(limits: Limits, admitted: int) -> None:
    """The limit by the number of workers, at least one; the refusal names the limit itself."""
    alone, holder = Alone(), Holder("key:1", limits)
    assert [enter(alone, str(number), holder) for number in range(admitted)] == [None] * admitted
    over = enter(alone, "x", holder)
    assert isinstance(over, Over)
    assert over.holder == holder
    assert over.allowed == limit_of(limits, over.limit)


def test_what_it_let_in_before_counts() -> None:
    """The first minute of an outage is not a new minute."""
    alone, holder = Alone(), Holder("key:1", Limits(requests_per_minute=8))
    alone.count("before", [holder], 0, NOW)
    assert enter(alone, "a", holder) is None
    assert isinstance(enter(alone, "b", holder), Over)


def test_a_lease_is_a_small_part_of_what_was_left() -> None:
    """Then priced requests are refused, and the same outage never leases more."""
    alone = Alone()
    alone.see(LINE.account, 40_000)
    lease = 40_000 * LEASE_PERCENT // 100
    assert enter(alone, "a", micros=lease - 500) is None
    assert enter(alone, "b", micros=501) == Short(LINE, 500)
    alone.settle("a", lease)
    alone.see(LINE.account, 40_000)
    assert enter(alone, "c", micros=0) == Short(LINE, 0)


def test_the_leases_of_many_workers_are_no_more_than_was_left() -> None:
    """Beyond twenty workers each has an equal part."""
    alone = Alone()
    alone.see(LINE.account, 40_000)
    assert enter(alone, "a", micros=401, workers=100) == Short(LINE, 400)
    assert enter(alone, "a", micros=400, workers=100) is None


def test_a_refused_reservation_takes_no_place() -> None:
    """Limits and budgets admit together or not at all."""
    alone, holder = Alone(), Holder("key:1", Limits(requests_per_minute=4, concurrency=4, max_requests=9))
    alone.see(LINE.account, 0)
    alone.tell(holder.name, 0)
    for _ in range(2):
        short = alone.enter("a", [holder], [LINE], 0, 5, now=NOW, workers=4)
        assert short == Short(LINE, 0)
    assert enter(alone, "b", holder) is None


def test_an_account_that_was_never_seen_is_asked_for() -> None:
    """What the records say takes the place of the last sight; a spent one has no lease."""
    alone, spent = Alone(), Line("key:2@total", 100)
    assert enter(alone, "a") == Unknown((LINE.account,))
    alone.open(LINE.account, 60_000)
    assert enter(alone, "a", micros=2_001) == Short(LINE, 2_000)
    alone.open(spent.account, 150)
    assert alone.enter("b", [], [spent], 0, 0, now=NOW, workers=1) == Short(spent, 0)


def test_a_life_s_count_is_shared_too() -> None:
    """Each worker has its part of what was left, at least one, and nobody has any of nothing."""
    alone, holder = Alone(), Holder("key:1", Limits(max_requests=18))
    assert enter(alone, "a", holder) == Unknown((), (holder.name,))
    alone.tell(holder.name, 10)
    alone.tell(holder.name, 0)
    assert [enter(alone, name, holder) for name in "ab"] == [None, None]
    assert enter(alone, "c", holder) == Over("max_requests", holder, 18, None)
    over = Holder("key:2", Limits(max_requests=3))
    alone.tell(over.name, 3)
    assert enter(alone, "d", over) == Over("max_requests", over, 3, None)
    last = Holder("key:3", Limits(max_requests=3))
    alone.tell(last.name, 2)
    assert enter(alone, "e", last) is None


def test_a_running_request_is_extended_on_the_lease() -> None:
    """Also one that was admitted elsewhere; not on a budget that nobody knows."""
    alone = Alone()
    assert alone.extend("a", [LINE], 1, 4) == Short(LINE, 0)
    alone.see(LINE.account, 40_000)
    assert alone.extend("a", [LINE], 1_500, 4) is None
    assert alone.extend("a", [LINE], 501, 4) == Short(LINE, 500)
    assert alone.extend("a", [LINE], 500, 4) is None
    alone.settle("a", None)
    assert alone.extend("b", [LINE], 1, 4) == Short(LINE, 0)


def test_a_second_outage_does_not_lease_the_same_money_twice() -> None:
    """Unless the budget was seen again in between."""
    alone = Alone()
    alone.see(LINE.account, 40_000)
    alone.open("told", 0)
    assert enter(alone, "a", micros=2_000) is None
    assert alone.enter("t", [], [Line("told", 100)], 0, 5, now=NOW, workers=1) is None
    alone.end()
    assert enter(alone, "b", micros=1_901) == Short(LINE, 1_900)
    assert alone.enter("t", [], [Line("told", 100)], 0, 5, now=NOW, workers=1) == Unknown(("told",))
    alone.end()
    alone.see(LINE.account, 60_000)
    assert enter(alone, "b", micros=3_000) is None


def test_what_began_in_an_earlier_outage_is_extended_on_the_lease_of_this_one() -> None:
    """The earlier one is used up, and Redis knows of it."""
    alone = Alone()
    alone.see(LINE.account, 40_000)
    assert enter(alone, "a", micros=2_000) is None
    alone.end()
    alone.see(LINE.account, 40_000)
    assert alone.extend("a", [LINE], 500, 4) is None
    assert enter(alone, "b", micros=1_501) == Short(LINE, 1_500)


def test_what_was_seen_first_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many accounts cost no memory for ever."""
    monkeypatch.setattr(constants, "MOST_SEEN", 4)
    alone = Alone()
    for account in ("a", "b", "c", "d", "d", "e"):
        alone.see(account, 1)
    assert list(alone._left) == ["c", "d", "e"]


def test_what_was_admitted_elsewhere_leaves_as_well() -> None:
    """Its tokens are corrected, and a second leave does nothing."""
    alone, holder = Alone(), Holder("key:1", Limits(tokens_per_minute=400, concurrency=4))
    alone.count("before", [holder], 90, NOW)
    assert isinstance(enter(alone, "a", holder), Over)
    for _ in range(2):
        alone.leave("before", 80, NOW)
    assert enter(alone, "a", holder) is None
    alone.leave("a", None, NOW)
    assert enter(alone, "b", holder) is None
    assert isinstance(enter(alone, "c", holder), Over)


def test_who_waited_for_redis_does_not_set_the_clock_back() -> None:
    """Its time was read before it waited, and others were counted meanwhile; the minute before them still ends."""
    alone, holder = Alone(), Holder("key:1", Limits(requests_per_minute=16))
    for second in range(20):
        alone.count("ahead", [holder], 0, NOW + 10 * second)
        alone.count("late", [holder], 0, NOW + 10 * second - 0.01)
        alone.leave("ahead", 0, NOW + 10 * second)
        alone.leave("late", 0, NOW + 10 * second - 0.01)
    assert alone.enter("a", [holder], [], 0, 0, now=NOW + 190, workers=1) is None


def test_to_look_for_money_forgets_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many holders there are: money has nothing to do with minutes, neither as it enters nor later."""
    monkeypatch.setattr(book_constants, "MOST_HOLDERS", 1)
    alone, holder = Alone(), Holder("key:1", Limits(requests_per_minute=1))
    alone.see(LINE.account, 40_000)
    assert enter(alone, "a", holder) is None
    assert alone.extend("a", [LINE], 1, 4) is None
    assert alone.enter("b", [holder], [], 0, 0, now=NOW + 1, workers=4) == Over("requests", holder, 1, 60.0)
