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
    """What one key, or one project, has used within the last minute of one kind of amount."""

    __slots__ = ("_amounts", "_seconds", "_turned", "_used")

    def __init__(self) -> None:
        # Two short lists, at most 61 long, for the seconds in which something was counted, oldest first.
        self._seconds: list[int] = []
        self._amounts: list[int] = []
        self._used = 0
        # The second for which the lists are right: most calls come in one that had a call before.
        self._turned = -1

    def used(self, now: float) -> int:
        """Return what counts at this moment."""
        second = int(now)
        if second != self._turned:
            self._turn(second)
        return self._used

    def room(self, now: float, limit: int) -> int:
        """Return what a limit leaves at this moment, at least 0."""
        used = self.used(now)
        return limit - used if used < limit else 0

    def add(self, now: float, amount: int) -> None:
        """Count something, whether there is room or not."""
        second = int(now)
        if second != self._turned:
            self._turn(second)
        self._used += amount
        seconds = self._seconds
        if seconds and seconds[-1] == second:
            self._amounts[-1] += amount
        else:
            seconds.append(second)
            self._amounts.append(amount)

    def give_back(self, counted_at: float, now: float, amount: int) -> None:
        """Count less where it was counted, if that still counts: what others used meanwhile is not touched."""
        this = int(now)
        if this != self._turned:
            self._turn(this)
        second = int(counted_at)
        seconds = self._seconds
        if seconds and seconds[-1] == second:
            index = -1
        elif second in seconds:
            index = seconds.index(second)
        else:
            return
        given = min(amount, self._amounts[index])
        self._amounts[index] -= given
        self._used -= given

    def wait(self, now: float, amount: int, limit: int) -> float:
        """Return the seconds until `amount` fits; 0 = now. More than the limit itself fits when nothing else counts."""
        second = int(now)
        if second != self._turned:
            self._turn(second)
        excess = self._used + min(amount, limit) - limit
        if excess <= 0:
            return 0.0
        gone = bisect.bisect_left(list(itertools.accumulate(self._amounts)), excess)
        return self._seconds[gone] + MINUTE + 1 - now

    def reset(self, now: float) -> float:
        """Return the seconds until all of a limit is there again; 0 = it is."""
        second = int(now)
        if second != self._turned:
            self._turn(second)
        if self._amounts and self._amounts[-1]:
            return self._seconds[-1] + MINUTE + 1 - now
        for second, counted in zip(reversed(self._seconds), reversed(self._amounts), strict=True):
            if counted:
                return second + MINUTE + 1 - now
        return 0.0

    def _turn(self, second: int) -> None:
        self._turned = second
        seconds = self._seconds
        if not seconds:
            return
        if seconds[-1] > second:
            # The clock has gone back: all counts as used just now, so that nothing is refilled early or stays for ever.
            self._seconds, self._amounts = [second], [self._used]
            return
        gone = 0
        while gone < len(seconds) and seconds[gone] < second - MINUTE:
            self._used -= self._amounts[gone]
            gone += 1
        if gone:
            del seconds[:gone], self._amounts[:gone]
