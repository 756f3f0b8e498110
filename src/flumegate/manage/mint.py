"""The form of the secrets that the gateway gives out: `<kind><id>-<secret><check>`.

The id is public: it is what lists, logs and records show, and it never comes from the secret. The check digits tell a
typing error, and most guesses, before anything is looked up. A text is shown once; what is kept is its digest.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import zlib
from typing import Literal, NamedTuple

Kind = Literal["sk-fg-", "fg-at-", "fg-st-"]
"""A client key, a token of the console, a setup token."""
KEY: Kind = "sk-fg-"
TOKEN: Kind = "fg-at-"  # noqa: S105 - how every token begins
SETUP: Kind = "fg-st-"
SECRET_BYTES = 32
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM = re.compile(r"((sk-fg-|fg-at-|fg-st-)([0-9A-Za-z]{8})-[0-9A-Za-z_-]{43})([0-9A-Za-z]{6})")


class Minted(NamedTuple):
    """A new secret."""

    id: str
    text: str
    """All of it; shown once."""

    def __repr__(self) -> str:
        return f"Minted({self.id!r})"  # never the text: tracebacks show this


def mint(kind: Kind) -> Minted:
    """Return a new secret of a kind, with 256 secret bits."""
    identity = make_id()
    body = f"{kind}{identity}-{make_secret()}"
    return Minted(identity, body + _check(body))


def make_id() -> str:
    """Return eight characters that nobody has used, by all odds."""
    return "".join(secrets.choice(_BASE62) for _ in range(8))


def make_secret() -> str:
    """Return 256 random bits as text."""
    return base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=")


def id_of(text: str, kind: Kind) -> str | None:
    """Return the id in a secret; None where it has not the form of the kind, or other check digits."""
    found = _FORM.fullmatch(text)
    return found[3] if found is not None and found[2] == kind and _check(found[1]) == found[4] else None


def digest_of(pepper: bytes, text: str) -> bytes:
    """Return what is stored of a secret: 32 bytes, as the data plane looks keys up by."""
    return digest_of_bytes(pepper, text.encode())


def digest_of_bytes(pepper: bytes, data: bytes) -> bytes:
    """Return what is stored of a secret that is no text."""
    return hmac.digest(pepper, data, "sha256")


def _check(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits
