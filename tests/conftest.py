"""What every test run shares: how many examples the property tests try, and the servers that it starts once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from rig.postgres import Postgres, postgres_cluster

settings.register_profile("fuzz", max_examples=5_000, print_blob=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One cluster for the whole run; a test makes a database of its own in it, and leaves the cluster running."""
    with postgres_cluster() as cluster:
        yield cluster
