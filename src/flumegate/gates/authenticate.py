"""Who is asking: the client's key, looked up by its keyed digest, and whether it is valid now."""

from __future__ import annotations

import hmac
from typing import NamedTuple

from flumegate.errors import FORBIDDEN, UNAUTHENTICATED, UNAVAILABLE, GatewayError
from flumegate.exchange import Exchange
from flumegate.gates.keyring import Access, Keyring
from flumegate.snapshot import Snapshot
from flumegate.wire.headers import bearer_of, credential_of


class Known(NamedTuple):
    """The last key that a connection used and whose it was under which Snapshot, so that a second look costs less."""

    key: bytes
    snapshot: Snapshot
    access: Access


def authenticate(exchange: Exchange, keyring: Keyring) -> None:
    """Set key and project of the exchange.

    Raises:
        GatewayError: 401 for a missing, unknown, revoked or expired key, 400 for conflicting ones, 403 for a project
            that is not active, 503 where the keys cannot be known now.
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
        access = known.access
    else:
        found = keyring.find(key)
        if found is None:
            raise _unknown(sure=keyring.whole and snapshot.keys_are == "current")
        access = found
        exchange.reply.known = Known(key, snapshot, access)
    exchange.access = access
    exchange.key_id = access.key.id
    exchange.project = access.key.project
    _check_valid(exchange, access)


def _unknown(*, sure: bool) -> GatewayError:
    """Return the error for a key that was not found; not `sure`: it may exist all the same."""
    if not sure:
        return GatewayError(
            UNAVAILABLE,
            "keys_unavailable",
            "Whether this key is valid cannot be known now: not all keys can be read. Try again shortly.",
            retry_after=5,
        )
    return GatewayError(
        UNAUTHENTICATED,
        "invalid_api_key",
        "This key is not known here. Use a key of this gateway, not the provider's own.",
    )


def _check_valid(exchange: Exchange, access: Access) -> None:
    key, project = access.key, access.project
    if key.state != "active":
        raise GatewayError(UNAUTHENTICATED, "key_revoked", "This key has been revoked. Ask for a new one.")
    if key.expires_at and exchange.started_at >= key.expires_at:
        raise GatewayError(UNAUTHENTICATED, "key_expired", "This key has expired. Ask for a new one.")
    if key.project and (project is None or not project.active):
        raise GatewayError(
            FORBIDDEN, "project_inactive", "The project of this key is not active. Ask whoever runs this gateway."
        )
    if exchange.snapshot.keys_are == "expired" and not key.id.startswith("static-"):
        raise _unknown(sure=False)
