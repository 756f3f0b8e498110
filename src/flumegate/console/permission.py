"""What a caller may do: each endpoint declares one permission, and without that no console is built.

A new endpoint is thus closed until somebody has decided who may use it.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute

from flumegate.console.problems import ConsoleError


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
"""Look at everything; change nothing."""
OPERATE = Permission("operate")
"""Act on the running gateway: what is forced, opened, closed."""
ALL = frozenset({READ, OPERATE})


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
