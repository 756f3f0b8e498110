"""Opaque provider state on its way through a client of another dialect.

A signature means something only to the provider that made it. Where it must travel in another dialect's field it is
wrapped with the name of its origin; what comes back unwrapped is that dialect's own.
"""

from __future__ import annotations

from typing import NamedTuple

_PREFIX = "fg1."


class Sealed(NamedTuple):
    """A signature and who can read it."""

    signature: str
    origin: str
    redacted: bool = False


def seal(signature: str, origin: str, *, own: str, redacted: bool = False) -> str:
    """Return a signature as it travels in a field of the dialect `own`: bare if it is its own, else wrapped."""
    if not signature or origin == own:
        return signature
    return f"{_PREFIX}{origin}.{'r' if redacted else 's'}.{signature}"


def unseal(value: str, *, own: str) -> Sealed:
    """Return what `seal` wrapped; anything else is the dialect's own.

    State whose origin nobody knew comes back with an empty origin: it is nobody's, so no writer may send it.
    """
    if value.startswith(_PREFIX):
        parts = value.split(".", 3)
        if len(parts) == 4 and parts[2] in ("r", "s"):
            return Sealed(parts[3], parts[1], parts[2] == "r")
    return Sealed(value, own if value else "")
