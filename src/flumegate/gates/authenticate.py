"""Who is asking: the client's key, looked up by its keyed digest.

Keys are stored as HMAC-SHA-256(pepper, key). A look-up by digest leaks no time about the key itself: two keys that
share a prefix have unrelated digests.
"""

from __future__ import annotations

import hmac

from flumegate.errors import UNAUTHENTICATED, GatewayError
from flumegate.exchange import Exchange
from flumegate.wire.headers import credential_of


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
    key = credential_of(exchange.picked)
    if not key:
        raise GatewayError(
            UNAUTHENTICATED,
            "missing_api_key",
            "Send your Flumegate key as 'Authorization: Bearer <key>' (or in x-api-key).",
        )
    principal = snapshot.keys.get(hmac.digest(snapshot.pepper, key, "sha256"))
    if principal is None:
        raise GatewayError(
            UNAUTHENTICATED,
            "invalid_api_key",
            "This key is not known here. Use a key of this gateway, not the provider's own.",
        )
    exchange.key_id = principal.key_id
    exchange.project = principal.project
