"""From a configuration to the Snapshot that workers run on.

Without `models`, every provider serves its vendor's own model names and the default provider takes the rest. With
`models` the list is closed: only a provider that says `default: true` takes names that are not on it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence

from flumegate.config.load import Loaded
from flumegate.config.sections import Config
from flumegate.config.sections import Provider as ProviderSection
from flumegate.manage.compile_prices import price_rows, price_version
from flumegate.manage.compile_routes import breaker_policy, configured_models, retry_policy
from flumegate.providers import bedrock
from flumegate.providers.address import locate
from flumegate.providers.rows import BY_TYPE
from flumegate.records.access import Key
from flumegate.snapshot import (
    Door,
    Provider,
    RecordPolicy,
    Route,
    Signing,
    Snapshot,
    Target,
    Timeouts,
    Tls,
    Wildcard,
)

MOCK = "mock"


def compile_snapshot(
    loaded: Loaded,
    *,
    version: int,
    pepper: bytes,
    extra_keys: Sequence[str] = (),
    mock_port: int | None = None,
) -> Snapshot:
    """Return the snapshot of a configuration.

    Args:
        loaded: what `config.load` returned: checked, secrets resolved.
        version: of the snapshot; rises with every change.
        pepper: secret of this installation, under which keys are stored.
        extra_keys: client keys beside those of the configuration, such as the one made at first start.
        mock_port: loopback port of the built-in mock; needed where `loaded.needs_mock`.

    Raises:
        ValueError: the mock is needed and has no port.
    """
    config = loaded.config
    providers = {name: _provider(name, section) for name, section in config.providers.items()}
    default = next((name for name, section in config.providers.items() if section.default), "")
    if loaded.needs_mock:
        if mock_port is None:
            raise ValueError("this configuration has no provider: give the port of the built-in mock as mock_port")
        providers = {MOCK: _mock(mock_port)}
        default = MOCK
    models: dict[str, Route] = {}
    wildcards = list(_vendor_models(providers))
    if config.models:
        models, wildcards = configured_models(config)
    elif not default:
        default = next(iter(providers), "")
    prices = price_rows(config.prices)
    return Snapshot(
        version=version,
        providers=providers,
        default_provider=default,
        models=models,
        wildcards=tuple(sorted(wildcards, key=lambda each: -len(each.prefix) - len(each.suffix))),
        auth_open=config.auth.mode == "open",
        pepper=pepper,
        keys=dict(_keys(config, pepper, extra_keys)),
        prices=prices,
        redis_url=config.redis.url.reveal() if config.redis.url else "",
        redis_seconds=config.redis.timeout,
        price_version=price_version(prices),
        door=_door(config),
        records=_records(config),
        retry=retry_policy(config.routing.retry),
        breaker=breaker_policy(config.routing.breaker),
        timeout=config.routing.timeout,
    )


def _provider(name: str, section: ProviderSection) -> Provider:
    row = BY_TYPE[section.type or name]
    address = locate(
        row,
        section.base_url,
        section.api_version,
        region=section.region or section.location,
        project=section.project,
    )
    timeouts, check = section.timeouts, section.health_check
    credential, *more_credentials = _credentials(section) or [""]
    return Provider(
        name=name,
        type=row.type,
        scheme=address.scheme,
        host=address.host,
        port=address.port,
        base_path=address.base_path,
        speaks=row.speaks if section.dialects is None else tuple(dict.fromkeys(section.dialects)),
        credential=credential,
        more_credentials=tuple(more_credentials),
        signing=_signing(section),
        credential_header=row.credential_header,
        credential_prefix=row.credential_prefix,
        headers=tuple((field, value.reveal()) for field, value in section.headers.items()),
        default_headers=row.default_headers,
        azure_api_version=address.azure_api_version,
        stream_usage=row.stream_usage,
        betas=section.betas,
        native_path=address.base_path.removesuffix(row.compatible_tail),
        native_credential_header=row.native_credential_header,
        lacks=row.lacks,
        timeouts=Timeouts(timeouts.connect, timeouts.first_byte, timeouts.idle, timeouts.total, timeouts.first_token),
        tls=Tls(section.tls_verify, section.ca_file, section.client_cert, section.client_key),
        proxy=section.proxy.reveal() if section.proxy else "",
        max_connections=section.max_connections,
        allowed_endpoints=tuple(section.allowed_endpoints),
        allowed_methods=tuple(section.allowed_methods),
        check_seconds=check.every or 0.0,
        check_path=check.path if check.every else "",
    )


def _credentials(section: ProviderSection) -> list[str]:
    """Return each key once, that of `api_key` first."""
    keys = [section.api_key.reveal()] if section.api_key else []
    keys += [entry for secret in section.api_keys for entry in secret.entries()]
    return list(dict.fromkeys(keys))


def _signing(section: ProviderSection) -> Signing | None:
    if section.aws_access_key_id is None or section.aws_secret_access_key is None:
        return None
    return Signing(
        access_key=section.aws_access_key_id.reveal(),
        secret_key=section.aws_secret_access_key.reveal(),
        region=section.region,
        service=bedrock.SERVICE,
        session_token=section.aws_session_token.reveal() if section.aws_session_token else "",
    )


def _mock(port: int) -> Provider:
    return _provider(MOCK, ProviderSection(type=MOCK, base_url=f"http://127.0.0.1:{port}"))


def _vendor_models(providers: Mapping[str, Provider]) -> Iterator[Wildcard]:
    """Yield each vendor's own model names, for the first provider of its type."""
    seen: set[str] = set()
    for name, provider in providers.items():
        if provider.type not in seen:
            seen.add(provider.type)
            for pattern in BY_TYPE[provider.type].models:
                prefix, _, suffix = pattern.partition("*")
                yield Wildcard(prefix, suffix, Route((Target(name, ""),)))


def _keys(config: Config, pepper: bytes, extra_keys: Sequence[str]) -> Iterator[tuple[bytes, Key]]:
    keys = [key for secret in config.auth.static_keys for key in secret.entries()]
    for key in (*keys, *extra_keys):
        digest = hmac.digest(pepper, key.encode(), "sha256")
        yield digest, Key(f"static-{digest.hex()[:8]}")


def _door(config: Config) -> Door:
    server = config.server
    return Door(
        proxy_prefix=server.proxy_prefix,
        max_body_bytes=server.max_body_bytes,
        max_header_bytes=server.max_header_bytes,
        max_headers=server.max_headers,
        header_seconds=server.header_seconds,
        min_body_rate=server.min_body_rate,
        keep_alive_seconds=server.keep_alive_seconds,
        max_connections=server.max_connections,
        trusted_proxies=tuple(server.trusted_proxies),
        cors_origins=tuple(server.cors_origins),
        tls_cert=server.tls.cert,
        tls_key=server.tls.key,
        metrics=config.telemetry.metrics == "public",
        max_active=server.max_active,
        max_queued=server.max_queued,
        queue_seconds=server.queue_seconds,
        max_memory_bytes=server.max_memory_bytes,
    )


def _records(config: Config) -> RecordPolicy:
    records = config.records
    return RecordPolicy(
        content=records.content,
        max_request_bytes=records.max_request_bytes,
        max_response_bytes=records.max_response_bytes,
        durable=records.durability == "durable",
        spool_max_bytes=records.spool_max_bytes,
    )
