from __future__ import annotations

from flumegate.store.accounts import account_of, accounts_of, all_accounts, share
from flumegate.store.database import Database


def test_a_key_counts_for_itself_unless_it_replaced_another(database: Database) -> None:
    """However many are asked for at once."""
    with database.transaction() as connection:
        for number in range(1200):
            share(connection, f"new{number}", f"first{number}")
        assert account_of(connection, "new7") == "first7"
        assert account_of(connection, "first7") == "first7"
        expected = {f"new{number}": f"first{number}" for number in range(1200)}
        assert accounts_of(connection, [*expected, *expected.values(), "new0"]) == expected
        assert all_accounts(connection) == expected
        assert accounts_of(connection, []) == {}
