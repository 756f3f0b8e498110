"""One attempt: get a connection, send, wait for the head of the answer.

Until the head is here nothing has been promised to the client, so every failure up to this point can be answered, or
followed by another attempt.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic, time

from flumegate.engine.outgoing import Outgoing
from flumegate.engine.request import signature_lines, write_head
from flumegate.errors import UPSTREAM_CONNECT, GatewayError
from flumegate.exchange import Exchange
from flumegate.records.request import Attempt
from flumegate.routing.plan import Plan
from flumegate.upstream.call import Call
from flumegate.upstream.connection import Connection
from flumegate.upstream.pool import Upstream


async def attempt(
    exchange: Exchange,
    plan: Plan,
    outgoing: Outgoing,
    upstream: Upstream,
    begin_by: float = math.inf,
    noted: Attempt | None = None,
) -> tuple[Call, Connection]:
    """Return the call whose answer has begun, and its connection; `begin_by`: when it must have begun meaningfully.

    `noted` is its row in the record, where somebody else must know it.

    A connection that was kept open and turns out to be closed, without a byte of an answer, is replaced once by a new
    one: the upstream had closed it before our request arrived.

    Raises:
        GatewayError: the upstream gave no answer.
    """
    loop = upstream.loop
    pool = upstream.pool(plan.provider)
    timeouts = plan.provider.timeouts
    began = monotonic()
    final = exchange.deadline if timeouts.total is None else min(exchange.deadline, began + timeouts.total)
    if timeouts.first_token is not None and exchange.stream:
        begin_by = min(begin_by, began + timeouts.first_token)
    if noted is None:
        noted = Attempt(plan.target_name, 0)
    noted.started_us = _offset_us(began, exchange)
    exchange.attempts += (noted,)
    again = False
    try:
        while True:
            connection = (None if again else pool.take()) or await pool.acquire(
                plan.provider.name, min(timeouts.connect, final - monotonic(), begin_by - monotonic()), new=again
            )
            call = Call(
                loop.create_future(),
                plan.provider.name,
                timeouts,
                deadline=final,
                headless=exchange.method == b"HEAD",
            )
            if begin_by < final:
                call.deadline = begin_by
            exchange.sent = call.sent_at = now = monotonic()
            _send(exchange, outgoing, plan, connection, call, now)
            try:
                await call.head
            except GatewayError as error:
                again = error.kind is UPSTREAM_CONNECT and call.reused and exchange.upload is None
                if not again:
                    raise
                continue
            except asyncio.CancelledError:
                if not call.ended:  # else the connection has been given back, and may serve another exchange by now
                    connection.close()
                raise
            exchange.first_byte = call.head_at = monotonic()
            noted.first_byte_us = _offset_us(call.head_at, exchange)
            noted.status = call.status
            return call, connection
    except GatewayError as error:
        noted.outcome = error.code
        noted.ended_us = _offset_us(monotonic(), exchange)
        raise
    except asyncio.CancelledError:
        noted.outcome = "cancelled"
        noted.ended_us = _offset_us(monotonic(), exchange)
        raise


def end_attempt(exchange: Exchange, noted: Attempt, outcome: str) -> None:
    """Note how an attempt ended, if it has not been noted yet."""
    if noted.ended_us is None:
        noted.ended_us = _offset_us(monotonic(), exchange)
        noted.outcome = outcome


def _offset_us(now: float, exchange: Exchange) -> int:
    return int((now - exchange.started) * 1e6)


def _send(exchange: Exchange, outgoing: Outgoing, plan: Plan, connection: Connection, call: Call, now: float) -> None:
    upload = exchange.upload
    if upload is None:
        body = outgoing.body
        if body or exchange.method not in (b"GET", b"HEAD", b"DELETE", b"OPTIONS"):
            framing = b"\r\ncontent-length: %d\r\n\r\n" % len(body)
        else:
            framing = b"\r\n\r\n"
        if plan.signer is not None:
            framing = signature_lines(exchange, outgoing, plan, plan.signer, int(time())) + framing
        connection.send(call, write_head(exchange, outgoing, plan, framing), body, now)
        return
    call.body_sent = False
    length = upload.length
    framing = (
        b"\r\ntransfer-encoding: chunked\r\n\r\n" if length is None else b"\r\ncontent-length: %d\r\n\r\n" % length
    )
    connection.send(call, write_head(exchange, outgoing, plan, framing), b"", now)
    connection.begin_upload(chunked=length is None)
    call.upload_source = upload.attach(connection)
