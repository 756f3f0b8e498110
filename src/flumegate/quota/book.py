"""Rates, counts and concurrency of keys and projects, as one worker keeps them. The clock is an argument.

`enter` admits a request on all of its holders' limits or on none; `leave` gives its place back and corrects its tokens,
`withdraw` undoes all of it for a request that something else refused. Both do so once, by the id of the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from flumegate.quota.window import Rate
from flumegate.records.access import Limits

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


class Room(NamedTuple):
    """What is left of a rate, for headers."""

    limit: int
    remaining: int
    reset_seconds: float
    """Until all of it is there again."""


class _State:
    __slots__ = ("active", "requests", "served", "tokens")

    def __init__(self) -> None:
        # A rate stands here once its limit was seen: what is not limited is not counted.
        self.requests: Rate | None = None
        self.tokens: Rate | None = None
        self.active = 0
        # Requests in all its life; None = not told yet.
        self.served: int | None = None

    def quiet(self, now: float) -> bool:
        """Return whether it could be forgotten and begin anew without any limit noticing."""
        if self.active or self.served is not None:
            return False
        return all(rate is None or not rate.used(now) for rate in (self.requests, self.tokens))


class _Stay(NamedTuple):
    """What a request occupies: the very states and rates it was counted in, whatever its limits become meanwhile."""

    states: tuple[_State, ...]
    requests: tuple[Rate, ...]
    token_rates: tuple[Rate, ...]
    served: tuple[_State, ...]
    tokens: int
    entered_at: float


class Book:
    """The holders of one worker; `now` is a clock of seconds that should not go back."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}
        self._stays: dict[str, _Stay] = {}
        self._sweep_at = MOST_HOLDERS

    def unknown(self, holders: Sequence[Holder]) -> list[str]:
        """Return the holders with a count for life that nobody has told yet."""
        return [holder.name for holder in holders if holder.limits.max_requests and self._served(holder.name) is None]

    def tell(self, name: str, served: int) -> None:
        """Enter how many requests a holder has had so far; what is known already stays."""
        state = self._states.setdefault(name, _State())
        if state.served is None:
            state.served = served

    def enter(self, request: str, holders: Sequence[Holder], tokens: int, now: float) -> Over | None:
        """Admit a request that is expected to take so many tokens; None = admitted, and counted on all holders.

        A request that is in already is not counted again. Counts for life must have been told (`unknown`).
        """
        if request in self._stays:
            return None
        for holder in holders:
            if over := _over(holder, self._state(holder), tokens, now):
                return over
        self.count(request, holders, tokens, now)
        return None

    def count(self, request: str, holders: Sequence[Holder], tokens: int, now: float) -> None:
        """Enter a request that was admitted elsewhere, whatever the limits say; one that is in already stays so."""
        if request in self._stays:
            return
        states = tuple(self._state(holder) for holder in holders)
        stay = _Stay(
            states,
            tuple(state.requests for state in states if state.requests is not None),
            tuple(state.tokens for state in states if state.tokens is not None),
            tuple(state for state in states if state.served is not None),
            tokens,
            now,
        )
        for state in stay.states:
            state.active += 1
        for rate in stay.requests:
            rate.add(now, 1)
        for rate in stay.token_rates:
            rate.add(now, tokens)
        for state in stay.served:
            state.served = (state.served or 0) + 1
        self._stays[request] = stay
        if len(self._states) >= self._sweep_at:
            self._forget_quiet(now)

    def leave(self, request: str, tokens: int | None, now: float) -> None:
        """End a request's stay; `tokens` is what it really took, None = nobody knows. A second call does nothing."""
        stay = self._stays.pop(request, None)
        if stay is None:
            return
        for state in stay.states:
            state.active -= 1
        more = 0 if tokens is None else tokens - stay.tokens
        for rate in stay.token_rates:
            if more > 0:
                rate.add(now, more)
            elif more < 0:
                rate.give_back(stay.entered_at, now, -more)

    def withdraw(self, request: str, now: float) -> None:
        """Undo a request's entry, as if it had never come: something else refused it. A second call does nothing."""
        stay = self._stays.get(request)
        if stay is None:
            return
        self.leave(request, 0, now)
        for rate in stay.requests:
            rate.give_back(stay.entered_at, now, 1)
        for state in stay.served:
            state.served = (state.served or 0) - 1

    def active(self, name: str) -> int:
        """Return how many requests of a holder are under way."""
        state = self._states.get(name)
        return 0 if state is None else state.active

    def rooms(self, holder: Holder, now: float) -> tuple[Room | None, Room | None]:
        """Return what is left of a holder's rates of requests and of tokens; None = no such limit."""
        state, limits = self._state(holder), holder.limits
        return (
            _room(state.requests, limits.requests_per_minute, now),
            _room(state.tokens, limits.tokens_per_minute, now),
        )

    def _served(self, name: str) -> int | None:
        state = self._states.get(name)
        return None if state is None else state.served

    def _state(self, holder: Holder) -> _State:
        state = self._states.get(holder.name)
        if state is None:
            state = self._states[holder.name] = _State()
        if state.requests is None and holder.limits.requests_per_minute:
            state.requests = Rate()
        if state.tokens is None and holder.limits.tokens_per_minute:
            state.tokens = Rate()
        return state

    def _forget_quiet(self, now: float) -> None:
        for name in [name for name, state in self._states.items() if state.quiet(now)]:
            del self._states[name]
        # Twice what is in use, so that a look at all of them is paid for by as many newcomers.
        self._sweep_at = max(MOST_HOLDERS, 2 * len(self._states))


def limit_of(limits: Limits, name: LimitName) -> int:
    """Return the number behind a limit's name."""
    return {
        "requests": limits.requests_per_minute,
        "tokens": limits.tokens_per_minute,
        "concurrency": limits.concurrency,
        "max_requests": limits.max_requests,
    }[name]


def _over(holder: Holder, state: _State, tokens: int, now: float) -> Over | None:
    limits = holder.limits
    if limits.max_requests and (state.served or 0) >= limits.max_requests:
        return Over("max_requests", holder, limits.max_requests, None)
    if limits.concurrency and state.active >= limits.concurrency:
        return Over("concurrency", holder, limits.concurrency, None)
    requests, most = state.requests, limits.requests_per_minute
    if most and requests is not None and (wait := requests.wait(now, 1, most)):
        return Over("requests", holder, most, wait)
    counted, most = state.tokens, limits.tokens_per_minute
    if most and counted is not None and (wait := counted.wait(now, tokens, most)):
        return Over("tokens", holder, most, wait)
    return None


def _room(rate: Rate | None, limit: int, now: float) -> Room | None:
    if not limit or rate is None:
        return None
    return Room(limit, rate.room(now, limit), rate.reset(now))
