"""Exactly one Record for every request, handed to the spool before the last bytes of its answer leave.

All requests that end in one turn of the event loop share one write to the spool; then their last bytes are handed over.
So whatever kills the worker, a client that has its whole answer has its record, too.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import msgspec

from flumegate.engine.meter import Meter
from flumegate.engine.record import record_of
from flumegate.exchange import Exchange
from flumegate.records.request import Content
from flumegate.records.tally import Tally
from flumegate.snapshot import RecordPolicy
from flumegate.spool.append import SpoolWriter, frame

_encode = msgspec.msgpack.Encoder().encode
Ended = tuple[Exchange, bytes, bool]
"""An exchange, its last bytes, and whether the connection is to be cut behind them."""


class Settlement:
    """Turns exchanges into records and counters, and ends their replies."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spool: SpoolWriter, tally: Tally) -> None:
        self._loop = loop
        self._spool = spool
        self._tally = tally
        self._ended: list[Ended] = []
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool-sync")
        self.policy = RecordPolicy()
        self.meter = Meter()
        self.unsynced = False
        self._syncing = False

    def settle(self, exchange: Exchange, last: bytes, *, cut: bool = False) -> None:
        """Record an exchange and hand its last bytes over; a second call for the same exchange does nothing."""
        if exchange.settled:
            return
        exchange.settled = True
        exchange.ended = monotonic()
        if not self._ended:
            self._loop.call_soon(self._flush)
        self._ended.append((exchange, last, cut))

    def _flush(self) -> None:
        """Record what ended in this turn, then let its last bytes go.

        One after another of the same kind: the processor finds its instructions where it left them.
        """
        ended, self._ended = self._ended, []
        exchanges = [exchange for exchange, _, _ in ended]
        records = list(map(record_of, exchanges))
        self._spool.write([frame(_encode(record)) for record in records])
        for record in records:
            self._tally.count(record)
        self.meter.settle(exchanges, records)
        contents = [_content_of(exchange) for exchange in exchanges if exchange.response_body is not None]
        if contents:
            self._spool.write_content([frame(_encode(content)) for content in contents])
        self.unsynced = True
        if self.policy.durable:
            future = self._loop.run_in_executor(self._disk, self._spool.sync)
            future.add_done_callback(lambda _: _hand_over(ended))
        else:
            _hand_over(ended)

    def sync_soon(self) -> None:
        """Ask for what was written to reach the disk; called twice a second. Never waits."""
        if self.unsynced and not self._syncing:
            self.unsynced, self._syncing = False, True
            self._loop.run_in_executor(self._disk, self._spool.sync).add_done_callback(self._synced)

    def _synced(self, _future: asyncio.Future[None]) -> None:
        self._syncing = False

    def close(self) -> None:
        """Write what is left and close the spool."""
        if self._ended:
            self._flush()
        self._disk.shutdown(wait=True)
        self._spool.close()


def _hand_over(ended: list[Ended]) -> None:
    for exchange, last, cut in ended:
        reply = exchange.reply
        if cut:
            reply.write(last)
            reply.abort()
        else:
            reply.finish(last)


def _content_of(exchange: Exchange) -> Content:
    policy = exchange.snapshot.records
    response = b"".join(exchange.response_body or ())
    return Content(exchange.record_id, exchange.body[: policy.max_request_bytes], response[: policy.max_response_bytes])
