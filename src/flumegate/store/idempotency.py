"""What was answered to a change that came with an idempotency key, so that it is answered again and not done again.

The answer is stored in the transaction of the change. Of two that come at once the later one fails, and with it its
change.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from flumegate.store.errors import DuplicateError
from flumegate.store.rows import add_rows
from flumegate.store.tables import idempotency


class Answer(NamedTuple):
    """What was answered."""

    request_digest: bytes
    """Of the request, to tell a repetition from another one with the same key."""
    status: int
    body: bytes
    at: float


def find(connection: Connection, actor: str, key: str) -> Answer | None:
    """Return what that actor was answered under that key."""
    query = select(*(idempotency.c[name] for name in Answer._fields))
    row = connection.execute(query.where(idempotency.c.actor == actor, idempotency.c.key == key)).one_or_none()
    return Answer(*row) if row is not None else None


def remember(connection: Connection, actor: str, key: str, answer: Answer) -> None:
    """Store an answer.

    Raises:
        DuplicateError: that actor was answered under that key already.
    """
    values = {"actor": actor, "key": key, **answer._asdict()}
    if not add_rows(connection, idempotency, [values]):
        raise DuplicateError("this idempotency key was used a moment ago; send the request again")


def forget_before(connection: Connection, at: float) -> int:
    """Delete the answers that are older; return how many."""
    return connection.execute(delete(idempotency).where(idempotency.c.at < at)).rowcount
