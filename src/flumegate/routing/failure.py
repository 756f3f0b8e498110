"""What an attempt failed by, as far as the next step depends on it.

The classes differ in who is to blame: the way there, the target, the credential, the request. Only some of them say
anything about the target's health, and only some are worth another attempt at the same place.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from flumegate import errors as kinds
from flumegate.errors import GatewayError, Kind

Class = Literal["connect", "timeout", "server", "limited", "credential", "missing", "busy", "unsaid", "refused"]
OVERLOADED = 529
"""Anthropic's status for an overloaded service."""


class Failure(NamedTuple):
    """Why an attempt was no success.

    Attributes:
        kind: `connect`: no connection, or closed without an answer; `timeout`; `server`: 5xx, garbage, an error inside
            a stream, an empty stream; `limited`: 429; `credential`: 401, 402, 403; `missing`: 404, the model is not
            there; `busy`: our own limit of connections; `unsaid`: it cannot be said in that target's dialect;
            `refused`: the request itself is at fault.
        code: for the record and the health page.
        status: of the upstream's answer; 0 = none came.
        retry_after: seconds that the upstream asked to wait, or None.
    """

    kind: Class
    code: str
    status: int = 0
    retry_after: float | None = None

    @property
    def blames_target(self) -> bool:
        """It counts against the target's health."""
        return self.kind in ("connect", "timeout", "server")

    @property
    def elsewhere(self) -> bool:
        """Another target may do better."""
        return self.kind != "refused"


def of_status(status: int, retry_after: float | None = None) -> Failure | None:
    """Return what a status means; None for one that is no failure of an attempt, such as 200 or 304."""
    if status < 400:
        return None
    kind: Class
    if status >= 500 or status == 408:
        kind = "server"
    elif status == 429:
        kind = "limited"
    elif status in (401, 402, 403):
        kind = "credential"
    elif status == 404:
        kind = "missing"
    else:
        kind = "refused"
    return Failure(kind, f"upstream_{status}", status, retry_after)


_OF_KIND: dict[Kind, Class] = {
    kinds.UPSTREAM_CONNECT: "connect",
    kinds.UPSTREAM_TIMEOUT: "timeout",
    kinds.UPSTREAM_FAILED: "server",
    kinds.UPSTREAM_OVERLOADED: "server",
    kinds.UPSTREAM_LIMITED: "limited",
    kinds.UPSTREAM_UNKNOWN: "missing",
    kinds.UNAVAILABLE: "busy",
}


def of_error(error: GatewayError, status: int = 0) -> Failure:
    """Return what an error of an attempt means; `status` is that of the upstream's answer, if one came."""
    if (known := of_status(status, error.retry_after)) is not None:
        return known._replace(code=error.code)  # in whatever words it was told: a 401 is the credential's fault
    kind = _OF_KIND.get(error.kind)
    if kind is None:
        kind = "unsaid" if error.kind.origin == "client" else "refused"
    return Failure(kind, error.code, status, error.retry_after)
