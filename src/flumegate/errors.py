"""Everything that can go wrong, as about a dozen kinds.

An error carries what happened (`kind`, a stable `code`), whose fault it was (`origin`) and whether another try can
help (`retry`). Libraries' exceptions are mapped to these once, at the edge; each dialect renders them in its own shape.
The message tells the user what to do next and never holds a secret, a URL with a credential or a stack trace.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Origin = Literal["client", "gateway", "upstream"]
Retry = Literal["never", "same", "other"]


class Kind(NamedTuple):
    """A class of failure: its name, the HTTP status that a client sees, whose fault it is, and the retry verdict."""

    name: str
    status: int
    origin: Origin
    retry: Retry = "never"


INVALID_REQUEST = Kind("invalid_request", 400, "client")
UNAUTHENTICATED = Kind("unauthenticated", 401, "client")
FORBIDDEN = Kind("forbidden", 403, "client")
NOT_FOUND = Kind("not_found", 404, "client")
METHOD_NOT_ALLOWED = Kind("method_not_allowed", 405, "client")
CLIENT_TIMEOUT = Kind("client_timeout", 408, "client")
TOO_LARGE = Kind("too_large", 413, "client")
UNSUPPORTED_ENCODING = Kind("unsupported_encoding", 415, "client")
RATE_LIMITED = Kind("rate_limited", 429, "client")
HEADERS_TOO_LARGE = Kind("headers_too_large", 431, "client")
BUDGET_EXCEEDED = Kind("budget_exceeded", 429, "client")
CLIENT_CLOSED = Kind("client_closed", 499, "client")
INTERNAL = Kind("internal", 500, "gateway")
UPSTREAM_CONNECT = Kind("upstream_connect", 502, "upstream", "same")
UPSTREAM_FAILED = Kind("upstream_failed", 502, "upstream", "other")
UPSTREAM_REFUSED = Kind("upstream_refused", 400, "upstream")
UPSTREAM_UNKNOWN = Kind("upstream_unknown", 404, "upstream")
UPSTREAM_TOO_LARGE = Kind("upstream_too_large", 413, "upstream")
UPSTREAM_LIMITED = Kind("upstream_limited", 429, "upstream", "other")
UPSTREAM_OVERLOADED = Kind("upstream_overloaded", 503, "upstream", "other")
UNAVAILABLE = Kind("unavailable", 503, "gateway", "other")
UPSTREAM_TIMEOUT = Kind("upstream_timeout", 504, "upstream", "other")


class GatewayError(Exception):
    """A failure that is answered to the client in its own dialect.

    Attributes:
        kind: the class of failure, with status, origin and retry verdict.
        code: stable machine-readable name, documented in docs/errors.md.
        message: what happened and what to do next, for people.
        param: the request field at fault, where there is one.
        retry_after: seconds after which another try makes sense, or None.
        close: the client's connection cannot be used further (its framing is lost).
    """

    def __init__(
        self,
        kind: Kind,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.close = close

    @property
    def status(self) -> int:
        """The HTTP status that a client sees."""
        return self.kind.status
