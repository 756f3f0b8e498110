"""What a worker asks about what was used before it began, and what it is told.

Both travel as tagged msgpack arrays over the link. Control answers from memory that its database has filled, after it
has carried every record that was in the spool.
"""

from __future__ import annotations

import msgspec


class Sought(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="balance"):
    """Whose use is asked for."""

    holders: tuple[str, ...]
    """`key:<id>`, `project:<id>`: how many requests they ever had."""
    accounts: tuple[str, ...]
    """A budget's scope, `@`, and the period's name: `key:<id>@2026-11`: how much was spent."""


class Balance(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="balance"):
    """What was used; what is not named was never used."""

    requests: dict[str, int] = {}
    micros: dict[str, int] = {}
