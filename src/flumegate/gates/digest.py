"""What is kept of a key."""

from __future__ import annotations

import hashlib
import hmac

_OF_HASHES = b"/sha256"


def digest(pepper: bytes, key: bytes) -> bytes:
    """Return HMAC-SHA-256(pepper, key): 32 bytes, from which nobody can make the key, or another one."""
    return hmac.digest(pepper, key, "sha256")


def digest_by_hash(pepper: bytes, key: bytes) -> bytes:
    """Return what is kept of a key that was taken over from a gateway that knew its SHA-256 alone.

    Under another pepper, so that no text that is made of such a hash has the digest of its key.
    """
    return hmac.digest(pepper + _OF_HASHES, hashlib.sha256(key).digest(), "sha256")
