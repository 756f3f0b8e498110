from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.ir.seal import Sealed, seal, unseal
from rig import cuts

SIGNATURES = st.text(st.characters(codec="ascii", exclude_characters="\n"), min_size=1, max_size=30)


@cuts.law
@given(SIGNATURES, st.sampled_from(["", "responses", "gemini"]), st.booleans())
def test_foreign_state_comes_back_with_its_origin(signature: str, origin: str, redacted: bool) -> None:
    """Whatever the signature looks like, sealed and unsealed it is the same, and so are its origin and kind."""
    sealed = seal(signature, origin, own="messages", redacted=redacted)
    assert sealed != signature
    assert unseal(sealed, own="messages") == Sealed(signature, origin, redacted)


def test_own_state_travels_bare() -> None:
    """A dialect's own signature is not changed by a byte, so a client may switch to the provider itself."""
    assert seal("EqQB+/==", "messages", own="messages") == "EqQB+/=="
    assert unseal("EqQB+/==", own="messages") == Sealed("EqQB+/==", "messages")


def test_nothing_stays_nothing() -> None:
    """Where there is no state there is no origin either."""
    assert seal("", "gemini", own="messages") == ""
    assert unseal("", own="messages") == Sealed("", "")


@pytest.mark.parametrize("value", ["fg1.", "fg1.gemini", "fg1.gemini.s", "fg1.gemini.x.abc", "fg2.gemini.s.abc"])
def test_what_only_looks_sealed_is_the_dialects_own(value: str) -> None:
    """A value that `seal` cannot have made is left alone."""
    assert unseal(value, own="messages") == Sealed(value, "messages")
