from __future__ import annotations

from typing import get_args

import pytest

from flumegate import errors
from flumegate.errors import GatewayError, Kind, Origin, Retry

KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, Kind)}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_says_whose_fault_it_is_and_what_helps(name: str) -> None:
    """Its name is its constant's; 4xx is the client's fault, or what an upstream said of its request."""
    kind = KINDS[name]
    assert kind.name == name.lower()
    assert kind.origin in get_args(Origin)
    assert kind.retry in get_args(Retry)
    if kind.origin != "upstream":
        assert (kind.origin == "client") == (400 <= kind.status < 500)
    if kind.origin == "client":
        assert kind.retry == "never"


def test_an_error_carries_what_an_answer_needs() -> None:
    """Status, code, message, and the rest where there is one."""
    error = GatewayError(errors.RATE_LIMITED, "slow_down", "Wait.", param="n", retry_after=3, close=True)
    assert (error.status, error.code, error.message, str(error)) == (429, "slow_down", "Wait.", "Wait.")
    assert (error.param, error.retry_after, error.close) == ("n", 3, True)
    plain = GatewayError(errors.INTERNAL, "bug", "…")
    assert (plain.param, plain.retry_after, plain.close) == (None, None, False)
