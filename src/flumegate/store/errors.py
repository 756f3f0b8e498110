"""What can go wrong with the store, as types that anybody may catch without loading a database library."""

from __future__ import annotations


class StoreUnavailable(Exception):  # noqa: N818 - named for the state; it is often over in a moment
    """The database cannot be used now. The message names it and the remedy; nothing has been stored or lost."""


class QueryTooSlow(Exception):  # noqa: N818 - says what was wrong with the query, as the message does
    """A query was stopped because it took longer than a query may. The message says how to ask for less."""


class RowRefused(Exception):  # noqa: N818 - says what the database did
    """A row breaks a constraint, or holds what no column of its type can hold. Nothing of the transaction is stored."""


class ConflictError(Exception):
    """Somebody else changed the row first: its version is no longer the expected one. Nothing is changed."""


class DuplicateError(Exception):
    """There is a row with that id or name already. Nothing is changed."""


class MissingError(Exception):
    """There is no such row."""
