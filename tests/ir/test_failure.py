from __future__ import annotations

import pytest

from flumegate.ir.failure import Reason, reason_of


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "invalid_request"),
        (401, "authentication"),
        (402, "quota"),
        (403, "permission"),
        (404, "not_found"),
        (408, "timeout"),
        (409, "invalid_request"),
        (413, "too_large"),
        (422, "invalid_request"),
        (429, "rate_limited"),
        (500, "internal"),
        (502, "internal"),
        (503, "overloaded"),
        (504, "timeout"),
        (529, "overloaded"),
        (599, "internal"),
    ],
)
def test_a_status_alone_says_something(status: int, reason: Reason) -> None:
    """An error without a readable body still has a reason."""
    assert reason_of(status) == reason
