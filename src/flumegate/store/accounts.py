"""On whose account keys count: a key that took the place of another counts where that one did.

An account is called after the first key of its line, and is never given up: budgets and what was spent stand under its
name. A key that replaced nobody has no row here; its account is its own id.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, insert, select

from flumegate.store.tables import key_accounts

_KEYS_AT_ONCE = 500


def share(connection: Connection, key: str, account: str) -> None:
    """Let a new key count on an account that is there; whoever stores the key calls this in the same transaction."""
    connection.execute(insert(key_accounts).values(key=key, account=account))


def account_of(connection: Connection, key: str) -> str:
    """Return on which account a key counts."""
    return accounts_of(connection, [key]).get(key, key)


def accounts_of(connection: Connection, keys: Iterable[str]) -> dict[str, str]:
    """Return the accounts of those of these keys that count on another key's."""
    wanted = list(dict.fromkeys(keys))
    found: dict[str, str] = {}
    for first in range(0, len(wanted), _KEYS_AT_ONCE):
        some = wanted[first : first + _KEYS_AT_ONCE]
        rows = connection.execute(select(key_accounts).where(key_accounts.c.key.in_(some)))
        found.update((row.key, row.account) for row in rows)
    return found


def all_accounts(connection: Connection) -> dict[str, str]:
    """Return the accounts of all keys that count on another key's."""
    return {row.key: row.account for row in connection.execute(select(key_accounts))}
