"""How a connection is made: TCP, TLS, and the tunnel through an HTTP CONNECT proxy (RFC 9110 §9.3.6).

No environment variable is read here: a proxy is used only where the configuration names one.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

from flumegate.snapshot import Tls
from flumegate.upstream import errors
from flumegate.upstream.reach import reach
from flumegate.upstream.resolve import Resolver

if TYPE_CHECKING:
    from flumegate.upstream.connection import Connection
    from flumegate.upstream.pool import Origin

MAX_PROXY_HEAD_BYTES = 16_384


@functools.lru_cache(maxsize=256)
def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return the context for a TLS profile: TLS 1.2 or newer, verification on unless the profile says otherwise.

    Raises:
        OSError: a certificate file cannot be read or is not one.
    """
    context = ssl.create_default_context(cafile=tls.ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.client_cert:
        context.load_cert_chain(tls.client_cert, tls.client_key or None)
    return context


async def dial(
    loop: asyncio.AbstractEventLoop,
    resolver: Resolver,
    origin: Origin,
    provider: str,
    make: Callable[[], Connection],
) -> Connection:
    """Return a new connection to an origin.

    Raises:
        OSError: it could not be made (TLS failures included).
        UnicodeError: the name to connect to is no valid one.
        GatewayError: the proxy did not open the tunnel.
    """
    context = tls_context(origin.tls) if origin.scheme == "https" else None
    server_name = (origin.tls.server_name or origin.host) if context is not None else None
    if origin.proxy:
        transport, connection = await _through_proxy(loop, resolver, origin, provider, make, context, server_name)
    else:
        end = await reach(loop, await resolver.resolve(origin.host), origin.port)
        transport, connection = await loop.create_connection(make, sock=end, ssl=context, server_hostname=server_name)
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return connection


class _Tunnel(asyncio.Protocol):
    """Sends CONNECT and waits for the end of the proxy's head; whatever follows belongs to the tunnel."""

    def __init__(self, loop: asyncio.AbstractEventLoop, request: bytes) -> None:
        self.opened: asyncio.Future[int] = loop.create_future()
        self._request = request
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            return
        self._head += data
        if b"\r\n\r\n" in self._head or len(self._head) > MAX_PROXY_HEAD_BYTES:
            parts = self._head[:64].split(b" ")
            valid = len(parts) > 1 and parts[0] in (b"HTTP/1.1", b"HTTP/1.0") and parts[1][:3].isdigit()
            self.opened.set_result(int(parts[1][:3]) if valid else 0)

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_result(0)


async def _through_proxy(
    loop: asyncio.AbstractEventLoop,
    resolver: Resolver,
    origin: Origin,
    provider: str,
    make: Callable[[], Connection],
    context: ssl.SSLContext | None,
    server_name: str | None,
) -> tuple[asyncio.BaseTransport, Connection]:
    proxy = urlsplit(origin.proxy)
    name = f"[{origin.host}]" if ":" in origin.host else origin.host
    request = f"CONNECT {name}:{origin.port} HTTP/1.1\r\nhost: {name}:{origin.port}\r\n"
    if proxy.username is not None:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
        request += f"proxy-authorization: Basic {base64.b64encode(login).decode()}\r\n"
    end = await reach(loop, await resolver.resolve(proxy.hostname or ""), proxy.port or 3128)
    transport, tunnel = await loop.create_connection(
        lambda: _Tunnel(loop, (request + "\r\n").encode("latin-1")), sock=end
    )
    try:
        status = await tunnel.opened
        if not 200 <= status < 300:
            raise errors.proxy_failed(provider, status)
        connection = make()
        if context is None:
            transport.set_protocol(connection)
            connection.connection_made(transport)
            return transport, connection
        secured = await loop.start_tls(transport, connection, context, server_hostname=server_name)
        if secured is None:
            raise errors.closed_unanswered(provider)
        connection.connection_made(secured)
    except BaseException:
        transport.abort()
        raise
    return secured, connection
