from __future__ import annotations

import pytest

from flumegate.ir.usage import MAX_COUNT, Usage


def test_what_was_not_reported_is_none() -> None:
    """Not reported and zero are different things: a price of zero tokens is zero, of unknown ones unknown."""
    assert Usage() == Usage(None, None, None, None, None)
    assert Usage(0) != Usage()


@pytest.mark.parametrize("count", [-1, MAX_COUNT + 1, 2**64, 10**30])
def test_what_can_be_no_count_is_not_reported(count: int) -> None:
    """A provider's nonsense is neither stored nor billed, and the plausible counts beside it are."""
    assert Usage(count, 2, count, 1, count) == Usage(None, 2, None, 1, None)
    assert Usage(MAX_COUNT) != Usage()
