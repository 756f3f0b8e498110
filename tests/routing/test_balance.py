from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.routing.balance import STRATEGIES, Entry, order
from rig import cuts

DRAWS = 10_000
SPREAD = 0.02
"""Five standard deviations of a share over that many draws, or more."""

ENTRIES = st.lists(
    st.builds(
        Entry,
        name=st.uuids().map(str),
        weight=st.integers(0, 100),
        tier=st.integers(0, 3),
        load=st.integers(0, 100),
        latency=st.none() | st.floats(0, 100),
        cost=st.none() | st.integers(0, 10**9),
        ramp=st.floats(0, 1),
        lacks=st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


class Fixed:
    """Dice that show the same number again and again."""

    def __init__(self, number: float) -> None:
        self._number = number

    def random(self) -> float:
        return self._number


def shares(strategy: str, entries: Sequence[Entry], *, draws: int = DRAWS, seed: int = 1) -> list[float]:
    """Return how often each entry comes first, each draw being of another session."""
    dice = random.Random(seed)
    first = Counter(order(strategy, entries, dice, affinity=b"session %d" % draw)[0] for draw in range(draws))
    return [first[place] / draws for place in range(len(entries))]


@cuts.law
@given(st.sampled_from(sorted(STRATEGIES)), ENTRIES, st.randoms(use_true_random=False), st.binary(max_size=4))
def test_an_order_holds_every_target_once(
    strategy: str, entries: list[Entry], dice: random.Random, affinity: bytes
) -> None:
    """Those that lack something stand behind, and among equals those of weight 0: whatever the strategy."""
    places = order(strategy, entries, dice, affinity=affinity)
    assert sorted(places) == list(range(len(entries)))
    ranks = [(entries[place].lacks, entries[place].weight == 0) for place in places]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("strategy", ["weighted", "priority", "least_busy", "cheapest", "sticky"])
@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 7), (100, 1, 0)])
def test_equal_targets_share_by_weight(strategy: str, weights: tuple[int, ...]) -> None:
    """Within five standard deviations of ten thousand draws; with weight 0 never, as long as there is another."""
    got = shares(strategy, [Entry(f"t{index}", weight) for index, weight in enumerate(weights)])
    total = sum(weights)
    for share, weight in zip(got, weights, strict=True):
        assert share == pytest.approx(weight / total, abs=SPREAD if weight else 0)


def test_the_second_target_is_drawn_by_weight_too() -> None:
    """What a target that fails leaves is shared as if it were not there."""
    entries = [Entry("a", 8), Entry("b", 1), Entry("c", 3)]
    dice = random.Random(2)
    seconds = Counter(places[1] for _ in range(DRAWS) if (places := order("weighted", entries, dice))[0] == 0)
    assert seconds[2] / seconds.total() == pytest.approx(0.75, abs=SPREAD)


def test_a_lone_weight_of_zero_serves() -> None:
    """Last is better than nowhere."""
    assert order("weighted", [Entry("a", 0)], random.Random(1)) == [0]
    assert order("sticky", [Entry("a", 0)], random.Random(1), affinity=b"s") == [0]


def test_priority_goes_by_tier() -> None:
    """Lower ones first, equal ones by weight; without equal ones no dice are thrown."""
    assert order("priority", [Entry("a", tier=2), Entry("b", tier=0), Entry("c", tier=1)], Fixed(0.0)) == [1, 2, 0]
    got = shares("priority", [Entry("a", 1, tier=1), Entry("b", 3), Entry("c", 1)])
    assert got == pytest.approx([0, 0.75, 0.25], abs=SPREAD)


def test_least_busy_goes_by_load_for_its_weight() -> None:
    """Ten under way at a target of weight ten are as much as one at a target of weight one."""
    dice = random.Random(3)
    for _ in range(100):
        assert order("least_busy", [Entry("a", 10, load=9), Entry("b", 1, load=1)], dice)[0] == 0
        assert order("least_busy", [Entry("a", 10, load=11), Entry("b", 1, load=1)], dice)[0] == 1


def test_least_busy_fills_evenly() -> None:
    """Five hundred at once are spread by weight, though nothing has been answered yet."""
    dice = random.Random(4)
    loads = [0, 0, 0]
    weights = (1, 2, 2)
    for _ in range(500):
        entries = [Entry(f"t{index}", weights[index], load=loads[index]) for index in range(3)]
        loads[order("least_busy", entries, dice)[0]] += 1
    assert loads == pytest.approx([100, 200, 200], abs=2)


