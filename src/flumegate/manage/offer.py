"""The setup token: what lets the first owner in, before there is any token of the console.

It is printed once, by the first start, and is good once and for an hour. What is kept of it is its digest, in a file
beside the database: the first start does not wait for a database. Where it is exchanged is `setup.py`.
"""

from __future__ import annotations

import hmac
from typing import NamedTuple

import msgspec

from flumegate.manage import mint

SETUP_NAME = "setup.offer"
VALID_SECONDS = 3600.0


class Offer(NamedTuple):
    """A new setup token."""

    text: str
    content: bytes
    """Of the file; the token cannot be made from it."""

    def __repr__(self) -> str:
        return "Offer()"  # never the text: tracebacks show this


class _Kept(msgspec.Struct):
    digest: bytes
    expires_at: float


def make_offer(pepper: bytes, now: float) -> Offer:
    """Return a new setup token, good from now on for an hour."""
    text = mint.mint(mint.SETUP).text
    return Offer(text, msgspec.json.encode(_Kept(mint.digest_of(pepper, text), now + VALID_SECONDS)))


def is_good(content: bytes, pepper: bytes, text: str, now: float) -> bool:
    """Tell whether a text is the setup token of a file, and its hour not over."""
    try:
        kept = msgspec.json.decode(content, type=_Kept)
    except msgspec.DecodeError:
        return False
    # Both are always looked at: how long it takes tells nothing.
    is_same = hmac.compare_digest(kept.digest, mint.digest_of(pepper, text))
    return is_same and now < kept.expires_at
