"""The trip of one request: attempt after attempt, until one is answered or none is left.

What comes next after a failure is decided in `routing.tries`, by values; here it is done. An answer that has begun is
the last attempt, whatever becomes of it. Each attempt tells its target's health exactly once how it went.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic, time
from typing import TYPE_CHECKING

from flumegate.dialects.envelope import Envelope
from flumegate.engine.asks import ask_of
from flumegate.engine.attempt import attempt, end_attempt
from flumegate.engine.head import AnswerHead
from flumegate.engine.outgoing import Outgoing, adopt
from flumegate.engine.prepare import prepare
from flumegate.engine.relay import Relay, whole
from flumegate.engine.relay_translated import TranslatedRelay, whole_translated
from flumegate.engine.translate import answer_here, name_losses
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.routing.course import Choice, Course
from flumegate.routing.failure import Failure, of_error, of_status
from flumegate.routing.plan import Plan
from flumegate.routing.retry import allot, may_repeat
from flumegate.routing.tries import Tries
from flumegate.upstream.call import Call
from flumegate.upstream.connection import Connection
from flumegate.wire.dates import retry_after_of

if TYPE_CHECKING:
    from flumegate.engine.run import Engine

ENOUGH = b"x-should-retry: false\r\n"
"""Tells the official clients that we have tried often enough for both of us."""


class Trip:
    """The attempts of one exchange."""

    __slots__ = ("_choice", "_course", "_engine", "_exchange", "_extra", "_probe", "_seen", "_told", "_tries")

    def __init__(self, engine: Engine, exchange: Exchange, course: Course, seen: Envelope, extra: bytes) -> None:
        self._engine = engine
        self._exchange = exchange
        self._course = course
        self._seen = seen
        self._extra = extra
        self._tries: Tries | None = None
        self._choice = course.straight
        self._probe = False
        self._told = True

    async def run(self) -> None:
        """Make attempts until one is answered and settled.

        Raises:
            GatewayError: no target could take the request, or the last attempt failed without an answer.
        """
        course = self._course
        choice: Choice | None = course.straight
        if course.only is None or not course.only.health.calm:
            choice = self._begin_tries().first(monotonic())
        course.straight.candidate.health.pay_in()
        while choice is not None:
            self._choice = choice
            if choice.wait_seconds:
                await asyncio.sleep(choice.wait_seconds)
            choice = await self._attempt(choice)

    def _begin_tries(self) -> Tries:
        self._tries = Tries(self._course, ask_of(self._exchange, self._course), self._engine.dice)
        return self._tries

    async def _attempt(self, choice: Choice) -> Choice | None:
        """Make one attempt; return the one that is to follow, or None when the exchange is settled."""
        engine, exchange = self._engine, self._exchange
        health = choice.candidate.health
        plan = choice.candidate.plans[choice.account]
        passage: Relay | TranslatedRelay | None = None
        entered, status = False, 0
        try:
            if choice.queued:
                until = monotonic() + choice.candidate.target.queue_seconds
                await engine.turns.wait(health, min(until, exchange.deadline))
            self._probe, self._told, entered = (
                health.begin(monotonic(), choice.account, entered=choice.queued),
                False,
                True,
            )
            outgoing = await prepare(engine, exchange, plan, self._seen)
            adopt(exchange, plan, outgoing)
            if plan.codec and (here := answer_here(exchange, plan, self._extra)):
                engine.settlement.settle(exchange, here)
                return None
            call, connection = await attempt(exchange, plan, outgoing, engine.upstream, self._begin_by())
            status = call.status
            if status >= 400 and outgoing.translation is None and (following := self._after_status(call)):
                if not call.ended:
                    connection.close()
                return following
            head = AnswerHead(call)
            extra = self._lines(outgoing, status)
            piped = head.streamed or (outgoing.translation is not None and exchange.stream)
            if call.ended and call.error is None and not piped:
                last = _whole(exchange, plan, call, head, outgoing, extra)
                self._succeed()
                engine.settlement.settle(exchange, last)
                return None
            passage = self._passage(plan, head, outgoing, extra)
            await self._pass(passage, call, connection)
            engine.settlement.settle(exchange, passage.rest, cut=passage.cut)
        except GatewayError as error:
            if exchange.head_sent:
                raise
            following = self._after(of_error(error, status))
            if following is None and passage is not None and passage.as_it_came():
                engine.settlement.settle(exchange, passage.rest)
            elif following is None:
                raise
            return following
        finally:
            if entered:
                if not self._told:
                    health.release(probe=self._probe)
                engine.turns.leave(health)
        return None

    def _begin_by(self) -> float:
        """Return when the attempt must have begun to be answered, so that other targets still have their time."""
        exchange = self._exchange
        if exchange.deadline == math.inf or (self._course.only is not None and self._tries is None):
            return math.inf
        now = monotonic()
        tries = self._tries or self._begin_tries()
        return allot(now, exchange.deadline, tries.others(self._choice.candidate, now))

    async def _pass(self, passage: Relay | TranslatedRelay, call: Call, connection: Connection) -> None:
        exchange = self._exchange
        try:
            await passage.start(call, connection)
        finally:
            if not call.ended:
                connection.close()  # the client has left, or what comes cannot be used
            exchange.reply.feed_from(None)
        self._succeed()
        if exchange.outcome == "truncated" or exchange.error_code == "error_in_stream":
            self._choice.candidate.health.cut(monotonic())

    def _succeed(self) -> None:
        """The target has begun to answer meaningfully."""
        if not self._told:
            self._told = True
            health, exchange = self._choice.candidate.health, self._exchange
            now = monotonic()
            health.succeed(now, self._choice.account, probe=self._probe)
            if exchange.sent is not None:
                health.measure(now - exchange.sent)

    def _after_status(self, call: Call) -> Choice | None:
        """Judge an error answer by its head; return the attempt that follows instead of passing it on."""
        failure = of_status(call.status, retry_after_of(call.headers, time()))
        if failure is None or failure.kind == "refused":
            self._succeed()  # a target that refuses a request is well
            return None
        return self._after(failure)

    def _after(self, failure: Failure) -> Choice | None:
        """Tell the target's health of a failure; return the attempt that follows."""
        now = monotonic()
        candidate, account = self._choice.candidate, self._choice.account
        if not self._told:
            self._told = True
            candidate.health.fail(now, failure, account, probe=self._probe)
        if self._exchange.attempts:
            end_attempt(self._exchange, failure.code)
        if self._exchange.upload is not None:
            return None  # its beginning has been read and sent: it cannot be sent again
        following = (self._tries or self._begin_tries()).after(
            candidate, account, failure, now, self._exchange.deadline
        )
        if following is None and self._course.retry.max_retries and may_repeat(self._course.retry, failure):
            self._exchange.retries_spent = True
        return following

    def _lines(self, outgoing: Outgoing, status: int) -> bytes:
        """Return our own header lines of the answer."""
        extra = self._extra
        if outgoing.losses and outgoing.translation is None:
            extra += b"x-flumegate-losses: %b\r\n" % name_losses(self._exchange)
        return extra + ENOUGH if status >= 400 and self._exchange.retries_spent else extra

    def _passage(self, plan: Plan, head: AnswerHead, outgoing: Outgoing, extra: bytes) -> Relay | TranslatedRelay:
        loop, exchange = self._engine.loop, self._exchange
        translation = outgoing.translation
        if translation is None:
            return Relay(loop, exchange, plan, head, self._succeed, withhold=outgoing.withhold, extra=extra)
        return TranslatedRelay(loop, exchange, plan, head, self._succeed, translation, extra)


def _whole(exchange: Exchange, plan: Plan, call: Call, head: AnswerHead, outgoing: Outgoing, extra: bytes) -> bytes:
    if outgoing.translation is None:
        return whole(exchange, plan, call, head, extra)
    return whole_translated(outgoing.translation, plan, call, head, extra)
