"""What `flumegate doctor` finds out over the network: the console, names, certificates, Redis, providers."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.x509 import load_pem_x509_certificates

from flumegate.cli import operator
from flumegate.cli.checkup import Check, failed, ok, skipped, warning
from flumegate.config.load import Loaded
from flumegate.config.operator import NotFoundError, find
from flumegate.manage.compile import compile_snapshot
from flumegate.snapshot import Provider

_SECONDS = 5.0
_SOON_SECONDS = 21 * 86_400.0


def check_gateway(folder: Path) -> Iterator[Check]:
    """Yield whether a gateway runs here, its console answers, and its workers do."""
    try:
        there = find(url=None, token=None, folder=folder, environ=os.environ)
        told = operator.ask(there, "GET", "/manage/targets")
    except NotFoundError:
        yield skipped("console", f"no gateway runs in {folder}")
        return
    except operator.CommandError as problem:
        yield failed("console", str(problem), "look into its log; admin.token in the data folder opens it")
        return
    yield ok("console", there.url)
    silent = told["silent"]
    if silent:
        yield failed("workers", f"no answer from {', '.join(silent)}", "the supervisor replaces them; see the log")
    else:
        yield ok("workers", "all answer")
    ill = [target["name"] for target in told["targets"] if target["state"] not in ("closed", "forced_closed")]
    if ill:
        yield warning("targets", f"left alone: {', '.join(ill)}", "flumegate target list says why")
    else:
        yield ok("targets", f"{len(told['targets'])} known, none is left alone")


def check_network(loaded: Loaded, *, online: bool) -> Iterator[Check]:
    """Yield what is found without the gateway; `online`: providers are asked, with their credentials."""
    snapshot = compile_snapshot(loaded, version=1, pepper=b"", mock_port=None) if loaded.config.providers else None
    providers = list(snapshot.providers.values()) if snapshot else []
    yield _check_names(providers)
    yield _check_certificate(loaded.config.server.tls.cert)
    yield _check_redis(loaded)
    if not providers:
        yield skipped("providers", "none is configured: the built-in mock answers")
    elif not online:
        yield skipped("providers", f"{len(providers)} not asked; --online asks them")
    else:
        yield from map(_check_provider, providers)


def _check_names(providers: list[Provider]) -> Check:
    name = "name resolution"
    unknown = []
    for provider in providers:
        try:
            socket.getaddrinfo(provider.host, provider.port, type=socket.SOCK_STREAM)
        except OSError:
            unknown.append(provider.host)
    if unknown:
        return failed(name, f"not found: {', '.join(unknown)}", "check base_url, and this machine's name server")
    return ok(name, f"{len(providers)} providers' hosts have addresses")


def _check_certificate(path: str) -> Check:
    name = "TLS certificate"
    if not path:
        return skipped(name, "the client port speaks plain HTTP")
    try:
        certificate = load_pem_x509_certificates(Path(path).read_bytes())[0]
        left = certificate.not_valid_after_utc.timestamp() - time.time()
    except (OSError, ValueError) as problem:
        return failed(name, f"{path}: {problem}", "name a certificate chain in PEM in server.tls.cert")
    if left <= 0:
        return failed(name, f"expired {-left / 86_400:.0f} days ago", "renew it; a new file is taken without a restart")
    if left < _SOON_SECONDS:
        return warning(name, f"expires in {left / 86_400:.0f} days", "renew it; a new file is taken without a restart")
    return ok(name, f"good for {left / 86_400:.0f} days")


def _check_redis(loaded: Loaded) -> Check:
    name = "redis"
    secret = loaded.config.redis.url
    if secret is None:
        if loaded.config.server.workers > 1:
            return warning(name, "none, with several workers", "set redis.url, or limits and budgets are refused")
        return skipped(name, "none is configured")
    if find_spec("redis") is None:
        return failed(name, "redis.url is set, and the client for it is not installed", "install flumegate[redis]")
    return _check_server(name, secret.reveal())


def _check_server(name: str, url: str) -> Check:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        if not Path(parts.path).is_socket():
            return failed(name, f"no socket at {parts.path}", "start Redis")
        return _check_policy(name, parts.path, url)
    place = f"{parts.hostname}:{parts.port or 6379}"
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379), _SECONDS).close()
    except OSError as problem:
        remedy = "start Redis; until then limits hold by each worker's share"
        return failed(name, f"{place}: {problem.strerror or problem}", remedy)
    return _check_policy(name, place, url)


def _check_policy(name: str, place: str, url: str) -> Check:
    from flumegate.shared.link import KEEPS_ALL, AwayError, Link

    try:
        policy = asyncio.run(Link(url, "flumegate", _SECONDS).policy())
    except AwayError as problem:
        return failed(name, f"{place}: {problem}", "check redis.url; until then limits hold by each worker's share")
    if not policy:
        return warning(name, f"{place} answers, and does not tell its maxmemory-policy", "see that it is noeviction")
    if policy != KEEPS_ALL:
        found = f"{place} throws away what was spent when it is full (maxmemory-policy {policy})"
        return failed(name, found, "set maxmemory-policy to noeviction; until then a start is refused")
    return ok(name, f"{place} answers, and throws nothing away")


def _check_provider(provider: Provider) -> Check:
    import httpx2

    name = f"provider {provider.name}"
    address = f"{provider.scheme}://{provider.host}:{provider.port}{provider.base_path}/models"
    headers = dict(provider.headers) | dict(provider.default_headers)
    if provider.credential:
        headers[provider.credential_header] = f"{provider.credential_prefix}{provider.credential}"
    try:
        answer = httpx2.get(address, headers=headers, timeout=_SECONDS, trust_env=False, follow_redirects=False)
    except (httpx2.TransportError, httpx2.InvalidURL) as problem:
        # Not the problem's own words: they may quote the address, and with it what a proxy's URL keeps secret.
        return failed(name, f"cannot be reached ({type(problem).__name__})", "check base_url, proxy and the firewall")
    if answer.status_code in (401, 403):
        return failed(name, f"refuses its credential ({answer.status_code})", "check api_key of this provider")
    if answer.status_code >= 500:
        return warning(name, f"answers {answer.status_code}", "it is unwell; try again later")
    return ok(name, f"answers {answer.status_code}")
