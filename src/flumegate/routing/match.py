"""From what a client asks for to the target that serves it (resolver order of the design, §8).

explicit upstream → `provider/model` → exact model → longest wildcard → default provider.
"""

from __future__ import annotations

import msgspec

from flumegate.errors import INVALID_REQUEST, NOT_FOUND, GatewayError
from flumegate.snapshot import Snapshot, Target


def match(snapshot: Snapshot, *, model: str, upstream: str = "") -> Target:
    """Return the target for a model name, an explicit upstream name, or both. Its `model` is what to send upstream.

    Raises:
        GatewayError: 400 for an unknown upstream name, 404 for a model that nothing serves.
    """
    if upstream:
        return _explicit(snapshot, upstream, model)
    if not model:
        return _default(snapshot)
    provider, slash, rest = model.partition("/")
    if slash and rest and provider in snapshot.providers:
        return Target(provider, rest)
    exact = snapshot.models.get(model)
    if exact is not None:
        return exact if exact.model else msgspec.structs.replace(exact, model=model)
    for wildcard in snapshot.wildcards:
        fits = len(model) >= len(wildcard.prefix) + len(wildcard.suffix)
        if fits and model.startswith(wildcard.prefix) and model.endswith(wildcard.suffix):
            target = wildcard.target
            return target if target.model else msgspec.structs.replace(target, model=model)
    if snapshot.default_provider:
        return Target(snapshot.default_provider, model)
    raise GatewayError(
        NOT_FOUND,
        "model_not_found",
        f"No provider here serves the model {model[:100]!r}. GET /v1/models lists what there is; "
        "'provider/model' addresses a provider directly.",
        param="model",
    )


def _explicit(snapshot: Snapshot, upstream: str, model: str) -> Target:
    if upstream not in snapshot.providers:
        names = ", ".join(sorted(snapshot.providers)) or "none"
        raise GatewayError(
            INVALID_REQUEST,
            "unknown_upstream",
            f"There is no upstream {upstream[:100]!r}. X-Upstream-Name may be one of: {names}.",
        )
    provider, slash, rest = model.partition("/")
    if slash and rest and provider == upstream:
        return Target(upstream, rest)
    configured = snapshot.models.get(model)
    if configured is not None and configured.provider == upstream and configured.model:
        return configured
    return Target(upstream, model)


def _default(snapshot: Snapshot) -> Target:
    if snapshot.default_provider:
        return Target(snapshot.default_provider, "")
    if len(snapshot.providers) == 1:
        return Target(next(iter(snapshot.providers)), "")
    names = ", ".join(sorted(snapshot.providers)) or "none"
    raise GatewayError(
        INVALID_REQUEST,
        "upstream_required",
        f"This request names no model and there is no default provider. Send X-Upstream-Name: one of {names}.",
    )
