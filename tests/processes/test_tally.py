from __future__ import annotations

from flumegate.processes import tally
from flumegate.processes.tally import Tally
from flumegate.records.counters import Counters


def counted(requests: int, open_now: int = 0) -> Counters:
    return Counters(requests={("chat", "p", 200): requests}, gauges={"connections_open": open_now})


def test_each_worker_is_told_the_sum_of_the_others() -> None:
    """What a worker counted itself is not in what it is told."""
    kept = Tally()
    kept.report("w0", 10, counted(1, 5))
    kept.report("w1", 11, counted(2, 6))
    kept.report("w2", 12, counted(4, 7))
    assert kept.others("w0") == counted(6, 13)
    assert kept.others("w2") == counted(3, 11)


def test_totals_of_the_dead_stay_and_their_gauges_do_not() -> None:
    """The sum over all workers never goes backwards when one is replaced."""
    kept = Tally()
    kept.report("w0", 10, counted(7, 3))
    kept.silence("w0", 10)
    assert kept.others("w1") == counted(7) or kept.others("w1").gauges == {}
    kept.begin("w0", 20)
    assert kept.others("w0").requests == {("chat", "p", 200): 7}
    kept.report("w0", 20, counted(1, 1))
    assert kept.others("w1").requests == {("chat", "p", 200): 8}
    assert kept.others("w1").gauges == {"connections_open": 1}


def test_a_worker_that_connects_again_is_not_counted_twice() -> None:
    """A new connection of the same process replaces its earlier report."""
    kept = Tally()
    kept.report("w0", 10, counted(7))
    kept.begin("w0", 10)
    kept.report("w0", 10, counted(9))
    assert kept.others("w1").requests == {("chat", "p", 200): 9}


def test_the_end_of_an_earlier_process_does_not_silence_its_successor() -> None:
    """News of a death may come after the successor's first report."""
    kept = Tally()
    kept.report("w0", 20, counted(1, 4))
    kept.silence("w0", 10)
    assert kept.others("w1").gauges == {"connections_open": 4}


def test_a_tally_survives_the_shelf() -> None:
    """What is encoded is decoded to the same value."""
    kept = Tally()
    kept.report("w0", 10, counted(7, 3))
    kept.begin("w0", 20)
    assert tally.decode(tally.encode(kept)) == kept
