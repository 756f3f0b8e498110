"""What one worker lets in on its own while Redis is away: its share of limits, and a lease on budgets. No I/O.

Its book counts all the time, so that what this worker let in before the outage still counts in the first minute of it.
A lease is a part of what a budget had left when it was last seen, small enough that the leases of all workers together
are no more than that.
"""

from __future__ import annotations

from collections.abc import Sequence

from flumegate.quota.book import Book, Holder, Over, limit_of
from flumegate.quota.ledger import Ledger, Line, Short, Unknown
from flumegate.quota.stay import Allowance, Stay
from flumegate.records.access import NO_LIMITS, Limits

LEASE_PERCENT = 5
"""Of what was left at last sight, for each worker; with more than 100 / 5 workers an equal part."""
MOST_SEEN = 65_536
"""Beyond so many accounts the half that was seen first is forgotten: its spending is asked for again."""


class Alone:
    """A worker's own view of limits and budgets."""

    def __init__(self) -> None:
        # All that is under way in this worker, wherever it was admitted.
        self._book = Book()
        self._now = 0.0
        self._counted: dict[str, Stay] = {}
        self._left: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._leases: dict[str, int] = {}
        self._ledger = Ledger()
        self._leased: dict[str, Stay] = {}
        self._served: dict[str, tuple[int, int]] = {}

    def see(self, account: str, left_micros: int) -> None:
        """Remember what a budget has left."""
        if len(self._left) >= MOST_SEEN and account not in self._left:
            for name in list(self._left)[: MOST_SEEN // 2]:
                del self._left[name]
        self._left[account] = left_micros

    def open(self, account: str, spent_micros: int) -> None:
        """Enter what an account had spent, for one that was not seen before the outage."""
        self._told[account] = spent_micros

    def tell(self, name: str, served: int) -> None:
        """Enter how many requests a holder with a count for life has had; what is known already stays."""
        self._served.setdefault(name, (served, 0))

    def enter(
        self, request: str, holders: Sequence[Holder], lines: Sequence[Line], tokens: int, micros: int, *,
        now: float, workers: int,
    ) -> Over | Short | Unknown | None:  # fmt: skip
        """Admit a request on this worker's share; None = admitted, and counted."""
        if found := self.look(holders, lines, tokens, micros, now=now, workers=workers):
            return found
        shares, leases = self._shares(holders, lines, workers)
        self._counted[request] = shares.count(tokens, 0, int(self._now))
        self._leased[request] = leases.count(0, micros, 0)
        for holder in holders:
            if holder.limits.max_requests:
                served, since = self._served[holder.name]
                self._served[holder.name] = (served, since + 1)
        return None

    def look(
        self, holders: Sequence[Holder], lines: Sequence[Line], tokens: int, micros: int, *, now: float, workers: int
    ) -> Over | Short | Unknown | None:
        """Tell what `enter` would answer to such a request; nothing is counted."""
        unknown = Unknown(
            tuple(line.account for line in lines if self._lease(line, workers) is None),
            tuple(holder.name for holder in holders if holder.limits.max_requests and holder.name not in self._served),
        )
        if unknown.accounts or unknown.holders:
            return unknown
        for holder in holders:
            if holder.limits.max_requests and not self._life_left(holder, workers):
                return Over("max_requests", holder, holder.limits.max_requests, None)
        now = self._latest(now)
        shares, leases = self._shares(holders, lines, workers)
        over = shares.refused(tokens, 0, now)
        if isinstance(over, Over):
            holder = next(holder for holder in holders if holder.name == over.holder.name)
            return over._replace(holder=holder, allowed=limit_of(holder.limits, over.limit))
        short = leases.refused(0, micros, now)
        return _told(short, lines) if isinstance(short, Short) else None

    def count(self, request: str, holders: Sequence[Holder], tokens: int, now: float) -> None:
        """Count a request that was admitted elsewhere, whatever the limits say."""
        now = self._latest(now)
        allowance = self._bound([Holder(holder.name, NO_LIMITS) for holder in holders], (), now)
        self._counted[request] = allowance.count(tokens, 0, int(now))

    def leave(self, request: str, tokens: int | None, now: float) -> None:
        """Give a request's place back, wherever it was admitted; None for tokens = as many as were expected."""
        if stay := self._counted.pop(request, None):
            stay.leave(tokens, None, self._latest(now))

    def extend(self, request: str, lines: Sequence[Line], micros: int, workers: int) -> Short | None:
        """Hold more for a request under way, wherever it was admitted; None = it is held."""
        for line in lines:
            if self._lease(line, workers) is None:
                return Short(line, 0)
        if request not in self._leased:
            leases = self._bound((), [self._leased_line(line, workers) for line in lines], self._now)
            self._leased[request] = leases.count(0, 0, 0)
        short = self._leased[request].extend(micros)
        return None if short is None else _told(short, lines)

    def settle(self, request: str, cost_micros: int | None) -> None:
        """Enter what a request cost into its leases; None = what was held for it."""
        if stay := self._leased.pop(request, None):
            stay.leave(None, cost_micros, 0.0)

    def end(self) -> None:
        """Forget the leases: Redis is back and knows what was spent."""
        for account, lease in self._leases.items():
            # Until it is seen again, as if the lease had been spent: a second outage must not lease it twice.
            if account in self._left:
                self._left[account] -= lease
        self._leases, self._told, self._served = {}, {}, {}
        self._ledger, self._leased = Ledger(), {}

    def _latest(self, now: float) -> float:
        """Return a time that does not go back: each was read before Redis was asked, and some had to wait longer."""
        self._now = max(self._now, now)
        return self._now

    def _lease(self, line: Line, workers: int) -> int | None:
        lease = self._leases.get(line.account)
        if lease is None:
            left = self._left.get(line.account)
            if left is None:
                if line.account not in self._told:
                    return None
                left = line.limit_micros - self._told[line.account]
            lease = max(0, left) // max(100 // LEASE_PERCENT, workers)
            self._leases[line.account] = lease
            self._ledger.open(line.account, 0)
        return lease

    def _leased_line(self, line: Line, workers: int) -> Line:
        return line._replace(limit_micros=self._lease(line, workers) or 0)

    def _shares(self, holders: Sequence[Holder], lines: Sequence[Line], workers: int) -> tuple[Allowance, Allowance]:
        """Return this worker's part of the limits, and of the budgets."""
        return (
            self._bound([_share(holder, workers) for holder in holders], (), self._now),
            self._bound((), [self._leased_line(line, workers) for line in lines], self._now),
        )

    def _bound(self, holders: Sequence[Holder], lines: Sequence[Line], now: float) -> Allowance:
        allowance = Allowance(holders, (), lines)
        allowance.bind(self._book, self._ledger, now)
        return allowance

    def _life_left(self, holder: Holder, workers: int) -> bool:
        served, since = self._served[holder.name]
        left = holder.limits.max_requests - served
        return left > 0 and since < max(1, left // workers)


def _told(short: Short, lines: Sequence[Line]) -> Short:
    """Return it with the budget's own line, not with the lease on it."""
    return Short(next(line for line in lines if line.account == short.line.account), short.left_micros)


def _share(holder: Holder, workers: int) -> Holder:
    """Return a holder with this worker's share: each has at least one of what all have at least one of."""
    limits = holder.limits
    return Holder(
        holder.name,
        Limits(
            requests_per_minute=_part(limits.requests_per_minute, workers),
            tokens_per_minute=_part(limits.tokens_per_minute, workers),
            concurrency=_part(limits.concurrency, workers),
        ),
    )


def _part(limit: int, workers: int) -> int:
    return max(1, limit // workers) if limit else 0
