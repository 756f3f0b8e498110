"""What all workers have counted, so that each can answer `/metrics` for the whole installation.

Totals never go backwards: what a worker counted before it died stays in the sum. Its gauges (connections open now) do
not. The tally is kept on a shelf of its own, so that a control that replaces a dead one goes on counting where it was.
"""

from __future__ import annotations

import msgspec

from flumegate.records.counters import Counters


class Tally(msgspec.Struct):
    """The last report of each worker, and the sum over those that are gone."""

    workers: dict[str, tuple[int, Counters]] = {}
    """Name → process id, its running totals."""
    departed: Counters = msgspec.field(default_factory=Counters)

    def begin(self, name: str, pid: int) -> None:
        """Note that a process has taken a worker's place; the totals of the one before it join the departed."""
        previous = self.workers.get(name)
        if previous and previous[0] != pid:
            self.departed.add(_without_gauges(previous[1]))
            del self.workers[name]

    def report(self, name: str, pid: int, counters: Counters) -> None:
        """Take a worker's running totals in place of those it reported before."""
        self.begin(name, pid)
        self.workers[name] = (pid, counters)

    def silence(self, name: str, pid: int) -> None:
        """Note that a worker is gone: it has nothing open any more."""
        known = self.workers.get(name)
        if known and known[0] == pid:
            self.workers[name] = (pid, _without_gauges(known[1]))

    def others(self, name: str) -> Counters:
        """Return the sum over all workers, present and departed, but the named one."""
        total = Counters()
        total.add(self.departed)
        for worker, (_, counters) in self.workers.items():
            if worker != name:
                total.add(counters)
        return total


def _without_gauges(counters: Counters) -> Counters:
    return msgspec.structs.replace(counters, gauges={})


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Tally)


def encode(tally: Tally) -> bytes:
    """Return the tally as msgpack."""
    return _ENCODER.encode(tally)


def decode(data: bytes) -> Tally:
    """Return the tally that `encode` wrote.

    Raises:
        msgspec.DecodeError: the bytes are damaged or of another release.
    """
    return _DECODER.decode(data)
