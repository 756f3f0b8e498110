"""The stage that all proofs of translation share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig.translation import PROVIDERS, Stage, run_stage


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with run_stage() as running:
        yield running


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    """Every kind of provider in turn."""
    kind: str = request.param
    return kind
