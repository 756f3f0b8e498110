"""The whole configuration as types: one line of help with each setting, and the checks that need one value only.

Reference page, JSON Schema and example file are generated from here; further sections: `routing.py`, `access.py`.
A setting whose feature a later release brings is marked NOT_YET: it may stand at its default, anything else is
refused, so that nothing is promised in silence.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from flumegate.config.access import Auth, Encryption, ModelPattern, ModelPrice, Redis
from flumegate.config.address import check_network, read_listen
from flumegate.config.problem import wrong
from flumegate.config.routing import Route, Routing
from flumegate.config.secret import Secret
from flumegate.config.shapes import NOT_YET, TOKEN, Bytes, Count, Seconds, Section

_DATA_DIR = Path("data")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _check_listen(text: str) -> str:
    return str(read_listen(text))


def _check_prefix(text: str) -> str:
    prefix = text.rstrip("/")
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", prefix) or prefix == "/v1" or prefix.startswith("/v1/"):
        raise wrong("must be a path of its own such as /proxy, and not /v1")
    return prefix


def _check_origin(text: str) -> str:
    if text != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s,]+", text):
        raise wrong(f'"{text}" is no origin; write * or https://app.example.com, without a path')
    return text


def _check_method(text: str) -> str:
    if not TOKEN.fullmatch(text):
        raise wrong(f'"{text}" is no HTTP method; write GET, POST, …')
    return text.upper()


def _check_endpoint(text: str) -> str:
    if not text.startswith("/") or any(c <= " " or c in "?#" for c in text):
        raise wrong(f'"{text}" is no path; write /v1/chat/completions')
    return text


def _check_header_name(text: str) -> str:
    if not TOKEN.fullmatch(text):
        raise wrong(f'"{text}" is no header name; use letters, digits and dashes')
    if text.lower() in {"host", "content-length", "transfer-encoding", "connection"}:
        raise wrong(f"{text} belongs to the connection and is set by Flumegate; remove it")
    return text


def _check_header_value(secret: Secret) -> Secret:
    if any(not " " <= c <= "~" for c in secret.reveal()):
        raise wrong("holds a line break or a character outside ASCII, which no header may carry; correct the value")
    return secret


def _check_header_values(secret: Secret) -> Secret:
    for entry in secret.entries():
        _check_header_value(Secret(entry))
    return secret


def _check_beta(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+|\*", text):
        raise wrong(f'"{text}" is no beta value; write drop, or a value such as files-api-2025-04-14')
    return text


def _check_provider_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise wrong(f'"{text}" is no provider name; use up to 64 letters, digits, dots, dashes and underscores')
    return text


def _check_proxy(secret: Secret) -> Secret:
    if not re.fullmatch(r"http://([^@/\s]+@)?(\[[0-9a-fA-F:]+\]|[^@:/\s]+):[0-9]{1,5}/?", secret.reveal()):
        raise wrong("must be http://host:port or http://user:password@host:port")
    return secret


def _folder(value: object) -> object:
    # Empty, it would be the working folder itself.
    return _DATA_DIR if isinstance(value, str) and not value.strip() else value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _level(value: object) -> object:
    lowered = _lower(value)
    return "warning" if lowered == "warn" else lowered


def _format(value: object) -> object:
    lowered = _lower(value)
    return "console" if lowered == "text" else lowered


HeaderName = Annotated[str, AfterValidator(_check_header_name)]
HeaderValue = Annotated[Secret, AfterValidator(_check_header_value)]


class ServerTls(Section):
    """TLS towards clients."""

    cert: str = Field(default="", description="Path of the certificate chain (PEM); empty = plain HTTP.")
    key: str = Field(default="", description="Path of the certificate's private key (PEM).")


class Server(Section):
    """The data-plane port: where clients send their requests."""

    listen: Annotated[str, AfterValidator(_check_listen)] = Field(
        default="127.0.0.1:4100", description="Address and port for clients; port 0 takes any free one."
    )
    workers: int = Field(default=1, ge=1, le=256, description="Worker processes; each can use one core.")
    data_dir: Annotated[Path, BeforeValidator(_folder)] = Field(
        default=_DATA_DIR, description="Folder for records, spool and generated keys; created on first start."
    )
    proxy_prefix: Annotated[str, AfterValidator(_check_prefix)] = Field(
        default="/proxy", description="Path prefix of the transparent proxy: /proxy/v1/…"
    )
    max_body_bytes: Bytes = Field(default=33_554_432, description="Largest request body, after decompression.")
    max_header_bytes: int = Field(
        default=32_768, ge=1024, le=1_048_576, description="Largest request head: request line and all header fields."
    )
    max_headers: int = Field(default=100, ge=10, le=10_000, description="Most header fields in a request.")
    header_seconds: Seconds = Field(
        default=10.0, description="Time for a request's head to arrive, and for a TLS handshake before it."
    )
    min_body_rate: int = Field(
        default=256, ge=0, description="Bytes per second that a request body must reach on average; 0 = no limit."
    )
    keep_alive_seconds: Seconds = Field(default=75.0, description="How long an idle client connection stays open.")
    max_connections: Count = Field(default=10_000, description="Most client connections for each worker.")
    max_active: Count = Field(default=4_096, description="Requests that one worker serves at once; those beyond wait.")
    max_queued: int = Field(default=1_024, ge=0, description="Requests that wait; those beyond are refused.")
    queue_seconds: Seconds = Field(default=10.0, description="How long they wait before they are refused.")
    max_memory_bytes: int = Field(
        default=0,
        ge=0,
        le=2**50,
        description="Memory of one worker from which requests are refused; 0 = what machine or container leave it.",
    )
    drain_seconds: float = Field(
        default=60.0, ge=0, le=86_400, description="How long running requests may take to finish at shutdown."
    )
    trusted_proxies: list[Annotated[str, AfterValidator(check_network)]] = Field(
        default_factory=list, description="Networks whose X-Forwarded-For header is believed."
    )
    cors_origins: list[Annotated[str, AfterValidator(_check_origin)]] = Field(
        default_factory=list, description="Origins that browsers may call from; * = any; empty = CORS off."
    )
    tls: ServerTls = Field(default_factory=ServerTls)


class Console(Section):
    """The management console."""

    listen: Annotated[str, AfterValidator(_check_listen)] = Field(
        default="127.0.0.1:4101",
        description="Address and port of the management API, on loopback; port 0 takes any free one.",
    )


class Database(Section):
    """Where records are kept."""

    url: Secret | None = Field(
        default=None,
        description="sqlite:///path, or postgresql://user:password@host/name; null = flumegate.db in data_dir.",
    )


class Timeouts(Section):
    """How long a provider may take."""

    connect: Seconds = Field(default=10.0, description="Seconds to connect, TLS included.")
    first_byte: Seconds | None = Field(
        default=60.0, description="Seconds from the end of the request to the head of the answer; null = no limit."
    )
    idle: Seconds | None = Field(default=120.0, description="Seconds between two pieces of an answer; null = no limit.")
    total: Seconds | None = Field(default=None, description="Seconds for the whole exchange; null = no limit.")
    first_token: Seconds | None = Field(
        default=600.0,
        description="Seconds from the end of the request to the first words of a streamed answer; null = no limit.",
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, data: object) -> object:
        # Here null has a meaning of its own, except where it has none.
        if isinstance(data, dict) and data.get("connect", 0) is None:
            return {name: value for name, value in data.items() if name != "connect"}
        return data


class HealthCheck(Section):
    """Whether the gateway asks a provider on its own account if it is there."""

    every: Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)] | None = Field(
        default=None, description="Seconds between two questions; null = none are asked."
    )
    path: Annotated[str, AfterValidator(_check_endpoint)] = Field(
        default="/models", description="What is asked for, below the path of base_url."
    )


class Provider(Section):
    """One provider: where requests go and how they are signed."""

    type: str = Field(
        default="", description="Kind of provider, see providers.md; empty = the same as the provider's name."
    )
    base_url: str = Field(
        default="", description="Where its API stands, with or without /v1; empty = the vendor's own address."
    )
    api_key: HeaderValue | None = Field(
        default=None, description="Its key, as env:NAME or file:/path; null = none is sent."
    )
    api_keys: list[Annotated[Secret, AfterValidator(_check_header_values)]] = Field(
        default_factory=list,
        description="Further keys, between which requests are spread; a variable may hold several, with commas.",
    )
    api_version: str = Field(
        default="", description="Azure only: a date uses deployment paths, v1 or empty the v1 API."
    )
    region: str = Field(default="", description="Bedrock only: the region, as in eu-central-1.")
    aws_access_key_id: HeaderValue | None = Field(
        default=None, description="Bedrock only: sign requests with this key instead of sending api_key; as env:NAME."
    )
    aws_secret_access_key: Secret | None = Field(
        default=None, description="Bedrock only: the secret of aws_access_key_id, as env:NAME or file:/path."
    )
    aws_session_token: HeaderValue | None = Field(
        default=None, description="Bedrock only: the session token of temporary AWS credentials."
    )
    project: str = Field(default="", description="Vertex only: id of the Google Cloud project.")
    location: str = Field(default="", description="Vertex only: global, or the region, as in europe-west4.")
    default: bool = Field(default=False, description="Takes the model names that nothing else matches.")
    dialects: list[Literal["openai", "anthropic", "gemini", "ollama"]] | None = Field(
        default=None,
        description="Dialects in which it is asked, where they differ from its type's: openai, anthropic, gemini, "
        "ollama. The first is preferred where a request must be translated.",
    )
    timeouts: Timeouts = Field(default_factory=Timeouts)
    health_check: HealthCheck = Field(default_factory=HealthCheck)
    max_connections: Count = Field(default=1024, description="Most connections to it for each worker.")
    allowed_endpoints: list[Annotated[str, AfterValidator(_check_endpoint)]] = Field(
        default_factory=list, description="Path prefixes that may be called, as /v1/chat/completions; empty = all."
    )
    allowed_methods: list[Annotated[str, AfterValidator(_check_method)]] = Field(
        default_factory=list, description="HTTP methods that may be used; empty = all."
    )
    betas: dict[str, Annotated[str, AfterValidator(_check_beta)]] = Field(
        default_factory=dict,
        description="What becomes of a client's anthropic-beta values: drop, or the value to send instead; * "
        "stands for all that are not named. Empty = all are sent as they came.",
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict, description="Header fields sent on every request, in place of the client's."
    )
    tls_verify: bool = Field(default=True, description="Check the provider's certificate.")
    ca_file: str = Field(default="", description="Path of the certificates to trust (PEM); empty = the system's.")
    client_cert: str = Field(default="", description="Path of a client certificate (PEM).")
    client_key: str = Field(default="", description="Path of the client certificate's private key (PEM).")
    proxy: Annotated[Secret, AfterValidator(_check_proxy)] | None = Field(
        default=None, description="HTTP CONNECT proxy on the way to it: http://user:password@host:port."
    )


class Cache(Section):
    """Answers kept for equal requests."""

    enabled: Annotated[bool, NOT_YET] = Field(default=False, description="Keep answers.")
    backend: Annotated[Literal["memory", "redis"], NOT_YET] = Field(default="memory", description="Where.")
    default_ttl: Annotated[int, NOT_YET] = Field(default=300, ge=0, description="Seconds that an answer is kept.")
    max_object_bytes: Annotated[int, NOT_YET] = Field(default=1_048_576, ge=0, description="Largest answer kept.")
    max_bytes: Annotated[int, NOT_YET] = Field(default=268_435_456, ge=0, description="All answers together.")


class Records(Section):
    """What is kept of each request."""

    content: Literal["metadata", "full"] = Field(
        default="metadata", description="metadata: no bodies; full: request and answer bodies too."
    )
    max_request_bytes: int = Field(default=65_536, ge=0, description="Most bytes kept of a request body.")
    max_response_bytes: int = Field(default=262_144, ge=0, description="Most bytes kept of an answer body.")
    retention_days: int = Field(default=30, ge=1, le=36_500, description="Days after which records are deleted.")
    durability: Literal["fast", "durable"] = Field(
        default="fast", description="durable: a record is on disk before the last byte of its answer leaves."
    )
    spool_max_bytes: int = Field(
        default=1_073_741_824, ge=1_048_576, description="Cap on records that wait for the database."
    )
    redact: Annotated[list[Any], NOT_YET] = Field(
        default_factory=list, description="What is made unreadable before it is stored."
    )


class Telemetry(Section):
    """Metrics and traces."""

    metrics: Literal["public", "off"] = Field(
        default="public", description="public: /metrics on the client port, without a key; off: not served."
    )
    otlp_endpoint: Annotated[str | None, NOT_YET] = Field(default=None, description="OTLP/HTTP endpoint for traces.")


class Log(Section):
    """The log: start-up, changes of state and errors. Requests are records, not log lines."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_level)] = Field(
        default="info", description="Least severe line that is written."
    )
    format: Annotated[Literal["auto", "console", "json"], BeforeValidator(_format)] = Field(
        default="auto", description="auto: text on a terminal, else JSON."
    )


