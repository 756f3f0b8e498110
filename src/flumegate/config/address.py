"""Listening addresses and networks, as operators write them."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from flumegate.config.problem import wrong
from flumegate.providers.address import is_loopback


class Listen(NamedTuple):
    """Where the door listens."""

    host: str
    """A name or an address, without brackets."""
    port: int
    """0 = any free one."""

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach it."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_listen(text: str) -> Listen:
    """Return the address that `127.0.0.1:4100`, `[::1]:4100` or `:4100` (all addresses) means.

    Raises:
        PydanticCustomError: it is no address.
    """
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise wrong(f'must be host:port with a port from 0 to 65535, as in 127.0.0.1:4100, not "{text}"')
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise wrong(f'"[{host}]" is no IPv6 address; write it like [::1]:4100') from None
    elif ":" in host:
        raise wrong(f"an IPv6 address stands in brackets: [{host}]:{port}")
    elif any(c <= " " or c in "/@[]" or c > "~" for c in host):
        raise wrong(f'"{host}" is no host name; write host:port without http://')
    return Listen(host or "0.0.0.0", int(port))  # noqa: S104 - `:4100` is the operator's own word for all addresses


def check_network(text: str) -> str:
    """Return a network (`10.0.0.0/8`, `::1`) in its usual form.

    Raises:
        PydanticCustomError: it is no network.
    """
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        raise wrong(f'"{text}" is no network; write an address or a range like 10.0.0.0/8') from None
