"""Rates: how much within the last minute. The clock is an argument.

Amounts are counted by whole seconds, and a second counts until it lies behind the last minute as a whole. So no sixty
seconds, wherever they begin, ever see more than a limit, bursts at any edge included; the price is that a steady load
gets 60/61 of it. An estimate from two counters of a minute each would be smaller, but lets nearly twice the limit
through when a burst at the end of one minute is followed by a steady load.
"""

from __future__ import annotations

import bisect
import itertools

MINUTE = 60
"""Seconds."""


class Rate:
    """What one key, or one project, has used within the last minute of one kind of amount.

    Most calls come in a second that had a call before: whoever counts much compares `turned` first, and turns only
    where that is another second.

    Attributes:
        turned: the second for which all is right.
        count: what counts in it.
        amounts: by second, oldest first, at most 62; the last one is that of the second `turned`.
        seconds: they, in the same order.
    """

    __slots__ = ("amounts", "count", "seconds", "turned")

    def __init__(self) -> None:
        self.turned: int | None = None
        self.count = 0
        self.amounts: list[int] = []
        self.seconds: list[int] = []

    def turn(self, second: int) -> None:
        """Let go what lies behind the minute before a second, and begin to count in it."""
        self.turned = second
        seconds, amounts = self.seconds, self.amounts
        if seconds and seconds[-1] > second:
            # The clock has gone back: all counts as used just now, so that nothing is refilled early or stays for ever.
            self.seconds, self.amounts = [second], [self.count]
            return
        gone = 0
        while gone < len(seconds) and seconds[gone] < second - MINUTE:
            self.count -= amounts[gone]
            gone += 1
        if gone:
            del seconds[:gone], amounts[:gone]
        if amounts and not amounts[-1]:
            seconds[-1] = second
        else:
            seconds.append(second)
            amounts.append(0)

    def used(self, now: float) -> int:
        """Return what counts at this moment."""
        second = int(now)
        if second != self.turned:
            self.turn(second)
        return self.count

    def add(self, now: float, amount: int) -> None:
        """Count something, whether there is room or not."""
        second = int(now)
        if second != self.turned:
            self.turn(second)
        self.count += amount
        self.amounts[-1] += amount

    def give_back(self, counted_at: float, now: float, amount: int) -> None:
        """Count less where it was counted, if that still counts: what others used meanwhile is not touched."""
        second = int(now)
        if second != self.turned:
            self.turn(second)
        counted = int(counted_at)
        if counted == second:
            index = -1
        elif counted in self.seconds:
            index = self.seconds.index(counted)
        else:
            return
        given = min(amount, self.amounts[index])
        self.amounts[index] -= given
        self.count -= given

    def wait(self, now: float, amount: int, limit: int) -> float:
        """Return the seconds until `amount` fits; 0 = now. More than the limit itself fits when nothing else counts."""
        excess = self.used(now) + min(amount, limit) - limit
        if excess <= 0:
            return 0.0
        gone = bisect.bisect_left(list(itertools.accumulate(self.amounts)), excess)
        return self.seconds[gone] + MINUTE + 1 - now
