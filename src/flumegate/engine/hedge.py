"""A second attempt beside the first, when that takes too long: the first answer that is none of failure wins.

For answers in one piece only, and only as often as the route's share allows: each hedge may cost a second answer.
"""

from __future__ import annotations

import asyncio
from time import monotonic, time
from typing import TYPE_CHECKING, NamedTuple

from flumegate.engine.asks import blameless
from flumegate.engine.attempt import attempt
from flumegate.engine.outgoing import Outgoing
from flumegate.engine.prepare import prepare
from flumegate.errors import GatewayError
from flumegate.routing.course import Choice
from flumegate.routing.failure import Failure, of_error, of_status
from flumegate.routing.health import READY
from flumegate.upstream.call import Call
from flumegate.upstream.connection import Connection
from flumegate.wire.dates import retry_after_of

if TYPE_CHECKING:
    from flumegate.engine.trip import Trip

Answered = tuple[Call, Connection]


class Contender(NamedTuple):
    """One of the two attempts."""

    choice: Choice
    probe: bool
    outgoing: Outgoing
    task: asyncio.Task[Answered]


async def race(trip: Trip, first: Contender, after_seconds: float) -> Contender:
    """Return the contender whose task has ended, well or badly, and whose outcome counts.

    The other one is cancelled, or has failed before; its target's health has been told, and it has left.
    """
    contenders = [first]
    try:
        await asyncio.wait({first.task}, timeout=after_seconds)
        if not first.task.done() and (second := await _enter(trip, first)) is not None:
            contenders.append(second)
        winner = await _first_to_succeed(contenders)
        for loser in [contender for contender in contenders if contender is not winner]:
            failure = _failure(loser.task) if loser.task.done() else None
            if failure is not None:
                failure = blameless(trip.exchange, failure)
            elif loser is first:
                loser.choice.candidate.health.measure(monotonic() - trip.began)
            await _call_off(loser)
            contenders.remove(loser)
            _leave(trip, loser, failure)
    except BaseException:  # the client may leave even while a loser is called off: the winner must go as well
        for contender in contenders:
            _abandon(contender.task)
            if contender is not first:
                _leave(trip, contender, None)
        await asyncio.wait({contender.task for contender in contenders})  # each notes how it ended
        raise
    return winner


async def _enter(trip: Trip, first: Contender) -> Contender | None:
    """Return a second contender, or None: no other target is ready, or the route has hedged often enough."""
    choice = trip.beside(first.choice)
    if choice is None:
        return None
    engine, exchange = trip.engine, trip.exchange
    plan = choice.candidate.plans[choice.account]
    try:
        outgoing = await prepare(engine, exchange, plan, trip.seen)
    except GatewayError:
        return None  # it cannot be said there
    if choice.candidate.health.availability(monotonic())[0] != READY:
        return None
    probe = choice.candidate.health.begin(monotonic(), choice.account)
    task = engine.loop.create_task(attempt(exchange, plan, outgoing, engine.upstream, exchange.deadline))
    return Contender(choice, probe, outgoing, task)


async def _first_to_succeed(contenders: list[Contender]) -> Contender:
    waiting = list(contenders)
    while True:
        await asyncio.wait({contender.task for contender in waiting}, return_when=asyncio.FIRST_COMPLETED)
        for contender in [contender for contender in waiting if contender.task.done()]:
            if _failure(contender.task) is None or len(waiting) == 1:
                return contender
            waiting.remove(contender)


def _failure(task: asyncio.Task[Answered]) -> Failure | None:
    """Return what an attempt that has ended failed by; None = it did not."""
    if task.cancelled():
        return None
    error = task.exception()
    if isinstance(error, GatewayError):
        return of_error(error)
    if error is not None:
        return None  # a bug of ours: it comes out where the winner's outcome is looked at
    call, _ = task.result()
    failure = of_status(call.status, retry_after_of(call.headers, time()))
    return None if failure is None or failure.kind == "refused" else failure


async def _call_off(contender: Contender) -> None:
    """End an attempt, whatever state it is in, and leave nothing of it."""
    _abandon(contender.task)
    if not contender.task.done():
        await asyncio.wait({contender.task})


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
    """Tell a contender's target how it went, and give its place back."""
    choice = contender.choice
    health = choice.candidate.health
    if failure is not None:
        health.fail(monotonic(), failure, choice.account, probe=contender.probe)
        trip.note_failure(choice, failure)
    else:
        health.release(probe=contender.probe)
    trip.engine.turns.leave(health)
