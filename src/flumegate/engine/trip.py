"""The trip of one request: attempt after attempt, until one is answered or none is left.

What comes next after a failure is decided in `routing.tries`, by values; here it is done. An answer that has begun is
the last attempt, whatever becomes of it. Each attempt tells its target's health exactly once how it went.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from time import monotonic, time
from typing import TYPE_CHECKING

from flumegate.dialects.envelope import Envelope
from flumegate.engine.asks import ask_of, blameless
from flumegate.engine.attempt import attempt, end_attempt
from flumegate.engine.coalesce import Gather, Landed
from flumegate.engine.head import ENOUGH, AnswerHead
from flumegate.engine.hedge import Contender, race
from flumegate.engine.outgoing import Outgoing, adopt
from flumegate.engine.prepare import prepare
from flumegate.engine.relay import Relay, whole
from flumegate.engine.relay_translated import TranslatedRelay, whole_translated
from flumegate.engine.translate import answer_here, name_losses
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.gates.authorise import permit
from flumegate.routing.course import Choice, Course
from flumegate.routing.failure import Failure, of_error, of_status
from flumegate.routing.plan import Plan
from flumegate.routing.retry import allot, may_repeat
from flumegate.routing.tries import Tries
from flumegate.snapshot import Hedge
from flumegate.upstream.call import Call
from flumegate.upstream.connection import Connection
from flumegate.wire.dates import retry_after_of

if TYPE_CHECKING:
    from flumegate.engine.run import Engine


class Trip:
    """The attempts of one exchange.

    Attributes:
        began: when the present attempt began, by the loop's clock.
    """

    __slots__ = (
        "_choice",
        "_course",
        "_entered",
        "_extra",
        "_find",
        "_probe",
        "_told",
        "_tries",
        "began",
        "engine",
        "exchange",
        "seen",
    )

    def __init__(
        self,
        engine: Engine,
        exchange: Exchange,
        course: Course,
        seen: Envelope,
        extra: bytes,
        find: Callable[[Exchange], tuple[Course, Envelope]] | None = None,
    ) -> None:
        """`find` tells where the request goes by a newer Snapshot, if not where any such request does."""
        self.engine = engine
        self._find = find or engine.find_course
        self.exchange = exchange
        self.seen = seen
        self.began = 0.0
        self._course = course
        self._extra = extra
        self._tries: Tries | None = None
        self._choice = course.straight
        self._probe = False
        self._told = True
        self._entered = False

    async def run(self) -> None:
        """Make attempts until one is answered and settled.

        Raises:
            GatewayError: no target could take the request, or the last attempt failed without an answer.
        """
        course = self._course
        choice = course.straight
        if course.only is None or not course.only.health.calm:
            choice = course.quick(self.engine.dice, self.exchange.body) or self._begin_tries().first(monotonic())
        choice.candidate.health.pay_in()
        following: Choice | None = choice
        while following is not None:
            if following.wait_seconds:
                await _rest(following.wait_seconds)
            if self.exchange.snapshot is not self.engine.snapshot:
                following = self._look_anew()
            elif following.wait_seconds:
                following = self._begin_tries().waited(following, monotonic())
            self._choice = following
            following = await self._attempt(following)

    def _look_anew(self) -> Choice:
        """Return the next attempt by a Snapshot that came meanwhile: no attempt begins with what it has withdrawn.

        Raises:
            GatewayError: the client's key is known no more, or may not use the model any more; its model is not there;
                or no target can take it.
        """
        engine = self.engine
        engine.renew(self.exchange)
        engine.admit(self.exchange)
        self._course, self.seen = self._find(self.exchange)
        permit(self.exchange)
        made = 0 if self._tries is None else self._tries.made
        self._tries = None
        tries = self._begin_tries()
        tries.made = made
        return tries.first(monotonic())

    def _begin_tries(self) -> Tries:
        if self._tries is None:
            self._tries = Tries(self._course, ask_of(self.exchange, self._course), self.engine.dice)
        return self._tries

    async def _attempt(self, choice: Choice) -> Choice | None:
        """Make one attempt; return the one that is to follow, or None when the exchange is settled."""
        engine, exchange = self.engine, self.exchange
        plan = choice.candidate.plans[choice.account]
        passage: Relay | TranslatedRelay | None = None
        call: Call | None = None
        connection: Connection
        status = 0
        try:
            if choice.queued:
                until = monotonic() + choice.candidate.target.queue_seconds
                await engine.turns.wait(choice.candidate.health, min(until, exchange.deadline))
            self._begin(choice)
            if exchange.snapshot is not engine.snapshot:
                return choice  # it waited for its place, and much may have changed: the next look is by the new one
            if plan.codec and (here := answer_here(exchange, plan, self._extra)):
                engine.settlement.settle(exchange, here)
                return None
            outgoing = await prepare(engine, exchange, plan, self.seen)
            adopt(exchange, plan, outgoing)
            if self._course.hedge is None or exchange.stream:
                call, connection = await attempt(exchange, plan, outgoing, engine.upstream, self._begin_by())
            else:
                plan, outgoing, call, connection = await self._race(outgoing, self._course.hedge)
            status = call.status
            if status >= 400 and outgoing.translation is None and (following := self._after_status(call)):
                return following
            if exchange.flight is not None:
                await Gather(engine.loop, call).wait(connection)
            head = AnswerHead(call)
            extra = self._lines(outgoing, status)
            piped = head.streamed or (outgoing.translation is not None and exchange.stream)
            if call.ended and call.error is None and not piped:
                return self._settle_whole(plan, call, head, outgoing, extra)
            passage = exchange.passage = self._passage(plan, head, outgoing, extra)
            await passage.start(call, connection)
            self._judge_end()
            engine.settlement.settle(exchange, passage.rest, cut=passage.cut)
        except GatewayError as error:
            return self._after_error(error, status, passage)
        finally:
            if call is not None:
                if not call.ended:
                    connection.close()  # the client has left, or what comes is not wanted
                exchange.reply.feed_from(None)
            exchange.passage = None
            self._leave()
        return None

    def _after_error(self, error: GatewayError, status: int, passage: Relay | TranslatedRelay | None) -> Choice | None:
        """Return the attempt that follows a failed one, or None if what failed was passed on as it came.

        Raises:
            GatewayError: it is the end, and there is nothing to pass on.
        """
        if self.exchange.head_sent:
            raise error
        following = self._after(blameless(self.exchange, of_error(error, status)))
        if following is None:
            if passage is None or not passage.as_it_came():
                raise error
            self.engine.settlement.settle(self.exchange, passage.rest)
        error.__traceback__ = None  # its frames hold the call, and the call holds it
        return following

    def _begin(self, choice: Choice) -> None:
        self.began = monotonic()
        self._probe = choice.candidate.health.begin(self.began, choice.account, entered=choice.queued)
        self._entered, self._told = True, False

    def _leave(self) -> None:
        if self._entered:
            self._entered = False
            health = self._choice.candidate.health
            if not self._told:
                health.release(probe=self._probe)
            self.engine.turns.leave(health)

    async def _race(self, outgoing: Outgoing, hedge: Hedge) -> tuple[Plan, Outgoing, Call, Connection]:
        """Make the attempt, and another beside it if it takes too long; go on with the one that wins."""
        exchange = self.exchange
        winner = await race(self, self._choice, outgoing, self._begin_by(), hedge.after_seconds, probe=self._probe)
        call, connection = winner.task.result()
        exchange.sent, exchange.first_byte = call.sent_at, call.head_at
        return winner.plan, winner.outgoing, call, connection

    def stand_for(self, contender: Contender) -> None:
        """Go on with this contender of a race: the other one has been left."""
        self._choice, self._probe = contender.choice, contender.probe
        adopt(self.exchange, contender.plan, contender.outgoing)

    def beside(self, choice: Choice) -> Choice | None:
        """Return another target for a hedge; None = there is none that is ready, or the share is used up."""
        if self.exchange.snapshot is not self.engine.snapshot:
            return None  # a hedge is an attempt: none begins with what a newer Snapshot may have withdrawn
        tries = self._begin_tries()
        other = tries.beside(choice.candidate, monotonic())
        return other if other is not None and self._course.may_hedge() else None

    def note_failure(self, choice: Choice, failure: Failure) -> None:
        """Keep a hedged attempt that failed, or was called off, from being made again."""
        self._begin_tries().note(choice.candidate, failure)

    def _settle_whole(
        self, plan: Plan, call: Call, head: AnswerHead, outgoing: Outgoing, extra: bytes
    ) -> Choice | None:
        """Settle an answer that is whole; return the attempt that follows one that is an error in spite of its 200."""
        exchange = self.exchange
        if outgoing.translation is None:
            last = whole(exchange, plan, call, head, extra)
        else:
            last = whole_translated(outgoing.translation, plan, call, head, extra)
        if exchange.tap is not None and exchange.tap.failed and call.status < 400:
            following = self._after(Failure("server", "error_in_answer", call.status))
            if following is not None:
                exchange.head_sent = False
                return following
            exchange.outcome, exchange.error_code = "upstream_error", "error_in_answer"
        self._succeed()
        if exchange.flight is not None:
            exchange.flight.end(Landed(plan, call), retries_spent=exchange.retries_spent)
        self.engine.settlement.settle(exchange, last)
        return None

    def _begin_by(self) -> float:
        """Return when the attempt must have begun to be answered, so that other targets still have their time."""
        exchange = self.exchange
        if exchange.deadline == math.inf or (self._course.only is not None and self._tries is None):
            return math.inf
        now = monotonic()
        tries = self._begin_tries()
        return allot(now, exchange.deadline, tries.others(self._choice.candidate, now))

    def _judge_end(self) -> None:
        """Tell the target's health how an answer ended that had begun."""
        self._succeed()
        exchange = self.exchange
        if exchange.passage is not None and exchange.passage.stopped:
            return
        if exchange.outcome == "truncated" or exchange.error_code == "error_in_stream":
            self._choice.candidate.health.cut(monotonic())

    def _succeed(self) -> None:
        """The target has begun to answer meaningfully."""
        if not self._told:
            self._told = True
            health, exchange = self._choice.candidate.health, self.exchange
            now = monotonic()
            health.succeed(now, self._choice.account, probe=self._probe)
            if exchange.sent is not None:
                health.measure(now - exchange.sent)

    def _after_status(self, call: Call) -> Choice | None:
        """Judge an error answer by its head; return the attempt that follows instead of passing it on."""
        failure = of_status(call.status, retry_after_of(call.headers, time()))
        if failure is None or self.is_final(failure):
            self._succeed()  # a target that refuses a request is well
            return None
        return self._after(failure)

    def is_final(self, failure: Failure) -> bool:
        """Tell whether an error answer is passed on at once: it refuses the request itself."""
        return failure.kind == "refused" and not may_repeat(self._course.retry, failure)

    def _after(self, failure: Failure) -> Choice | None:
        """Tell the target's health of a failure; return the attempt that follows."""
        now = monotonic()
        candidate, account = self._choice.candidate, self._choice.account
        if not self._told:
            self._told = True
            candidate.health.fail(now, failure, account, probe=self._probe)
        for noted in self.exchange.attempts:  # all but the present one have ended before
            end_attempt(self.exchange, noted, failure.code)
        if self.exchange.upload is not None:
            return None  # its beginning has been read and sent: it cannot be sent again
        following = self._begin_tries().after(candidate, account, failure, now, self.exchange.deadline)
        if following is None and self._course.retry.max_retries and may_repeat(self._course.retry, failure):
            self.exchange.retries_spent = True
        return following

    def _lines(self, outgoing: Outgoing, status: int) -> bytes:
        """Return our own header lines of the answer."""
        extra = self._extra
        if outgoing.losses and outgoing.translation is None:
            extra += b"x-flumegate-losses: %b\r\n" % name_losses(self.exchange)
        return extra + ENOUGH if status >= 400 and self.exchange.retries_spent else extra

    def _passage(self, plan: Plan, head: AnswerHead, outgoing: Outgoing, extra: bytes) -> Relay | TranslatedRelay:
        loop, exchange = self.engine.loop, self.exchange
        translation = outgoing.translation
        if translation is None:
            return Relay(loop, exchange, plan, head, self._succeed, withhold=outgoing.withhold, extra=extra)
        return TranslatedRelay(loop, exchange, plan, head, self._succeed, translation, extra)


async def _rest(seconds: float) -> None:
    """Wait for no less than that: a timer counts in whole milliseconds, and may fire before its time."""
    until = monotonic() + seconds
    while (left := until - monotonic()) > 0:  # noqa: ASYNC110 - no event tells of a time
        await asyncio.sleep(max(left, 0.001))
