"""From a `base_url`, in whichever form the operator knows it, to scheme, host, port and base path.

Vendors' SDKs differ: OpenAI's wants the `/v1` in the base URL, Anthropic's adds it. Both forms are accepted for every
provider: a bare origin gets the row's path, anything with a path of its own is taken at its word.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from flumegate.providers import azure, bedrock, vertex
from flumegate.providers.rows import Row

_ENDPOINTS = ("/chat/completions", "/completions", "/responses", "/embeddings", "/messages", "/models")


class Address(NamedTuple):
    """Where a provider's API stands."""

    scheme: str
    host: str
    """Without brackets, lower case."""
    port: int
    base_path: str
    """What replaces the client's `/v1`; no trailing slash."""
    azure_api_version: str = ""


def locate(row: Row, base_url: str = "", api_version: str = "", *, region: str = "", project: str = "") -> Address:
    """Return the address of a provider.

    Args:
        row: its type.
        base_url: what the operator wrote; empty = the vendor's own address.
        api_version: Azure's.
        region: Bedrock's region or Vertex's location.
        project: Vertex's.

    Raises:
        ValueError: the URL is missing or cannot be one of an API; the message says what to write instead.
    """
    url = base_url or _vendor_url(row, region)
    if not url:
        example = "https://<resource>.openai.azure.com" if row.type == "azure" else "http://127.0.0.1:8000/v1"
        raise ValueError(f"a provider of type {row.type} needs one; write it like {example}")
    scheme, host, port, path = _split(url)
    if row.type == "azure":
        base_path, dated = azure.place(path, api_version)
        return Address(scheme, host, port, base_path, dated)
    if row.type == "vertex":
        return Address(scheme, host, port, vertex.place(path, project, region))
    return Address(scheme, host, port, _base_path(row, host, path))


def is_loopback(host: str) -> bool:
    """Tell whether a host (a name or an address, without brackets) is this machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def is_own_host(row: Row, host: str) -> bool:
    """Tell whether a host is the vendor's own."""
    vendor = urlsplit(row.base_url).hostname or ""
    _, is_template, end = vendor.partition("}")
    return bool(vendor) and (host.endswith(end.lstrip("-")) if is_template else vendor == host)


def _vendor_url(row: Row, region: str) -> str:
    if row.type == "bedrock":
        return bedrock.origin(region)
    return vertex.origin(region) if row.type == "vertex" else row.base_url


def _split(url: str) -> tuple[str, str, int, str]:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL like https://api.example.com/v1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a credential; put it into api_key")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment; for Azure set api_version instead")
    if any(c <= " " or c > "~" for c in url):
        raise ValueError("must be plain ASCII without spaces; write other names in their xn-- form")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("has no usable port; it must be a number from 1 to 65535") from None
    if port == 0:
        raise ValueError("has no usable port; it must be a number from 1 to 65535")
    path = parts.path.rstrip("/")
    for endpoint in _ENDPOINTS:
        if path.endswith(endpoint):
            raise ValueError(f"must stop before {endpoint}; Flumegate adds the endpoint itself")
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), path


def _base_path(row: Row, host: str, path: str) -> str:
    if not path:
        return row.base_path
    if row.compatible_tail:
        return path if path.endswith(row.compatible_tail) else f"{path}{row.compatible_tail}"
    if row.sdk_adds_version and not path.endswith("/v1"):
        return f"{path}/v1"
    # Half of the vendor's own path, as in https://api.groq.com/openai, can only be meant as the whole.
    if is_own_host(row, host) and row.base_path.startswith(f"{path}/"):
        return row.base_path
    return path
