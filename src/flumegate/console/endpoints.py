"""The endpoints of the running gateway: each calls one `manage` function; nothing is decided here."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request, Response

from flumegate.console.endpoint import Endpoint
from flumegate.console.permission import OPERATE, READ
from flumegate.console.shapes import ExplainBody, TargetsShape, WorkersOf, shape_targets
from flumegate.manage import targets
from flumegate.manage.explain import explain
from flumegate.records.manage import Explain


async def post_explain(workers: WorkersOf, asked: ExplainBody) -> Response:
    """Tell what would become of a request: which targets it would be sent to, in which form, and why."""
    body = b""
    if isinstance(asked.body, str):
        body = asked.body.encode()
    elif asked.body is not None:
        body = json.dumps(asked.body, ensure_ascii=False, separators=(",", ":")).encode()
    headers = [(name.lower(), value) for name, value in asked.headers.items()]
    explained = await explain(workers, Explain(asked.method, asked.path, headers, body))
    return Response(explained, media_type="application/json")


async def get_targets(workers: WorkersOf) -> TargetsShape:
    """Tell how all targets fare, over all workers and in each."""
    return shape_targets(await targets.list_targets(workers))


async def open_target(workers: WorkersOf, name: str) -> TargetsShape:
    """Leave a target alone until it is closed or reset."""
    return shape_targets(await targets.force(workers, name, "open"))


async def close_target(workers: WorkersOf, name: str) -> TargetsShape:
    """Send requests to a target whatever becomes of them, until it is opened or reset."""
    return shape_targets(await targets.force(workers, name, "closed"))


async def reset_target(workers: WorkersOf, name: str) -> TargetsShape:
    """Let a target's breaker decide again, from a fresh start."""
    return shape_targets(await targets.force(workers, name, "auto"))


async def get_openapi(request: Request) -> dict[str, Any]:
    """Describe this API."""
    described: dict[str, Any] = request.app.openapi()
    return described


ENDPOINTS = (
    Endpoint("POST", "/manage/explain", post_explain, READ),
    Endpoint("GET", "/manage/targets", get_targets, READ),
    # Names hold slashes: provider/model.
    Endpoint("POST", "/manage/targets/{name:path}/open", open_target, OPERATE),
    Endpoint("POST", "/manage/targets/{name:path}/close", close_target, OPERATE),
    Endpoint("POST", "/manage/targets/{name:path}/reset", reset_target, OPERATE),
    Endpoint("GET", "/manage/openapi.json", get_openapi, READ),
)
