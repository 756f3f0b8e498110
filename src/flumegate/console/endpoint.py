"""One row of the management API's table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from flumegate.console.permission import Permission


class Endpoint(NamedTuple):
    """One row of the API."""

    method: str
    path: str
    answer: Callable[..., Any]
    permission: Permission
    shape: type[BaseModel] | None = None
    """Of the answer, where the function's own annotation does not say it."""
    status: int = 200
    kind: type[Response] = JSONResponse
    """Of the answer: its content type."""
    versioned: bool = False
    """Its answer has an ETag, which names the version for If-Match."""
