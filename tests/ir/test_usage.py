from __future__ import annotations

from flumegate.ir.usage import Usage


def test_what_was_not_reported_is_none() -> None:
    """Not reported and zero are different things: a price of zero tokens is zero, of unknown ones unknown."""
    assert Usage() == Usage(None, None, None, None, None)
    assert Usage(0) != Usage()
