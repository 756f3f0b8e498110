"""Rates: how many requests and tokens within the last minute. The clock is an argument.

Amounts are counted by whole seconds, and a second counts until it lies behind the last minute as a whole. So no sixty
seconds, wherever they begin, ever see more than a limit, bursts at any edge included; the price is that a steady load
gets 60/61 of it. An estimate from two counters of a minute each would be smaller, but lets nearly twice the limit
through when a burst at the end of one minute is followed by a steady load.
"""

from __future__ import annotations

from typing import NamedTuple

MINUTE = 60
"""Seconds."""


class _Past(NamedTuple):
    """What was used in one second that is over."""

    second: int
    requests: int
    tokens: int


class Window:
    """What one key, or one project, has used within the last minute.

    Most calls come in a second that had a call before: whoever counts much compares `second` first, turns only where
    that is another one, and adds to `requests` and `tokens` itself.

    Attributes:
        second: the one for which all is right; None = nothing was counted yet. The clock should not go back.
        requests: what counts in it, those of the minute before included.
        tokens: likewise.
    """

    __slots__ = ("_past", "_past_requests", "_past_tokens", "requests", "second", "tokens")

    def __init__(self) -> None:
        self.second: int | None = None
        self.requests = 0
        self.tokens = 0
        # Seconds in which something was used, oldest first, at most 61, and their sums.
        self._past: list[_Past] = []
        self._past_requests = 0
        self._past_tokens = 0

    def turn(self, second: int) -> None:
        """Let go what lies behind the minute before a second, and begin to count in it."""
        before, self.second = self.second, second
        if before is None or before == second:
            return
        past = self._past
        if before > second:
            # The clock has gone back: all counts as used just now, so that nothing is refilled early or stays for ever.
            past.clear()
            self._past_requests = self._past_tokens = 0
            return
        if self.requests != self._past_requests or self.tokens != self._past_tokens:
            past.append(_Past(before, self.requests - self._past_requests, self.tokens - self._past_tokens))
        gone = 0
        while gone < len(past) and past[gone].second < second - MINUTE:
            self.requests -= past[gone].requests
            self.tokens -= past[gone].tokens
            gone += 1
        del past[:gone]
        self._past_requests, self._past_tokens = self.requests, self.tokens

    def add(self, now: float, tokens: int) -> None:
        """Count tokens, whether there is room or not."""
        self._turn_to(now)
        self.tokens += tokens

    def give_back(self, counted_in: int, now: float, tokens: int) -> None:
        """Count fewer tokens in the second they were counted in, if that still counts; those of others stay."""
        self._turn_to(now)
        if counted_in == self.second:
            self.tokens -= min(tokens, self.tokens - self._past_tokens)
            return
        for index, each in enumerate(self._past):
            if each.second == counted_in:
                given = min(tokens, each.tokens)
                self._past[index] = each._replace(tokens=each.tokens - given)
                self._past_tokens -= given
                self.tokens -= given

    def wait_for_request(self, now: float, limit: int) -> float:
        """Return the seconds until one more request fits; 0 = now."""
        self._turn_to(now)
        return self._wait(now, self.requests + 1 - limit, [each.requests for each in self._past])

    def wait_for_tokens(self, now: float, tokens: int, limit: int) -> float:
        """Return the seconds until so many fit; 0 = now. More than the limit itself fit when nothing else counts."""
        self._turn_to(now)
        return self._wait(now, self.tokens + min(tokens, limit) - limit, [each.tokens for each in self._past])

    def _wait(self, now: float, excess: int, amounts: list[int]) -> float:
        if excess <= 0:
            return 0.0
        for each, amount in zip(self._past, amounts, strict=True):
            excess -= amount
            if excess <= 0:
                return each.second + MINUTE + 1 - now
        return int(now) + MINUTE + 1 - now

    def _turn_to(self, now: float) -> None:
        second = int(now)
        if second != self.second:
            self.turn(second)
