"""Rates, counts and concurrency of keys and projects, as one worker keeps them. The clock is an argument.

`enter` admits a request on all of its holders' limits or on none; `leave` gives its place back and corrects its tokens,
`withdraw` undoes all of it for a request that something else refused. Both do so once, by the id of the request.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from flumegate.quota.window import MINUTE, Rate
from flumegate.records.access import NO_LIMITS, Limits

LimitName = Literal["requests", "tokens", "concurrency", "max_requests"]
MOST_HOLDERS = 65_536
"""From so many on, holders for whom nothing counts any more are forgotten."""


_NO_END = sys.maxsize
"""Stands for a limit that is not set (and is compared by `is`)."""


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

    __slots__ = ("bounded", "counts", "limits", "most_requests", "most_tokens", "requests", "tokens")

    def __init__(self, limits: Limits, before: _Place | None) -> None:
        self.limits = limits
        self.bounded = bool(limits.max_requests or limits.concurrency)
        self.most_requests = limits.requests_per_minute or _NO_END
        self.most_tokens = limits.tokens_per_minute or _NO_END
        self.counts: _Counts = _Counts() if before is None else before.counts
        self.requests: Rate | None = None if before is None else before.requests
        self.tokens: Rate | None = None if before is None else before.tokens
        if limits.requests_per_minute and self.requests is None:
            self.requests = Rate()
        if limits.tokens_per_minute and self.tokens is None:
            self.tokens = Rate()

    def quiet(self, now: float) -> bool:
        """Return whether it could be forgotten and begin anew without any limit noticing."""
        if self.counts.active or self.counts.served is not None:
            return False
        return all(rate is None or not rate.used(now) for rate in (self.requests, self.tokens))

    def beyond(self, holder: Holder) -> Over | None:
        """Return which count a request does not fit in, if there is one."""
        counts, limits = self.counts, self.limits
        if limits.max_requests and (counts.served or 0) >= limits.max_requests:
            return Over("max_requests", holder, limits.max_requests, None)
        if limits.concurrency and counts.active >= limits.concurrency:
            return Over("concurrency", holder, limits.concurrency, None)
        return None


class _Stay:
    """What a request occupies: the very places it was counted in, whatever their holders' limits become meanwhile."""

    __slots__ = ("entered_at", "places", "served", "tokens")

    def __init__(self, tokens: int, entered_at: float) -> None:
        self.places: list[_Place] = []
        self.tokens = tokens
        self.entered_at = entered_at
        self.served: tuple[_Counts, ...] = ()


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

    def enter(  # noqa: C901, PLR0912 - see below
        self, request: str, holders: Sequence[Holder], tokens: int, now: float, *, admitted: bool = False
    ) -> Over | None:
        """Admit a request that is expected to take so many tokens; None = admitted, and counted on all holders.

        A request that is in already is not counted again. Counts for life must have been told (`unknown`).

        Args:
            request: its id.
            holders: on whose limits it is.
            tokens: as they are expected.
            now: the time.
            admitted: it was, elsewhere, and is counted whatever the limits say.
        """
        if request in self._stays:
            return None
        # With each metered request: what would read better in several pieces stands here in one.
        known, second, stay = self._places, int(now), _Stay(tokens, now)
        for holder in holders:
            place = known.get(holder.name)
            if place is None or place.limits is not holder.limits:
                place = self._place(holder)
            counts, requests, used = place.counts, place.requests, place.tokens
            over = place.beyond(holder) if place.bounded else None
            if requests is not None:
                if requests.turned != second:
                    requests.turn(second)
                if requests.count >= place.most_requests and over is None:
                    over = Over("requests", holder, place.most_requests, requests.wait(now, 1, place.most_requests))
            if used is not None:
                if used.turned != second:
                    used.turn(second)
                if used.count + tokens > place.most_tokens and used.count and over is None:
                    over = Over("tokens", holder, place.most_tokens, used.wait(now, tokens, place.most_tokens))
            if over is not None and not admitted:
                _undo(stay, now)
                return over
            counts.active += 1
            if counts.served is not None:
                counts.served += 1
                stay.served = (*stay.served, counts)
            if requests is not None:
                requests.count += 1
                requests.amounts[-1] += 1
            if used is not None:
                used.count += tokens
                used.amounts[-1] += tokens
            stay.places.append(place)
        self._stays[request] = stay
        if len(known) >= self._sweep_at:
            self._forget_quiet(now)
        return None

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
        stay = self._stays.pop(request, None)
        if stay is not None:
            _undo(stay, now)

    def active(self, name: str) -> int:
        """Return how many requests of a holder are under way."""
        place = self._places.get(name)
        return 0 if place is None else place.counts.active

    def rooms(self, request: str) -> tuple[Room | None, Room | None]:
        """Return what the tightest rates of requests and of tokens leave behind a request that has just entered.

        None = there is no such limit, or the request is not in.
        """
        stay = self._stays.get(request)
        if stay is None:
            return None, None
        requests = tokens = None
        for place in stay.places:
            rate, most = place.requests, place.most_requests
            if rate is not None and most is not _NO_END:
                left = most - rate.count
                if requests is None or left < requests.remaining:
                    requests = Room(most, left, MINUTE + 1)  # its own second counts until then
            rate, most = place.tokens, place.most_tokens
            if rate is not None and most is not _NO_END:
                left = most - rate.count
                if tokens is None or left < tokens.remaining:
                    tokens = Room(most, max(0, left), MINUTE + 1)
        return requests, tokens

    def _served(self, name: str) -> int | None:
        place = self._places.get(name)
        return None if place is None else place.counts.served

    def _place(self, holder: Holder) -> _Place:
        place = self._places.get(holder.name)
        if place is None or place.limits != holder.limits:
            place = self._places[holder.name] = _Place(holder.limits, place)
        place.limits = holder.limits  # equal, and from now on the same
        return place

    def _forget_quiet(self, now: float) -> None:
        for name in [name for name, place in self._places.items() if place.quiet(now)]:
            del self._places[name]
        # Twice what is in use, so that a look at all of them is paid for by as many newcomers.
        self._sweep_at = max(MOST_HOLDERS, 2 * len(self._places))


def _undo(stay: _Stay, now: float) -> None:
    for place in stay.places:
        place.counts.active -= 1
        if place.requests is not None:
            place.requests.give_back(stay.entered_at, now, 1)
        if place.tokens is not None:
            place.tokens.give_back(stay.entered_at, now, stay.tokens)
    for counts in stay.served:
        counts.served = (counts.served or 0) - 1


def limit_of(limits: Limits, name: LimitName) -> int:
    """Return the number behind a limit's name."""
    return {
        "requests": limits.requests_per_minute,
        "tokens": limits.tokens_per_minute,
        "concurrency": limits.concurrency,
        "max_requests": limits.max_requests,
    }[name]
