"""Who does something to the gateway, and in what part: the roles, in the order of their power.

An actor comes from a token of the console, never from what a request says about itself. What a role may do stands with
the endpoints' permissions, in `console/permission.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

from flumegate.store.tokens import Role as Role  # noqa: PLC0414 - this is where others take it from

ROLES: tuple[Role, ...] = get_args(Role)
_RANK: dict[Role, int] = {"owner": 3, "admin": 2, "operator": 1, "viewer": 0, "auditor": 0}


class Once(NamedTuple):
    """A promise that a request which is sent again is not done again."""

    key: str
    """The client's name for the request."""
    digest: bytes
    """Of what it asks for: another request may not come under the same name."""
    status: int
    render: Callable[[Any], bytes]
    """Turns the operation's result into the answer's body, which is kept."""


class Actor(NamedTuple):
    """Who asks, and how the request is found again."""

    name: str
    """`admin.token`, `token:<id>`, `setup`, `system`, or `anonymous`, who had no token."""
    role: Role
    request_id: str = ""
    correlation_id: str = ""
    client: str = ""
    """The address that it came from."""
    method: str = ""
    endpoint: str = ""
    """The pattern of the path."""
    user_agent: str = ""
    once: Once | None = None


def may_give(role: Role, other: Role) -> bool:
    """Tell whether who has one role may hand out, or take away, another: never one above its own."""
    return _RANK[role] >= _RANK[other]
