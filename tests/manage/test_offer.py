from __future__ import annotations

import pytest

from flumegate.manage import mint
from flumegate.manage.offer import VALID_SECONDS, is_good, make_offer

PEPPER = b"p" * 32


def test_a_setup_token_is_good_for_an_hour() -> None:
    """From the moment that it was made, and only here."""
    offer = make_offer(PEPPER, 1000.0)
    assert mint.id_of(offer.text, mint.SETUP) is not None
    assert is_good(offer.content, PEPPER, offer.text, 1000.0 + VALID_SECONDS - 1)
    assert not is_good(offer.content, PEPPER, offer.text, 1000.0 + VALID_SECONDS)
    assert not is_good(offer.content, b"q" * 32, offer.text, 1000.0)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"digest": "x", "expires_at": 1e99}', b"\xff"])
def test_a_file_that_is_none_of_ours_lets_nobody_in(content: bytes) -> None:
    assert not is_good(content, PEPPER, make_offer(PEPPER, 0.0).text, 0.0)


def test_what_is_kept_of_it_does_not_show_it() -> None:
    """Neither in the file nor where a traceback prints it."""
    offer = make_offer(PEPPER, 0.0)
    secret = offer.text.rpartition("-")[2]
    assert secret.encode() not in offer.content
    assert secret not in repr(offer)
    assert make_offer(PEPPER, 0.0).text != offer.text
