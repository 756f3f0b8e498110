from __future__ import annotations

import pytest

from flumegate.store import tokens
from flumegate.store.database import Database
from flumegate.store.errors import DuplicateError, MissingError
from flumegate.store.tokens import AdminToken

_OWNER = AdminToken("t1", "first", b"\0one", "owner", 1.0, 100.0)


def test_a_token_is_found_by_its_digest(database: Database) -> None:
    with database.transaction() as connection:
        tokens.insert(connection, _OWNER)
        for other in (_OWNER._replace(id="t2"), _OWNER._replace(digest=b"two")):
            with pytest.raises(DuplicateError):
                tokens.insert(connection, other)
        tokens.insert(connection, AdminToken("t2", "", b"two", "auditor", 2.0))
    with database.reader() as connection:
        assert tokens.find_by_digest(connection, b"\0one") == tokens.find(connection, "t1") == _OWNER
        assert tokens.find_by_digest(connection, b"\0") is tokens.find(connection, "") is None
        assert [token.id for token in tokens.all_tokens(connection)] == ["t1", "t2"]


def test_a_revoked_token_stays_known(database: Database) -> None:
    """As revoked since the first time; when it was last used never goes back."""
    with database.transaction() as connection:
        tokens.insert(connection, _OWNER)
        tokens.note_use(connection, "t1", 9.0)
        tokens.note_use(connection, "t1", 8.0)
        assert tokens.revoke(connection, "t1", 10.0)
        assert not tokens.revoke(connection, "t1", 11.0)
        with pytest.raises(MissingError):
            tokens.revoke(connection, "none", 11.0)
        assert tokens.find(connection, "t1") == _OWNER._replace(revoked_at=10.0, last_used_at=9.0)
