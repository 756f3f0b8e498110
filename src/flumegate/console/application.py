"""The console as an application: the table of its endpoints with their permissions, the guard, the shape of errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from flumegate import __version__
from flumegate.console import audit, budgets, endpoints, keys, problems, projects, providers, setup, tokens, usage
from flumegate.console.endpoint import Endpoint
from flumegate.console.guard import ANONYMOUS, Bearer, Find, Guard
from flumegate.console.permission import check_declared
from flumegate.console.shapes import ProblemShape
from flumegate.console.strangers import Tell
from flumegate.manage.actor import Actor
from flumegate.manage.desk import Desk, Entry, ReplayedError
from flumegate.manage.tokens import Roster, find_valid
from flumegate.manage.workers import RefusedError, Workers
from flumegate.snapshot import Snapshot
from flumegate.store.errors import QueryTooSlow, StoreUnavailable

ENDPOINTS = (
    *endpoints.ENDPOINTS,
    *projects.ENDPOINTS,
    *keys.ENDPOINTS,
    *budgets.ENDPOINTS,
    *usage.ENDPOINTS,
    *providers.ENDPOINTS,
    *tokens.ENDPOINTS,
    *setup.ENDPOINTS,
    *audit.ENDPOINTS,
)


def build(
    workers: Workers,
    token: str,
    desk: Callable[[], Desk | None] = lambda: None,
    snapshot: Callable[[], Snapshot | None] = lambda: None,
) -> Guard:
    """Return the application behind its guard.

    Args:
        workers: whom questions about the running gateway go to.
        token: the one in the data folder.
        desk: returns where operations on the database are done; None as long as it is not open.
        snapshot: returns what the workers have now.

    Raises:
        UndeclaredError: an endpoint declares no permission.
    """
    app = compose()
    app.state.workers = workers
    app.state.desk = desk
    app.state.snapshot = snapshot
    return Guard(app, token, _find_in(desk), tell=_tell_in(desk))


def compose() -> FastAPI:
    """Return the application without its surroundings: good for its description.

    Raises:
        UndeclaredError: an endpoint declares no permission.
    """
    app = FastAPI(
        title="Flumegate management API",
        version=__version__,
        openapi_url=None,  # what is served without a permission would be served to everyone
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for endpoint in ENDPOINTS:
        app.add_api_route(
            endpoint.path,
            endpoint.answer,
            methods=[endpoint.method],
            status_code=endpoint.status,
            response_class=endpoint.kind,
            dependencies=[Depends(endpoint.permission)],
            responses={
                endpoint.status: _describe(endpoint),
                "4XX": {"model": ProblemShape},
                "5XX": {"model": ProblemShape},
            },
            operation_id=f"{endpoint.answer.__name__}:{endpoint.path}",
            openapi_extra={"x-permission": endpoint.permission.name},
        )
    check_declared(app)
    app.add_exception_handler(problems.ConsoleError, problems.tell_console_error)
    app.add_exception_handler(RefusedError, problems.tell_console_error)
    app.add_exception_handler(ReplayedError, problems.tell_replay)
    app.add_exception_handler(StoreUnavailable, problems.tell_store_error)
    app.add_exception_handler(QueryTooSlow, problems.tell_store_error)
    app.add_exception_handler(HTTPException, problems.tell_routing_error)
    app.add_exception_handler(RequestValidationError, problems.tell_invalid)
    app.add_exception_handler(Exception, problems.tell_bug)
    return app


def _describe(endpoint: Endpoint) -> dict[str, Any]:
    """Return what the answer has beside what its function's annotation says."""
    described: dict[str, Any] = {"model": endpoint.shape} if endpoint.shape else {}
    if endpoint.versioned:
        told = {"description": "The version, for If-Match.", "schema": {"type": "string"}, "required": True}
        described["headers"] = {"ETag": told}
    return described


def _tell_in(desk: Callable[[], Desk | None]) -> Tell:
    """Return how the trail is told of those who have no token."""

    def write(actor: Actor, tries: int) -> None:
        place = desk()
        if place is not None:
            reason = "invalid_admin_token" if actor.name == ANONYMOUS else "invalid_setup_token"
            place.note_refusal(actor, Entry("console.access", details={"tries": tries, "role": "none"}), reason)

    async def tell(actor: Actor, tries: int) -> None:
        await asyncio.to_thread(write, actor, tries)

    return tell


def _find_in(desk: Callable[[], Desk | None]) -> Find:
    roster = Roster()

    async def find(text: str, /, *, sparing: bool) -> Bearer | None:
        place = desk()
        if place is None:
            return None
        found = await asyncio.to_thread(find_valid, place, text, roster if sparing else None)
        return None if found is None else Bearer(f"token:{found.id}", found.role)

    return find
