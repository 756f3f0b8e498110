"""The thread in control that carries records from the spool into the database, and deletes what has expired.

It starts only once the gateway answers: SQLAlchemy takes longer to import than a whole gateway to start.
A database that fails costs nobody anything but patience: the records stay in the spool, and each change of state is
one line in the log. On a terminal each stored record is also shown, as one line.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flumegate import log
from flumegate.records.request import Record

if TYPE_CHECKING:
    from flumegate.store.ingest import Ingest
    from flumegate.store.pump import Pump

IDLE_SECONDS = 0.1
RETENTION_SECONDS = 3600.0
UNKNOWN_WIDTH = 120
"""Columns to write for where a terminal (of a container, say) does not know its own width."""
_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 5.0


class Recording:
    """The thread; `start` it once, `finish` it once."""

    def __init__(self, *, spool: Path, database_url: str, retention_days: int, live: bool) -> None:
        self.spool = spool
        self.database_url = database_url
        self.retention_days = retention_days
        self.live = live
        """Show each stored record on stdout."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)

    def start(self) -> None:
        """Start carrying records."""
        self._thread.start()

    def finish(self, seconds: float) -> bool:
        """Carry what is left, for at most so long; tell whether it was all."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            # Imported here: see the module's header.
            from flumegate.spool.tail import SpoolReader  # noqa: PLC0415
            from flumegate.store.ingest import Ingest  # noqa: PLC0415
            from flumegate.store.pump import Pump  # noqa: PLC0415

            ingest = Ingest(self.database_url)
            try:
                self._carry(Pump(SpoolReader(self.spool), ingest, self._show), ingest)
            finally:
                ingest.close()
        finally:
            if not self._stop.is_set():
                # Its traceback follows. A fresh control stores on; one without this thread would only seem to.
                log.event("error", "recording_ended", effect="control restarts")
                os.kill(os.getpid(), signal.SIGTERM)

    def _carry(self, pump: Pump, ingest: Ingest) -> None:
        delay, retention_at = _FIRST_DELAY_SECONDS, 0.0
        while True:
            # Looked at before the step: what was written before the stop is then surely carried.
            last = self._stop.is_set()
            if pump.step():
                continue
            if last:
                return
            if pump.failure:
                self._stop.wait(delay)
                delay = min(delay * 2, _LONGEST_DELAY_SECONDS)
                continue
            delay = _FIRST_DELAY_SECONDS
            if time.monotonic() >= retention_at:
                retention_at = time.monotonic() + RETENTION_SECONDS
                self._expire(ingest)
            self._stop.wait(IDLE_SECONDS)

    def _expire(self, ingest: Ingest) -> None:
        from flumegate.store.errors import StoreUnavailable  # noqa: PLC0415
        from flumegate.store.retention import delete_older_than  # noqa: PLC0415

        try:
            deleted = delete_older_than(ingest.database, days=self.retention_days, now=time.time())
        except StoreUnavailable as problem:
            log.event("warning", "retention_postponed", reason=problem, seconds=RETENTION_SECONDS)
        else:
            if deleted:
                log.event("info", "records_expired", records=deleted, days=self.retention_days)

    def _show(self, records: Sequence[Record]) -> None:
        if not self.live:
            return
        from flumegate.manage.lines import render_line  # noqa: PLC0415

        try:
            width = os.get_terminal_size(1).columns or UNKNOWN_WIDTH
            lines = [render_line(record, width=width, color=True) for record in records]
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
        except OSError:
            # The terminal is gone; the records are stored all the same.
            self.live = False
