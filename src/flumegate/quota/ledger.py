"""Money: what budgets have spent and hold back, in micro-dollars. Nothing here knows a clock, a price or a request."""

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
    warn_micros: int = 0
    """Once so much is spent, answers warn; 0 = they never do."""


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


class Account:
    """What one budget has spent and holds in one period, in micro-dollars.

    Attributes:
        spent: by requests that are over.
        held: for requests under way.
        ends_at: Unix time at which the period ends; 0 = never.
    """

    __slots__ = ("ends_at", "held", "spent")

    def __init__(self, spent: int, ends_at: float) -> None:
        self.spent = spent
        self.held = 0
        self.ends_at = ends_at


def line_of(budget: Budget, unix_time: float) -> Line:
    """Return a budget's line at a time; what it was raised by counts until that ends."""
    limit = budget.limit_micros + (budget.raised_micros if unix_time < budget.raised_until else 0)
    name = period.name_of(budget.period, unix_time)
    # One that was removed and is set again begins from what the records say, not from what was spent on the first.
    account = f"{budget.scope}@{name}#{budget.since}" if budget.since else f"{budget.scope}@{name}"
    warn = max(1, limit * budget.soft_percent // 100)
    return Line(account, limit, period.end_of(budget.period, unix_time) or 0.0, warn)


def recorded(account: str) -> str:
    """Return what the records call an account: they know scope and period only."""
    scope, _, rest = account.rpartition("@")
    return f"{scope}@{rest.partition('#')[0]}"


class Ledger:
    """The accounts of one worker."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    def unknown(self, lines: Sequence[Line]) -> tuple[str, ...]:
        """Return the accounts that have not been opened yet."""
        return tuple(line.account for line in lines if line.account not in self._accounts)

    def open(self, account: str, spent_micros: int, ends_at: float = 0.0) -> None:
        """Enter what an account had spent before; one that is open already stays as it is."""
        if account not in self._accounts:
            self._accounts[account] = Account(spent_micros, ends_at)

    def account(self, name: str) -> Account:
        """Return an account that is open.

        Raises:
            KeyError: it is not.
        """
        return self._accounts[name]

    def forget(self, before: float) -> int:
        """Drop the accounts whose period ended before a time and that hold nothing; return how many."""
        over = [
            name
            for name, account in self._accounts.items()
            if account.ends_at and account.ends_at < before and not account.held
        ]
        for name in over:
            del self._accounts[name]
        return len(over)

    @property
    def held_total(self) -> int:
        """All that accounts hold now; what a request holds on several budgets counts on each."""
        return sum(account.held for account in self._accounts.values())
