"""Equal embeddings that are asked for at the same time: one of them travels, the others share its answer.

Equal means: the same key, endpoint, route, body and header fields that travel. The one that travels is the leader; when
its client leaves, the next of those who wait travels in its place. Nothing is kept once the answer is there.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import NamedTuple

from flumegate.engine.head import ENOUGH, AnswerHead
from flumegate.engine.outgoing import Outgoing, adopt
from flumegate.engine.relay import whole
from flumegate.engine.relay_translated import MAX_ANSWER_BYTES, whole_translated
from flumegate.engine.translate import begin
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.routing.course import Course
from flumegate.routing.plan import Plan
from flumegate.upstream import errors
from flumegate.upstream.call import Call
from flumegate.upstream.connection import Connection

_OWN = (b"x-request-id", b"traceparent", b"tracestate", b"user-agent", b"authorization", b"content-length")
"""Fields that differ between equal requests."""
SHARED = "coalesced"


class Landed(NamedTuple):
    """A leader's answer."""

    plan: Plan
    call: Call


Outcome = Landed | GatewayError | None
"""None = the leader's client left."""


class Flight:
    """One request under way on behalf of several.

    Attributes:
        landing: what becomes of it.
        retries_spent: its failure is the last of as many attempts as its route allows.
    """

    def __init__(self, book: dict[bytes, Flight], key: bytes, landing: asyncio.Future[Outcome]) -> None:
        self._book = book
        self._key = key
        self.landing = landing
        self.retries_spent = False
        book[key] = self

    def end(self, outcome: Outcome, *, retries_spent: bool = False) -> None:
        """Tell those who wait; None = the leader's client left, and somebody else must lead."""
        if self._book.get(self._key) is self:
            del self._book[self._key]
        if not self.landing.done():
            self.retries_spent = retries_spent
            self.landing.set_result(outcome)


class Flights:
    """All flights of one worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._book: dict[bytes, Flight] = {}

    async def join(self, exchange: Exchange, course: Course) -> Landed | None:
        """Return the answer that another request has brought, or None: this one must travel itself, as a leader.

        Raises:
            GatewayError: what the leader failed by.
        """
        key = _key(exchange, course)
        while (flight := self._book.get(key)) is not None:
            outcome = await asyncio.shield(flight.landing)
            exchange.retries_spent = flight.retries_spent
            if isinstance(outcome, GatewayError):
                raise outcome
            if outcome is not None:
                return outcome
        exchange.flight = Flight(self._book, key, self._loop.create_future())
        return None


def _key(exchange: Exchange, course: Course) -> bytes:
    digest = hashlib.sha256()
    endpoint = exchange.endpoint
    parts = [
        exchange.key_id.encode(),
        course.name.encode(),
        endpoint.name.encode() if endpoint else b"",
        exchange.query,
    ]
    for name, value in sorted(exchange.headers):
        if name not in _OWN and not name.startswith(b"x-stainless-"):
            parts += [name, value]
    for part in (*parts, exchange.body):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


def answer_with(exchange: Exchange, landed: Landed, extra: bytes) -> bytes:
    """Return head and body for an exchange that shares another's answer.

    Raises:
        GatewayError: the upstream refused, or sent what cannot be used.
    """
    plan, call = landed
    outgoing = Outgoing(exchange)
    head = AnswerHead(call)
    exchange.cache_status = SHARED
    if head.status >= 400 and exchange.retries_spent:
        extra += ENOUGH
    if not plan.codec:
        adopt(exchange, plan, outgoing)
        return whole(exchange, plan, call, head, extra)
    translation = outgoing.translation = begin(exchange, plan)
    adopt(exchange, plan, outgoing)
    return whole_translated(translation, plan, call, head, extra)


class Gather:
    """Takes an answer until it is whole (see `upstream.call.AnswerSink`)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Call) -> None:
        self._call = call
        self._pieces, call.pieces = call.pieces, []
        self._size = sum(map(len, self._pieces))
        self._done: asyncio.Future[None] = loop.create_future()

    async def wait(self, connection: Connection) -> None:
        """Return when the answer is whole, and in the call's pieces.

        Raises:
            GatewayError: it broke off, or is too large.
        """
        call = self._call
        try:
            if call.error is not None:
                raise call.error
            if not call.ended:
                connection.resume()
                call.sink = self
                call.deadline = call.final_deadline
                await self._done
        finally:
            call.sink = None
            if not call.ended:
                connection.close()
        call.pieces = self._pieces

    def push(self, data: bytes) -> None:
        """Take the bytes of one read."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > MAX_ANSWER_BYTES:
            self.fail(errors.garbage(self._call.provider, f"it is larger than {MAX_ANSWER_BYTES} bytes"))

    def end(self) -> None:
        """The answer is complete."""
        if not self._done.done():
            self._done.set_result(None)

    def fail(self, error: GatewayError) -> None:
        """The answer broke off."""
        if not self._done.done():
            self._done.set_exception(error)
