"""A second attempt beside the first, when that takes too long: the first whole answer that is no failure wins.

For answers in one piece only, and only as often as the route's share allows: each hedge may cost a second answer.
"""

from __future__ import annotations

import asyncio
from time import monotonic, time
from typing import TYPE_CHECKING, NamedTuple

from flumegate.engine.asks import blameless
from flumegate.engine.attempt import attempt, end_attempt
from flumegate.engine.coalesce import Gather
from flumegate.engine.head import AnswerHead
from flumegate.engine.outgoing import Outgoing, adopt
from flumegate.engine.prepare import prepare
from flumegate.engine.relay import whole
from flumegate.engine.relay_translated import whole_translated
from flumegate.errors import GatewayError
from flumegate.records.request import Attempt
from flumegate.routing.course import Choice
from flumegate.routing.failure import Failure, of_error, of_status
from flumegate.routing.health import READY
from flumegate.routing.plan import Plan
from flumegate.upstream.call import Call
from flumegate.upstream.connection import Connection
from flumegate.wire.dates import retry_after_of

if TYPE_CHECKING:
    from flumegate.engine.trip import Trip

Answered = tuple[Call, Connection]
CALLED_OFF = Failure("refused", "cancelled")
"""What is noted of a contender that the other one has overtaken: nothing against it, but it is not asked again."""


class Contender(NamedTuple):
    """One of the two attempts."""

    choice: Choice
    probe: bool
    outgoing: Outgoing
    noted: Attempt
    """Its row in the record."""
    task: asyncio.Task[Answered]

    @property
    def plan(self) -> Plan:
        """How its target is asked."""
        return self.choice.candidate.plans[self.choice.account]


async def race(
    trip: Trip, choice: Choice, outgoing: Outgoing, begin_by: float, after_seconds: float, *, probe: bool
) -> Contender:
    """Make an attempt, and another beside it if it takes too long; return the one whose outcome counts, ended.

    The trip stands for the first of the contenders, whoever that is at the time; the other one is ended here: its row
    is closed, its target's health is told and its place given back as soon as it has failed, or been overtaken.
    """
    contenders: list[Contender] = []
    contenders.append(_start(trip, contenders, choice, outgoing, begin_by, probe=probe))
    try:
        await asyncio.wait({contenders[0].task}, timeout=after_seconds)
        if not contenders[0].task.done() and (second := await _enter(trip, contenders)) is not None:
            contenders.append(second)
        while len(contenders) == 2:
            await asyncio.wait({contender.task for contender in contenders}, return_when=asyncio.FIRST_COMPLETED)
            ended, other = contenders if contenders[0].task.done() else contenders[::-1]
            failure = _judge(trip, ended)
            loser = ended
            if failure is None:
                loser = other
                failure = _judge(trip, loser) if loser.task.done() else None
            await _end(trip, contenders, loser, failure)
        await asyncio.wait({contenders[0].task})
    except BaseException:  # the client may leave even while a loser is called off: the winner must go as well
        for contender in contenders:
            _abandon(contender.task)
        for contender in contenders[1:]:
            _leave(trip, contender, None)
        await asyncio.wait({contender.task for contender in contenders})
        for contender in contenders:
            end_attempt(trip.exchange, contender.noted, CALLED_OFF.code)
        raise
    return contenders[0]


def _start(
    trip: Trip, contenders: list[Contender], choice: Choice, outgoing: Outgoing, begin_by: float, *, probe: bool
) -> Contender:
    plan = choice.candidate.plans[choice.account]
    noted = Attempt(plan.target_name, 0)
    task = trip.engine.loop.create_task(_bring(trip, contenders, plan, outgoing, begin_by, noted))
    return Contender(choice, probe, outgoing, noted, task)


async def _bring(
    trip: Trip, contenders: list[Contender], plan: Plan, outgoing: Outgoing, begin_by: float, noted: Attempt
) -> Answered:
    """Make one attempt; beside another one a head is no answer yet, and is followed by all of its body.

    Raises:
        GatewayError: no answer came, or beside another one no whole answer.
    """
    engine = trip.engine
    call, connection = await attempt(trip.exchange, plan, outgoing, engine.upstream, begin_by, noted)
    if len(contenders) == 2 and _of_status(trip, call) is None:
        await Gather(engine.loop, call).wait(connection)
    return call, connection


