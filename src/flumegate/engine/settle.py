"""Exactly one Record for every request, handed to the spool before the last bytes of its answer leave.

All requests that end in one turn of the event loop share one write to the spool; then their last bytes are handed over.
So whatever kills the worker, a client that has its whole answer has its record, too.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import msgspec

from flumegate.exchange import Exchange, Reply
from flumegate.records.request import Content, Record
from flumegate.records.tally import Tally
from flumegate.snapshot import RecordPolicy
from flumegate.spool.append import SpoolWriter, frame

_encode = msgspec.msgpack.Encoder().encode
Handover = tuple[Reply, bytes, bool]
"""Reply, last bytes, and whether the connection is to be cut behind them."""


class Settlement:
    """Turns exchanges into records and counters, and ends their replies."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spool: SpoolWriter, tally: Tally) -> None:
        self._loop = loop
        self._spool = spool
        self._tally = tally
        self._frames: list[bytes] = []
        self._contents: list[bytes] = []
        self._handovers: list[Handover] = []
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool-sync")
        self.policy = RecordPolicy()
        self.unsynced = False
        self._syncing = False

    def settle(self, exchange: Exchange, last: bytes, *, cut: bool = False) -> None:
        """Record an exchange and hand its last bytes over; a second call for the same exchange does nothing."""
        if exchange.settled:
            return
        record = self._record(exchange)
        framed = frame(_encode(record))
        exchange.settled = True
        self._tally.count(record)
        if not self._frames:
            self._loop.call_soon(self._flush)
        self._frames.append(framed)
        self._handovers.append((exchange.reply, last, cut))
        if exchange.response_body is not None:
            self._keep_content(exchange, exchange.response_body)

    def _record(self, exchange: Exchange) -> Record:
        now = monotonic()
        started = exchange.started
        if exchange.attempts and exchange.attempts[-1].ended_us is None:
            last_attempt = exchange.attempts[-1]
            last_attempt.ended_us = int((now - started) * 1e6)
            if exchange.outcome != "ok":
                last_attempt.outcome = exchange.error_code or exchange.outcome
        tap, plan = exchange.tap, exchange.plan
        usage = tap.usage if tap is not None else None
        source = ""
        if usage is not None:
            source = "partial" if exchange.usage_partial or exchange.client_abort else "upstream"
        return Record(
            exchange.record_id,
            exchange.request_id.decode("latin-1"),
            exchange.started_at,
            exchange.method.decode("latin-1"),
            exchange.path.decode("latin-1"),
            exchange.kind,
            exchange.family,
            exchange.lane,
            exchange.key_id,
            exchange.project,
            exchange.client,
            plan.provider.name if plan is not None else "",
            exchange.model_requested,
            (plan.model if plan is not None else "") or (tap.model if tap is not None else ""),
            exchange.stream,
            exchange.status,
            exchange.outcome,
            exchange.error_code,
            int((now - started) * 1e6),
            int((now - exchange.sent) * 1e6) if exchange.sent is not None else None,
            int((exchange.first_byte - started) * 1e6) if exchange.first_byte is not None else None,
            int((exchange.first_token - started) * 1e6) if exchange.first_token is not None else None,
            usage.input_tokens if usage is not None else None,
            usage.output_tokens if usage is not None else None,
            usage.cached_tokens if usage is not None else None,
            usage.cache_write_tokens if usage is not None else None,
            usage.reasoning_tokens if usage is not None else None,
            source,
            tap.finish_reason if tap is not None else "",
            exchange.request_bytes,
            exchange.response_bytes,
            exchange.client_abort,
            _text(exchange, b"x-flumegate-tags") if exchange.special else "",
            _trace_id(exchange) if exchange.special else "",
            exchange.attempts,
        )

    def _keep_content(self, exchange: Exchange, pieces: list[bytes]) -> None:
        policy = self.policy
        request, response = exchange.body, b"".join(pieces)
        content = Content(
            exchange.record_id, request[: policy.max_request_bytes], response[: policy.max_response_bytes]
        )
        self._contents.append(frame(_encode(content)))

    def _flush(self) -> None:
        frames, self._frames = self._frames, []
        handovers, self._handovers = self._handovers, []
        self._spool.write(frames)
        if self._contents:
            contents, self._contents = self._contents, []
            self._spool.write_content(contents)
        self.unsynced = True
        if self.policy.durable:
            future = self._loop.run_in_executor(self._disk, self._spool.sync)
            future.add_done_callback(lambda _: _hand_over(handovers))
        else:
            _hand_over(handovers)

    def sync_soon(self) -> None:
        """Ask for what was written to reach the disk; called twice a second. Never waits."""
        if self.unsynced and not self._syncing:
            self.unsynced, self._syncing = False, True
            self._loop.run_in_executor(self._disk, self._spool.sync).add_done_callback(self._synced)

    def _synced(self, _future: asyncio.Future[None]) -> None:
        self._syncing = False

    def close(self) -> None:
        """Write what is left and close the spool."""
        if self._frames:
            self._flush()
        self._disk.shutdown(wait=True)
        self._spool.close()


def _hand_over(handovers: list[Handover]) -> None:
    for reply, last, cut in handovers:
        if cut:
            reply.write(last)
            reply.abort()
        else:
            reply.finish(last)


def _text(exchange: Exchange, name: bytes) -> str:
    value = exchange.picked.get(name)
    return value[:256].decode("latin-1") if value is not None else ""


def _trace_id(exchange: Exchange) -> str:
    value = exchange.picked.get(b"traceparent")
    if value is None:
        return ""
    parts = value.split(b"-")
    return parts[1].decode("latin-1") if len(parts) >= 4 and len(parts[1]) == 32 else ""  # W3C Trace Context §3.2
