"""Who is asking: the client's key, looked up by its keyed digest.

Keys are stored as HMAC-SHA-256(pepper, key). A look-up by digest leaks no time about the key itself: two keys that
share a prefix have unrelated digests.
"""

from __future__ import annotations

import hmac
from typing import NamedTuple

from flumegate.errors import UNAUTHENTICATED, GatewayError
from flumegate.exchange import Exchange
from flumegate.snapshot import Principal, Snapshot
from flumegate.wire.headers import bearer_of, credential_of


class Known(NamedTuple):
    """The last key that a connection used and whose it was under which Snapshot, so that a second look costs less."""

    key: bytes
    snapshot: Snapshot
    principal: Principal


def digest(pepper: bytes, key: bytes) -> bytes:
    """Return what is stored of a key: 32 bytes."""
    return hmac.digest(pepper, key, "sha256")


def authenticate(exchange: Exchange) -> None:
    """Set key and project of the exchange.

    Raises:
        GatewayError: 401 for a missing or unknown key, 400 for conflicting ones.
    """
    snapshot = exchange.snapshot
    if snapshot.auth_open:
        return
    key = credential_of(exchange.picked) if exchange.special else bearer_of(exchange.picked)
    if not key:
        raise GatewayError(
            UNAUTHENTICATED,
            "missing_api_key",
            "Send your Flumegate key as 'Authorization: Bearer <key>' (or in x-api-key).",
        )
    known = exchange.reply.known
    if known is not None and known.snapshot is snapshot and hmac.compare_digest(known.key, key):
        principal: Principal | None = known.principal
    else:
        principal = snapshot.keys.get(digest(snapshot.pepper, key))
        if principal is not None:
            exchange.reply.known = Known(key, snapshot, principal)
    if principal is None:
        raise GatewayError(
            UNAUTHENTICATED,
            "invalid_api_key",
            "This key is not known here. Use a key of this gateway, not the provider's own.",
        )
    exchange.key_id = principal.key_id
    exchange.project = principal.project
