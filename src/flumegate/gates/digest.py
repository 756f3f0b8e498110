"""What is kept of a key."""

from __future__ import annotations

import hmac


def digest(pepper: bytes, key: bytes) -> bytes:
    """Return HMAC-SHA-256(pepper, key): 32 bytes, from which nobody can make the key, or another one."""
    return hmac.digest(pepper, key, "sha256")
