"""The plan of a request: its target, with every byte that can be prepared prepared.

A plan depends only on the Snapshot, the endpoint and the model name, so plans are remembered (bounded) and the hot path
finds one by a dict look-up.
"""

from __future__ import annotations

from urllib.parse import quote

from flumegate.dialects.registry import Endpoint
from flumegate.errors import FORBIDDEN, INVALID_REQUEST, METHOD_NOT_ALLOWED, GatewayError
from flumegate.routing.match import match
from flumegate.snapshot import Provider, Snapshot, Target
from flumegate.wire.headers import Verdicts, as_header_value, request_verdicts

_REMEMBERED = 4096


class Plan:
    """Where a request goes and how it is dressed.

    Attributes:
        provider: host and credential, from one immutable value.
        model: name to send upstream; empty = the request names none.
        path: request path at the upstream (with Azure's query), without the client's query.
        head: header lines that every request to this provider carries, credential included.
        verdicts: which of the client's header fields travel on.
        marks: answer header lines that say who served.
        splice: JSON text of the model name to put in place of the client's, or empty.
    """

    __slots__ = (
        "defaults",
        "endpoint",
        "head",
        "marks",
        "model",
        "path",
        "provider",
        "splice",
        "target_name",
        "verdicts",
    )

    def __init__(
        self,
        provider: Provider,
        target: Target,
        path: bytes,
        *,
        lane: str,
        requested: str,
        default_headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.provider = provider
        self.model = target.model
        self.path = path
        self.target_name = f"{provider.name}/{target.model}" if target.model else provider.name
        self.head, self.verdicts, self.defaults = _dress(provider, default_headers)
        self.marks = b"".join(
            (
                b"x-flumegate-provider: %b\r\n" % as_header_value(provider.name),
                b"x-flumegate-model: %b\r\n" % as_header_value(target.model) if target.model else b"",
                b"x-flumegate-lane: %b\r\nx-flumegate-attempts: 1\r\nx-cache-status: bypass\r\n" % lane.encode(),
            )
        )
        self.splice = _json_string(target.model) if target.model and target.model != requested else b""


def _json_string(text: str) -> bytes:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return b'"%b"' % "".join(c if c >= " " else f"\\u{ord(c):04x}" for c in escaped).encode("utf-8", "surrogatepass")


def _dress(
    provider: Provider, default_headers: tuple[tuple[str, str], ...]
) -> tuple[bytes, Verdicts, tuple[tuple[bytes, bytes], ...]]:
    standard_port = 443 if provider.scheme == "https" else 80
    name = f"[{provider.host}]" if ":" in provider.host else provider.host
    host = name if provider.port == standard_port else f"{name}:{provider.port}"
    lines = [f"host: {host}\r\n", "accept-encoding: identity\r\n"]
    replaced: set[bytes] = set()
    if provider.credential:
        lines.append(f"{provider.credential_header}: {provider.credential_prefix}{provider.credential}\r\n")
    for field, value in provider.headers:
        lines.append(f"{field}: {value}\r\n")
        replaced.add(field.lower().encode("latin-1"))
    defaults = tuple(
        (field.lower().encode("latin-1"), f"{field}: {value}\r\n".encode("latin-1"))
        for field, value in (dict(default_headers) | dict(provider.default_headers)).items()
        if field.encode("latin-1") not in replaced
    )
    return "".join(lines).encode("latin-1"), request_verdicts(frozenset(replaced)), defaults


class Planner:
    """Makes and remembers the plans of one Snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._plans: dict[tuple[str, str], Plan] = {}

    def known(self, kind: str, model: str) -> Plan | None:
        """Return the remembered plan of an endpoint and a model, if there is one."""
        return self._plans.get((kind, model))

    def endpoint(self, endpoint: Endpoint, model: str, upstream: str = "") -> Plan:
        """Return the plan of a request to one of the dialects' endpoints.

        Raises:
            GatewayError: unknown model or upstream, a provider of another dialect, an endpoint that is not allowed.
        """
        target = match(self._snapshot, model=model, upstream=upstream)
        provider = self._snapshot.providers[target.provider]
        if endpoint.dialect not in provider.speaks:
            speaks = " and ".join(provider.speaks) or "nothing that is known"
            raise GatewayError(
                INVALID_REQUEST,
                "translation_not_available",
                f"The model {model[:100]!r} is served by {provider.name!r}, which speaks {speaks}, and this endpoint "
                f"is {endpoint.dialect}'s. Translation between dialects is not there yet: use that provider's own "
                "endpoint, or a model of a provider that speaks this dialect.",
                param="model",
            )
        _check_allowed(provider, "POST", endpoint.path)
        plan = Plan(
            provider,
            target,
            _path(provider, target.model, endpoint.path),
            lane="verbatim",
            requested=model,
            default_headers=endpoint.default_headers,
        )
        if not upstream:
            if len(self._plans) >= _REMEMBERED:
                self._plans.clear()  # names that nobody asks for again must not keep out those that everybody does
            self._plans[(endpoint.name, model)] = plan
        return plan

    def transparent(self, method: str, path: bytes, *, model: str = "", upstream: str = "") -> Plan:
        """Return the plan of a request that is passed on as it is; `path` begins behind the version prefix.

        Raises:
            GatewayError: unknown upstream or model, method or endpoint not allowed.
        """
        target = match(self._snapshot, model=model, upstream=upstream)
        provider = self._snapshot.providers[target.provider]
        text = path.decode("latin-1")
        _check_allowed(provider, method, text)
        return Plan(provider, target, _path(provider, target.model, text), lane="transparent", requested=model)


def _path(provider: Provider, model: str, suffix: str) -> bytes:
    """Return the request path at a provider: its base path, or Azure's deployment path with the API version."""
    if not provider.azure_api_version:
        return f"{provider.base_path}{suffix}".encode("latin-1")
    # Outside the deployments stand the operations that name no model, and Responses (which names it in the body).
    deployed = model and not suffix.startswith(("/responses", "/models", "/files", "/batches", "/assistants"))
    place = f"/deployments/{quote(model, safe='')}" if deployed else ""
    return f"{provider.base_path}{place}{suffix}?api-version={quote(provider.azure_api_version)}".encode("latin-1")


def _check_allowed(provider: Provider, method: str, suffix: str) -> None:
    if provider.allowed_methods and method not in provider.allowed_methods:
        raise GatewayError(
            METHOD_NOT_ALLOWED,
            "method_not_allowed",
            f"{provider.name!r} takes only {', '.join(provider.allowed_methods)} here (allowed_methods).",
        )
    if provider.allowed_endpoints and not any(
        suffix == allowed or suffix.startswith(allowed.rstrip("/") + "/")
        for allowed in (entry.removeprefix("/v1") for entry in provider.allowed_endpoints)
    ):
        raise GatewayError(
            FORBIDDEN,
            "endpoint_not_allowed",
            f"/v1{suffix[:100]} is not among the endpoints that {provider.name!r} allows (allowed_endpoints).",
        )
