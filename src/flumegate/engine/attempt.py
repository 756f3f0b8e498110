"""One attempt: get a connection, send, wait for the head of the answer.

Until the head is here nothing has been promised to the client, so every failure up to this point can be answered.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic, time

from flumegate.engine.request import signature_lines, write_head
from flumegate.errors import UPSTREAM_CONNECT, GatewayError
from flumegate.exchange import Exchange
from flumegate.records.request import Attempt
from flumegate.routing.plan import Plan
from flumegate.upstream.call import Call
from flumegate.upstream.connection import Connection
from flumegate.upstream.pool import Upstream


async def attempt(exchange: Exchange, plan: Plan, upstream: Upstream) -> tuple[Call, Connection]:
    """Return the call whose answer has begun, and its connection.

    A connection that was kept open and turns out to be closed, without a byte of an answer, is replaced once by a new
    one: the upstream had closed it before our request arrived.

    Raises:
        GatewayError: the upstream gave no answer.
    """
    loop = upstream.loop
    pool = upstream.pool(plan.provider)
    timeouts = plan.provider.timeouts
    deadline = math.inf if timeouts.total is None else exchange.started + timeouts.total
    noted = Attempt(plan.target_name, _offset_us(monotonic(), exchange))
    exchange.attempts += (noted,)
    again = False
    try:
        while True:
            connection = (None if again else pool.take()) or await pool.acquire(
                plan.provider.name, min(timeouts.connect, deadline - monotonic()), new=again
            )
            call = Call(
                loop.create_future(),
                plan.provider.name,
                timeouts,
                deadline=deadline,
                headless=exchange.method == b"HEAD",
            )
            exchange.sent = now = monotonic()
            _send(exchange, plan, connection, call, now)
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
            exchange.first_byte = monotonic()
            noted.first_byte_us = _offset_us(exchange.first_byte, exchange)
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


def _offset_us(now: float, exchange: Exchange) -> int:
    return int((now - exchange.started) * 1e6)


def _send(exchange: Exchange, plan: Plan, connection: Connection, call: Call, now: float) -> None:
    upload = exchange.upload
    if upload is None:
        body = exchange.body
        if body or exchange.method not in (b"GET", b"HEAD", b"DELETE", b"OPTIONS"):
            framing = b"\r\ncontent-length: %d\r\n\r\n" % len(body)
        else:
            framing = b"\r\n\r\n"
        if plan.signer is not None:
            framing = signature_lines(exchange, plan, plan.signer, int(time())) + framing
        connection.send(call, write_head(exchange, plan, framing), body, now)
        return
    call.body_sent = False
    length = upload.length
    framing = (
        b"\r\ntransfer-encoding: chunked\r\n\r\n" if length is None else b"\r\ncontent-length: %d\r\n\r\n" % length
    )
    connection.send(call, write_head(exchange, plan, framing), b"", now)
    connection.begin_upload(chunked=length is None)
    call.upload_source = upload.attach(connection)
