"""Who gets as far as an endpoint: the checks that every request to the console passes, in this order.

Host: a loopback name, or a web page could reach us under a name of its own (DNS rebinding). Site: nothing that another
site's page sends (there is no CORS either). Token: compared by digest, in constant time. Body: JSON of known length.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flumegate.console.permission import ALL
from flumegate.console.problems import ConsoleError, problem
from flumegate.providers.address import is_loopback

MOST_BODY_BYTES = 4 * 1024 * 1024
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")


class Guard:
    """Stands before the application; `token` is the operator's."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._digest = hashlib.sha256(token.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request; pass on every other."""
        if scope["type"] != "http":
            return
        request_id = secrets.token_hex(8)

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["cache-control"] = "no-store"
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        scope.setdefault("state", {}).update(request_id=request_id, permissions=ALL)
        try:
            self._check(scope["method"], Headers(scope=scope))
        except ConsoleError as error:
            refusal = problem(error.status, error.code, error.message, request_id)
            await refusal(scope, receive, dressed)
        else:
            await self._app(scope, receive, dressed)

    def _check(self, method: str, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not names_loopback(hosts[0]):
            raise ConsoleError(
                403, "host_not_allowed", "The console answers only under a loopback name, as 127.0.0.1 or localhost."
            )
        reads = method in ("GET", "HEAD")
        if not reads and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise ConsoleError(403, "cross_site_request", "Requests that another site's page sends are refused.")
        self._check_token(headers.getlist("authorization"))
        if not reads:
            _check_body(headers)

    def _check_token(self, values: list[str]) -> None:
        scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
        given = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        if not hmac.compare_digest(given, self._digest) or scheme.lower() != "bearer":
            raise ConsoleError(
                401,
                "invalid_admin_token",
                "Send Authorization: Bearer and the token in admin.token in the data folder.",
            )


def names_loopback(host: str) -> bool:
    """Tell whether a Host header names this machine to itself."""
    found = _HOST.fullmatch(host)
    return found is not None and is_loopback(found[1].strip("[]").lower())


def _check_body(headers: Headers) -> None:
    if "transfer-encoding" in headers:
        raise ConsoleError(411, "length_required", "Send the body with a Content-Length.")
    length = int(headers.get("content-length", "0"))
    if length > MOST_BODY_BYTES:
        raise ConsoleError(413, "body_too_large", f"A body may have {MOST_BODY_BYTES} bytes.")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if length and kind != "application/json":
        raise ConsoleError(415, "json_required", "Send JSON, with Content-Type: application/json.")