def test_cheapest_goes_by_price() -> None:
    """Where nobody knows the price it comes last; equal prices share by weight."""
    got = shares("cheapest", [Entry("a", cost=None), Entry("b", 1, cost=5), Entry("c", 3, cost=5), Entry("d", cost=6)])
    assert got == pytest.approx([0, 0.25, 0.75, 0], abs=SPREAD)
    places = order("cheapest", [Entry("a"), Entry("b", cost=9), Entry("c", cost=0)], random.Random(1))
    assert places == [2, 1, 0]


def test_fastest_prefers_the_faster_and_still_measures_the_slower() -> None:
    """Of two the slower one gets the explorers alone; a single one is no choice."""
    slow, fast = shares("fastest", [Entry("slow", latency=2.0), Entry("fast", latency=0.1)])
    assert 0 < slow < 0.03
    assert fast > 0.97
    assert order("fastest", [Entry("only", latency=9.0)], random.Random(1)) == [0]


@pytest.mark.parametrize("latencies", [(0.5, 0.5, 0.5), (0.5, 0.6, 0.4), (0.5, 0.5, None), (None, None, None)])
def test_fastest_never_herds(latencies: tuple[float | None, ...]) -> None:
    """A burst of simultaneous requests is spread before any answer is there, also past a target never measured."""
    dice = random.Random(5)
    loads = [5, 5, 0]
    for _ in range(500):
        entries = [Entry(f"t{index}", load=loads[index], latency=latencies[index]) for index in range(3)]
        loads[order("fastest", entries, dice)[0]] += 1
    assert max(loads) <= 1.6 * sum(loads) / 3


def test_an_unmeasured_target_is_measured_soon() -> None:
    """It is not beaten by those that are known."""
    got = shares("fastest", [Entry("a", latency=0.1), Entry("b", latency=None)], draws=1000)
    assert got[1] > 0.3


SESSIONS = [b"session %d" % number for number in range(DRAWS)]


def test_a_session_stays() -> None:
    """Whatever the dice show and however the targets are busy or ordered in the configuration."""
    targets = [Entry("a", 3), Entry("b", 1), Entry("c", 2)]
    for session in SESSIONS[:200]:
        (home,) = {targets[order("sticky", targets, Fixed(number), affinity=session)[0]].name for number in (0, 0.5)}
        moved = [targets[2]._replace(load=50, latency=9.0), targets[0], targets[1]]
        assert moved[order("sticky", moved, Fixed(0.9), affinity=session)[0]].name == home


def test_when_a_target_goes_only_its_own_sessions_move() -> None:
    """And they are spread by weight over those that stay; they come back with it."""
    targets = [Entry("a", 1), Entry("b", 1), Entry("c", 3)]
    dice = random.Random(6)
    moved: Counter[str] = Counter()
    for session in SESSIONS:
        before = [targets[place].name for place in order("sticky", targets, dice, affinity=session)]
        without = [targets[1], targets[2]]
        after = [without[place].name for place in order("sticky", without, dice, affinity=session)]
        assert after == [name for name in before if name != "a"]
        if before[0] == "a":
            moved[after[0]] += 1
    assert moved["c"] / moved.total() == pytest.approx(0.75, abs=3 * SPREAD)


def test_a_request_without_session_is_drawn() -> None:
    """No session is no session that all share."""
    dice = random.Random(7)
    first = Counter(order("sticky", [Entry("a"), Entry("b")], dice)[0] for _ in range(1000))
    assert min(first.values()) > 400


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_a_share_rises_after_an_outage(strategy: str) -> None:
    """A target that comes back takes about that part of its share; the rest goes to the others as usual."""
    got = []
    for ramp in (0.1, 0.5, 0.9, 1.0):
        entries = [Entry("back", ramp=ramp, latency=1.0, cost=1), Entry("other", latency=1.0, cost=1)]
        got.append(shares(strategy, entries, seed=8)[0])
    full = got[-1]
    assert got == pytest.approx([0.1 * full, 0.5 * full, 0.9 * full, full], abs=2 * SPREAD)


def test_alone_a_target_needs_no_ramp() -> None:
    """Where all come back at once all of them serve."""
    assert sorted(order("weighted", [Entry("a", ramp=0.1), Entry("b", ramp=0.1)], Fixed(0.99))) == [0, 1]
    assert order("weighted", [Entry("a", ramp=0.1)], Fixed(0.99)) == [0]
