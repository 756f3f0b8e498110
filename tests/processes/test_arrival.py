from __future__ import annotations

import threading

from flumegate.processes.arrival import Arrival


def test_a_snapshot_is_everywhere_once_every_worker_has_said_so() -> None:
    """Only workers that are there count; a new process of an old name has to say it anew."""
    arrival = Arrival()
    assert arrival.is_everywhere(7, [])
    assert not arrival.is_everywhere(7, ["w1"])
    assert [arrival.acknowledged("w1", 7), arrival.acknowledged("w1", 7), arrival.acknowledged("w2", 6)] == [
        True,
        False,
        True,
    ]
    assert arrival.is_everywhere(7, ["w1"])
    assert not arrival.is_everywhere(7, ["w1", "w2"])
    assert arrival.acknowledged("w1", 0)
    assert not arrival.is_everywhere(7, ["w1"])


def test_who_changed_something_goes_on_once_it_is_known() -> None:
    """Not at what was there before; later changes include it."""
    arrival = Arrival()
    arrival.known(3)
    heard: list[bool] = []
    waiting = threading.Thread(target=lambda: heard.append(arrival.wait(5, 60.0)))
    waiting.start()
    arrival.known(4)
    arrival.known(6)
    waiting.join(60)
    assert heard == [True]
    assert arrival.wait(6)


def test_nobody_waits_for_ever() -> None:
    """A frozen worker costs its patience, no answer."""
    assert not Arrival().wait(0, 0.01)
