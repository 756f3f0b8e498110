"""Limits and budgets of one worker: what a request may use is held before it is sent, and settled with its Record.

Order: the key's and the project's rates and counts, then money on every budget that the request meets (the key's, the
project's, the model's, the model's within the project). A budget is a limit: spent plus held never exceeds it when a
request is admitted, and a stream that outgrows what is held for it is ended where nothing more can be held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from flumegate.catalog.rates import cost_micros
from flumegate.dialects.envelope import Envelope, bounds_of
from flumegate.dialects.expected import MOST_TOKENS, most_output_tokens
from flumegate.dialects.tap import STREAM_BYTES_A_TOKEN
from flumegate.engine.asks import BYTES_A_TOKEN
from flumegate.engine.notices import (
    Warnings,
    refusal,
    room_form,
    room_lines,
    rooms_left,
    tightest,
    unknown_balance,
    unknown_price,
)
from flumegate.exchange import Exchange
from flumegate.gates.keyring import Access
from flumegate.quota.book import Book, Over
from flumegate.quota.ledger import Ledger, Short, Unknown, recorded
from flumegate.quota.stay import NOTHING, Allowance, Stay
from flumegate.records.access import Budget
from flumegate.records.balance import Balance, Sought
from flumegate.records.request import Record
from flumegate.routing.course import Course

if TYPE_CHECKING:
    from flumegate.engine.passage import Passage
    from flumegate.shared.quota import SharedQuota

DEFAULT_OUTPUT_TOKENS = 4_096
"""Held for an answer whose request does not bound it; a stream that grows beyond holds more, piece by piece."""
PIECE_TOKENS = 1_024
"""Held in advance for a stream that goes on."""
MOST_WEIGHED = 50
"""Streams whose text is weighed in one sweep, which others wait for: each takes some 50 µs, and is not due often."""
MOST_ASKED = 32
"""Questions to control at a time: half of what a worker may have open, for others ask it, too."""
MOST_TOLD = 5
"""How often a request tells Redis what was used, which may forget it again before that request has entered."""
FORGET_SECONDS = 3_600
"""How often accounts are dropped whose period is over."""
AskBalance = Callable[[Sought], Awaitable[Balance | None]]
"""Asks control what was spent so far; None = it cannot tell now."""


class SharedStay(Stay, eq=False, gc=False):
    """A request on limits and budgets that several workers count together."""

    shared: SharedQuota
    """Where it entered, and will leave, whatever the Meter has come to share meanwhile."""
    growing: bool = False
    """More money is being asked for."""
    counted: bool = True
    """It is one of the requests of a life."""

    def discount(self) -> None:
        """See `Stay.discount`."""
        self.counted = False


async def nothing_known(_: Sought) -> Balance | None:
    """Answer for a control that is not there."""
    return None


class Meter:
    """The limits and budgets of one worker.

    Attributes:
        ask: how control is asked for what was spent before this worker began.
        shared: limits and budgets over several workers, or None where this worker is the only one.
    """

    def __init__(self) -> None:
        self.book = Book()
        self.ledger = Ledger()
        self.ask: AskBalance = nothing_known
        self.shared: SharedQuota | None = None
        self._asking: dict[Sought, asyncio.Task[Balance | None]] = {}
        self._turns = asyncio.Semaphore(MOST_ASKED)
        self._forget_at = 0.0
        self._warnings = Warnings()
        self._streams: dict[str, Exchange] = {}
        """Streams under way that cost money."""
        self._under_way: set[asyncio.Task[None]] = set()
        """What Redis is still being told."""
        self._left: set[SharedQuota] = set()
        """Where nobody enters any more, and some have still to leave."""

    def share(self, shared: SharedQuota | None) -> None:
        """Let requests enter elsewhere from now on; those under way leave where they have entered."""
        if self.shared is not None:
            self._left.add(self.shared)
            # What was counted here before is not all any more: whoever enters here again begins from the records.
            self.book, self.ledger = Book(), Ledger()
        self.book.era = object()  # whoever is bound here looks whether it still counts
        self.shared = shared

    def enter(
        self, exchange: Exchange, access: Access | None, course: Course, seen: Envelope
    ) -> bytes | Awaitable[bytes]:
        """Hold a request's place and money; return the header lines that tell what is left of the tightest rates.

        An awaitable of them must be awaited: somebody has to be asked first.

        Raises:
            GatewayError: 429, a limit or a budget is reached; 403, a price is not known. Awaiting raises the same, and
                503 where what was spent cannot be known now.
        """
        # Most requests need no more than what stands here: a call, or a loop, is a large part of what that costs. Of a
        # body that was not read here, none of the words that bound an answer is known: `_expected` reads it.
        allowance = NOTHING if access is None else access.allowance
        second = int(monotonic())
        if allowance.second != second or allowance.era is not self.book.era or exchange.snapshot.model_budgets:
            return self._enter_closely(exchange, access, course, seen)
        tokens = len(exchange.body) // BYTES_A_TOKEN
        micros = 0
        if allowance.lines:
            output, rates = seen.max_tokens, course.flat
            if (
                output is None
                or rates is None
                or not 0 < output <= MOST_TOKENS
                or seen.max_completion_tokens is not None
                or seen.max_output_tokens is not None
                or seen.n is not None
                or seen.options is not None
                or seen.generationConfig is not None
            ):
                micros = _expected(exchange, course, seen, tokens)
            else:
                micros = -(-(tokens * rates[0] + output * rates[1]) // 1_000_000)
        if allowance.pair is None:
            stay = allowance.enter(tokens, micros, second)
            near = bool(allowance.lines)
        else:
            stay = None
            sheet, requests, most_tokens, active, served, account, limit, warn_at = allowance.pair
            left = limit - account.spent - account.held
            if (
                sheet.requests < requests
                and sheet.active < active
                and sheet.tokens + tokens <= most_tokens
                and sheet.served < served
                and left >= micros
                and left > 0
            ):
                sheet.requests += 1
                sheet.tokens += tokens
                sheet.active += 1
                sheet.served += 1
                account.held += micros
                stay = Stay(allowance, tokens, micros, second)
            near = account.spent >= warn_at
        if stay is None:
            return self._enter_closely(exchange, access, course, seen)
        exchange.stay = stay
        if exchange.stream and allowance.lines:
            self._streams[exchange.record_id] = exchange
        return (
            rooms_left(allowance) + self._warnings.line(allowance, allowance.spent()) if near else rooms_left(allowance)
        )

    def _enter_closely(
        self, exchange: Exchange, access: Access | None, course: Course, seen: Envelope
    ) -> bytes | Awaitable[bytes]:
        """Do what `enter` does, whatever there is to look at."""
        now = monotonic()
        allowance = _allowance(exchange, access, time())
        if not allowance.metered:
            return b""
        tokens = len(exchange.body) // BYTES_A_TOKEN
        micros = _expected(exchange, course, seen, tokens) if allowance.lines else 0
        if self.shared is not None:
            return self._enter_shared(exchange, SharedStay(allowance, tokens, micros, 0, self.shared))
        if unknown := self._bind(allowance, now):
            return self._enter_told(exchange, access, course, seen, allowance, unknown)
        if refused := allowance.refused(tokens, micros, now):
            raise refusal(refused, allowance, time())
        exchange.stay = allowance.count(tokens, micros, int(now))
        if exchange.stream and allowance.lines:
            self._streams[exchange.record_id] = exchange
        return rooms_left(allowance) + self._warnings.line(allowance, allowance.spent())

    async def look(self, exchange: Exchange, access: Access | None, course: Course, seen: Envelope) -> None:
        """Tell what `enter` would do; nothing is held or counted.

        Raises:
            GatewayError: as there.
        """
        allowance = _allowance(exchange, access, time())
        if not allowance.metered:
            return
        tokens = len(exchange.body) // BYTES_A_TOKEN
        micros = _expected(exchange, course, seen, tokens) if allowance.lines else 0
        shared = self.shared

        async def look() -> Over | Short | Unknown | None:
            now = monotonic()
            if shared is None:
                return self._bind(allowance, now) or allowance.refused(tokens, micros, now)
            return await shared.look(allowance.holders, allowance.lines, tokens, micros, now)

        await self._let_in(look, shared, allowance)

    async def _let_in(
        self,
        ask: Callable[[], Awaitable[Over | Short | Unknown | None]],
        shared: SharedQuota | None,
        allowance: Allowance,
    ) -> None:
        """Ask whether a request may enter, and say what is not known yet until that can be told.

        Raises:
            GatewayError: as `enter` does.
        """
        refused = await ask()
        for _ in range(MOST_TOLD):
            if not isinstance(refused, Unknown):
                break
            await self._tell(shared, refused, allowance)
            refused = await ask()
        if refused is not None:
            raise refusal(refused, allowance, time())

    async def _tell(self, shared: SharedQuota | None, unknown: Unknown, allowance: Allowance) -> None:
        """Find out what was used before this worker began, and enter it here, or where several workers count.

        Raises:
            GatewayError: 503, it cannot be known now.
        """
        balance = await self._told(unknown)
        for name in unknown.holders:
            served = balance.requests.get(name, 0)
            if shared is None:
                self.book.tell(name, served)
            else:
                await shared.tell(name, served)
        for account, ends_at in _ends(unknown, allowance):
            spent = balance.micros.get(recorded(account), 0)
            if shared is None:
                self.ledger.open(account, spent, ends_at)
            else:
                await shared.open(account, spent, ends_at)

    def _bind(self, allowance: Allowance, now: float) -> Unknown | None:
        bound = allowance.era is self.book.era
        if unknown := allowance.bind(self.book, self.ledger, now):
            return unknown
        if not bound:
            allowance.form = room_form(allowance)
        if allowance.ends - time() < 1:  # it may end within this second: every request looks at the clock
            allowance.second = None
        return None

    async def _enter_told(
        self,
        exchange: Exchange,
        access: Access | None,
        course: Course,
        seen: Envelope,
        allowance: Allowance,
        unknown: Unknown,
    ) -> bytes:
        await self._tell(None, unknown, allowance)
        lines = self.enter(exchange, access, course, seen)
        return lines if isinstance(lines, bytes) else await lines  # another day has begun meanwhile

    async def _enter_shared(self, exchange: Exchange, stay: SharedStay) -> bytes:
        shared, allowance = stay.shared, stay.allowance

        async def enter() -> Over | Short | Unknown | None:
            return await shared.enter(
                exchange.record_id, allowance.holders, allowance.lines, stay.tokens, stay.held, monotonic()
            )

        with shared.entering():
            await self._let_in(enter, shared, allowance)
        exchange.stay = stay
        if allowance.lines and exchange.stream:
            self._streams[exchange.record_id] = exchange
        lines = room_lines(*tightest(shared.rooms(exchange.record_id)))
        return lines + self._warnings.line(allowance, shared.spent(exchange.record_id))

    async def _told(self, unknown: Unknown) -> Balance:
        """Ask control what was used before this worker began; a crowd that wants to know the same asks once.

        Raises:
            GatewayError: 503, it cannot tell.
        """
        sought = Sought(unknown.holders, tuple(recorded(account) for account in unknown.accounts))
        asking = self._asking.get(sought)
        if asking is None:
            asking = self._asking[sought] = asyncio.get_running_loop().create_task(self._ask(sought))
            asking.add_done_callback(lambda _: self._asking.pop(sought, None))
        # Whoever asked first may leave; the others still wait for the answer.
        balance = await asyncio.shield(asking)
        if balance is None:
            raise unknown_balance()
        return balance

    async def _ask(self, sought: Sought) -> Balance | None:
        async with self._turns:
            return await self.ask(sought)

    def settle(self, exchanges: Sequence[Exchange], records: Sequence[Record]) -> None:
        """Give back what requests held and enter what they used; called once for every Record."""
        now = monotonic()
        for exchange, record in zip(exchanges, records, strict=True):
            stay, exchange.stay = exchange.stay, None
            if stay is None:
                continue
            if self._streams:  # a translation may have found since that it is none
                self._streams.pop(exchange.record_id, None)
            tokens, micros = record.input_tokens, record.cost_micros
            if record.output_tokens is not None and not record.cache_status:
                tokens = record.output_tokens + (tokens or 0)
            elif not exchange.is_answered:  # nor is one that shares another's answer
                tokens = micros = 0
                if not record.is_counted:
                    stay.discount()
            if isinstance(stay, SharedStay):
                self._begin(stay.shared.leave(exchange.record_id, tokens, micros, now, counted=stay.counted))
            else:
                stay.leave(tokens, micros, now)

    def _begin(self, telling: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(telling)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Finish telling Redis what it must know."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self.share(None)
        for shared in self._left:
            await shared.close()

    def sweep(self) -> None:
        """Hold more for streams that outgrow what is held for them, and end those for which there is no more."""
        now = time()
        if now >= self._forget_at:
            self._forget_at = now + FORGET_SECONDS
            if self.ledger.forget(now - FORGET_SECONDS):
                self.book.era = object()  # should the clock go back, nobody goes on with an account that is not there
        for shared in [each for each in self._left if not each.occupied]:
            self._left.remove(shared)
            self._begin(shared.close())
        weighed = 0
        for exchange in list(self._streams.values()):
            stay, plan, passage = exchange.stay, exchange.plan, exchange.passage
            if stay is None or passage is None or plan is None or plan.price is None:
                continue
            # By its size alone, where that is more: not all that costs is text that a tap could weigh.
            size, tap = exchange.response_bytes, exchange.tap
            said = size // STREAM_BYTES_A_TOKEN
            if tap is not None:
                weigh = weighed < MOST_WEIGHED and tap.has_grown(size)
                weighed += weigh
                said = max(said, tap.said_so_far(size, weigh=weigh))
            cost = cost_micros(plan.price, stay.tokens, said)
            piece = cost_micros(plan.price, 0, PIECE_TOKENS)
            if cost is None or piece is None:
                continue
            if isinstance(stay, SharedStay):
                if not stay.growing and cost + piece > stay.held:
                    stay.growing = True
                    self._begin(self._grow_shared(stay, exchange, passage, cost, piece))
                continue
            while piece and cost + piece > stay.held:
                short = stay.extend(piece)
                if short is not None:
                    _end_if_spent(short, stay, passage, cost)
                    break

    async def _grow_shared(self, stay: SharedStay, exchange: Exchange, passage: Passage, cost: int, piece: int) -> None:
        missing = -(-(cost + piece - stay.held) // piece) * piece
        short = await stay.shared.extend(exchange.record_id, stay.allowance.lines, missing)
        stay.growing = False
        if short is None:
            stay.held += missing
        else:
            _end_if_spent(short, stay, passage, cost)


def _expected(exchange: Exchange, course: Course, seen: Envelope, input_tokens: int) -> int:
    """Return what is held for a request: the dearest of its targets, at the most that its answer may have.

    Raises:
        GatewayError: 403, a target's price is not known.
    """
    unstated = DEFAULT_OUTPUT_TOKENS if course.answers else 0
    output = most_output_tokens(bounds_of(seen, exchange.body), unstated)
    if course.flat is not None:
        input_rate, output_rate = course.flat
        return -(-(input_tokens * input_rate + output * output_rate) // 1_000_000)
    dearest = 0
    for candidate in course.candidates:
        price = candidate.price
        cost = None if price is None else cost_micros(price, input_tokens, output)
        if cost is None:
            raise unknown_price(candidate.health.name, passed_on=exchange.lane == "transparent")
        dearest = max(dearest, cost)
    return dearest


def _end_if_spent(short: Short, stay: Stay, passage: Passage, cost: int) -> None:
    if cost >= stay.held:
        passage.stop(refusal(short, stay.allowance, time()))


def _ends(unknown: Unknown, allowance: Allowance) -> list[tuple[str, float]]:
    """Return the accounts that nobody has opened, each with the end of its period."""
    return [(line.account, line.ends_at) for line in allowance.lines if line.account in unknown.accounts]


def _allowance(exchange: Exchange, access: Access | None, unix_time: float) -> Allowance:
    """Return what a request is subject to at a time; it may not be bound yet."""
    allowance = NOTHING if access is None else access.allowance
    if access is not None and not allowance.begins <= unix_time < allowance.ends:
        allowance = access.allow(unix_time)
    if exchange.snapshot.model_budgets and (more := _model_budgets(exchange, access)):
        allowance = allowance.beside(more, unix_time)
    return allowance


def _model_budgets(exchange: Exchange, access: Access | None) -> tuple[Budget, ...]:
    """Return the budgets of the model that a request names, also those of its project alone."""
    models = exchange.snapshot.model_budgets
    name = exchange.model_requested
    found = models.get(f"model:{name}", ())
    if access is not None and access.project is not None:
        found += models.get(f"project:{access.project.id}/model:{name}", ())
    return found
