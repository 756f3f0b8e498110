"""The thread in control that carries records from the spool into the database, and deletes what has expired.

It starts only once the gateway answers: SQLAlchemy takes longer to import than a whole gateway to start.
A database that fails costs nobody anything but patience: the records stay in the spool, and each change of state is
one line in the log. On a terminal each stored record is also shown, as one line. Questions about what is stored are
answered from other threads, once the spool has been carried as far as it was when they were asked.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flumegate import log
from flumegate.processes.balances import Balances, read_sought
from flumegate.records.balance import Balance, Sought
from flumegate.records.request import Record
from flumegate.records.stored import Stored, Wanted

if TYPE_CHECKING:
    from flumegate.spool.tail import SpoolReader
    from flumegate.store.database import Database
    from flumegate.store.ingest import Ingest
    from flumegate.store.pump import Pump

IDLE_SECONDS = 0.1
BATCH_RECORDS = 2000
RETENTION_SECONDS = 3600.0
UNKNOWN_WIDTH = 120
"""Columns to write for where a terminal (of a container, say) does not know its own width."""
CATCH_UP_SECONDS = 1.5
"""How long a question may wait for the spool; shorter than whoever asks waits."""
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
        self._hurry = threading.Event()
        self._progress = threading.Condition()
        self._begun = 0
        """Steps so far; one that is under way counts."""
        self._caught_up = 0
        """Number of the last step that left nothing of what was in the spool when it began."""
        self._ingest: Ingest | None = None
        self._pump: Pump | None = None
        self._opened = threading.Event()
        self.away = False
        """Somebody has found that the database does not answer; the spool may have been empty since."""
        self.balances = Balances()
        self._looking_ahead = threading.Lock()
        self._ahead: SpoolReader | None = None
        """Looks at what waits in the spool while the database is away."""
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)

    def start(self) -> None:
        """Start carrying records."""
        self._thread.start()

    def finish(self, seconds: float) -> bool:
        """Carry what is left, for at most so long; tell whether it was all."""
        self._stop.set()
        self._hurry.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def database(self) -> Database:
        """Return the store that the records go to, for others that write over the same connection; waits for it."""
        self._opened.wait()
        if self._ingest is None:
            raise RuntimeError("the recording has ended before it began")
        return self._ingest.database

    def answer(self, wanted: Wanted | Sought) -> Stored | Balance:
        """Answer what a worker asks; may run in any thread."""
        if isinstance(wanted, Wanted):
            return self.look_up(wanted)
        return self.balance(wanted) or Stored("unavailable")

    def balance(self, sought: Sought) -> Balance | None:
        """Return what was used so far; None = nobody can tell now. May run in any thread."""
        from flumegate.store.errors import QueryTooSlow, StoreUnavailable  # noqa: PLC0415 - see the module's header

        caught_up = not self._is_away and self._catch_up()
        if self._ingest is None or not (caught_up or self._is_away):
            # It is there and behind: what it says now would be too little, and what waits cannot be told from it.
            return None
        if caught_up:
            try:
                with self._ingest.database.reader() as connection:
                    return read_sought(connection, sought)
            except (StoreUnavailable, QueryTooSlow) as problem:
                log.event("warning", "balance_from_memory", reason=problem)
        with self._looking_ahead:
            self._look_ahead()
            return self.balances.answer(sought)

    @property
    def _is_away(self) -> bool:
        return self.away or (self._pump is not None and bool(self._pump.failure))

    def _look_ahead(self) -> None:
        """Count what is in the spool and has not been counted yet."""
        from flumegate.spool.tail import SpoolReader  # noqa: PLC0415 - see the module's header

        if self._ahead is None:
            self._ahead = SpoolReader(self.spool)
        while (batch := self._ahead.read(BATCH_RECORDS)).records:
            self.balances.wait_for(batch.records)
            self._ahead.skip(batch)

    def _remember(self, ingest: Ingest) -> None:
        """Bring what is remembered of budgets up to what is stored."""
        from flumegate.store.errors import QueryTooSlow, StoreUnavailable  # noqa: PLC0415 - see the module's header

        with self._looking_ahead:
            self._ahead = None
            self.balances.wait_no_more()
            if self.balances.is_behind():
                # What cannot be read now is read at the next turn.
                with contextlib.suppress(StoreUnavailable, QueryTooSlow), ingest.database.reader() as connection:
                    self.balances.refresh(connection)

    def look_up(self, wanted: Wanted) -> Stored:
        """Return what is stored of an exchange, or forget it; may run in any thread."""
        from flumegate.store.errors import QueryTooSlow, StoreUnavailable  # noqa: PLC0415 - see the module's header
        from flumegate.store.responses import find_response, forget_response  # noqa: PLC0415 - likewise

        if not self._catch_up() or self._ingest is None:
            return Stored("unavailable")
        database = self._ingest.database
        try:
            with database.reader() as connection:
                found = find_response(connection, wanted)
            if wanted.forget and found.state not in ("unknown", "deleted"):
                forget_response(database, wanted)
        except (StoreUnavailable, QueryTooSlow) as problem:
            log.event("warning", "question_unanswered", reason=problem)
            return Stored("unavailable")
        return found

    def _catch_up(self) -> bool:
        """Wait until everything that is in the spool now is stored; tell whether it came to that."""
        with self._progress:
            wanted = self._begun + 1
            self._hurry.set()
            return self._progress.wait_for(lambda: self._caught_up >= wanted, CATCH_UP_SECONDS)

    def _step(self, pump: Pump) -> int:
        with self._progress:
            self._begun += 1
        carried = pump.step()
        if pump.caught_up and not pump.failure:
            with self._progress:
                self._caught_up = self._begun
                self._progress.notify_all()
        return carried

    def _run(self) -> None:
        try:
            # Imported here: see the module's header.
            from flumegate.spool.tail import SpoolReader  # noqa: PLC0415
            from flumegate.store.ingest import Ingest  # noqa: PLC0415
            from flumegate.store.pump import Pump  # noqa: PLC0415

            self._ingest = ingest = Ingest(self.database_url)
            self._opened.set()
            try:
                self._pump = Pump(SpoolReader(self.spool), ingest, self._stored)
                self._carry(self._pump, ingest)
            finally:
                ingest.close()
        finally:
            self._opened.set()
            if not self._stop.is_set():
                # Its traceback follows. A fresh control stores on; one without this thread would only seem to.
                log.event("error", "recording_ended", effect="control restarts")
                os.kill(os.getpid(), signal.SIGTERM)

    def _carry(self, pump: Pump, ingest: Ingest) -> None:
        delay, retention_at = _FIRST_DELAY_SECONDS, 0.0
        while True:
            # Looked at before the step: what was written before the stop is then surely carried.
            last = self._stop.is_set()
            carried = self._step(pump)
            if not pump.failure:
                self._remember(ingest)
            if carried:
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
            self._hurry.wait(IDLE_SECONDS)
            self._hurry.clear()

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

    def _stored(self, records: Sequence[Record]) -> None:
        self.balances.spent(records)
        self._show(records)

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
