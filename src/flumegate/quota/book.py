"""Rates, counts and concurrency of keys and projects, as one worker keeps them. The clock is an argument.

`enter` admits a request on all of its holders' limits or on none; `leave` gives its place back and corrects its tokens,
`withdraw` undoes all of it for a request that something else refused. Both do so once, by the id of the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from flumegate.quota.window import Rate
from flumegate.records.access import NO_LIMITS, Limits

LimitName = Literal["requests", "tokens", "concurrency", "max_requests"]
MOST_HOLDERS = 65_536
"""From so many on, holders for whom nothing counts any more are forgotten."""


class Holder(NamedTuple):
    """Whose limits they are."""

    name: str
    """`key:<id>` or `project:<id>`."""
    limits: Limits


class Over(NamedTuple):
    """Why a request is not admitted."""

    limit: LimitName
    holder: Holder
    allowed: int
    wait_seconds: float | None
    """Until it could be; None = nobody knows, or never."""


class Room(msgspec.Struct, frozen=True, gc=False):
    """What is left of a rate, for headers."""

    limit: int
    remaining: int
    reset_seconds: float
    """Until all of it is there again."""


class _Counts:
    """Of one holder, whatever its limits are."""

    __slots__ = ("active", "served")

    def __init__(self) -> None:
        self.active = 0
        # Requests in all its life; None = not told yet.
        self.served: int | None = None


class _Place:
    """Where the requests of one holder are counted, as long as its limits are these.

    A rate stands here once its limit was seen: what is not limited is not counted.
    """

    __slots__ = (
        "concurrency",
        "counts",
        "limits",
        "max_requests",
        "most_requests",
        "most_tokens",
        "requests",
        "tokens",
    )

    def __init__(self, limits: Limits, before: _Place | None) -> None:
        self.limits = limits
        self.max_requests = limits.max_requests
        self.concurrency = limits.concurrency
        self.most_requests = limits.requests_per_minute
        self.most_tokens = limits.tokens_per_minute
        self.counts: _Counts = _Counts() if before is None else before.counts
        self.requests: Rate | None = None if before is None else before.requests
        self.tokens: Rate | None = None if before is None else before.tokens
        if self.most_requests and self.requests is None:
            self.requests = Rate()
        if self.most_tokens and self.tokens is None:
            self.tokens = Rate()

    def quiet(self, now: float) -> bool:
        """Return whether it could be forgotten and begin anew without any limit noticing."""
        if self.counts.active or self.counts.served is not None:
            return False
        return all(rate is None or not rate.used(now) for rate in (self.requests, self.tokens))

    def over(self, holder: Holder, tokens: int, now: float) -> Over | None:
        """Return which limit a request does not fit in, if there is one."""
        counts, second = self.counts, int(now)
        if self.max_requests and (counts.served or 0) >= self.max_requests:
            return Over("max_requests", holder, self.max_requests, None)
        if self.concurrency and counts.active >= self.concurrency:
            return Over("concurrency", holder, self.concurrency, None)
        rate, most = self.requests, self.most_requests
        if most and rate is not None:
            if rate.turned != second:
                rate.turn(second)
            if rate.count >= most:
                return Over("requests", holder, most, rate.wait(now, 1, most))
        rate, most = self.tokens, self.most_tokens
        if most and rate is not None:
            if rate.turned != second:
                rate.turn(second)
            if rate.count and rate.count + tokens > most:
                return Over("tokens", holder, most, rate.wait(now, tokens, most))
        return None

    def count(self, tokens: int, second: int) -> bool:
        """Count a request; return whether one was counted for life."""
        counts = self.counts
        counts.active += 1
        rate = self.requests
        if rate is not None:
            if rate.turned != second:
                rate.turn(second)
            rate.count += 1
            rate.amounts[-1] += 1
        rate = self.tokens
        if rate is not None:
            if rate.turned != second:
                rate.turn(second)
            rate.count += tokens
            rate.amounts[-1] += tokens
        if counts.served is None:
            return False
        counts.served += 1
        return True

    def rooms(self, now: float) -> tuple[Room | None, Room | None]:
        """Return what is left of the rates of requests and of tokens; None = no such limit."""
        requests, most = self.requests, self.most_requests
        left = None if requests is None or not most else Room(most, requests.room(now, most), requests.reset(now))
        tokens, most = self.tokens, self.most_tokens
        if tokens is None or not most:
            return left, None
        return left, Room(most, tokens.room(now, most), tokens.reset(now))


class _Stay:
    """What a request occupies: the very places it was counted in, whatever their holders' limits become meanwhile."""

    __slots__ = ("entered_at", "places", "served", "tokens")

    def __init__(self, places: list[_Place], tokens: int, entered_at: float) -> None:
        self.places = places
        self.tokens = tokens
        self.entered_at = entered_at
        self.served: list[_Counts] | None = None


