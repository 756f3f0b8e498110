"""The data plane's listening sockets, bound by the supervisor and kept by it, so that a restart refuses nobody.

One worker has a plain socket; several have one each with SO_REUSEPORT, and the kernel deals connections out to them.
Standard library only: the supervisor loads it.
"""

from __future__ import annotations

import errno
import socket

from flumegate.processes.boot import authority

BACKLOG = 4096
"""Connections that wait while their worker restarts; the kernel lowers it to its own limit (somaxconn)."""


class AddressUnusableError(Exception):
    """The address cannot be listened on; the message says why and what to do."""


def bind(host: str, port: int, count: int, *, setting: str = "server.listen") -> list[socket.socket]:
    """Return `count` listening sockets on one address, which comes from that setting; port 0 picks a free one.

    Raises:
        AddressUnusableError: it is in use, not ours, or not allowed.
    """
    bound: list[socket.socket] = []
    try:
        family, address = _resolve(host, port)
        if count > 1 and port:
            # With SO_REUSEPORT a second gateway would join in silently and take every other connection.
            _listening(family, address, shared=False).close()
        for _ in range(count):
            bound.append(_listening(family, address, shared=count > 1))
            address = bound[0].getsockname()
    except OSError as problem:
        for end in bound:
            end.close()
        raise AddressUnusableError(_reason(host, port, problem, setting)) from problem
    return bound


def bind_loopback() -> socket.socket:
    """Return a listening socket on a free port of 127.0.0.1."""
    return bind("127.0.0.1", 0, 1)[0]


def _resolve(host: str, port: int) -> tuple[int, tuple[object, ...]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return found[0][0], found[0][4]


def _listening(family: int, address: tuple[object, ...], *, shared: bool) -> socket.socket:
    end = socket.socket(family, socket.SOCK_STREAM)
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        end.bind(address)
        end.listen(BACKLOG)
    except OSError:
        end.close()
        raise
    end.settimeout(0)
    return end


def _reason(host: str, port: int, problem: OSError, setting: str) -> str:
    where = authority(host, port)
    choose = f"choose another with {'--listen HOST:PORT (server.listen)' if setting == 'server.listen' else setting}"
    if problem.errno == errno.EADDRINUSE:
        return f"{where} is in use: stop the program that listens there, or {choose}"
    if problem.errno == errno.EACCES:
        return f"{where}: not permitted (ports below 1024 need privileges): {choose}"
    if problem.errno == errno.EADDRNOTAVAIL or isinstance(problem, socket.gaierror):
        return f"{where}: this machine has no such address: {choose}"
    return f"{where}: cannot listen there ({problem.strerror}): {choose}"