async def _enter(trip: Trip, contenders: list[Contender]) -> Contender | None:
    """Return a second contender, or None: no other target is ready, or the route has hedged often enough."""
    (first,) = contenders
    choice = trip.beside(first.choice)
    if choice is None:
        return None
    health = choice.candidate.health
    plan = choice.candidate.plans[choice.account]
    try:
        outgoing = await prepare(trip.engine, trip.exchange, plan, trip.seen)
    except GatewayError:
        return None  # it cannot be said there
    if first.task.done() or health.availability(monotonic())[0] != READY:
        return None
    probe = health.begin(monotonic(), choice.account)
    return _start(trip, contenders, choice, outgoing, trip.exchange.deadline, probe=probe)


def _judge(trip: Trip, contender: Contender) -> Failure | None:
    """Return what an attempt that has ended failed by; None = its answer is one to pass on."""
    exchange, status = trip.exchange, 0
    try:
        call, _ = contender.task.result()  # a bug of ours comes out here, and ends the race
        status = call.status
        failure = _of_status(trip, call)
        if failure is None and status < 400:
            failure = _read(trip, contender, call)
    except GatewayError as error:
        failure = of_error(error, status)
        error.__traceback__ = None  # its frames hold the call, and the task holds the error
    return None if failure is None else blameless(exchange, failure)


def _of_status(trip: Trip, call: Call) -> Failure | None:
    """Return what an answer fails by that its head alone condemns; a refusal is as good an answer as any."""
    failure = of_status(call.status, retry_after_of(call.headers, time()))
    return None if failure is None or trip.is_final(failure) else failure


def _read(trip: Trip, contender: Contender, call: Call) -> Failure | None:
    """Read a whole answer as the trip will, if it wins; what the exchange notes of it is forgotten again.

    Raises:
        GatewayError: it is no answer of the dialect.
    """
    exchange, plan, outgoing = trip.exchange, contender.plan, contender.outgoing
    head = AnswerHead(call)
    if head.streamed and outgoing.translation is None:
        return None  # nobody asked for events: what they say is found out on their way to the client
    adopt(exchange, plan, outgoing)
    try:
        if outgoing.translation is None:
            whole(exchange, plan, call, head, b"")
        else:
            whole_translated(outgoing.translation, plan, call, head, b"")
        return Failure("server", "error_in_answer", call.status) if exchange.tap and exchange.tap.failed else None
    finally:
        exchange.head_sent, exchange.status = False, 0


async def _end(trip: Trip, contenders: list[Contender], loser: Contender, failure: Failure | None) -> None:
    """Call a contender off, or take note that it has failed; the trip goes on with the other one."""
    if failure is None and loser is contenders[0]:
        loser.choice.candidate.health.measure(monotonic() - trip.began)
    _abandon(loser.task)
    if not loser.task.done():
        await asyncio.wait({loser.task})
    contenders.remove(loser)
    _leave(trip, loser, failure)
    trip.stand_for(contenders[0])


def _abandon(task: asyncio.Task[Answered]) -> None:
    """End an attempt without waiting until it has ended."""
    task.cancel()
    task.add_done_callback(_discard)


def _discard(task: asyncio.Task[Answered]) -> None:
    """Leave nothing of an attempt that has ended: it may have been answered in this very turn."""
    if not task.cancelled() and task.exception() is None:
        call, connection = task.result()
        if not call.ended:
            connection.close()


def _leave(trip: Trip, contender: Contender, failure: Failure | None) -> None:
    """Close a contender's row, tell its target how it went, and give its place back."""
    choice = contender.choice
    health = choice.candidate.health
    if failure is not None:
        health.fail(monotonic(), failure, choice.account, probe=contender.probe)
    else:
        failure = CALLED_OFF
        health.release(probe=contender.probe)
    trip.note_failure(choice, failure)
    end_attempt(trip.exchange, contender.noted, failure.code)
    trip.engine.turns.leave(health)
