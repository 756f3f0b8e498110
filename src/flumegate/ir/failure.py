"""What an upstream reports instead of an answer, in one vocabulary: readers fill it, the engine makes it an error."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

Reason = Literal[
    "invalid_request",
    "context_length",
    "authentication",
    "quota",
    "permission",
    "not_found",
    "too_large",
    "rate_limited",
    "overloaded",
    "timeout",
    "filtered",
    "internal",
    "cut",
    "garbage",
]
"""`cut`: the stream ended without its dialect's end. `garbage`: it cannot be read."""

_BY_STATUS: dict[int, Reason] = {
    401: "authentication",
    402: "quota",
    403: "permission",
    404: "not_found",
    408: "timeout",
    413: "too_large",
    429: "rate_limited",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}


class Failure(msgspec.Struct, frozen=True, gc=False):
    """An error answer, or an error inside a stream."""

    reason: Reason
    message: str = ""
    """The upstream's own words."""
    code: str = ""
    """The upstream's own code or type."""
    param: str = ""
    status: int = 0
    """HTTP status of the answer; 0 inside a stream."""
    retry_after: float | None = None
    """Seconds, where the body tells."""


def reason_of(status: int) -> Reason:
    """Return what an HTTP status alone says."""
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    return "internal" if status >= 500 else "invalid_request"


PAGE = "It answered with a page, not with JSON."
_MARKUP = re.compile(r"^<|<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_MAX_PLAIN = 500
"""Characters; enough for the sentence of a proxy."""


def plain_message(body: bytes) -> str:
    """Return what an error answer that is no JSON says: its own sentence, or that it is a page for browsers."""
    text = body[: 4 * _MAX_PLAIN].decode("utf-8", "replace").strip()
    return PAGE if _MARKUP.search(text) else text[:_MAX_PLAIN]
