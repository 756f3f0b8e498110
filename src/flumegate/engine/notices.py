"""What clients are told of their limits and budgets: in the head of an answer, or instead of one."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence

from flumegate import log
from flumegate.errors import BUDGET_EXCEEDED, FORBIDDEN, RATE_LIMITED, UNAVAILABLE, GatewayError
from flumegate.quota.book import Over, Room
from flumegate.quota.ledger import Line, Short, Unknown
from flumegate.quota.stay import NO_END, Allowance
from flumegate.quota.window import MINUTE
from flumegate.records.access import Budget

MOST_WAIT_SECONDS = 86_400
"""Of a `Retry-After`: a budget may be raised long before its month is over."""
MOST_LOGGED = 65_536
"""Accounts of which the log has warned; beyond, all are forgotten, and it warns again."""
_REMAINING = operator.attrgetter("remaining")


def room_lines(requests: Room | None, tokens: Room | None) -> bytes:
    """Return header lines that tell what is left of the rates that are limited."""
    return _kind_lines(b"requests", requests) + _kind_lines(b"tokens", tokens)


def _kind_lines(kind: bytes, room: Room | None) -> bytes:
    return b"" if room is None else _lines(kind, room.limit, b"%d" % room.remaining, math.ceil(room.reset_seconds))


def _lines(kind: bytes, limit: int, remaining: bytes, reset_seconds: int) -> bytes:
    return b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %b\r\nx-ratelimit-reset-%b: %ds\r\n" % (
        kind, limit, kind, remaining, kind, reset_seconds,
    )  # fmt: skip


def room_form(allowance: Allowance) -> bytes:
    """Return `rooms_left` of one holder with both rates, with `%d` for what is left; empty = it is not as simple."""
    if len(allowance.bounds) != 1:
        return b""
    _, requests, tokens, _, _ = allowance.bounds[0]
    if requests is NO_END or tokens is NO_END:
        return b""
    return _lines(b"requests", requests, b"%d", MINUTE + 1) + _lines(b"tokens", tokens, b"%d", MINUTE + 1)


def rooms_left(allowance: Allowance) -> bytes:
    """Return the header lines for a request that has just been admitted."""
    form = allowance.form
    if not form:
        return room_lines(*allowance.rooms())
    sheet, requests, tokens, _, _ = allowance.bounds[0]
    left = tokens - sheet.tokens
    return form % (requests - sheet.requests, left if left > 0 else 0)  # noqa: FURB136 - max() costs twice as much


def nearly_spent(spent: Iterable[tuple[Line, int]]) -> list[tuple[Line, int]]:
    """Return of budgets with what they have spent those that warn, each with the part that this is, in percent."""
    return [(line, amount * 100 // line.limit_micros) for line, amount in spent if 0 < line.warn_micros <= amount]


def budget_line(budget: Budget, percent: int) -> bytes:
    """Return the header line that warns of a budget that is nearly spent; whose by kind, as in refusals."""
    return b"x-flumegate-budget-warning: %b %b %d%%\r\n" % (
        budget.scope.partition(":")[0].encode(), budget.period.encode(), percent,
    )  # fmt: skip


class Warnings:
    """Tells of budgets that are nearly spent: clients in every answer, the log once of each."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def line(self, allowance: Allowance, spent: Sequence[tuple[Line, int]]) -> bytes:
        """Return the header line that warns of the budget of which most is spent; empty = none warns."""
        most, line = 0, b""
        for found, percent in nearly_spent(spent):
            budget = allowance.budgets[allowance.lines.index(found)]
            if percent > most:
                most, line = percent, budget_line(budget, percent)
            if found.account not in self._logged:
                if len(self._logged) >= MOST_LOGGED:
                    self._logged.clear()
                self._logged.add(found.account)
                log.event("warning", "budget_nearly_spent", budget=budget.scope, period=budget.period, percent=percent)
        return line


def tightest(rooms: Sequence[tuple[Room | None, Room | None]]) -> tuple[Room | None, Room | None]:
    """Return of several rates of requests and of tokens those that leave the least."""
    requests = [room for room, _ in rooms if room is not None]
    tokens = [room for _, room in rooms if room is not None]
    return min(requests, key=_REMAINING, default=None), min(tokens, key=_REMAINING, default=None)


def refusal(refused: Over | Short | Unknown, allowance: Allowance, unix_time: float) -> GatewayError:
    """Return the error for a request that was not admitted."""
    if isinstance(refused, Over):
        return _over(refused)
    if isinstance(refused, Short):
        budget = allowance.budgets[allowance.lines.index(refused.line)]
        return _short(refused, budget, unix_time)
    return unknown_balance()


def unknown_balance() -> GatewayError:
    """Return the error for a request whose key's use cannot be known now."""
    return GatewayError(
        UNAVAILABLE,
        "balance_unknown",
        "What this key has used so far cannot be known now: the gateway's control process does not answer. "
        "Try again shortly.",
        retry_after=2,
    )


def unknown_price(target: str, *, passed_on: bool) -> GatewayError:
    """Return the error for a request on a budget whose cost nobody can tell; passed on = in the transparent lane."""
    if passed_on:
        message = (
            "What requests of this endpoint cost cannot be known, because they are passed on as they are, so no budget "
            "can hold it. Use a key that neither itself nor by its project or model is on a budget."
        )
        return GatewayError(FORBIDDEN, "price_unknown", message)
    message = (
        f"What {target!r} costs is not known, so it cannot be used on a budget. "
        "Whoever runs this gateway can state it under 'prices'."
    )
    return GatewayError(FORBIDDEN, "price_unknown", message, param="model")


def _over(over: Over) -> GatewayError:
    whose = _whose(over.holder.name)
    if over.limit == "max_requests":
        return GatewayError(
            RATE_LIMITED,
            "request_quota_exceeded",
            f"All {over.allowed} requests of {whose} are used. Ask whoever runs this gateway for more.",
        )
    if over.limit == "concurrency":
        return GatewayError(
            RATE_LIMITED,
            "concurrency_limit_exceeded",
            f"{over.allowed} requests of {whose} are under way, which is its limit. Wait for one to end.",
            retry_after=1,
        )
    wait = max(1, math.ceil(over.wait_seconds or 1.0))
    return GatewayError(
        RATE_LIMITED,
        "rate_limit_exceeded",
        f"The limit of {over.allowed} {over.limit} a minute of {whose} is reached. Try again in {wait} s.",
        retry_after=wait,
    )


def _short(short: Short, budget: Budget, unix_time: float) -> GatewayError:
    ends = short.line.ends_at
    seconds = max(1, math.ceil(ends - unix_time)) if ends else None
    left = max(short.left_micros, 0) / 1e6
    return GatewayError(
        BUDGET_EXCEEDED,
        "budget_exceeded",
        f"The {budget.period} budget of {_whose(budget.scope)}, ${short.line.limit_micros / 1e6:.2f}, has ${left:.4f} "
        f"left beside what is held for requests under way: too little for this one. {_when(seconds)}",
        retry_after=None if seconds is None else min(MOST_WAIT_SECONDS, seconds),
    )


def _when(seconds: int | None) -> str:
    if seconds is None:
        return "It does not reset by itself."
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    return f"It resets in {days} d {hours} h." if days else f"It resets in {hours} h {minutes} min."


def _whose(name: str) -> str:
    kind, _, rest = name.partition(":")
    return f"this {kind}" if kind in ("key", "project") else f"the {kind} {rest!r}"