class Config(Section):
    """The whole configuration."""

    server: Server = Field(default_factory=Server)
    auth: Auth = Field(default_factory=Auth)
    providers: dict[Annotated[str, AfterValidator(_check_provider_name)], Provider] = Field(
        default_factory=dict, description="Providers by name; none = those that the environment holds keys for."
    )
    models: dict[str, Route] = Field(
        default_factory=dict,
        description="What serves which model name, as provider/model; names may hold one *. "
        "None = every provider's own models.",
    )
    routing: Routing = Field(default_factory=Routing)
    prices: dict[ModelPattern, ModelPrice] = Field(
        default_factory=dict,
        description="What models cost where the catalogue does not know it, or you pay something else: by "
        "provider/model or model; names may hold one *.",
    )
    records: Records = Field(default_factory=Records)
    database: Database = Field(default_factory=Database)
    telemetry: Telemetry = Field(default_factory=Telemetry)
    log: Log = Field(default_factory=Log)
    console: Console = Field(default_factory=Console)
    redis: Redis = Field(default_factory=Redis)
    encryption: Encryption = Field(default_factory=Encryption)
    cache: Cache = Field(default_factory=Cache)
    header_rules: Annotated[list[Any], NOT_YET] = Field(default_factory=list, description="Changes to request headers.")
    transformations: Annotated[list[Any], NOT_YET] = Field(
        default_factory=list, description="Changes to request bodies."
    )
    dispatch: Annotated[list[Any], NOT_YET] = Field(
        default_factory=list, description="Where records are sent as they happen."
    )
