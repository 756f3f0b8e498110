from __future__ import annotations

import pytest

from flumegate.store import credentials, projects
from flumegate.store.credentials import Credential
from flumegate.store.database import Database
from flumegate.store.errors import MissingError, RowRefused


def test_installation_and_projects_have_their_own(database: Database) -> None:
    """Putting one takes the place of the one before; neither side sees or removes the other's."""
    with database.transaction() as connection:
        projects.insert(connection, projects.StoredProject("p", "blue"))
        credentials.put(connection, "", "openai", b"\0one", 1.0)
        credentials.put(connection, "p", "openai", b"two", 2.0)
        credentials.put(connection, "", "openai", b"\0three", 3.0)
    with database.reader() as connection:
        assert credentials.find(connection, "", "openai") == Credential("", "openai", b"\0three", 1.0, 3.0)
        assert credentials.find(connection, "p", "openai") == Credential("p", "openai", b"two", 2.0, 2.0)
        assert credentials.find(connection, "p", "groq") is None
        assert [each.project for each in credentials.all_credentials(connection)] == ["", "p"]
    with database.transaction() as connection:
        credentials.remove(connection, "", "openai")
        with pytest.raises(MissingError):
            credentials.remove(connection, "", "openai")
        assert [each.project for each in credentials.all_credentials(connection)] == ["p"]


def test_a_project_that_is_not_there_has_none(database: Database) -> None:
    with pytest.raises(RowRefused), database.transaction() as connection:
        credentials.put(connection, "nobody", "openai", b"s", 1.0)
