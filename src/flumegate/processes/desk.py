"""Where control opens the desk: the place at which operators change what the database says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flumegate.manage.desk import Desk
    from flumegate.processes.recording import Recording
    from flumegate.processes.settings import Settings


class DeskOpening:
    """Returns the one desk of a control process; called in any thread, the first time it waits for the library."""

    def __init__(self, recording: Recording, settings: Callable[[], Settings], changed: Callable[[int], None]) -> None:
        """Take the parts.

        Args:
            recording: whose database it is.
            settings: returns those that are in force now.
            changed: is called after each change, with the database's count of them.
        """
        self._recording = recording
        self._settings = settings
        self._changed = changed
        self._desk: Desk | None = None

    def __call__(self) -> Desk | None:
        """Return the desk; None as long as the master keys, or what keys are hashed with, are not known."""
        settings = self._settings()
        if settings.ring is None or settings.standing.state is None:
            return None
        if self._desk is None or self._desk.pepper != settings.pepper:
            # Here: they load SQLAlchemy, and a start does not wait for that.
            from flumegate.manage.audit import HEAD_NAME  # noqa: PLC0415
            from flumegate.manage.desk import Desk  # noqa: PLC0415

            self._desk = Desk(
                self._recording.database(),
                settings.ring,
                settings.pepper,
                hosts=self._hosts,
                may_limit=self._may_limit,
                changed=self._changed,
                head=Path(settings.facts.data_dir) / HEAD_NAME,
            )
        return self._desk

    def _hosts(self) -> dict[str, str]:
        return {name: provider.host for name, provider in self._settings().snapshot.providers.items()}

    def _may_limit(self) -> str | None:
        return self._settings().may_limit()
