"""Limits and budgets of one worker: what a request may use is held before it is sent, and settled with its Record.

Order: the key's and the project's rates and counts, then money on every budget that the request meets (the key's, the
project's, the model's, the model's within the project). A budget is a limit: spent plus held never exceeds it when a
request is admitted, and a stream that outgrows what is held for it is ended where nothing more can be held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from flumegate.catalog.rates import cost_micros
from flumegate.dialects.expected import most_output_tokens
from flumegate.engine.asks import BYTES_A_TOKEN
from flumegate.engine.notices import refusal, room_lines, tightest, unknown_balance
from flumegate.errors import FORBIDDEN, GatewayError
from flumegate.exchange import Exchange
from flumegate.gates.keyring import Access
from flumegate.quota.book import Book, Holder, Over
from flumegate.quota.ledger import Ledger, Line, Short, Unknown, line_of, recorded
from flumegate.records.access import Budget
from flumegate.records.balance import Balance, Sought
from flumegate.records.request import Record
from flumegate.routing.course import Course

if TYPE_CHECKING:
    from flumegate.engine.passage import Passage
    from flumegate.shared.quota import SharedQuota

DEFAULT_OUTPUT_TOKENS = 4_096
"""Held for an answer whose request does not bound it; a stream that grows beyond holds more, piece by piece."""
STREAM_BYTES_A_TOKEN = 200
"""Of a stream as it is passed on, with the JSON around each token: to see when one outgrows what is held for it."""
PIECE_TOKENS = 1_024
"""Held in advance for a stream that goes on."""
MOST_ASKED = 32
"""Questions to control at a time: half of what a worker may have open, for others ask it, too."""
FORGET_SECONDS = 3_600
"""How often accounts are dropped whose period is over."""
AskBalance = Callable[[Sought], Awaitable[Balance | None]]
"""Asks control what was spent so far; None = it cannot tell now."""


class Stake:
    """What one request holds.

    Attributes:
        holders: on whose rates and counts it is.
        budgets: those that it meets.
        lines: the same, in the period in which it began.
        held: money that is held for it.
        growing: more is being asked for.
        input_tokens: as they were expected.
        shared: where it entered, and will leave, whatever the Meter has come to share meanwhile; None = here.
    """

    __slots__ = ("budgets", "growing", "held", "holders", "input_tokens", "lines", "shared")

    def __init__(self, holders: tuple[Holder, ...], budgets: tuple[Budget, ...], lines: tuple[Line, ...]) -> None:
        self.holders = holders
        self.budgets = budgets
        self.lines = lines
        self.held = 0
        self.growing = False
        self.input_tokens = 0
        self.shared: SharedQuota | None = None


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
        self.shared = shared

    def enter(self, exchange: Exchange, access: Access | None, course: Course) -> Awaitable[None] | None:
        """Hold a request's place and money; what is returned must be awaited: somebody has to be asked first.

        Raises:
            GatewayError: 429, a limit or a budget is reached; 403, a price is not known. Awaiting raises the same, and
                503 where what was spent cannot be known now.
        """
        now = time()
        stake = Stake((), (), ()) if access is None else Stake(access.holders, access.budgets, access.lines(now))
        if exchange.snapshot.model_budgets and (more := _model_budgets(exchange, access)):
            stake.budgets += more
            stake.lines += tuple(line_of(budget, now) for budget in more)
        if not stake.holders and not stake.lines:
            return None
        stake.input_tokens = len(exchange.body) // BYTES_A_TOKEN
        if stake.lines:
            stake.held = self._expected(exchange, course, stake.input_tokens)
        if self.shared is not None:
            stake.shared = self.shared
            return self._enter_asking(exchange, stake, None)
        refused = self._enter_here(exchange.record_id, stake)
        if refused is None:
            exchange.stake = stake
            if stake.lines and exchange.stream:
                self._streams[exchange.record_id] = exchange
            return None
        if isinstance(refused, Unknown):
            return self._enter_asking(exchange, stake, refused)
        raise refusal(refused, stake.budgets, stake.lines, time())

    async def _enter_asking(self, exchange: Exchange, stake: Stake, refused: Over | Short | Unknown | None) -> None:
        request, shared = exchange.record_id, stake.shared
        if shared is not None:
            refused = await self._enter_shared(shared, request, stake)
        if isinstance(refused, Unknown):
            await self._learn(refused, stake)
            if shared is not None:
                refused = await self._enter_shared(shared, request, stake)
            else:
                refused = self._enter_here(request, stake)
        if refused is not None:
            raise refusal(refused, stake.budgets, stake.lines, time())
        exchange.stake = stake
        if stake.lines and exchange.stream:
            self._streams[request] = exchange

    def _enter_here(self, request: str, stake: Stake) -> Over | Short | Unknown | None:
        """Enter a request everywhere or nowhere; None = it is in."""
        holders, lines = stake.holders, stake.lines
        if holders:
            if untold := self.book.unknown(holders):
                return Unknown(self.ledger.unknown(lines), tuple(untold))
            over = self.book.enter(request, holders, stake.input_tokens, monotonic())
            if over is not None:
                return over
        if not lines:
            return None
        short = self.ledger.reserve(request, lines, stake.held)
        if short is not None:
            self.book.withdraw(request, monotonic())
        return short

    async def _enter_shared(self, shared: SharedQuota, request: str, stake: Stake) -> Over | Short | Unknown | None:
        return await shared.enter(request, stake.holders, stake.lines, stake.input_tokens, stake.held, monotonic())

    async def _learn(self, unknown: Unknown, stake: Stake) -> None:
        """Ask control what was used before this worker began.

        Raises:
            GatewayError: 503, it cannot tell.
        """
        shared, ends = stake.shared, {line.account: line.ends_at for line in stake.lines}
        names = {account: recorded(account) for account in unknown.accounts}
        balance = await self._told(Sought(unknown.holders, tuple(names.values())))
        if balance is None:
            raise unknown_balance()
        for name in unknown.holders:
            served = balance.requests.get(name, 0)
            if shared is not None:
                await shared.tell(name, served)
            else:
                self.book.tell(name, served)
        for account, name in names.items():
            spent = balance.micros.get(name, 0)
            if shared is not None:
                await shared.open(account, spent, ends.get(account, 0.0))
            else:
                self.ledger.open(account, spent, ends.get(account, 0.0))

    async def _told(self, sought: Sought) -> Balance | None:
        """Return what control answers; a crowd that wants to know the same asks once."""
        asking = self._asking.get(sought)
        if asking is None:
            asking = self._asking[sought] = asyncio.get_running_loop().create_task(self._ask(sought))
            asking.add_done_callback(lambda _: self._asking.pop(sought, None))
        # Whoever asked first may leave; the others still wait for the answer.
        return await asyncio.shield(asking)

    async def _ask(self, sought: Sought) -> Balance | None:
        async with self._turns:
            return await self.ask(sought)

    def _expected(self, exchange: Exchange, course: Course, input_tokens: int) -> int:
        """Return what is held for a request: the dearest of its targets, at the most that its answer may have.

        Raises:
            GatewayError: 403, a target's price is not known.
        """
        endpoint = exchange.endpoint
        answers = endpoint is not None and endpoint.does == "answer"
        output = most_output_tokens(exchange.body, DEFAULT_OUTPUT_TOKENS if answers else 0)
        if course.flat is not None:
            input_rate, output_rate = course.flat
            return -(-(input_tokens * input_rate + output * output_rate) // 1_000_000)
        dearest = 0
        for candidate in course.candidates:
            price = candidate.price
            cost = None if price is None else cost_micros(price, input_tokens, output)
            if cost is None:
                raise GatewayError(
                    FORBIDDEN,
                    "price_unknown",
                    f"What {candidate.health.name!r} costs is not known, so it cannot be used on a budget. "
                    "Whoever runs this gateway can state it under 'prices'.",
                    param="model",
                )
            dearest = max(dearest, cost)
        return dearest

    def settle(self, exchange: Exchange, record: Record) -> None:
        """Give back what a request held and enter what it used; called once for every Record."""
        stake = exchange.stake
        if stake is None:
            return
        exchange.stake = None
        if exchange.stream:
            self._streams.pop(exchange.record_id, None)
        tokens: int | None = 0
        micros: int | None = 0
        if exchange.is_answered:
            tokens, micros = record.input_tokens, record.cost_micros
            if record.output_tokens is not None:
                tokens = record.output_tokens + (tokens or 0)
        if stake.shared is not None:
            self._begin(stake.shared.leave(exchange.record_id, tokens, micros, monotonic()))
            return
        if stake.holders:
            self.book.leave(exchange.record_id, tokens, monotonic())
        if stake.lines:
            self.ledger.settle(exchange.record_id, micros)

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
            self.ledger.forget(now - FORGET_SECONDS)
        for shared in [each for each in self._left if not each.occupied]:
            self._left.remove(shared)
            self._begin(shared.close())
        for exchange in list(self._streams.values()):
            stake, plan, passage = exchange.stake, exchange.plan, exchange.passage
            if stake is None or passage is None or plan is None or plan.price is None:
                continue
            said = exchange.response_bytes // STREAM_BYTES_A_TOKEN
            cost = cost_micros(plan.price, stake.input_tokens, said)
            piece = cost_micros(plan.price, 0, PIECE_TOKENS)
            if cost is None or piece is None:
                continue
            if stake.shared is not None:
                if not stake.growing and cost + piece > stake.held:
                    stake.growing = True
                    self._begin(self._grow_shared(stake.shared, exchange, passage, cost, piece))
                continue
            stake.held = self.ledger.held_for(exchange.record_id)
            while piece and cost + piece > stake.held:
                short = self.ledger.extend(exchange.record_id, stake.lines, piece)
                if short is not None:
                    self._end_if_spent(short, stake, passage, cost)
                    break
                stake.held += piece

    async def _grow_shared(
        self, shared: SharedQuota, exchange: Exchange, passage: Passage, cost: int, piece: int
    ) -> None:
        stake = exchange.stake
        if stake is None:
            return
        missing = -(-(cost + piece - stake.held) // piece) * piece
        short = await shared.extend(exchange.record_id, stake.lines, missing)
        stake.growing = False
        if short is None:
            stake.held += missing
        else:
            self._end_if_spent(short, stake, passage, cost)

    def _end_if_spent(self, short: Short, stake: Stake, passage: Passage, cost: int) -> None:
        if cost >= stake.held:
            passage.stop(refusal(short, stake.budgets, stake.lines, time()))

    def rooms(self, exchange: Exchange) -> bytes:
        """Return the header lines that tell how much of the tightest rate is left."""
        stake = exchange.stake
        if stake is None or not stake.holders:
            return b""
        if stake.shared is not None:
            return room_lines(*tightest(stake.shared.rooms(exchange.record_id)))
        return room_lines(*self.book.rooms(exchange.record_id))


def _model_budgets(exchange: Exchange, access: Access | None) -> tuple[Budget, ...]:
    """Return the budgets of the model that a request names, also those of its project alone."""
    models = exchange.snapshot.model_budgets
    name = exchange.model_requested
    found = models.get(f"model:{name}", ())
    if access is not None and access.project is not None:
        found += models.get(f"project:{access.project.id}/model:{name}", ())
    return found
