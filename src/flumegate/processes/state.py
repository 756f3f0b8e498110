"""The thread in control that knows what the database says of keys, projects and budgets, and whether it still says it.

Twice a second, and at once after a change, it compares one number; only when that has risen it reads all of it. A
database that does not answer makes what is known stale: known keys are served, unknown ones are told to come again, and
after `auth.keys_max_age` none of its keys is believed any more. Each change of that is one line in the log. Like the
recording it begins once the gateway answers.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from flumegate import log
from flumegate.manage.seal import Ring
from flumegate.manage.state import CURRENT, EXPIRED, STALE, DatabaseState, load_state, withdraw
from flumegate.processes.first_start import StartRefusedError
from flumegate.processes.kept_state import KeptState, Standing
from flumegate.store.errors import QueryTooSlow, RowRefused, StoreUnavailable

if TYPE_CHECKING:
    from flumegate.store.database import Database

POLL_SECONDS = 0.5
"""With the time that reading takes, what another machine has revoked is refused here within a second."""
KEEP_SECONDS = 60.0
"""How often the kept state is confirmed where nothing has changed: its age counts at the next start."""
LOOK_SECONDS = 1.0
"""How long it may take for one number; then a key that is unknown is no longer called wrong."""
MANY_KEYS = 5_000
"""From so many on what was taken away is told before all is read."""
LOAD_SECONDS = 30.0
"""How long the database may take for all of it."""
_EFFECTS: dict[str, tuple[log.Level, str]] = {
    STALE: ("warning", "known keys are served, unknown ones are told to come again"),
    EXPIRED: ("error", "only the keys of the configuration are served"),
    CURRENT: ("info", "all keys are served"),
}


class State:
    """The thread; `start` it once, `finish` it once."""

    def __init__(
        self,
        *,
        database: Callable[[], Database],
        ring: Ring,
        pepper: bytes,
        kept: KeptState,
        standing: Standing,
        max_age: Callable[[], float],
        on_standing: Callable[[Standing], None],
        on_refusal: Callable[[str], None],
    ) -> None:
        """Take the parts; the callbacks are called in the thread.

        Args:
            database: returns the store, and may wait for it.
            ring: the master keys.
            pepper: what keys are hashed with here, as long as the database says nothing else.
            kept: the files of the data folder.
            standing: what was known at the start.
            max_age: returns for how long keys are believed that nobody confirms.
            on_standing: is told whenever something has changed.
            on_refusal: is told why this database and these master keys do not belong together.
        """
        self._database = database
        self._ring = ring
        self._pepper = pepper
        self._kept = kept
        self._standing = standing
        self._max_age = max_age
        self._on_standing = on_standing
        self._on_refusal = on_refusal
        self._confirmed_at = standing.state.as_of if standing.state is not None else time.time()
        self._kept_at = 0.0
        self.read = threading.Event()
        """Set once the database has been read."""
        self._stop = threading.Event()
        self._look_now = threading.Event()
        self._thread = threading.Thread(target=self._run, name="state", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def changed(self) -> None:
        """Look at once: something was changed; may be called in any thread."""
        self._look_now.set()

    def finish(self, seconds: float) -> None:
        """Stop looking; wait for the thread's end for at most so long."""
        self._stop.set()
        self._look_now.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            database = self._database()
            while not self._stop.is_set():
                self._look(database)
                self._look_now.wait(POLL_SECONDS)
                self._look_now.clear()
        finally:
            if not self._stop.is_set():
                # Its traceback follows. Without this thread no key would ever be revoked.
                log.event("error", "state_thread_ended", effect="control restarts")
                os.kill(os.getpid(), signal.SIGTERM)

    def _look(self, database: Database) -> None:
        # Here: whatever imports SQLAlchemy waits until the gateway answers.
        from flumegate.manage.rotation import WrongMasterKeyError  # noqa: PLC0415

        try:
            fresh = self._read(database)
        except (StoreUnavailable, QueryTooSlow) as problem:
            old = time.time() - self._confirmed_at > self._max_age()
            self._stand(Standing(self._standing.state, EXPIRED if old else STALE), str(problem))
            return
        except (StartRefusedError, RowRefused, msgspec.MsgspecError) as problem:
            # A disk that takes no new table, another machine that was first, a row that holds nonsense: the keys
            # before stay in use, and the next look tries again.
            self._stand(Standing(self._standing.state, STALE), str(problem))
            return
        except WrongMasterKeyError as problem:
            self._stand(Standing(self._standing.state, STALE), str(problem))
            self._on_refusal(str(problem))
            return
        self._confirmed_at = fresh.as_of
        if not _is_same(fresh, self._standing.state) or fresh.as_of - self._kept_at >= KEEP_SECONDS:
            # Kept first: a control that is killed now must not begin again with a key that was revoked.
            self._kept.write(fresh)
            self._kept_at = fresh.as_of
        self._stand(Standing(fresh, CURRENT))
        self.read.set()

    def _read(self, database: Database) -> DatabaseState:
        """Return what the database says now; what is known already where nothing has changed."""
        # Here: see above.
        from flumegate.manage.rotation import installation_of  # noqa: PLC0415
        from flumegate.store.changes import count_changes  # noqa: PLC0415

        now = time.time()
        if not self._ring.installation:
            self._claim(database)
        with database.reader(seconds=LOOK_SECONDS) as connection:
            installation, changes = installation_of(connection), count_changes(connection)
        if installation != self._ring.installation:
            # Another database stands in its place: who it is, and whether we can open it, is asked anew.
            self._claim(database)
        known = self._standing.state
        if known is not None and (known.changes, known.installation) == (changes, self._ring.installation):
            return msgspec.structs.replace(known, as_of=now)
        if known is not None and known.key_count >= MANY_KEYS and known.installation == self._ring.installation:
            with database.reader(seconds=LOAD_SECONDS) as connection:
                less = withdraw(connection, known)
            if (less.revoked, less.projects) != (known.revoked, known.projects):
                self._kept.write(less)  # first, as below
                self._standing = Standing(less, self._standing.keys_are)
                self._on_standing(self._standing)
        with database.reader(seconds=LOAD_SECONDS) as connection:
            fresh = msgspec.structs.replace(load_state(connection, self._ring, now), pepper=self._pepper)
        for each in fresh.unreadable:
            log.event("error", "row_unusable", row=each, remedy="store it again")
        return self._kept.write_table(fresh)

    def _claim(self, database: Database) -> None:
        from flumegate.manage.rotation import claim, share_pepper  # noqa: PLC0415 - see above

        with database.transaction() as connection:
            ring = claim(connection, self._ring)
            self._pepper = share_pepper(connection, ring, self._pepper)
        self._ring = ring

    def _stand(self, standing: Standing, reason: str = "") -> None:
        before, self._standing = self._standing, standing
        if standing.keys_are != before.keys_are:
            level, effect = _EFFECTS[standing.keys_are]
            log.event(level, f"keys_{standing.keys_are}", effect=effect, **({"reason": reason} if reason else {}))
        if standing.keys_are != before.keys_are or not _is_same(standing.state, before.state):
            self._on_standing(standing)


def _is_same(state: DatabaseState | None, other: DatabaseState | None) -> bool:
    if state is None or other is None:
        return state is other
    return (state.changes, state.installation) == (other.changes, other.installation)
