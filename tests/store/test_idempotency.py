from __future__ import annotations

import pytest

from flumegate.store import idempotency
from flumegate.store.database import Database
from flumegate.store.errors import DuplicateError
from flumegate.store.idempotency import Answer

_ANSWER = Answer(b"digest", 201, b'{"id":1}', 5.0)


def test_an_answer_is_given_again_to_whoever_got_it(database: Database) -> None:
    """Under the same key another actor has another answer, and the same one no second."""
    with database.transaction() as connection:
        assert idempotency.find(connection, "me", "k") is None
        idempotency.remember(connection, "me", "k", _ANSWER)
        with pytest.raises(DuplicateError):
            idempotency.remember(connection, "me", "k", _ANSWER._replace(status=500))
        idempotency.remember(connection, "you", "k", _ANSWER._replace(at=9.0))
    with database.reader() as connection:
        assert idempotency.find(connection, "me", "k") == _ANSWER
        assert idempotency.find(connection, "me", "K") is None


def test_old_answers_are_forgotten(database: Database) -> None:
    with database.transaction() as connection:
        idempotency.remember(connection, "me", "k", _ANSWER)
        idempotency.remember(connection, "me", "l", _ANSWER._replace(at=9.0))
        assert idempotency.forget_before(connection, 9.0) == 1
        assert idempotency.find(connection, "me", "k") is None
        assert idempotency.find(connection, "me", "l") is not None
