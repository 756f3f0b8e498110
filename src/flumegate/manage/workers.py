"""The running workers as a management operation sees them; the console hands in control's end of the link."""

from __future__ import annotations

from typing import Protocol

from flumegate.records.manage import Answer, Explain, ForceTarget, ListTargets, Refused


class Workers(Protocol):
    """Whom questions go to."""

    async def ask_one(self, question: Explain) -> Answer:
        """Return the answer of one worker."""

    async def ask_all(self, question: ListTargets) -> dict[str, Answer]:
        """Return every connected worker's answer, by its name."""

    async def force(self, question: ForceTarget) -> dict[str, Answer]:
        """Force a target in every worker, now and whenever one connects; return the answers by worker."""


class RefusedError(Exception):
    """The operation has no result; code and message say why."""

    def __init__(self, refused: Refused, **facts: int | str) -> None:
        """Take what the caller can act upon besides, as the version that a row has now."""
        super().__init__(refused.message)
        self.code = refused.code
        self.message = refused.message
        self.facts = facts
