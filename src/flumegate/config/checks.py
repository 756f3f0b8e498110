"""Checks that need more than one value, or the machine: what is refused, and what is only warned about.

Each check yields (path, message); load locates them. A configuration that these let through can be compiled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path as FilePath

from pydantic_core import PydanticCustomError

from flumegate.config import access_checks, route_checks
from flumegate.config.address import read_listen
from flumegate.config.problem import Path, nearest
from flumegate.config.secret import Secret, check_private
from flumegate.config.sections import Config, Provider
from flumegate.config.settings import is_not_yet, walk
from flumegate.providers import azure, bedrock, vertex
from flumegate.providers.address import Address, is_loopback, is_own_host, locate
from flumegate.providers.rows import BY_TYPE, Row

Finding = tuple[Path, str]

_OF_TYPE = {
    "bedrock": ("region", "aws_access_key_id", "aws_secret_access_key", "aws_session_token"),
    "vertex": ("project", "location"),
}
"""Settings that only providers of one type have."""
_NOT_YET = "not available in this release yet: remove it"


def refusals(config: Config, providers: Collection[str], models: Collection[str]) -> Iterator[Finding]:
    """Yield everything that makes a configuration unusable.

    Args:
        config: what could be read of it.
        providers: the names of all providers that were written down, faulty ones included.
        models: the names of all models that were, likewise.
    """
    yield from _not_yet(config)
    yield from access_checks.refusals(config)
    yield from _console(config)
    yield from _files(config)
    for name, provider in config.providers.items():
        for path, message in _provider(name, provider):
            yield ("providers", name, *path), message
    defaults = [name for name, provider in config.providers.items() if provider.default]
    for name in defaults[1:]:
        yield (
            ("providers", name, "default"),
            f'"{defaults[0]}" is the default already; mark only one provider as default',
        )
    yield from route_checks.refusals(config, providers, models)
    yield from _database(config)


def warnings(config: Config) -> Iterator[Finding]:
    """Yield what works but deserves a look."""
    listen = read_listen(config.server.listen)
    if not listen.is_loopback and not config.server.tls.cert and not config.server.trusted_proxies:
        yield (
            ("server", "listen"),
            (
                "keys and prompts travel in the clear beyond this machine; set server.tls, or put a proxy with TLS in "
                "front and name it in server.trusted_proxies"
            ),
        )
    for name, provider in config.providers.items():
        row = BY_TYPE[provider.type or name]
        address = _locate(row, provider)
        if address.scheme == "http" and not is_loopback(address.host):
            yield ("providers", name, "base_url"), "keys and prompts travel in the clear; use https:// if it can"
        if not provider.tls_verify:
            yield (
                ("providers", name, "tls_verify"),
                "certificates are not checked, so anyone on the way can read along; give ca_file instead",
            )
        if _lacks_key(row, provider) and is_own_host(row, address.host):
            source = f"env:{row.key_variables[0]}" if row.key_variables else "file:/path of an access token"
            yield ("providers", name), f"has no api_key, so {row.title} will refuse its requests; set api_key: {source}"
    yield from route_checks.warnings(config)
    for path, _, value in walk(config):
        if isinstance(value, Secret) and value.is_literal and is_secret_place(path):
            yield path, "a secret stands in the configuration itself; write env:NAME or file:/path instead"


def is_secret_place(path: Path) -> bool:
    """Tell whether a value is secret for sure: of header fields, most are not."""
    if len(path) < 2 or path[-2] != "headers":
        return True
    name = str(path[-1]).lower()
    return any(word in name for word in ("auth", "key", "token", "secret", "cookie", "password"))


def _not_yet(config: Config) -> Iterator[Finding]:
    for path, field, value in walk(config):
        if field is not None and is_not_yet(field) and value != field.get_default(call_default_factory=True):
            yield path, _NOT_YET


def _console(config: Config) -> Iterator[Finding]:
    listen = read_listen(config.console.listen)
    if not listen.is_loopback:
        yield (
            ("console", "listen"),
            (
                f"{listen} is reachable by others, and the console has no TLS: its token would travel in the clear; "
                "listen on 127.0.0.1, and reach it from elsewhere through a tunnel, as with ssh -L"
            ),
        )


def _files(config: Config) -> Iterator[Finding]:
    tls = config.server.tls
    yield from _pair(("server", "tls"), "cert", tls.cert, "key", tls.key)
    for path, kind, text in certificate_files(config):
        try:
            if kind == "key":
                check_private(FilePath(text))
            with FilePath(text).open("rb"):
                pass
        except PydanticCustomError as error:
            yield path, error.message()
        except OSError as error:
            yield path, f"cannot read {text} ({error.strerror}); create it or correct the path"


def certificate_files(config: Config) -> Iterator[tuple[Path, str, str]]:
    """Yield path of the setting, kind (`cert` or `key`) and path of the file for each certificate and key."""
    tls = config.server.tls
    named = [(("server", "tls", "cert"), "cert", tls.cert), (("server", "tls", "key"), "key", tls.key)]
    for name, provider in config.providers.items():
        place = ("providers", name)
        named += [
            ((*place, "ca_file"), "cert", provider.ca_file),
            ((*place, "client_cert"), "cert", provider.client_cert),
            ((*place, "client_key"), "key", provider.client_key),
        ]
    yield from (entry for entry in named if entry[2])


def _pair(path: Path, first: str, first_value: str, second: str, second_value: str) -> Iterator[Finding]:
    if bool(first_value) != bool(second_value):
        given, missing = (first, second) if first_value else (second, first)
        yield (*path, given), f"needs {missing} beside it; set both or none"


def _provider(name: str, provider: Provider) -> Iterator[Finding]:
    kind = provider.type or name
    row = BY_TYPE.get(kind)
    if row is None:
        known = nearest(kind, BY_TYPE) or f"; known: {', '.join(BY_TYPE)}"
        yield ("type",), f'there is no provider type "{kind}"{known}'
        return
    if provider.api_version and row.type != "azure":
        yield ("api_version",), "only providers of type azure have one; remove it"
    elif provider.api_version and not azure.is_version(provider.api_version):
        yield ("api_version",), "must be a date such as 2024-10-21, or v1"
    yield from _foreign(row, provider)
    faults = list(_bedrock(provider) if row.type == "bedrock" else _vertex(provider) if row.type == "vertex" else ())
    if faults:
        yield from faults
        return
    try:
        _locate(row, provider)
    except ValueError as error:
        yield ("base_url",), str(error)
    if provider.dialects is not None and not provider.dialects:
        yield ("dialects",), "must name at least one of openai, anthropic, or be removed"
    yield from _pair((), "client_cert", provider.client_cert, "client_key", provider.client_key)


def _locate(row: Row, provider: Provider) -> Address:
    region = provider.region or provider.location
    return locate(row, provider.base_url, provider.api_version, region=region, project=provider.project)


def _lacks_key(row: Row, provider: Provider) -> bool:
    if provider.api_key is not None or provider.api_keys or provider.aws_access_key_id is not None or row.local:
        return False
    return bool(row.key_variables) or row.type == "vertex"


def _foreign(row: Row, provider: Provider) -> Iterator[Finding]:
    """Yield the settings that only providers of another type have."""
    for kind, names in _OF_TYPE.items():
        for name in names if kind != row.type else ():
            if getattr(provider, name):
                yield (name,), f"only providers of type {kind} have one; remove it"


def _bedrock(provider: Provider) -> Iterator[Finding]:
    if provider.region and not bedrock.is_region(provider.region):
        yield ("region",), f'"{provider.region}" is no region; write it like eu-central-1'
    elif not provider.region and (not provider.base_url or provider.aws_access_key_id is not None):
        yield (), "needs the region; set region, as in eu-central-1"
    if bool(provider.aws_access_key_id) != bool(provider.aws_secret_access_key):
        yield (), "aws_access_key_id and aws_secret_access_key belong together; set both or none"
    elif provider.aws_session_token and not provider.aws_access_key_id:
        yield ("aws_session_token",), "needs aws_access_key_id and aws_secret_access_key beside it"
    elif provider.aws_access_key_id:
        message = "requests are either signed or carry a key; remove it, or aws_access_key_id and the rest"
        yield from ((place, message) for place in (("api_key",), ("api_keys",)) if getattr(provider, place[0]))


def _vertex(provider: Provider) -> Iterator[Finding]:
    if not vertex.is_project(provider.project):
        yield (), "needs the id of a Google Cloud project; set project, as in my-project-123"
    if not vertex.is_location(provider.location):
        yield (), "needs a location; set location: global, or a region, as in europe-west4"
    if provider.dialects is not None:
        yield ("dialects",), "a provider of type vertex is asked in each model's own dialect; remove it"


def _database(config: Config) -> Iterator[Finding]:
    url = config.database.url
    if url is None:
        return
    text = url.reveal()
    if text.startswith(("postgresql://", "postgres://")):
        return
    if text.startswith(("mysql", "clickhouse", "postgresql+")):
        kind = text.partition(":")[0]
        yield ("database", "url"), f"a {kind} database cannot be used; write sqlite:///path or postgresql://…"
    elif not text.startswith("sqlite:///") or text == "sqlite:///":
        yield (
            ("database", "url"),
            "must be sqlite:///path, as in sqlite:///data/flumegate.db, or postgresql://user:password@host/name",
        )
    elif ":memory:" in text:
        yield ("database", "url"), "records in memory would be lost; name a file, as in sqlite:///data/flumegate.db"
