"""What a caller may do: each endpoint declares one permission, and without that no console is built.

A new endpoint is thus closed until somebody has decided who may use it. Reading what requests cost, reading who did
what, seeing a secret and changing one are rights of their own.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute

from flumegate.console.problems import ConsoleError
from flumegate.manage.actor import Role


class UndeclaredError(RuntimeError):
    """An endpoint declares no permission."""


class Permission:
    """A dependency that lets only those callers through that have it."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, request: Request) -> None:
        """Let the request pass.

        Raises:
            ConsoleError: 403, the caller's token does not have the permission.
        """
        if self not in request.state.permissions:
            raise ConsoleError(403, "permission_denied", f"This token does not have the permission {self.name}.")


READ = Permission("read")
"""Look at projects, keys, targets, models: everything but what the others name."""
READ_USAGE = Permission("read_usage")
"""See what requests cost, and whose they were."""
READ_AUDIT = Permission("read_audit")
"""See who did what."""
OPERATE = Permission("operate")
"""Act on the running gateway: what is forced, opened, closed."""
WRITE = Permission("write")
"""Change projects, keys and budgets; take keys away."""
ISSUE_KEYS = Permission("issue_keys")
"""Make client keys, which shows a secret once."""
WRITE_CREDENTIALS = Permission("write_credentials")
"""Give the gateway the secrets of providers, and take them away."""
WRITE_TOKENS = Permission("write_tokens")
"""Let others into the console, as far as one's own role goes."""
SET_UP = Permission("set_up")
"""Exchange the setup token for the first token of the console: for whoever has no token yet."""
ALL = frozenset(
    {READ, READ_USAGE, READ_AUDIT, OPERATE, WRITE, ISSUE_KEYS, WRITE_CREDENTIALS, WRITE_TOKENS},
)
PERMISSIONS: dict[Role, frozenset[Permission]] = {
    "owner": ALL,
    "admin": ALL,
    "operator": frozenset({READ, READ_USAGE, OPERATE, WRITE}),
    "viewer": frozenset({READ, READ_USAGE}),
    "auditor": frozenset({READ, READ_USAGE, READ_AUDIT}),
}
"""What each role may do. Owner and admin differ in whom they may let in."""
NOBODY = frozenset({SET_UP})
"""What may be done without a token."""


def check_declared(app: FastAPI) -> None:
    """Refuse an application with an endpoint whose permission nobody has declared.

    Raises:
        UndeclaredError: there is one.
    """
    for route in app.routes:
        declared = isinstance(route, APIRoute) and any(
            isinstance(each.dependency, Permission) for each in route.dependencies
        )
        if not declared:
            raise UndeclaredError(f"{getattr(route, 'path', route)} declares no permission")
