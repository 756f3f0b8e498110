"""The counter that rises with every change of what is managed, in the same transaction.

Whoever holds a copy of keys, projects or budgets compares one number to learn whether it is still the whole truth. The
functions of this room that change something raise it themselves, so that none can forget to.
"""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from flumegate.store.tables import state


def note_change(connection: Connection) -> None:
    """Raise the counter. On PostgreSQL whoever does so next waits for this transaction's end."""
    connection.execute(update(state).values(changes=state.c.changes + 1))


def count_changes(connection: Connection) -> int:
    """Return how many changes there have been."""
    return int(connection.execute(select(state.c.changes)).scalar_one())
