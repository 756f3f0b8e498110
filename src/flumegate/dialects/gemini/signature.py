"""Thought signatures on the wire.

The field is of bytes: clients decode it from base64 and send it back in the URL-safe alphabet, so what another
provider's state is wrapped in (see `ir.seal`) must be base64 as a whole.
"""

from __future__ import annotations

import base64
import binascii

from flumegate.dialects.gemini.members import NAME
from flumegate.ir.seal import Sealed, seal, unseal

BYPASS = "skip_thought_signature_validator"
"""Google's documented value for a call that no Gemini made (ai.google.dev, "Thought signatures")."""
_WRAPPED = base64.b64encode(b"fg1.").decode()[:5]
_STANDARD = str.maketrans("-_", "+/")


def write_signature(signature: str, origin: str, *, redacted: bool = False) -> str:
    """Return a signature as a Gemini client gets it."""
    value = seal(signature, origin, own=NAME, redacted=redacted)
    return value if value == signature else base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()


def read_signature(value: str) -> Sealed:
    """Return what a client sent back: Gemini's own, or another provider's."""
    if not value.startswith(_WRAPPED):
        return Sealed(value, NAME if value else "")
    try:
        padded = value.translate(_STANDARD).rstrip("=")
        return unseal(base64.b64decode(padded + "=" * (-len(padded) % 4)).decode("utf-8", "surrogatepass"), own=NAME)
    except (binascii.Error, UnicodeError):
        return Sealed(value, NAME)
