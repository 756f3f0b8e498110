"""The plan of an attempt: one target, asked by one endpoint with one credential, with every byte prepared."""

from __future__ import annotations

from urllib.parse import quote

from flumegate.catalog.load import Price
from flumegate.catalog.lookup import lookup
from flumegate.dialects.registry import Endpoint
from flumegate.ir.written import Abilities
from flumegate.providers.sigv4 import Credentials, Scope, Signer
from flumegate.routing import lanes
from flumegate.snapshot import Provider, Target
from flumegate.wire.headers import FEW_VERDICTS, FewVerdicts, Verdicts, as_header_value, request_verdicts

_NATIVE = frozenset(("gemini", "gemini_embed", "ollama_chat", "ollama_embed"))
"""Codecs of APIs that have their own place for a credential."""


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
        codec: the dialect's codec that the request is written in anew, or empty where its own bytes travel.
        stream_path: the path for a streamed answer, where the body is written anew.
        abilities: what a writer must know of the model, where one writes.
        strict: what would be lost in translation is refused.
        price: what its requests cost, or None where nobody knows.
        signer: who signs each request, or None where a credential in the head is enough.
    """

    __slots__ = (
        "abilities",
        "codec",
        "defaults",
        "endpoint",
        "head",
        "marks",
        "model",
        "path",
        "price",
        "provider",
        "signer",
        "splice",
        "stream_path",
        "strict",
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
        native: bool = False,
    ) -> None:
        self.provider = provider
        self.codec = ""
        self.stream_path = path
        self.abilities: Abilities | None = None
        self.price: Price | None = None
        self.strict = target.strict
        self.signer = _signer(provider)
        self.model = target.model
        self.path = path
        self.target_name = f"{provider.name}/{target.model}" if target.model else provider.name
        self.verdicts: Verdicts | FewVerdicts
        self.head, self.verdicts, self.defaults = _dress(provider, default_headers, native=native)
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
    provider: Provider, default_headers: tuple[tuple[str, str], ...], *, native: bool
) -> tuple[bytes, Verdicts, tuple[tuple[bytes, bytes], ...]]:
    lines = [f"host: {_host(provider)}\r\n", "accept-encoding: identity\r\n"]
    replaced: set[bytes] = set()
    if provider.credential and native and provider.native_credential_header:
        lines.append(f"{provider.native_credential_header}: {provider.credential}\r\n")
    elif provider.credential:
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


def _host(provider: Provider) -> str:
    standard_port = 443 if provider.scheme == "https" else 80
    name = f"[{provider.host}]" if ":" in provider.host else provider.host
    return name if provider.port == standard_port else f"{name}:{provider.port}"


def _signer(provider: Provider) -> Signer | None:
    signing = provider.signing
    if signing is None:
        return None
    credentials = Credentials(signing.access_key, signing.secret_key, signing.session_token)
    return Signer(credentials, Scope(signing.region, signing.service), _host(provider))


def verbatim(provider: Provider, target: Target, endpoint: Endpoint, model: str) -> Plan:
    """Return the plan of a request whose own bytes travel."""
    native = endpoint.dialect in ("gemini", "ollama")
    if native:
        path = lanes.own_path(provider, endpoint.dialect, endpoint.path, target.model).encode("latin-1")
    else:
        path = path_at(provider, target.model, endpoint.path)
    return Plan(
        provider,
        target,
        path,
        lane="verbatim",
        requested=target.model if "{model}" in endpoint.path else model,  # then the body names none
        default_headers=endpoint.default_headers,
        native=native,
    )


def translated(provider: Provider, target: Target, codec: str) -> Plan:
    """Return the plan of a request that is written anew in the provider's dialect."""
    if codec == lanes.ESTIMATE:
        path = stream_path = ""
        headers: tuple[tuple[str, str], ...] = ()
        native = False
    else:
        path, stream_path = lanes.paths(provider, codec, target.model)
        headers = lanes.default_headers(codec)
        native = codec in _NATIVE
        if provider.azure_api_version:
            path = stream_path = path_at(provider, target.model, path.removeprefix(provider.base_path)).decode(
                "latin-1"
            )
    plan = Plan(
        provider,
        target,
        path.encode("latin-1"),
        lane="translated",
        requested=target.model,
        default_headers=headers,
        native=native,
    )
    plan.codec = codec
    plan.stream_path = stream_path.encode("latin-1")
    plan.abilities = lookup(provider.type, target.model)
    plan.verdicts = FEW_VERDICTS
    plan.head += b"content-type: application/json\r\n"
    return plan


def path_at(provider: Provider, model: str, suffix: str) -> bytes:
    """Return the request path at a provider: its base path, or Azure's deployment path with the API version."""
    if not provider.azure_api_version:
        return f"{provider.base_path}{suffix}".encode("latin-1")
    # Outside the deployments stand the operations that name no model, and Responses (which names it in the body).
    deployed = model and not suffix.startswith(("/responses", "/models", "/files", "/batches", "/assistants"))
    place = f"/deployments/{quote(model, safe='')}" if deployed else ""
    return f"{provider.base_path}{place}{suffix}?api-version={quote(provider.azure_api_version)}".encode("latin-1")
