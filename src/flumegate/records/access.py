"""Who may do what, and how much of it: keys, projects and budgets as the workers know them.

Arrays on the wire (field order is the format), so fields are only ever appended, each with a default. Secrets never
stand here: a key is known by its digest alone.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Period = Literal["day", "month", "total"]
KeyState = Literal["active", "revoked"]


class Budget(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What may be spent in one period."""

    scope: str
    """`key:<account>`, `project:<id>`, `model:<name>` or `project:<id>/model:<name>`."""
    period: Period
    limit_micros: int
    soft_percent: int = 80
    """From this part on the answer's headers and the audit trail warn."""
    raised_micros: int = 0
    """On top of the limit, until `raised_until`."""
    raised_until: float = 0.0
    since: int = 0
    """Tells it from one that was removed before: in milliseconds, when it was set; 0 = nobody noted that."""


class Limits(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Rates and counts; 0 = no limit."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrency: int = 0
    max_requests: int = 0
    """In all its life."""


NO_LIMITS = Limits()


class Key(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A client key."""

    id: str
    project: str = ""
    state: KeyState = "active"
    expires_at: float = 0.0
    """Unix time; 0 = never."""
    models: tuple[str, ...] = ()
    """Patterns with `*` for the names that it may ask for; empty = all."""
    endpoints: tuple[str, ...] = ()
    """Names of endpoints (`chat`, `messages`, `transparent`, …); empty = all."""
    networks: tuple[str, ...] = ()
    """Where it may be used from, as CIDR; empty = anywhere."""
    tags: tuple[str, ...] = ()
    """Added to each of its requests' records."""
    limits: Limits = NO_LIMITS
    budgets: tuple[Budget, ...] = ()
    account: str = ""
    """Id of the key whose budgets and counts it goes on with, having replaced it; empty = it has its own."""

    @property
    def scope(self) -> str:
        """What its budgets and counts stand under."""
        return f"key:{self.account or self.id}"


class Project(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What keys belong to. Its upstream credentials stand in the Snapshot, not here."""

    id: str
    name: str
    active: bool = True
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    budgets: tuple[Budget, ...] = ()
    default_provider: str = ""
    """Takes the names that nothing else matches, before the gateway's own default."""
