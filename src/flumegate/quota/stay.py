"""One request on all of its limits and budgets: it is admitted on all of them or on none. The clock is an argument.

`Allowance` is what a request is subject to, bound once to where that is counted; a `Stay` that exists is counted there,
and `leave` gives its place and its money back. Spent plus held never exceeds a budget's limit at the moment of an
admission, so a budget is overspent at most by what answers cost more than was held for them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import msgspec

from flumegate.quota.book import Book, Holder, LimitName, Over, Room, Sheet, limit_of
from flumegate.quota.ledger import Account, Ledger, Line, Short, Unknown, line_of
from flumegate.quota.period import end_of
from flumegate.quota.window import MINUTE
from flumegate.records.access import Budget

NO_END = sys.maxsize
"""Stands for a limit that is not set, and is compared by `is`."""
_Bounds = tuple[Sheet, int, int, int, int]
"""A sheet with its limits: requests and tokens a minute, requests under way, requests in all its life."""
_Pair = tuple[Sheet, int, int, int, int, Account, int, int]
"""The same, and an account with what may be spent of it, and what is when answers begin to warn."""


class Allowance:
    """What the requests of one key are subject to for a time.

    Attributes:
        holders: on whose rates and counts they are.
        budgets: those that they meet.
        lines: the same, in the period of this time.
        begins: Unix time from which it may be used.
        ends: Unix time until which it may be: a period ends, or what a budget was raised by.
        metered: there is a limit or a budget at all.
        sheets: where the holders are counted.
        bounds: each of them with its holder's limits.
        accounts: where the budgets are counted.
        funds: each of them with what may be spent of it.
        strictest: each with the line that says so.
        pair: one of each with its limits, where that is all there is: a request may enter by it without a loop.
        era: of the book, when it was bound; None = it is not.
        second: in which it was last bound; None = look at everything anew.
        form: the header lines of an answer, with places for numbers, where that is kept ready.
    """

    __slots__ = (
        "accounts",
        "begins",
        "bounds",
        "budgets",
        "ends",
        "era",
        "form",
        "funds",
        "holders",
        "lines",
        "metered",
        "pair",
        "second",
        "sheets",
        "strictest",
    )

    def __init__(self, holders: Sequence[Holder], budgets: Sequence[Budget], lines: Sequence[Line]) -> None:
        self.holders = tuple(holders)
        self.budgets = tuple(budgets)
        self.lines = tuple(lines)
        self.begins = self.ends = -math.inf
        self.metered = bool(self.holders or self.lines)
        self.sheets: tuple[Sheet, ...] = ()
        self.bounds: tuple[_Bounds, ...] = ()
        self.accounts: tuple[Account, ...] = ()
        self.funds: tuple[tuple[Account, int], ...] = ()
        self.strictest: tuple[Line, ...] = ()
        self.pair: _Pair | None = None
        self.era: object = None
        self.second: int | None = None
        self.form = b""

    def bind(self, book: Book, ledger: Ledger, now: float) -> Unknown | None:
        """Find where it is counted, and let go there what lies behind the last minute.

        What is returned must be told or opened first, then it is tried again.
        """
        if self.era is not book.era and (unknown := self._find(book, ledger, now)):
            return unknown
        self.second = second = int(now)
        for sheet in self.sheets:
            if sheet.second != second:
                sheet.turn(second)
        return None

    def _find(self, book: Book, ledger: Ledger, now: float) -> Unknown | None:
        unknown = Unknown(ledger.unknown(self.lines), book.unknown(self.holders))
        if unknown.accounts or unknown.holders:
            return unknown
        sheets = book.sheets([holder.name for holder in self.holders], int(now))
        self.sheets = tuple(sheets)
        self.bounds = tuple(_bounds(holder, sheet) for holder, sheet in zip(self.holders, sheets, strict=True))
        strictest: dict[str, Line] = {}
        for line in self.lines:  # two of one account, say a limit and a stricter one, are still one amount of money
            known = strictest.setdefault(line.account, line)
            if line.limit_micros < known.limit_micros:
                strictest[line.account] = line
        self.strictest = tuple(strictest.values())
        self.accounts = tuple(ledger.account(line.account) for line in self.strictest)
        self.funds = tuple(
            (account, line.limit_micros) for account, line in zip(self.accounts, self.strictest, strict=True)
        )
        self.pair = None
        if len(self.bounds) == len(self.funds) == 1:
            (line,) = self.strictest
            self.pair = (*self.bounds[0], *self.funds[0], line.warn_micros or NO_END)
        self.era = book.era
        return None

    def enter(self, tokens: int, micros: int, second: int) -> Stay | None:
        """Admit a request by a quick look; None = `refused` looks closely, and says why.

        Args:
            tokens: what it is expected to take.
            micros: what it is expected to cost at most.
            second: in which it was bound.
        """
        for sheet, requests, most_tokens, active, served in self.bounds:
            if (
                sheet.requests >= requests
                or sheet.active >= active
                or sheet.tokens + tokens > most_tokens
                or sheet.served >= served
            ):
                return None
        for account, limit in self.funds:
            left = limit - account.spent - account.held
            if left < micros or left <= 0:
                return None
        # As `count` does it, which would be a call more for every request.
        for sheet in self.sheets:
            sheet.requests += 1
            sheet.tokens += tokens
            sheet.active += 1
            sheet.served += 1
        for account in self.accounts:
            account.held += micros
        return Stay(self, tokens, micros, second)

    def count(self, tokens: int, micros: int, second: int) -> Stay:
        """Admit a request whatever the limits say."""
        for sheet in self.sheets:
            sheet.requests += 1
            sheet.tokens += tokens
            sheet.active += 1
            sheet.served += 1
        for account in self.accounts:
            account.held += micros
        return Stay(self, tokens, micros, second)

    def refused(self, tokens: int, micros: int, now: float) -> Over | Short | None:
        """Return why a request is not to be admitted; None = it is.

        More tokens than a limit allows are admitted when nothing else counts, else such a request never were. A budget
        that has nothing left refuses even a request that is expected to cost nothing: nobody knows what a free answer
        will turn out to cost.

        Args:
            tokens: what it is expected to take.
            micros: what it is expected to cost at most.
            now: a clock that does not go back.
        """
        for holder, (sheet, requests, most_tokens, active, served) in zip(self.holders, self.bounds, strict=True):
            if sheet.served >= served:
                return _over("max_requests", holder)
            if sheet.active >= active:
                return _over("concurrency", holder)
            if wait := sheet.wait_for_request(now, requests):
                return _over("requests", holder, wait)
            if sheet.tokens + tokens > most_tokens and sheet.tokens:
                return _over("tokens", holder, sheet.wait_for_tokens(now, tokens, most_tokens))
        return self.short(max(micros, 1))

    def short(self, micros: int) -> Short | None:
        """Return which budget has not as much left; None = all have."""
        for (account, limit), line in zip(self.funds, self.strictest, strict=True):
            left = limit - account.spent - account.held
            if left < micros:
                return Short(line, left)
        return None

    def spent(self) -> list[tuple[Line, int]]:
        """Return what each budget has spent."""
        return [(line, account.spent) for account, line in zip(self.accounts, self.strictest, strict=True)]

    def rooms(self) -> tuple[Room | None, Room | None]:
        """Return what the tightest rates of requests and of tokens leave behind a request that has just entered.

        None = there is no such limit.
        """
        requests = tokens = None
        for sheet, most_requests, most_tokens, _, _ in self.bounds:
            left = most_requests - sheet.requests
            if most_requests is not NO_END and (requests is None or left < requests.remaining):
                requests = Room(most_requests, left, MINUTE + 1)  # its own second counts until then
            left = max(0, most_tokens - sheet.tokens)
            if most_tokens is not NO_END and (tokens is None or left < tokens.remaining):
                tokens = Room(most_tokens, left, MINUTE + 1)
        return requests, tokens

    def beside(self, budgets: Sequence[Budget], unix_time: float) -> Allowance:
        """Return another one with more budgets, for the requests that meet those, too."""
        return allowance_at(self.holders, (*self.budgets, *budgets), unix_time)


class Stay(msgspec.Struct, eq=False, gc=False):
    """A request that was admitted, counted for as long as it is under way."""

    allowance: Allowance
    """What it is counted on; nothing once it has left."""
    tokens: int
    """What it was expected to take."""
    held: int
    """Money that is held for it."""
    second: int
    """In which it entered."""

    def extend(self, micros: int) -> Short | None:
        """Hold more money; None = it is held, else nothing more is."""
        if short := self.allowance.short(micros):
            return short
        for account in self.allowance.accounts:
            account.held += micros
        self.held += micros
        return None

    def discount(self) -> None:
        """Do not count it among the requests of a life: it came to nothing. For one that has not left yet."""
        for sheet in self.allowance.sheets:
            sheet.served -= 1

    def leave(self, tokens: int | None, micros: int | None, now: float) -> None:
        """Give place and money back and enter what was used; a second call does nothing.

        Args:
            tokens: what it really took; None = nobody knows, so what was expected counts.
            micros: what it cost; likewise.
            now: a clock that does not go back.
        """
        allowance, self.allowance = self.allowance, NOTHING
        more = 0 if tokens is None else tokens - self.tokens
        for sheet in allowance.sheets:
            sheet.active -= 1
            if more > 0:
                sheet.add(now, more)
            elif more:
                if sheet.second == self.second:
                    sheet.tokens += more
                else:
                    sheet.give_back(self.second, now, -more)
        held = self.held
        cost = held if micros is None else micros
        for account in allowance.accounts:
            account.held -= held
            account.spent += cost


NOTHING = Allowance((), (), ())
"""Limits nobody."""


def allowance_at(holders: Sequence[Holder], budgets: Sequence[Budget], unix_time: float) -> Allowance:
    """Return what requests are subject to from a time on; its lines change with the day, and where a raise ends."""
    made = Allowance(holders, budgets, [line_of(budget, unix_time) for budget in budgets])
    # The clock may have been ahead: what it said then is no reason to count in another day.
    made.begins = unix_time
    ends = [budget.raised_until for budget in budgets if budget.raised_until > unix_time]
    made.ends = min([*ends, end_of("day", unix_time) or math.inf])
    return made


def _bounds(holder: Holder, sheet: Sheet) -> _Bounds:
    limits = holder.limits
    return (
        sheet,
        limits.requests_per_minute or NO_END,
        limits.tokens_per_minute or NO_END,
        limits.concurrency or NO_END,
        limits.max_requests or NO_END,
    )


def _over(limit: LimitName, holder: Holder, wait_seconds: float | None = None) -> Over:
    return Over(limit, holder, limit_of(holder.limits, limit), wait_seconds)
