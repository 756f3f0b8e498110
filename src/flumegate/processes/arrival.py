"""What of the database every worker knows: each says by which Snapshot it serves, and whoever changed something waits.

A new key that is shown before the workers know it would be refused at its first use; so the console's answer waits
until they do. It does not wait for long: a worker that is frozen, or away, must not keep an operator from working.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

WAIT_SECONDS = 1.0
"""How long a change may take to arrive before it is answered all the same."""


class Arrival:
    """Versions by worker, told in control's loop; waited for in any other thread."""

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}
        self._turn = threading.Condition()
        self._changes = -1
        """The database's counter at the state that all workers know."""

    def acknowledged(self, worker: str, version: int) -> bool:
        """Note by which Snapshot a worker serves; tell whether that is news."""
        if self._versions.get(worker) == version:
            return False
        self._versions[worker] = version
        return True

    def is_everywhere(self, version: int, workers: Iterable[str]) -> bool:
        """Tell whether all these workers serve by that Snapshot."""
        return all(self._versions.get(name) == version for name in workers)

    def known(self, changes: int) -> None:
        """Note that all workers know what the database said at this count of its changes."""
        with self._turn:
            self._changes = changes
            self._turn.notify_all()

    def wait(self, changes: int, seconds: float = WAIT_SECONDS) -> bool:
        """Wait until all workers know so many changes, or for so long; tell whether they do."""
        with self._turn:
            return self._turn.wait_for(lambda: self._changes >= changes, seconds)
