"""OpenAI's error body: four keys, always all of them (OpenAI API reference, "Error codes")."""

from __future__ import annotations

from flumegate.mock.frames import encode

_KINDS: dict[int, tuple[str, str | None]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "permission_denied"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
_CODES_THAT_ARE_TYPES = frozenset({"insufficient_quota", "rate_limit_exceeded"})


def fields(status: int, message: str, code: str = "") -> dict[str, object]:
    """Return the error object of a status; `code` replaces the usual code."""
    usual = ("server_error", None) if status >= 500 else ("invalid_request_error", None)
    kind, usual_code = _KINDS.get(status, usual)
    if code in _CODES_THAT_ARE_TYPES:
        kind = code
    return {"message": message, "type": kind, "param": None, "code": code or usual_code}


def body(status: int, message: str, code: str = "") -> bytes:
    """Return the body of an error answer."""
    return encode({"error": fields(status, message, code)})
