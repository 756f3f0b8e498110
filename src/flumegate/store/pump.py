"""Moves records from the spool into the store: read, insert, commit, acknowledge; in this order, so that none is lost.

A database that fails leaves everything in the spool. Each change of state is logged once: when storing stops, when it
goes on, and when damage was found in the spool. Loads no database library: control starts before that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from flumegate import log
from flumegate.records.request import Record
from flumegate.store.errors import StoreUnavailable

if TYPE_CHECKING:
    # For annotations only: the two rooms are strangers, and whoever makes a Pump brings both.
    from flumegate.spool.tail import SpoolReader
    from flumegate.store.ingest import Ingest

BATCH_RECORDS = 2000


class Pump:
    """One reader, one store. `step` may run in any thread, in one at a time.

    Attributes:
        stored: records that were new to the store since the start.
        failure: why the store cannot be used, empty while it can.
        caught_up: the last step has stored everything that was in the spool when it began.
    """

    def __init__(self, reader: SpoolReader, ingest: Ingest, on_batch: Callable[[Sequence[Record]], None]) -> None:
        """Call `on_batch` with the records of each batch once they are stored."""
        self._reader = reader
        self._ingest = ingest
        self._on_batch = on_batch
        self._damaged_regions = reader.damaged_regions
        self.stored = 0
        self.failure = ""
        self.caught_up = False

    def step(self) -> int:
        """Store one batch; return how many records and contents it held: 0 = nothing to do, or the store is down."""
        self.caught_up = False
        batch = self._reader.read(BATCH_RECORDS)
        if batch.records or batch.contents:
            try:
                self.stored += self._ingest.insert(batch.records, batch.contents)
            except StoreUnavailable as failure:
                self._note_failure(str(failure))
                return 0
            self._note_recovery()
        self._reader.acknowledge(batch)
        self._note_damage()
        if batch.records:
            self._on_batch(batch.records)
        self.caught_up = batch.whole
        return len(batch.records) + len(batch.contents)

    def _note_failure(self, reason: str) -> None:
        if not self.failure:
            log.event("error", "store_unavailable", reason=reason, records="kept in the spool until it is back")
        self.failure = reason

    def _note_recovery(self) -> None:
        if self.failure:
            self.failure = ""
            log.event("info", "store_available", records="being stored from the spool")

    def _note_damage(self) -> None:
        if self._reader.damaged_regions > self._damaged_regions:
            self._damaged_regions = self._reader.damaged_regions
            log.event(
                "error",
                "spool_damaged",
                regions=self._reader.damaged_regions,
                bytes=self._reader.damaged_bytes,
                hint="records in there are lost; check the disk if no process was killed",
            )
