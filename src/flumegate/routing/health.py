"""How a target fares, as its workers see it: breaker, cooled credentials, requests under way, latency, retry budget.

Breaker: closed → open after failures in a row or at a rate → half-open: one request as a probe → closed, with its share
rising over some seconds. The clock is an argument. Whoever calls `begin` calls exactly one of `succeed`, `fail` and
`release` later with what `begin` returned, so that a probe's place cannot be lost; `leave` ends the request's stay.
"""

from __future__ import annotations

import math
from typing import Literal

from flumegate.records.manage import TargetStanding, TargetState
from flumegate.routing.account import Account
from flumegate.routing.failure import Failure
from flumegate.snapshot import BreakerPolicy, Provider

RAMP_SECONDS = 5.0
"""From the end of an outage to a target's full share."""
RAMP_LEAST = 0.1
RAMP_FAILURES = 3
"""In a row, while its share still rises: a flapping target is soon left alone again."""
ROW_SHARE = 0.2
"""Failures in a row must be this part of the requests that wait for their answers: of many that begin together the
failures come back first, because they are the quickest answers."""
WINDOW_SECONDS = 5.0
"""Half of the time over which the rate of failures is judged."""
OUT_SECONDS = 300.0
"""How long a refused credential is left alone."""
BUDGET_MOST = 10.0
BUDGET_SHARE = 0.1
"""Repeated attempts that each request pays in for. With the reserve that a quiet target has, attempts stay below 1.2
times the requests from the 100th request of an outage on."""
_SMOOTHING = 0.2

State = Literal["closed", "open", "half_open"]
Forced = Literal["auto", "open", "closed"]
FORCED: dict[Forced, TargetStanding] = {"auto": "closed", "open": "forced_open", "closed": "forced_closed"}
READY, FULL, SOFT, SHUT = range(4)
"""Ranks of availability: at once; after a wait in its queue; only where nothing else is left; not at all."""


class Siblings:
    """All targets of one provider, and what holds for them together: also for one that is asked for later.

    Attributes:
        known: those that were asked for so far.
        unwell: an active check of the provider failed.
        out_until: until when each of its credentials is left alone at all of them.
    """

    __slots__ = ("known", "out_until", "provider", "unwell")

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.known: list[Health] = []
        self.unwell = False
        self.out_until = [0.0] * (1 + len(provider.more_credentials))

    def put_out(self, account: int, until: float) -> None:
        """Leave a refused credential alone."""
        self.out_until[account] = until
        for health in self.known:
            health.put_out(account, until)

    def check(self, *, well: bool) -> None:
        """Take the result of an active check."""
        if self.unwell is well:
            self.unwell = not well
            for health in self.known:
                health.calm = False


