"""Who gets as far as an endpoint: the checks that every request to the console passes, in this order.

Host: a loopback name, or a web page could reach us under a name of its own (DNS rebinding). Site: nothing that another
site's page sends (there is no CORS either). Token: the file's, or one of the store's, by digest; wrong ones are counted
by address, and audited. Body: JSON of known length. Whoever has no token may set up, and that endpoint wants a token of
its own.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flumegate import log
from flumegate.console.permission import NOBODY, PERMISSIONS
from flumegate.console.problems import ConsoleError, problem
from flumegate.console.strangers import Strangers, Tell, tell_nobody
from flumegate.console.tries import Tries
from flumegate.manage.actor import Actor, Role
from flumegate.providers.address import is_loopback
from flumegate.store.errors import StoreUnavailable

MOST_BODY_BYTES = 4 * 1024 * 1024
SETUP_PATH = "/manage/setup"
ANONYMOUS = "anonymous"
_WRONG_TOKEN = frozenset({"invalid_admin_token", "too_many_tries"})
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")
_IDENTIFIER = re.compile(r"[0-9A-Za-z._:-]{1,64}")


class Bearer(NamedTuple):
    """Whose token it is."""

    name: str
    """`admin.token`, or `token:` and the token's id."""
    role: Role


class Find(Protocol):
    """Looks up a token of the store."""

    async def __call__(self, text: str, /, *, sparing: bool) -> Bearer | None:
        """Return whose it is; None = there is none that is valid now.

        Args:
            text: the token.
            sparing: somebody guesses where it came from; what cannot be a token must cost the store nothing.

        Raises:
            StoreUnavailable: it cannot be looked up now.
        """


async def find_nobody(_: str, /, *, sparing: bool) -> Bearer | None:
    """Know no token but the file's."""
    del sparing
    return None


class Guard:
    """Stands before the application; `token` is the one in the data folder, which opens everything."""

    def __init__(
        self,
        app: ASGIApp,
        token: str,
        find: Find = find_nobody,
        clock: Callable[[], float] = time.monotonic,
        tell: Tell = tell_nobody,
    ) -> None:
        self._app = app
        self._digest = hashlib.sha256(token.encode()).digest()
        self._find = find
        self._clock = clock
        self._tries = Tries()
        self._strangers = Strangers(tell, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request; pass on every other."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        request_id = _identifier(headers, "x-request-id") or secrets.token_hex(8)
        correlation_id = _identifier(headers, "x-correlation-id")
        address = scope["client"][0] if scope.get("client") else ""
        anonymous = scope["method"] == "POST" and scope["path"] == SETUP_PATH
        stranger = Actor(
            name="setup" if anonymous else ANONYMOUS,
            role="viewer",
            request_id=request_id,
            correlation_id=correlation_id,
            client=address,
            method=scope["method"],
            user_agent=headers.get("user-agent", "")[:200],
        )

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = MutableHeaders(scope=message)
                told["x-request-id"] = request_id
                if correlation_id:
                    told["x-correlation-id"] = correlation_id
                told["cache-control"] = "no-store"
                told["x-content-type-options"] = "nosniff"
                if anonymous and message["status"] == 401:
                    self._tries.count(address, self._clock())
                    self._strangers.note(stranger)
            await send(message)

        try:
            _check_origin(scope["method"], headers)
            if anonymous:
                self._slow_down(address)
                bearer = None
            else:
                bearer = await self._check_token(headers.getlist("authorization"), address)
            if scope["method"] not in ("GET", "HEAD"):
                _check_body(headers)
        except ConsoleError as error:
            if error.code in _WRONG_TOKEN:
                self._strangers.note(stranger)
            refusal = problem(error.status, error.code, error.message, request_id, error.headers)
            await refusal(scope, receive, dressed)
            return
        actor = stranger._replace(name=bearer.name, role=bearer.role) if bearer else stranger
        permissions = PERMISSIONS[bearer.role] if bearer else NOBODY
        scope.setdefault("state", {}).update(request_id=request_id, permissions=permissions, actor=actor)
        await self._app(scope, receive, dressed)

    async def _check_token(self, values: list[str], address: str) -> Bearer:
        scheme, _, text = values[0].partition(" ") if len(values) == 1 else ("", "", "")
        token = text.strip()
        given = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        if hmac.compare_digest(given, self._digest) and scheme.lower() == "bearer":
            return Bearer("admin.token", "owner")
        sparing = self._tries.wait(address, self._clock()) > 0
        try:
            found = await self._find(token, sparing=sparing) if scheme.lower() == "bearer" else None
        except StoreUnavailable as problem:
            raise ConsoleError(
                503, "store_unavailable", f"Tokens cannot be looked up now: {problem}. The one in admin.token works."
            ) from problem
        if found is not None:
            return found
        self._slow_down(address)
        self._tries.count(address, self._clock())
        log.event("warning", "admin_token_refused", client=address)  # at most as often as an address may try
        raise ConsoleError(
            401,
            "invalid_admin_token",
            "Send Authorization: Bearer and a token of the console, or the one in admin.token in the data folder.",
        )

    def _slow_down(self, address: str) -> None:
        seconds = self._tries.wait(address, self._clock())
        if seconds:
            raise ConsoleError(
                429,
                "too_many_tries",
                "Too many wrong tokens came from this address. Try again later.",
                {"retry-after": str(seconds)},
            )


def _identifier(headers: Headers, name: str) -> str:
    value = headers.get(name, "")
    return value if _IDENTIFIER.fullmatch(value) else ""


def _check_origin(method: str, headers: Headers) -> None:
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not names_loopback(hosts[0]):
        raise ConsoleError(
            403, "host_not_allowed", "The console answers only under a loopback name, as 127.0.0.1 or localhost."
        )
    if method not in ("GET", "HEAD") and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise ConsoleError(403, "cross_site_request", "Requests that another site's page sends are refused.")


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
