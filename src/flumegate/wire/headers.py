"""Which header fields travel on, in either direction.

A deny-list: hop-by-hop fields (RFC 9110 §7.6.1), credentials, cookies, client addresses and the gateway's own fields
stop here; everything else is passed on as it came. Verdicts are remembered per field name, so the hot path pays one
look-up in a dict that cannot grow without bound.
"""

from __future__ import annotations

import functools
import re

from flumegate.errors import INVALID_REQUEST, GatewayError

Headers = list[tuple[bytes, bytes]]
"""Field names in lower case, values as received, in the order of the wire."""

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
    )
)
CREDENTIALS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
"""Where a client's key may be, in order of precedence."""

_REQUEST_STOPS = HOP_BY_HOP.union(
    CREDENTIALS,
    (
        b"host",
        b"content-length",
        b"expect",
        b"accept-encoding",  # upstreams are asked for identity
        b"cookie",
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"true-client-ip",
        b"x-client-ip",
        b"x-original-forwarded-for",
        b"x-upstream-name",
        b"http2-settings",
    ),
)
_REQUEST_STOP_PREFIXES = (b"x-forwarded-", b"cf-", b"x-flumegate-")

_ANSWER_STOPS = HOP_BY_HOP.union(
    (
        b"content-length",
        b"set-cookie",
        b"alt-svc",  # it names the upstream's other ports
        b"openai-organization",
        b"openai-project",
        b"anthropic-organization-id",
        b"strict-transport-security",  # it would speak for the gateway's own host
    )
)
# The upstream's own limits belong to the installation's account: they feed our limits, not the client's.
_ANSWER_STOP_PREFIXES = (b"x-ratelimit-", b"anthropic-ratelimit-", b"x-flumegate-", b"access-control-", b"cf-")
_ANSWER_RENAMES = {b"x-request-id": b"x-upstream-request-id", b"request-id": b"x-upstream-request-id"}

_REMEMBERED = 1024
_REMEMBERED_BYTES = 64


class Verdicts(dict[bytes, bytes]):
    """Field name → the name to send on followed by `: `, or empty where the field stops here."""

    def __init__(self, stops: frozenset[bytes], prefixes: tuple[bytes, ...], renames: dict[bytes, bytes]) -> None:
        super().__init__()
        self._stops = stops
        self._prefixes = prefixes
        self._renames = renames

    def __missing__(self, name: bytes) -> bytes:
        lower = name.lower()
        if lower in self._stops or lower.startswith(self._prefixes):
            verdict = b""
        else:
            verdict = self._renames.get(lower, lower) + b": "
        if len(name) <= _REMEMBERED_BYTES:
            if len(self) >= _REMEMBERED:
                self.clear()  # names that one client invents must not keep out those that all clients send
            self[name] = verdict
        return verdict


@functools.lru_cache(maxsize=256)  # one for all plans: each would otherwise remember whatever names clients invent
def request_verdicts(replaced: frozenset[bytes] = frozenset()) -> Verdicts:
    """Return the verdicts for requests to one provider; `replaced` are the fields that the provider sets itself."""
    return Verdicts(_REQUEST_STOPS | replaced, _REQUEST_STOP_PREFIXES, {})


_TRANSLATED = frozenset((b"traceparent", b"tracestate", b"baggage", b"user-agent"))


class FewVerdicts(dict[bytes, bytes]):
    """For requests that are written anew in another dialect: only what belongs to no dialect travels on."""

    def __missing__(self, name: bytes) -> bytes:
        lower = name.lower()
        return lower + b": " if lower in _TRANSLATED else b""


FEW_VERDICTS = FewVerdicts()


def answer_verdicts() -> Verdicts:
    """Return the verdicts for answers."""
    return Verdicts(_ANSWER_STOPS, _ANSWER_STOP_PREFIXES, _ANSWER_RENAMES)


def named_by_connection(value: bytes) -> frozenset[bytes]:
    """Return the further hop-by-hop fields that a `connection` field names (RFC 9110 §7.6.1)."""
    return frozenset(token.strip().lower() for token in value.split(b",")) - {b"close", b"keep-alive", b""}


_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:@/+=-]{1,128}\Z")


def valid_request_id(value: bytes) -> bool:
    """Tell whether a client's `x-request-id` can be kept: 1 to 128 plain characters."""
    return _REQUEST_ID.match(value) is not None


_PLAIN = re.compile(r"[!-~]*\Z")


def as_header_value(text: str) -> bytes:
    """Return text that may hold anything as a value that is safe in a header: percent-encoded where it is not plain."""
    if _PLAIN.match(text) and "%" not in text:
        return text.encode("ascii")
    encoded = bytearray()
    for byte in text.encode("utf-8", "replace")[:256]:
        encoded += b"%c" % byte if 0x20 < byte < 0x7F and byte != 0x25 else b"%%%02X" % byte
    return bytes(encoded)


def bearer_of(picked: dict[bytes, bytes]) -> bytes | None:
    """Return the client's key from the `authorization` field, or None.

    Raises:
        GatewayError: the field has no Bearer scheme.
    """
    found = picked.get(b"authorization")
    if found is None or found.startswith(b"Bearer "):
        return found and found[7:].strip()
    if found[:7].lower() != b"bearer ":
        raise GatewayError(
            INVALID_REQUEST, "invalid_authorization", "The Authorization header must read 'Bearer <key>'."
        )
    return found[7:].strip()


def credential_of(picked: dict[bytes, bytes]) -> bytes | None:
    """Return the client's key from whichever field carries it, or None.

    Raises:
        GatewayError: two fields carry different keys, or `authorization` has no Bearer scheme.
    """
    found = bearer_of(picked)
    for name in CREDENTIALS[1:]:
        value = picked.get(name)
        if value is not None:
            value = value.strip()  # llhttp leaves what stands behind a value
        if not value or value == found:
            continue
        if found:
            raise GatewayError(
                INVALID_REQUEST,
                "conflicting_credentials",
                "Two headers carry different keys; send one key in one header.",
            )
        found = value
    return found
