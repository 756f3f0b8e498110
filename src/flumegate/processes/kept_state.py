"""What control keeps of the database in the data folder: the key tables that workers map, and the last state, sealed.

A gateway that starts while its database is away serves by these. Tables are named after their content and appear whole
or not at all; one that no worker's Snapshot names any more is deleted, but never the one before the newest: a worker
that is starting may just be about to open it.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from pathlib import Path
from typing import NamedTuple

import msgspec

from flumegate import keytable, log
from flumegate.manage.seal import Ring, UnsealError, key_of
from flumegate.manage.state import CURRENT, STALE, DatabaseState, seal_state, unseal_state
from flumegate.processes.first_start import StartRefusedError, write_private

STATE_NAME = "state.sealed"
SQLITE = "sqlite:///"
_TABLES_KEPT = 2


class Standing(NamedTuple):
    """What is known of the database."""

    state: DatabaseState | None
    """None: it was never read."""
    keys_are: str


class KeptState:
    """The files of one data folder."""

    def __init__(self, folder: Path, ring: Ring) -> None:
        self._path = folder / STATE_NAME
        self._tables = folder / "run"
        self._ring = ring
        self._turn = threading.Lock()
        self._newest: list[str] = []
        """Tables in the order in which they were written or found in use, the newest last."""

    def read(self) -> DatabaseState | None:
        """Return the state that was kept last; None where there is none that can be used.

        Raises:
            StartRefusedError: it was sealed under a master key that is not there.
        """
        try:
            sealed = self._path.read_bytes()
        except OSError:
            return None
        try:
            state = unseal_state(self._ring, sealed)
        except UnsealError as problem:
            if key_of(sealed).hex() in self._ring.ids:
                log.event("warning", "kept_state_damaged", reason=problem, effect="the database is read first")
                return None
            raise StartRefusedError(
                f"{self._path}: {problem}: give the master key back, as master.key beside it or in encryption.keys; "
                "without it the credentials in the database are lost"
            ) from problem
        if state is None or (state.key_table and not Path(state.key_table).is_file()):
            return None
        self._use(state.key_table)
        return state

    def standing(self, database_url: str) -> Standing:
        """Return what is known of a database before it is opened.

        Raises:
            StartRefusedError: see `read`.
        """
        state = self.read()
        if not database_url.startswith(SQLITE):
            # Other machines may have changed it meanwhile.
            return Standing(state, STALE)
        unread = state is None and Path(database_url.removeprefix(SQLITE)).exists()
        return Standing(state, STALE if unread else CURRENT)

    def write(self, state: DatabaseState) -> None:
        """Keep a state for the next start; a disk that does not take it costs that start its patience only."""
        try:
            write_private(self._path, seal_state(self._ring, state))
        except StartRefusedError as problem:
            log.event("warning", "state_not_kept", reason=problem, effect="the next start waits for the database")

    def write_table(self, state: DatabaseState) -> DatabaseState:
        """Return the state with its keys in a table instead of beside it.

        Raises:
            StartRefusedError: the table cannot be written.
        """
        if not state.keys:
            return msgspec.structs.replace(state, keys=[], key_table="")
        content = keytable.build(state.keys)
        name = f"keys-{state.changes}-{hashlib.sha256(content).hexdigest()[:12]}.tbl"
        path = (self._tables / name).absolute()
        # Before it is there: `retire`, which runs in another thread, must not take it for one of the dead.
        self._use(str(path))
        if not path.is_file():
            write_private(path, content)
        return msgspec.structs.replace(state, keys=[], key_table=str(path))

    def retire(self, in_use: str) -> None:
        """Delete the tables that are older than the last two; called once every worker uses the one that is named."""
        found = list(self._tables.glob("keys-*.tbl"))
        with self._turn:
            kept = self._newest = self._newest[-_TABLES_KEPT:]
        for path in found:
            if str(path.absolute()) not in (*kept, in_use):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _use(self, table: str) -> None:
        if not table:
            return
        with self._turn:
            self._newest = [*(each for each in self._newest if each != table), table]