class Book:
    """The holders of one worker; `now` is a clock of seconds that should not go back."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        self._stays: dict[str, _Stay] = {}
        self._sweep_at = MOST_HOLDERS

    def unknown(self, holders: Sequence[Holder]) -> list[str]:
        """Return the holders with a count for life that nobody has told yet."""
        return [holder.name for holder in holders if holder.limits.max_requests and self._served(holder.name) is None]

    def tell(self, name: str, served: int) -> None:
        """Enter how many requests a holder has had so far; what is known already stays."""
        place = self._places.setdefault(name, _Place(NO_LIMITS, None))
        if place.counts.served is None:
            place.counts.served = served

    def enter(self, request: str, holders: Sequence[Holder], tokens: int, now: float) -> Over | None:
        """Admit a request that is expected to take so many tokens; None = admitted, and counted on all holders.

        A request that is in already is not counted again. Counts for life must have been told (`unknown`).
        """
        if request in self._stays:
            return None
        places, known = [], self._places
        for holder in holders:
            place = known.get(holder.name)
            if place is None or place.limits is not holder.limits:
                place = self._place(holder)
            over = place.over(holder, tokens, now)
            if over is not None:
                return over
            places.append(place)
        self._count(request, places, tokens, now)
        return None

    def count(self, request: str, holders: Sequence[Holder], tokens: int, now: float) -> None:
        """Enter a request that was admitted elsewhere, whatever the limits say; one that is in already stays so."""
        if request not in self._stays:
            self._count(request, [self._place(holder) for holder in holders], tokens, now)

    def _count(self, request: str, places: list[_Place], tokens: int, now: float) -> None:
        stay = self._stays[request] = _Stay(places, tokens, now)
        second = int(now)
        for place in places:
            if place.count(tokens, second):
                stay.served = [*(stay.served or ()), place.counts]
        if len(self._places) >= self._sweep_at:
            self._forget_quiet(now)

    def leave(self, request: str, tokens: int | None, now: float) -> None:
        """End a request's stay; `tokens` is what it really took, None = nobody knows. A second call does nothing."""
        stay = self._stays.pop(request, None)
        if stay is None:
            return
        more = 0 if tokens is None else tokens - stay.tokens
        for place in stay.places:
            place.counts.active -= 1
            rate = place.tokens
            if rate is not None and more:
                if more > 0:
                    rate.add(now, more)
                else:
                    rate.give_back(stay.entered_at, now, -more)

    def withdraw(self, request: str, now: float) -> None:
        """Undo a request's entry, as if it had never come: something else refused it. A second call does nothing."""
        stay = self._stays.get(request)
        if stay is None:
            return
        self.leave(request, 0, now)
        for place in stay.places:
            if place.requests is not None:
                place.requests.give_back(stay.entered_at, now, 1)
        for counts in stay.served or ():
            counts.served = (counts.served or 0) - 1

    def active(self, name: str) -> int:
        """Return how many requests of a holder are under way."""
        place = self._places.get(name)
        return 0 if place is None else place.counts.active

    def rooms(self, holders: Sequence[Holder], now: float) -> list[tuple[Room | None, Room | None]]:
        """Return what is left of each holder's rates of requests and of tokens; None = no such limit."""
        return [self._place(holder).rooms(now) for holder in holders]

    def _served(self, name: str) -> int | None:
        place = self._places.get(name)
        return None if place is None else place.counts.served

    def _place(self, holder: Holder) -> _Place:
        place = self._places.get(holder.name)
        if place is None or (place.limits is not holder.limits and place.limits != holder.limits):
            place = self._places[holder.name] = _Place(holder.limits, place)
        return place

    def _forget_quiet(self, now: float) -> None:
        for name in [name for name, place in self._places.items() if place.quiet(now)]:
            del self._places[name]
        # Twice what is in use, so that a look at all of them is paid for by as many newcomers.
        self._sweep_at = max(MOST_HOLDERS, 2 * len(self._places))


def limit_of(limits: Limits, name: LimitName) -> int:
    """Return the number behind a limit's name."""
    return {
        "requests": limits.requests_per_minute,
        "tokens": limits.tokens_per_minute,
        "concurrency": limits.concurrency,
        "max_requests": limits.max_requests,
    }[name]
