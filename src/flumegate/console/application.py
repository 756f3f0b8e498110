"""The console as an application: the table of its endpoints with their permissions, the guard, the shape of errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from flumegate import __version__
from flumegate.console import endpoints, problems
from flumegate.console.guard import Guard
from flumegate.console.permission import OPERATE, READ, Permission, check_declared
from flumegate.console.shapes import ProblemShape
from flumegate.manage.workers import RefusedError, Workers


class Endpoint(NamedTuple):
    """One row of the API."""

    method: str
    path: str
    answer: Callable[..., Any]
    permission: Permission


ENDPOINTS = (
    Endpoint("POST", "/manage/explain", endpoints.post_explain, READ),
    Endpoint("GET", "/manage/targets", endpoints.get_targets, READ),
    # Names hold slashes: provider/model.
    Endpoint("POST", "/manage/targets/{name:path}/open", endpoints.open_target, OPERATE),
    Endpoint("POST", "/manage/targets/{name:path}/close", endpoints.close_target, OPERATE),
    Endpoint("POST", "/manage/targets/{name:path}/reset", endpoints.reset_target, OPERATE),
    Endpoint("GET", "/manage/openapi.json", endpoints.get_openapi, READ),
)


def build(workers: Workers, token: str) -> Guard:
    """Return the application behind its guard.

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
    app.state.workers = workers
    for endpoint in ENDPOINTS:
        app.add_api_route(
            endpoint.path,
            endpoint.answer,
            methods=[endpoint.method],
            dependencies=[Depends(endpoint.permission)],
            responses={"4XX": {"model": ProblemShape}, "5XX": {"model": ProblemShape}},
            openapi_extra={"x-permission": endpoint.permission.name},
        )
    check_declared(app)
    app.add_exception_handler(problems.ConsoleError, problems.tell_console_error)
    app.add_exception_handler(RefusedError, problems.tell_console_error)
    app.add_exception_handler(HTTPException, problems.tell_routing_error)
    app.add_exception_handler(RequestValidationError, problems.tell_invalid)
    app.add_exception_handler(Exception, problems.tell_bug)
    return Guard(app, token)
