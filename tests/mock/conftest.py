"""One mock for all tests of this room; each test tells its own calls by a tag."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig.mock import Mock, run_mock


@pytest.fixture(scope="session")
def mock() -> Iterator[Mock]:
    """Return a running mock."""
    with run_mock() as running:
        yield running
