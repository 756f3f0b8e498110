"""What a worker asks of the store about one earlier exchange, and what it is told.

Both travel as msgpack arrays over the link. Whoever asks says whose question it is; what belongs to another key is
told of exactly like what was never there.
"""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["found", "unknown", "deleted", "cut", "too_large", "unavailable"]


class Wanted(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="stored"):
    """Which exchange, and who asks."""

    id: str
    """Of its Record."""
    key_id: str
    project: str
    forget: bool = False
    """Its content is to be deleted; the Record stays."""


class Stored(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="stored"):
    """The bodies of an exchange, where its state is `found`."""

    state: State
    """`found`; `unknown`: never there, not kept, or another's; `deleted`: by its owner; `cut`: longer than what is
    kept; `too_large`: longer than what can be told; `unavailable`: nobody can tell now."""
    request_body: bytes = b""
    response_body: bytes = b""
