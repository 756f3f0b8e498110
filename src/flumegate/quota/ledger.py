"""Money: what budgets have spent and hold back, in micro-dollars. Nothing here knows a clock, a price or a request.

reserve → (extend …) → settle, each by the id of its request: what is held for a request is given back exactly once,
whatever happens how often. Spent plus held never exceeds a budget's limit at the moment of a reservation, so a budget
is overspent at most by what answers cost more than was held for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flumegate.quota import period
from flumegate.records.access import Budget


class Line(NamedTuple):
    """One budget as a request meets it."""

    account: str
    """The budget's scope, the period's name, and which of the budgets it had: a new period is a new account."""
    limit_micros: int
    """What may be spent in that period."""
    ends_at: float = 0.0
    """Unix time at which the period ends; 0 = never."""


class Short(NamedTuple):
    """Why a reservation was refused."""

    line: Line
    left_micros: int
    """What the budget still has, beside what it holds for others; may be negative."""


class Unknown(NamedTuple):
    """Accounts that must be opened, with what they have spent so far, before anything is held on them."""

    accounts: tuple[str, ...]
    holders: tuple[str, ...] = ()
    """Likewise those with a count for life, which must be told how many requests they have had."""


class _Account:
    __slots__ = ("ends_at", "held", "spent")

    def __init__(self, spent: int, ends_at: float) -> None:
        self.spent = spent
        self.held = 0
        self.ends_at = ends_at


class _Hold:
    __slots__ = ("accounts", "micros")

    def __init__(self, accounts: list[_Account], micros: int) -> None:
        # None of them is forgotten while something holds on to it.
        self.accounts = accounts
        self.micros = micros


def line_of(budget: Budget, unix_time: float) -> Line:
    """Return a budget's line at a time; what it was raised by counts until that ends."""
    limit = budget.limit_micros + (budget.raised_micros if unix_time < budget.raised_until else 0)
    name = period.name_of(budget.period, unix_time)
    # One that was removed and is set again begins from what the records say, not from what was spent on the first.
    account = f"{budget.scope}@{name}#{budget.since}" if budget.since else f"{budget.scope}@{name}"
    return Line(account, limit, period.end_of(budget.period, unix_time) or 0.0)


def recorded(account: str) -> str:
    """Return what the records call an account: they know scope and period only."""
    scope, _, rest = account.rpartition("@")
    return f"{scope}@{rest.partition('#')[0]}"


class Ledger:
    """The accounts of one worker."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._holds: dict[str, _Hold] = {}

    def unknown(self, lines: Sequence[Line]) -> tuple[str, ...]:
        """Return the accounts that have not been opened yet."""
        return tuple(line.account for line in lines if line.account not in self._accounts)

    def open(self, account: str, spent_micros: int, ends_at: float = 0.0) -> None:
        """Enter what an account had spent before; one that is open already stays as it is."""
        if account not in self._accounts:
            self._accounts[account] = _Account(spent_micros, ends_at)

    def left(self, line: Line) -> int:
        """Return what may still be spent, beside what is held; may be negative."""
        account = self._accounts.get(line.account)
        return line.limit_micros if account is None else line.limit_micros - account.spent - account.held

    def spent(self, account: str) -> int:
        """Return what an account has spent; 0 where nobody knows."""
        known = self._accounts.get(account)
        return 0 if known is None else known.spent

    def reserve(self, request: str, lines: Sequence[Line], micros: int) -> Unknown | Short | None:
        """Hold an amount for a request on all of its budgets; None = it is held, else nothing is.

        A budget that has nothing left refuses even a request that is expected to cost nothing.
        """
        if request in self._holds:
            return None
        known = self._accounts
        accounts = []
        short: Short | None = None
        for line in lines:
            account = known.get(line.account)
            if account is None:
                return Unknown(self.unknown(lines))
            left = line.limit_micros - account.spent - account.held
            if (left < micros or left <= 0) and short is None:
                short = Short(line, left)
            # Two lines of one account, say a limit and a stricter one, are still one amount of money.
            if account not in accounts:
                accounts.append(account)
        if short is not None:
            return short
        for account in accounts:
            account.held += micros
        self._holds[request] = _Hold(accounts, micros)
        return None

    def extend(self, request: str, lines: Sequence[Line], micros: int) -> Short | None:
        """Hold more for a request that is under way; None = it is held, else nothing more is.

        Lines are those of its reservation, with their limits of today. A request that is over, or for which nothing
        was ever held, is not held for now either.
        """
        hold = self._holds.get(request)
        if hold is None:
            return None
        for line in lines:
            left = self.left(line)
            if left < micros:
                return Short(line, left)
        for account in hold.accounts:
            account.held += micros
        hold.micros += micros
        return None

    def holds(self, request: str) -> bool:
        """Return whether something, if only nothing, is held for a request."""
        return request in self._holds

    def held_for(self, request: str) -> int:
        """Return what is held for a request."""
        hold = self._holds.get(request)
        return 0 if hold is None else hold.micros

    def settle(self, request: str, cost_micros: int | None) -> None:
        """Give back what is held for a request and enter what it cost; None = nobody knows, so what was held counts.

        A second call for the same request does nothing.
        """
        hold = self._holds.pop(request, None)
        if hold is None:
            return
        cost = hold.micros if cost_micros is None else cost_micros
        for account in hold.accounts:
            account.held -= hold.micros
            account.spent += cost

    def forget(self, before: float) -> int:
        """Drop the accounts whose period ended before a time and which no request holds on to; return how many."""
        in_use = {id(account) for hold in self._holds.values() for account in hold.accounts}
        over = [
            name
            for name, account in self._accounts.items()
            if account.ends_at and account.ends_at < before and id(account) not in in_use
        ]
        for name in over:
            del self._accounts[name]
        return len(over)

    @property
    def held_total(self) -> int:
        """All that is held now, for the requests under way."""
        return sum(hold.micros for hold in self._holds.values())
