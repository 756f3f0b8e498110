"""Where operations on the database are done: each in one transaction with its audit entry and its answer's copy.

What cannot be audited is thus not done, and what was done is audited. A refusal is audited as well, in a transaction of
its own, as the first was undone. Workers are told once it is committed, and answers wait until they know: whoever is
shown a new key can use it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection

from flumegate.manage import audit
from flumegate.manage.actor import Actor
from flumegate.manage.rotation import claim
from flumegate.manage.seal import Place, Ring, UnsealError
from flumegate.manage.workers import RefusedError
from flumegate.records.manage import Refused
from flumegate.store import audit as audits
from flumegate.store import idempotency
from flumegate.store.changes import count_changes
from flumegate.store.database import Database
from flumegate.store.errors import ConflictError, DuplicateError, MissingError, RowRefused, StoreUnavailable

REMEMBER_SECONDS = 86_400.0
"""How long an answer is kept for a request that is sent again."""
_T = TypeVar("_T")


class Entry(msgspec.Struct):
    """What the audit trail will say of an operation; the operation fills in what it finds out."""

    action: str
    """`project.create`, `key.revoke`, …"""
    target: str = ""
    """The id of what it is done to."""
    project: str = ""
    details: dict[str, Any] = {}
    """Names of fields and what they were and are, never a secret."""


class ReplayedError(Exception):
    """The request has been answered before: with this."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__("answered before")
        self.status = status
        self.body = body


class Desk:
    """What operations work with; one for a process, used by any thread."""

    def __init__(
        self,
        database: Database,
        ring: Ring,
        pepper: bytes,
        *,
        hosts: Callable[[], Mapping[str, str]] = dict,
        may_limit: Callable[[], str | None] = lambda: None,
        changed: Callable[[int], None] = lambda _: None,
        head: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the parts.

        Args:
            database: the store.
            ring: the master keys.
            pepper: what keys and tokens are hashed with.
            hosts: returns the host of every provider, by its name, as the configuration has them now.
            may_limit: returns why no limits can be held now; None = they can.
            changed: is called after each change, from any thread, with the database's count of changes; it pushes
                them to the workers, and returns once they know, or after a moment.
            head: where the newest entry of the audit trail is noted, beside the database.
            clock: Unix time.
        """
        self.database = database
        self.pepper = pepper
        self.hosts = hosts
        self.may_limit = may_limit
        self.head = head
        self.clock = clock
        self._ring = ring
        self._changed = changed
        self._noting = threading.Lock()

    def reading(self) -> AbstractContextManager[Connection]:
        """Yield a connection that reads."""
        return self.database.reader()

    def ring(self, connection: Connection) -> Ring:
        """Return the master keys, bound to this database's installation; the connection writes.

        Looked up each time: an id that was given in a transaction that was undone is nobody's.
        """
        return claim(connection, self._ring)

    def change(self, actor: Actor, entry: Entry, perform: Callable[[Connection], _T]) -> _T:
        """Do something, with its audit entry and the answer's copy, or do nothing.

        Raises:
            ReplayedError: this very request was answered before.
            RefusedError: `perform` refused, or the request's name was used for another one.
            StoreUnavailable: the database cannot be used now.
        """
        try:
            with _refusing(), self.database.transaction() as connection:
                self._replay(connection, actor)
                result = perform(connection)
                head = self._note(connection, actor, entry, "success")
                self._remember(connection, actor, result)
                changes = count_changes(connection)
        except RefusedError as refusal:
            self.note_refusal(actor, entry, refusal.code)
            raise
        self._keep_head(head)
        self._changed(changes)
        return result

    def note_refusal(self, actor: Actor, entry: Entry, reason: str) -> None:
        """Append what was not done, and why; a database that is away costs this entry only, since nothing was done."""
        refused = Entry(entry.action, entry.target, entry.project, entry.details | {"reason": reason})
        with suppress(StoreUnavailable, RowRefused):
            with self.database.transaction() as connection:
                head = self._note(connection, actor, refused, "denied")
            self._keep_head(head)

    def _note(self, connection: Connection, actor: Actor, entry: Entry, outcome: str) -> audit.Head:
        told = audits.Entry(
            at=self.clock(),
            actor=actor.name,
            action=entry.action,
            target=entry.target,
            project=entry.project,
            outcome=outcome,
            request_id=actor.request_id,
            client=actor.client,
            details=audit.details_of(actor) | entry.details,
        )
        stored = audits.append(connection, told, audit.key_of(connection, self.ring(connection)))
        return audit.Head(stored.sequence, stored.hash.hex())

    def _keep_head(self, head: audit.Head) -> None:
        if self.head is not None:
            with self._noting:
                audit.advance_head(self.database, self.head, head)

    def _replay(self, connection: Connection, actor: Actor) -> None:
        once = actor.once
        if once is None:
            return
        idempotency.forget_before(connection, self.clock() - REMEMBER_SECONDS)
        kept = idempotency.find(connection, actor.name, once.key)
        if kept is None:
            return
        if kept.request_digest != once.digest:
            raise refuse(
                "idempotency_key_reused",
                "This Idempotency-Key came with another request before. Use a new one for each request.",
            )
        try:
            body = self.ring(connection).unseal(kept.body, _place(actor.name, once.key))
        except UnsealError:
            raise refuse(
                "idempotency_key_reused",
                "This request was answered before the master keys changed; look at what it did, its answer is gone.",
            ) from None
        raise ReplayedError(kept.status, body)

    def _remember(self, connection: Connection, actor: Actor, result: object) -> None:
        once = actor.once
        if once is not None:
            # Sealed: the answer may show a new key, which nothing else here could give away.
            body = self.ring(connection).seal(once.render(result), _place(actor.name, once.key))
            answer = idempotency.Answer(once.digest, once.status, body, self.clock())
            try:
                idempotency.remember(connection, actor.name, once.key, answer)
            except DuplicateError as problem:
                raise refuse(
                    "idempotency_key_in_use", "This request is being answered at this moment. Send it again shortly."
                ) from problem


def refuse(code: str, message: str, **facts: int | str) -> RefusedError:
    """Return why an operation has no result."""
    return RefusedError(Refused(code, message), **facts)


def _place(actor: str, key: str) -> Place:
    return Place("idempotency", f"{actor}/{key}", "body")


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what the database says of a row into what its caller can act upon."""
    try:
        yield
    except DuplicateError as problem:
        raise refuse("name_taken", f"{_sentence(problem)}.") from problem
    except MissingError as problem:
        raise refuse("not_there", f"{_sentence(problem)}.") from problem
    except ConflictError as problem:
        raise refuse("version_conflict", f"{_sentence(problem)}.") from problem
    except RowRefused as problem:
        raise refuse("invalid_value", "A value cannot be stored: it is too long, or holds a NUL.") from problem


def expect(found: int, version: int | None) -> None:
    """Make sure that a row is still at the version that the caller has seen.

    Raises:
        RefusedError: it is not; the version that it has is told.
    """
    if version is not None and version != found:
        raise refuse(
            "version_conflict",
            f"Somebody changed it meanwhile: it is at version {found}. Read it again and repeat the change.",
            version=found,
        )


def _sentence(problem: Exception) -> str:
    text = str(problem)
    return text[:1].upper() + text[1:]
