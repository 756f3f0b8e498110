"""What a path means. Pure: method and path in, a route out.

A doubled `/v1/v1` and trailing slashes are tolerated, nothing is ever redirected: many clients drop their body or key
on the way.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from flumegate.dialects.registry import ENDPOINTS, Endpoint
from flumegate.errors import INVALID_REQUEST, METHOD_NOT_ALLOWED, NOT_FOUND, GatewayError

PROBES = frozenset(("health", "ready", "live", "metrics", "root"))
"""Answered by the door itself: no key, no record."""


class Route(NamedTuple):
    """A meaning: its kind, whose error shape applies, and the endpoint where it is one of a dialect's."""

    kind: str
    family: str = "openai"
    endpoint: Endpoint | None = None
    methods: tuple[bytes, ...] = ()
    """Empty = any."""


_READ = (b"GET", b"HEAD")
_WRITE = (b"POST",)
_VERBS: dict[bytes, Route] = {}
"""Gemini's operations, which stand behind the model's name."""
_EXACT: dict[bytes, Route] = {}
for _endpoint in ENDPOINTS:
    _route = Route(_endpoint.name, _endpoint.dialect, _endpoint, _WRITE)
    if _endpoint.dialect == "gemini":
        _VERBS[_endpoint.path.partition(":")[2].encode()] = _route
    elif _endpoint.dialect == "ollama" or _endpoint.always_translated:  # these have no version
        _EXACT[_endpoint.path.encode()] = _route
    else:
        _EXACT[f"/v1{_endpoint.path}".encode()] = _route
_EXACT |= {
    b"/api/tags": Route("models", "ollama", methods=_READ),
    b"/api/show": Route("model", "ollama", methods=_WRITE),
    b"/api/ps": Route("ollama_ps", "ollama", methods=_READ),
    b"/api/version": Route("ollama_version", "ollama", methods=_READ),
    b"/v1beta/models": Route("models", "gemini", methods=_READ),
    b"/v1/models": Route("models", methods=_READ),
    b"/": Route("root", methods=_READ),
    b"/health": Route("health", methods=_READ),
    b"/api/health": Route("health", methods=_READ),
    b"/live": Route("live", methods=_READ),
    b"/ready": Route("ready", methods=_READ),
    b"/metrics": Route("metrics", methods=_READ),
    b"/metrics/prometheus": Route("metrics", methods=_READ),
}
_MODEL = Route("model", methods=_READ)
_GEMINI_MODEL = Route("model", "gemini", methods=_READ)
_TRANSPARENT = Route("transparent")
_UPSTREAMS = Route("upstreams", methods=_READ)
_BEHIND_PREFIX = {
    path: Route("transparent", route.family, route.endpoint)
    for path, route in _EXACT.items()
    if route.endpoint is not None and path.startswith(b"/v1/")
}
"""Passed on unread like everything behind the prefix, but the answers of known endpoints are tapped."""
_MODELS = (b"/v1/models/", b"/v1beta/models/")
_UNUSUAL = re.compile(rb"[%;]|//")
_SLASHES = re.compile(rb"/{2,}")
_PARAMETERS = re.compile(rb";[^/]*")
_ENDS = re.compile(rb"[?#]")


def find(method: bytes, path: bytes, prefix: bytes) -> tuple[Route, bytes]:
    """Return the route of a path and the path in its plain form; `prefix` is the transparent proxy's.

    Raises:
        GatewayError: 404 for a path that nobody serves, 405 for a method that it does not take, 400 for a path that
            could leave the place it seems to name.
    """
    route = _EXACT.get(path)
    if route is None:
        route, path = _look_further(method, path, prefix)
    if route.methods and method not in route.methods:
        raise GatewayError(
            METHOD_NOT_ALLOWED,
            "method_not_allowed",
            f"{path.decode('latin-1')[:100]} takes {' and '.join(m.decode() for m in route.methods)} only.",
        )
    return route, path


def _look_further(method: bytes, path: bytes, prefix: bytes) -> tuple[Route, bytes]:
    if not path.startswith(b"/"):
        raise GatewayError(INVALID_REQUEST, "invalid_path", "The request target must be a path that begins with '/'.")
    if _is_evasive(path):
        raise GatewayError(
            INVALID_REQUEST,
            "invalid_path",
            "The path holds dot segments, backslashes or a fragment; send it plain.",
        )
    behind_prefix = path.startswith(prefix + b"/v1/")
    if behind_prefix:
        read = _as_read(path[len(prefix) :])
        return (_UPSTREAMS if read == b"/v1/upstreams" else _BEHIND_PREFIX.get(read, _TRANSPARENT)), path
    plain, read = _without_doubles(path.rstrip(b"/") or b"/"), _without_doubles(_as_read(path))
    route = _EXACT.get(read)
    if route is not None:
        return route, read
    if plain.startswith(_MODELS):
        verb = plain.rpartition(b":")[2]
        if method == b"POST" and verb in _VERBS:
            return _VERBS[verb], plain
        return (_MODEL if plain.startswith(b"/v1/") else _GEMINI_MODEL), plain
    if read.startswith(_MODELS):
        raise GatewayError(INVALID_REQUEST, "invalid_path", "Send the path up to the model's name plain.")
    if plain.startswith(b"/v1/") and len(plain) > 4:
        return _TRANSPARENT, plain if plain != path and path.startswith(b"/v1/v1/") else path
    raise GatewayError(
        NOT_FOUND,
        "not_found",
        f"Nothing is served at {path.decode('latin-1')[:100]}. Dialects live below /v1 (Gemini's also below /v1beta, "
        f"Ollama's below /api), the transparent proxy below {prefix.decode('latin-1')}/v1.",
    )


def _as_read(path: bytes) -> bytes:
    """Return a path as the most forgiving upstream would read it.

    `/v1//chat/completions`, `/v1/%63hat/completions` and `/v1/chat/completions%2f` are one, and some servers also cut
    off what follows a semicolon, or take a backslash for a slash, after they have decoded it.
    """
    if _UNUSUAL.search(path) is not None:
        path = _ENDS.split(unquote_to_bytes(path), maxsplit=1)[0].replace(b"\\", b"/")
        path = _SLASHES.sub(b"/", _PARAMETERS.sub(b"", path))
    return path.rstrip(b"/") or b"/"


def _without_doubles(path: bytes) -> bytes:
    while path.startswith(b"/v1/v1/"):
        path = path[3:]
    return path


def _is_evasive(path: bytes) -> bool:
    """Tell whether a path could be read by the upstream as another one than it seems to be."""
    if b"\\" in path or b"#" in path:
        return True
    lower = path.lower().replace(b"%2e", b".").replace(b"%2f", b"/").replace(b"%5c", b"/")
    # Some servers cut what follows a semicolon off a segment (RFC 3986 §3.3) before they look for dots.
    return any(segment.partition(b";")[0] in (b".", b"..") for segment in lower.split(b"/"))
