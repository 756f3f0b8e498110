"""What a key may do: from where, at which endpoints, with which models."""

from __future__ import annotations

from flumegate.errors import FORBIDDEN, GatewayError
from flumegate.exchange import Exchange
from flumegate.gates.keyring import Keyring

_READ = frozenset(("models", "model", "upstreams", "ollama_ps", "ollama_version"))
"""Lists that every key may read."""


def authorise(exchange: Exchange, keyring: Keyring) -> None:
    """Check where a request comes from and what it asks for.

    Raises:
        GatewayError: 403, the key may not be used so.
    """
    del keyring  # every gate gets it; what this one needs has been found already
    access = exchange.access
    if access is None or access.unbound:
        return
    if not access.may_come_from(exchange.client):
        raise GatewayError(
            FORBIDDEN,
            "network_not_allowed",
            "This key may not be used from your address. Ask whoever runs this gateway for the networks it allows.",
        )
    if not access.may_use_endpoint(exchange.kind) and exchange.kind not in _READ:
        raise GatewayError(
            FORBIDDEN,
            "endpoint_not_permitted",
            f"This key may not use {exchange.kind!r}. It may use: {', '.join(access.endpoints or ()) or 'none'}.",
        )


def permit(exchange: Exchange) -> None:
    """Check the model that a request names, once that is known.

    Raises:
        GatewayError: 403, the key may not use it.
    """
    access = exchange.access
    if access is None or access.any_model or access.may_use(exchange.model_requested):
        return
    what = f"the model {exchange.model_requested[:100]!r}" if exchange.model_requested else "requests without a model"
    raise GatewayError(
        FORBIDDEN,
        "model_not_permitted",
        f"This key may not use {what}. GET /v1/models lists what there is; ask whoever runs this gateway for more.",
        param="model",
    )
