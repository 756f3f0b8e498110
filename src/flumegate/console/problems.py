"""What a refusal of the console looks like: one shape, with a stable code and a message that says what to do.

`{"error": {"code": "…", "message": "…", "request_id": "…"}}`; docs/errors.md lists the codes.
"""

from __future__ import annotations

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from flumegate import log
from flumegate.log import visible
from flumegate.manage.workers import RefusedError

_STATUS = {"worker_unavailable": 503, "unknown_target": 404}
"""Of what a management operation refuses; 400 where it is not named."""


class ConsoleError(Exception):
    """A refusal of the console itself."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def problem(status: int, code: str, message: str, request_id: str) -> JSONResponse:
    """Return the answer that tells a refusal."""
    headers = {"www-authenticate": "Bearer"} if status == 401 else {"retry-after": "1"} if status == 503 else {}
    error = {"code": code, "message": message, "request_id": request_id}
    return JSONResponse({"error": error}, status, headers)


async def tell_console_error(request: Request, error: Exception) -> JSONResponse:
    """Answer with a ConsoleError, or with what an operation refused."""
    if isinstance(error, ConsoleError):
        return problem(error.status, error.code, error.message, request.state.request_id)
    if isinstance(error, RefusedError):
        return problem(_STATUS.get(error.code, 400), error.code, error.message, request.state.request_id)
    raise error


async def tell_routing_error(request: Request, error: Exception) -> JSONResponse:
    """Answer where no endpoint is, or where a body cannot be read."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    path = visible(request.url.path)
    if status == 405:
        return problem(405, "method_not_allowed", f"{path} takes other methods.", request.state.request_id)
    if status == 400:
        message = "The body cannot be read: it must be JSON in UTF-8, without endless nesting or numbers."
        return problem(400, "invalid_request_body", message, request.state.request_id)
    message = f"There is no endpoint {path}; GET /manage/openapi.json lists them."
    return problem(404, "not_found", message, request.state.request_id)


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
