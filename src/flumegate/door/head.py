"""What the door checks in a request's head beyond llhttp's own strictness, and the few fields that it reads."""

from __future__ import annotations

from typing import Protocol

from flumegate.errors import HEADERS_TOO_LARGE, INVALID_REQUEST, TOO_LARGE, GatewayError, Kind
from flumegate.snapshot import Door
from flumegate.wire.headers import CREDENTIALS, Headers, valid_request_id

_SPECIAL = (
    *CREDENTIALS[1:],
    b"access-control-request-headers",
    b"access-control-request-method",
    b"anthropic-version",
    b"content-encoding",
    b"expect",
    b"origin",
    b"traceparent",
    b"transfer-encoding",
    b"x-flumegate-fallback",
    b"x-flumegate-tags",
    b"x-flumegate-timeout",
    b"x-request-id",
    b"x-upstream-name",
)
_ORDINARY = (b"authorization", b"connection", b"content-length", b"content-type", b"host")
READ: dict[bytes, bool] = dict.fromkeys(_SPECIAL, True) | dict.fromkeys(_ORDINARY, False)
"""Fields that decide something here → whether one asks for more than any request does.

Two of one name must agree: we and the upstream might read different ones. A request without special fields (most are)
spares the hot path a dozen look-ups.
"""

EXPECTATION_FAILED = Kind("expectation_failed", 417, "client")


class _Version(Protocol):
    def get_http_version(self) -> str: ...


def check(
    parser: _Version, headers: Headers, picked: dict[bytes, bytes], conflict: bytes, door: Door, *, special: bool
) -> int | None:
    """Return the length of the body that follows: 0 = none, None = chunked. `special`: see `READ`.

    Raises:
        GatewayError: a head that two parsers could read differently (RFC 9112 §11.2), or one beyond the limits.
    """
    if len(headers) > door.max_headers:
        raise GatewayError(
            HEADERS_TOO_LARGE,
            "too_many_headers",
            f"The request has more than {door.max_headers} header fields (server.max_headers).",
            close=True,
        )
    if conflict:
        raise _malformed(f"the header {conflict.decode('latin-1')!r} may appear only once, with one value")
    version = parser.get_http_version()
    if version not in ("1.1", "1.0"):
        raise _malformed("only HTTP/1.1 and HTTP/1.0 are spoken here")
    if b"host" not in picked and version == "1.1":
        raise _malformed("the Host header is missing")
    if special:
        return _check_special(picked, version)
    length = picked.get(b"content-length")
    return int(length) if length is not None else 0


def _check_special(picked: dict[bytes, bytes], version: str) -> int | None:
    expected = picked.get(b"expect")
    if expected is not None and expected.lower() != b"100-continue":
        raise GatewayError(
            EXPECTATION_FAILED, "expectation_failed", "Only 'Expect: 100-continue' is understood.", close=True
        )
    coding = picked.get(b"transfer-encoding")
    if coding is not None:
        if version == "1.0" or coding.lower() != b"chunked":
            raise _malformed("Transfer-Encoding may only be 'chunked', and only in HTTP/1.1")
        return None
    length = picked.get(b"content-length")
    return int(length) if length is not None else 0


def check_size(headers: Headers, door: Door) -> None:
    """Measure a head that arrived in one read with other bytes.

    Raises:
        GatewayError: 431, it is beyond the limit.
    """
    if sum(len(name) + len(value) + 4 for name, value in headers) > door.max_header_bytes:
        raise too_large(door)


def _malformed(what: str) -> GatewayError:
    return GatewayError(INVALID_REQUEST, "malformed_request", f"The request is not acceptable: {what}.", close=True)


def too_large(door: Door) -> GatewayError:
    """Return the error for a head beyond the limit."""
    return GatewayError(
        HEADERS_TOO_LARGE,
        "headers_too_large",
        f"The request's headers are larger than {door.max_header_bytes} bytes (server.max_header_bytes).",
        close=True,
    )


def body_too_large(door: Door) -> GatewayError:
    """Return the error for a body beyond the limit."""
    return GatewayError(
        TOO_LARGE,
        "body_too_large",
        f"The body is larger than {door.max_body_bytes} bytes (server.max_body_bytes).",
        close=True,
    )


def plain_path(path: bytes) -> bytes:
    """Return the path of a request target, which may be in absolute form (RFC 9112 §3.2.2)."""
    scheme, mark, rest = path.partition(b"://")
    if mark and scheme.lower() in (b"http", b"https"):
        return b"/" + rest.partition(b"/")[2]
    return path


def request_id(picked: dict[bytes, bytes]) -> bytes:
    """Return the client's own request id where it is a valid one, else empty."""
    value = picked.get(b"x-request-id")
    return value if value is not None and valid_request_id(value) else b""


def expects_continue(picked: dict[bytes, bytes]) -> bool:
    """Tell whether the client waits for an invitation before it sends its body."""
    return b"expect" in picked


def is_preflight(picked: dict[bytes, bytes]) -> bool:
    """Tell whether an OPTIONS request is a browser's question about another request (Fetch §4.8)."""
    return b"origin" in picked and b"access-control-request-method" in picked
