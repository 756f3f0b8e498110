"""What a refusal of the console looks like: one shape, with a stable code and a message that says what to do.

`{"error": {"code": "…", "message": "…", "request_id": "…"}}`; docs/errors.md lists the codes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from flumegate import log
from flumegate.log import visible
from flumegate.manage.desk import Desk, Entry, ReplayedError
from flumegate.manage.workers import RefusedError
from flumegate.store.errors import QueryTooSlow

_STATUS = {
    "worker_unavailable": 503,
    "store_unavailable": 503,
    "unknown_target": 404,
    "project_not_found": 404,
    "key_not_found": 404,
    "budget_not_found": 404,
    "credential_not_found": 404,
    "token_not_found": 404,
    "audit_entry_not_found": 404,
    "provider_not_found": 404,
    "model_not_found": 404,
    "project_inactive": 403,
    "beyond_project": 403,
    "role_too_high": 403,
    "name_taken": 409,
    "version_conflict": 409,
    "key_not_active": 409,
    "key_known": 409,
    "limits_need_redis": 409,
    "invalid_setup_token": 401,
    "idempotency_key_reused": 422,
    "idempotency_key_in_use": 409,
    "not_there": 404,
}
"""Of what a management operation refuses; 400 where it is not named."""


class ConsoleError(Exception):
    """A refusal of the console itself."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def problem(
    status: int,
    code: str,
    message: str,
    request_id: str,
    headers: Mapping[str, str] | None = None,
    facts: Mapping[str, int | str] | None = None,
) -> JSONResponse:
    """Return the answer that tells a refusal."""
    told = {"www-authenticate": "Bearer"} if status == 401 else {"retry-after": "1"} if status == 503 else {}
    error = {"code": code, "message": message, "request_id": request_id, **(facts or {})}
    return JSONResponse({"error": error}, status, {**told, **(headers or {})})


async def tell_console_error(request: Request, error: Exception) -> JSONResponse:
    """Answer with a ConsoleError, or with what an operation refused."""
    request_id = request.state.request_id
    if isinstance(error, ConsoleError):
        if error.code == "permission_denied":
            await _audit_denial(request)
        return problem(error.status, error.code, error.message, request_id, error.headers)
    if isinstance(error, RefusedError):
        return problem(_STATUS.get(error.code, 400), error.code, error.message, request_id, facts=error.facts)
    raise error


async def _audit_denial(request: Request) -> None:
    """Note who wanted to do what their role may not."""
    desk: Desk | None = request.app.state.desk()
    if desk is not None:
        actor = request.state.actor._replace(endpoint=request.scope["route"].path)
        await asyncio.to_thread(desk.note_refusal, actor, Entry("console.access"), "permission_denied")


async def tell_replay(request: Request, error: Exception) -> Response:
    """Answer a request that was sent again as it was answered the first time."""
    if not isinstance(error, ReplayedError):
        raise error
    log.event("info", "request_replayed", request_id=request.state.request_id)
    return Response(error.body, error.status, {"idempotent-replayed": "true"}, "application/json")


async def tell_store_error(request: Request, error: Exception) -> JSONResponse:
    """Answer where the store cannot be used now, or not in the time that a query may take."""
    if isinstance(error, QueryTooSlow):
        return problem(400, "query_too_slow", f"{error}.", request.state.request_id)
    message = f"The store cannot be used now, and nothing was changed: {error}."
    return problem(503, "store_unavailable", message, request.state.request_id)


async def tell_routing_error(request: Request, error: Exception) -> JSONResponse:
    """Answer where no endpoint is, or where a body cannot be read."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    path = visible(request.url.path)
    if status == 405:
        allowed = ", ".join(_methods_at(request))
        message = f"{path} takes {allowed}."
        return problem(405, "method_not_allowed", message, request.state.request_id, {"allow": allowed})
    if status == 400:
        message = "The body cannot be read: it must be JSON in UTF-8, without endless nesting or numbers."
        return problem(400, "invalid_request_body", message, request.state.request_id)
    message = f"There is no endpoint {path}; GET /manage/openapi.json lists them."
    return problem(404, "not_found", message, request.state.request_id)


def _methods_at(request: Request) -> list[str]:
    """Return the methods of all endpoints at this path; the framework itself would name those of the first alone."""
    return sorted(
        {
            method
            for route in request.app.routes
            if isinstance(route, Route) and route.path_regex.match(request.scope["path"])
            for method in route.methods or ()
        }
    )


async def tell_invalid(request: Request, error: Exception) -> JSONResponse:
    """Answer a body that is not what the endpoint takes, naming the places and never the values."""
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    places = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in faults]
    message = visible("; ".join(places)[:1000]) or "The request is invalid."
    return problem(400, "invalid_request_body", message, request.state.request_id)


async def tell_bug(request: Request, error: Exception) -> JSONResponse:
    """Answer a failure of our own: the log has more under the id."""
    request_id = request.state.request_id
    log.event("error", "console_failed", request_id=request_id, bug=repr(error)[:300])
    return problem(500, "internal_error", f"The console failed; its log has more under {request_id}.", request_id)