class Health:
    """The state of one target in one worker. Times are seconds of one monotonic clock.

    Attributes:
        calm: nothing is wrong and nothing is limited: requests need not ask any further.
        in_flight: requests under way, each until its answer has ended.
        queued: requests that wait for a place there.
        unheard: those under way of which nothing is known yet.
        latency: seconds to the first meaningful piece of an answer, smoothed; None = not measured yet.
    """

    __slots__ = (
        "_bad",
        "_bad_before",
        "_next",
        "_ok",
        "_ok_before",
        "_turn_at",
        "accounts",
        "budget",
        "calm",
        "closed_at",
        "failures",
        "forced",
        "in_flight",
        "last_error",
        "latency",
        "max_concurrency",
        "max_queued",
        "name",
        "open_until",
        "policy",
        "probing",
        "provider",
        "queued",
        "siblings",
        "state",
        "unheard",
    )

    def __init__(self, name: str, provider: Provider, policy: BreakerPolicy, siblings: Siblings) -> None:
        self.name = name
        self.provider = provider
        self.policy = policy
        self.siblings = siblings
        self.accounts = [Account() for _ in siblings.out_until]
        self.calm = len(self.accounts) == 1 and not siblings.unwell
        self.in_flight = 0
        self.queued = 0
        self.unheard = 0
        self.max_concurrency = 0
        self.max_queued = 0
        self.latency: float | None = None
        self.last_error = ""
        self.state: State = "closed"
        self.forced: Forced = "auto"
        self.failures = 0
        self.open_until = 0.0
        self.closed_at = -math.inf
        self.probing = False
        self.budget = BUDGET_MOST
        self._ok = self._bad = self._ok_before = self._bad_before = 0
        self._turn_at = 0.0
        self._next = 0
        for account, until in enumerate(siblings.out_until):
            if until:
                self.put_out(account, until)

    @property
    def unwell(self) -> bool:
        """An active check of its provider failed."""
        return self.siblings.unwell

    def limit(self, max_concurrency: int, max_queued: int) -> None:
        """Set the limits of requests under way and waiting; 0 = none."""
        if (max_concurrency, max_queued) != (self.max_concurrency, self.max_queued):
            self.max_concurrency, self.max_queued = max_concurrency, max_queued
            self.calm = False

    def obey(self, policy: BreakerPolicy) -> None:
        """Take a new Snapshot's policy; one without breaker lets everything through at once."""
        self.policy = policy
        if not policy.enabled:
            self.state = "closed"

    # may a request go there?

    def availability(self, now: float) -> tuple[int, float]:
        """Return a rank (READY, FULL, SOFT, SHUT), and for SHUT the time at which that may change."""
        found = self.outlook(now)
        if found[0] == READY:
            self._look_calm(now)
        return found

    def outlook(self, now: float) -> tuple[int, float]:
        """Return what `availability` does, also for a time to come: as things stand, and changing nothing."""
        shut_until = self._shut_until(now)
        if shut_until > now:
            return SHUT, shut_until
        free_at = min(account.free_at() for account in self.accounts)
        if free_at > now:
            if all(account.stated and account.out_until <= now for account in self.accounts):
                return SHUT, free_at
            return SOFT, free_at
        if self.max_concurrency and self.in_flight >= self.max_concurrency:
            return FULL, now
        return READY, now

    def _shut_until(self, now: float) -> float:
        """Return when the breaker may let the next request through; a time that has passed = now."""
        if self.forced == "closed":
            return now
        if self.forced == "open" or self.unwell:
            return now + self.policy.open_seconds
        if self.state == "closed":
            return now
        return now + 1.0 if self.probing and now >= self.open_until else self.open_until

    def _look_calm(self, now: float) -> None:
        self.calm = (
            self.state == "closed"
            and self.forced == "auto"
            and not self.unwell
            and not self.max_concurrency
            and len(self.accounts) == 1
            and now - self.closed_at >= RAMP_SECONDS
            and self.accounts[0].free_at() <= now
        )

    def ramp(self, now: float) -> float:
        """Return which part of its share the target should get: 1 but soon after an outage."""
        return min(1.0, max(RAMP_LEAST, (now - self.closed_at) / RAMP_SECONDS))

    def pick_account(self, now: float) -> int:
        """Return the credential to use: in turn, past those that are cooling or out; else the one free soonest.

        Nothing changes by asking: the turn goes on when an attempt begins.
        """
        accounts = self.accounts
        if len(accounts) == 1:
            return 0
        start = self._next
        order = [(start + step) % len(accounts) for step in range(len(accounts))]
        chosen = next((index for index in order if accounts[index].free_at() <= now), None)
        if chosen is None:
            chosen = min(order, key=lambda index: accounts[index].free_at())
        return chosen

    def spare_account(self, used: int, now: float) -> bool:
        """Tell whether a credential other than the one just used is free."""
        return any(index != used and account.free_at() <= now for index, account in enumerate(self.accounts))

    # one request

    def begin(self, now: float, account: int = 0, *, entered: bool = False) -> bool:
        """Enter an attempt; return whether it is the probe of a half-open target.

        `entered`: its place was handed to it by one that left, and is counted already.
        """
        if not entered:
            self.in_flight += 1
        self.unheard += 1
        self._next = account + 1
        if self.state == "closed" or now < self.open_until or self.probing or self.forced == "closed":
            return False
        self.state = "half_open"
        self.probing = True
        return True

    def pay_in(self) -> None:
        """Add a new request's part to the retry budget."""
        if self.budget < BUDGET_MOST:
            self.budget = min(BUDGET_MOST, self.budget + BUDGET_SHARE)

    def pay_out(self) -> bool:
        """Take the price of a repeated attempt; False = the budget is spent."""
        if self.budget < 1.0:
            return False
        self.budget -= 1.0
        return True

    def leave(self) -> None:
        """The attempt is over, however it ended."""
        self.in_flight -= 1

    def succeed(self, now: float, account: int, *, probe: bool) -> None:
        """The target has begun to answer meaningfully."""
        self.unheard -= 1
        self.failures = 0
        if now >= self._turn_at:
            self._turn(now)
        self._ok += 1
        if probe:
            self._close(now)
        if not self.calm:
            self.accounts[account].succeed(now)

    def _close(self, now: float) -> None:
        self.probing = False
        self.state = "closed"
        self.closed_at = now
        self.failures = 0
        self._ok = self._bad = self._ok_before = self._bad_before = 0

    def measure(self, seconds: float) -> None:
        """Note how long it took to the first meaningful piece."""
        known = self.latency
        self.latency = seconds if known is None else known + _SMOOTHING * (seconds - known)

    def release(self, *, probe: bool) -> None:
        """The attempt ended without telling anything about the target: the client left, or the request was at fault."""
        self.unheard -= 1
        if probe:
            self.probing = False

    def fail(self, now: float, failure: Failure, account: int, *, probe: bool) -> None:
        """Note a failure: against the target, against the credential, or neither."""
        self.last_error = failure.code
        if failure.retry_after is not None and failure.kind in ("limited", "server"):
            self.accounts[account].obey(now, failure.retry_after)
            self.calm = False
        elif failure.kind == "limited":
            self.accounts[account].guess(now)
            self.calm = False
        elif failure.kind == "credential":
            self.put_out(account, now + OUT_SECONDS)
            if failure.status != 403:  # which may be about this model alone; the others are about the credential itself
                self.siblings.put_out(account, now + OUT_SECONDS)
        self.unheard -= 1
        if failure.blames_target:
            self._blame(now, probe=probe)
        elif probe:
            self.probing = False
            if failure.status:
                self._close(now)  # whatever it answered, it is there

    def put_out(self, account: int, until: float) -> None:
        """Leave a refused credential alone."""
        self.accounts[account].out_until = until
        self.calm = False

    def cut(self, now: float) -> None:
        """An answer that had begun well broke off: it tells against the target, but not as a failure in a row."""
        if now >= self._turn_at:
            self._turn(now)
        self._bad += 1
        if self._ok:  # its good beginning
            self._ok -= 1
        elif self._ok_before:
            self._ok_before -= 1
        if self.state == "closed" and self._rate_is_bad():
            self._open(now)

    def _blame(self, now: float, *, probe: bool) -> None:
        self.failures += 1
        if now >= self._turn_at:
            self._turn(now)
        self._bad += 1
        if probe:
            self.probing = False
            self._open(now)
        elif self.state == "closed" and (self._row_is_bad(now) or self._rate_is_bad()):
            self._open(now)

    def _row_is_bad(self, now: float) -> bool:
        most = self.policy.failures
        if now - self.closed_at < RAMP_SECONDS:
            most = min(most, RAMP_FAILURES)
        return self.failures >= most and self.failures >= ROW_SHARE * self.unheard

    def _rate_is_bad(self) -> bool:
        bad = self._bad + self._bad_before
        total = bad + self._ok + self._ok_before
        return total >= self.policy.min_requests and bad >= total * self.policy.failure_rate

    def _open(self, now: float) -> None:
        if not self.policy.enabled:
            return
        self.state = "open"
        self.open_until = now + self.policy.open_seconds
        self.calm = False

    def _turn(self, now: float) -> None:
        """Begin a new half of the window."""
        recent = now < self._turn_at + WINDOW_SECONDS
        self._ok_before, self._bad_before = (self._ok, self._bad) if recent else (0, 0)
        self._ok = self._bad = 0
        self._turn_at = now + WINDOW_SECONDS

    # by hand, by active checks, and for people

    def standing(self, now: float) -> TargetState:
        """Return how the target fares, for operators."""
        rank, until = self.availability(now)
        state: TargetStanding = self.state
        if self.forced != "auto":
            state = FORCED[self.forced]
        elif self.unwell:
            state = "open"
        elif state == "open" and now >= self.open_until:
            state = "half_open"
        return TargetState(
            self.name,
            state,
            self.in_flight,
            self.queued,
            self.failures,
            round(max(until - now, 0.0), 3) if rank in (SOFT, SHUT) else 0.0,
            cooling=all(account.cool_until > now for account in self.accounts),
            credentials=len(self.accounts),
            credentials_out=sum(account.out_until > now for account in self.accounts),
            latency_ms=None if self.latency is None else round(self.latency * 1000, 1),
            ramp=self.ramp(now),
            last_error=self.last_error,
        )

    def force(self, forced: Forced) -> None:
        """Keep the breaker open or closed whatever happens, or let it decide again, from a fresh start."""
        self.forced = forced
        self.calm = False
        if forced == "auto":
            self.state = "closed"
            self.failures = 0
            self.closed_at = -math.inf
            self._ok = self._bad = self._ok_before = self._bad_before = 0
            self.accounts = [Account() for _ in self.accounts]
