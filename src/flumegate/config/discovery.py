"""Zero configuration: the providers that the environment holds keys for, by the names that vendors' own tools use.

A key alone makes a hosted vendor known; a base URL alone makes a server of one's own known. Nothing is guessed beyond
that, except that a local Ollama joins where it accepts a connection and no configuration says otherwise.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import NamedTuple

from flumegate.config.address import Listen
from flumegate.config.problem import Mark, Problem
from flumegate.providers.address import is_loopback, is_own_host, locate
from flumegate.providers.rows import BY_TYPE, ROWS, Row

OLLAMA = ("127.0.0.1", 11_434)
_OLLAMA_SECONDS = 0.05
_ANY_ADDRESS = frozenset(("0.0.0.0", "::"))  # noqa: S104 - compared with, never bound


class Found(NamedTuple):
    """A provider that the environment describes."""

    name: str
    entry: dict[str, object]
    """As it would stand below `providers` in the file."""
    mark: Mark


def discover(environ: Mapping[str, str], listen: Listen) -> tuple[list[Found], list[Problem]]:
    """Return the providers that the environment describes, in the order of the table, and warnings.

    Args:
        environ: the environment.
        listen: the gateway's own address: a base URL that points there is the clients' and would make a loop.
    """
    found: list[Found] = []
    warnings: list[Problem] = []
    for row in ROWS:
        if not row.base_url_variable:
            continue
        url = environ.get(row.base_url_variable, "").strip()
        if url and _is_self(row, url, listen):
            message = f"points at this gateway itself; the provider {row.type} is left out"
            warnings.append(Problem(f"${row.base_url_variable}", 0, 0, "", message))
            continue
        provider = _from_variables(row, url, environ)
        if provider is not None:
            found.append(provider)
    return found, warnings


def local_ollama(address: tuple[str, int] = OLLAMA) -> Found | None:
    """Return the local Ollama if something accepts a TCP connection there within 50 ms."""
    try:
        with socket.create_connection(address, timeout=_OLLAMA_SECONDS):
            pass
    except OSError:
        return None
    host, port = address
    return Found("ollama", {"type": "ollama", "base_url": f"http://{host}:{port}"}, Mark(f"http://{host}:{port}"))


def _from_variables(row: Row, url: str, environ: Mapping[str, str]) -> Found | None:
    key_variable = next((name for name in row.key_variables if environ.get(name, "").strip()), "")
    elsewhere = bool(url) and not _is_vendor(row, url)
    is_complete = bool(url and key_variable) if not row.base_url else bool(key_variable) and not row.local
    if not is_complete and not (elsewhere and row.base_url):
        return None
    region = next((environ[name].strip() for name in row.region_variables if environ.get(name, "").strip()), "")
    if row.region_variables and not (region and key_variable):
        return None
    entry: dict[str, object] = {"type": row.type}
    if region:
        entry["region"] = region
    if url:
        entry["base_url"] = url
    if key_variable:
        entry["api_key"] = f"env:{key_variable}"
    if row.type == "azure" and environ.get("AZURE_OPENAI_API_VERSION", "").strip():
        entry["api_version"] = environ["AZURE_OPENAI_API_VERSION"].strip()
    if row.type == "openai" and elsewhere and not environ.get("ANTHROPIC_API_KEY", "").strip():
        # Nothing is known of that server, and most compatible servers answer /v1/messages: it is handed over as it is.
        entry["dialects"] = ["openai", "anthropic"]
    return Found(row.type, entry, Mark(f"${row.base_url_variable if url else key_variable}"))


def _is_vendor(row: Row, url: str) -> bool:
    try:
        return is_own_host(row, locate(row, url).host) and not row.local
    except ValueError:
        return False


def _is_self(row: Row, url: str, listen: Listen) -> bool:
    try:
        address = locate(BY_TYPE[row.type], url)
    except ValueError:
        return False
    if address.port != listen.port or not listen.port:
        return False
    return address.host == listen.host or (
        is_loopback(address.host) and (listen.is_loopback or listen.host in _ANY_ADDRESS)
    )
