"""The composition root of a worker: the only file that knows every room of the data plane."""

from __future__ import annotations

import asyncio
import gc
import socket
from pathlib import Path
from time import monotonic, time

from flumegate.door.imagined import imagine
from flumegate.door.server import Server
from flumegate.engine import memory
from flumegate.engine.explain import explain
from flumegate.engine.meter import AskBalance
from flumegate.engine.overload import Overload
from flumegate.engine.run import Engine
from flumegate.engine.settle import Settlement
from flumegate.engine.stored_responses import Ask, nobody
from flumegate.errors import GatewayError
from flumegate.records.counters import Counters
from flumegate.records.manage import (
    Answer,
    Explain,
    Explained,
    ForceTarget,
    Question,
    Refused,
    TargetList,
)
from flumegate.records.tally import Tally
from flumegate.snapshot import Snapshot
from flumegate.spool.append import SpoolWriter
from flumegate.upstream.pool import Upstream

SWEEP_SECONDS = 0.25
SYNC_TURNS = 2
HOUSEKEEPING_TURNS = 4
GIVE_BACK_TURNS = 8


class WorkerApp:
    """The data plane of one process.

    Attributes:
        peers: the sum of all other workers' counters, as control reports it.
    """

    def __init__(self, *, name: str, spool_folder: Path, ask: Ask = nobody, workers: int = 1) -> None:
        self._loop = asyncio.get_running_loop()
        self._tally = Tally()
        self._spool = SpoolWriter(
            spool_folder, name, max_bytes=Snapshot(version=0, providers={}).records.spool_max_bytes
        )
        self._upstream = Upstream(self._loop)
        self._settlement = Settlement(self._loop, self._spool, self._tally)
        self._overload = Overload(self._loop, self._tally.totals)
        self._workers = workers
        """How many share the memory of machine or container."""
        self._engine = Engine(
            self._loop, Snapshot(version=0, providers={}), self._upstream, self._settlement, self._overload
        )
        self._engine.ask = ask
        self._server = Server(self._loop, self._engine, self._all_counters, self._tally.totals)
        self._turn = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self.peers = Counters()
        self._redis = "", 0.0

    def ask_balance(self, ask: AskBalance) -> None:
        """Set how control is asked for what was used before this worker began."""
        self._settlement.meter.ask = ask

    def active_of(self, holder: str) -> int:
        """Return how many requests of a key or project are under way: `key:<id>`, `project:<id>`."""
        return self._settlement.meter.book.active(holder)

    def held_micros(self) -> int:
        """Return the money that is held for requests under way."""
        return self._settlement.meter.ledger.held_total

    def apply(self, snapshot: Snapshot) -> None:
        """Swap the Snapshot: attempts under way keep the one that they began with, the next ones take this one."""
        self._engine.apply(snapshot)
        self._upstream.keep_only(snapshot.providers)
        self._settlement.policy = snapshot.records
        self._spool.max_bytes = snapshot.records.spool_max_bytes
        self._server.apply(snapshot)
        self._share(snapshot.redis_url, snapshot.redis_seconds)
        door = snapshot.door
        self._overload.apply(door, door.max_memory_bytes or memory.share_of(self._workers))
        gc.collect()
        gc.freeze()

    def _share(self, url: str, seconds: float) -> None:
        """Keep limits and budgets together with other workers, or alone; a change takes effect once."""
        if (url, seconds) == self._redis:
            return
        self._redis = url, seconds
        shared = None
        if url:
            from flumegate.shared.quota import SharedQuota  # noqa: PLC0415 - only who shares pays for the client

            shared = SharedQuota(url, workers=lambda: self._workers, timeout_seconds=seconds)
            shared.start()
        self._settlement.meter.share(shared)

    async def start(self, sock: socket.socket) -> None:
        """Begin to accept connections."""
        await self._server.start(sock)
        self._sweep()

    def _sweep(self) -> None:
        self._server.sweep()
        self._upstream.sweep()
        self._engine.checks.sweep(monotonic())
        self._settlement.meter.sweep()
        self._overload.sweep(self._loop.time(), memory.resident_bytes())
        self._turn += 1
        if self._overload.pressure != "none" and self._turn % GIVE_BACK_TURNS == 0:
            memory.give_back()
        if self._turn % SYNC_TURNS == 0:
            self._settlement.sync_soon()
        if self._turn % HOUSEKEEPING_TURNS == 0:
            self._spool.rotate_if_stale(monotonic())
        self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def counters(self) -> Counters:
        """Return this worker's running totals."""
        counters = self._tally.counters()
        counters.totals["records_dropped"] = self._spool.dropped
        counters.totals["contents_dropped"] = self._spool.dropped_content
        counters.gauges["connections_open"] = len(self._server.connections)
        counters.gauges["requests_queued"] = self._overload.queued
        counters.gauges["memory_bytes"] = self._overload.memory_bytes
        counters.gauges["requests_active"] = sum(not connection.idle for connection in self._server.connections)
        counters.totals["mirrors_left_out"] = self._engine.mirrors.left_out
        counters.gauges["upstream_connections_open"] = self._upstream.open_connections()
        counters.gauges["spool_bytes"] = self._spool.bytes
        return counters

    def _all_counters(self) -> Counters:
        total = self.counters()
        total.add(self.peers)
        return total

    async def manage(self, question: Question) -> Answer:
        """Answer what an operator asks of this worker."""
        engine = self._engine
        if isinstance(question, Explain):
            try:
                exchange = imagine(question, engine.snapshot, monotonic(), time())
            except GatewayError as error:
                return Refused(error.code, error.message)
            return Explained(await explain(engine, exchange))
        if isinstance(question, ForceTarget) and (wrong := engine.force_target(question.name, question.state)):
            return Refused("unknown_target", wrong)
        named = question.name if isinstance(question, ForceTarget) else None
        return TargetList(
            [state for state in engine.target_states(monotonic()) if named is None or state.name == named]
        )

    async def drain(self, seconds: float) -> None:
        """Accept no more, finish what is under way, flush the spool."""
        await self._server.drain(seconds)
        self._engine.close()
        self._upstream.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.sleep(0)  # cancelled exchanges settle in the turn after their connection was closed
        await asyncio.sleep(0)
        self._settlement.close()
        await self._settlement.meter.close()
