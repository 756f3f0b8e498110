from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.manage import mint


@pytest.mark.parametrize("kind", [mint.KEY, mint.TOKEN, mint.SETUP])
def test_what_is_minted_is_known_by_its_form(kind: mint.Kind) -> None:
    """Its id is read from it; another kind's form is another."""
    minted = mint.mint(kind)
    assert mint.id_of(minted.text, kind) == minted.id
    assert minted.text.startswith(kind)
    assert [other for other in (mint.KEY, mint.TOKEN, mint.SETUP) if mint.id_of(minted.text, other)] == [kind]
    assert mint.mint(kind).text != minted.text


@given(at=st.integers(0, 62), to=st.characters())
def test_one_wrong_character_is_told_before_anything_is_looked_up(at: int, to: str) -> None:
    text = mint.mint(mint.KEY).text
    changed = text[:at] + to + text[at + 1 :]
    assert (mint.id_of(changed, mint.KEY) is not None) == (changed == text)


def test_what_is_stored_is_a_keyed_digest() -> None:
    """The data plane computes the same from what a client sends."""
    text = mint.mint(mint.KEY).text
    assert mint.digest_of(b"p" * 32, text) == hmac.new(b"p" * 32, text.encode(), hashlib.sha256).digest()


def test_a_traceback_shows_no_secret() -> None:
    minted = mint.mint(mint.TOKEN)
    assert minted.text not in repr(minted)
