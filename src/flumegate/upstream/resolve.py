"""Host names become addresses here, and a name server that stalls holds up nobody but those who ask for its names.

A look-up runs in a thread of its own, because the resolver of the C library blocks: an event loop's own pool has four
threads (libuv) or a few more, and as many stalled names would keep every other provider from being connected to. One
look-up at a time per name, whoever waits for it; a waiter that leaves stops waiting and nothing else. The threads are
daemons: one that is still stalled when the worker ends does not keep it from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

LIFETIME_SECONDS = 5.0
"""How long a new connection may use an address that was looked up before."""
MAX_NAMES = 1024
"""Answers that are kept."""
MAX_THREADS = 64
"""Look-ups under way at once, of as many different names; further names wait."""


class Address(NamedTuple):
    """Where a name leads."""

    family: socket.AddressFamily
    host: str
    """In numbers, with its zone where it has one."""


Addresses = tuple[Address, ...]
LookUp = Callable[[str], Addresses]
"""Blocks until the addresses of a name are known; raises OSError or UnicodeError."""


def ask_system(host: str) -> Addresses:
    """Return the addresses of a name in the order of preference (RFC 6724), as the system's resolver knows them.

    Raises:
        OSError: it has none, or nobody who could tell was reached.
        UnicodeError: it is no valid name.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    inet = (socket.AF_INET, socket.AF_INET6)
    return tuple(dict.fromkeys(Address(family, str(each[0])) for family, _, _, _, each in found if family in inet))


def literal(host: str) -> Address | None:
    """Return the address that a host is already, or None if it is a name."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    return Address(socket.AF_INET if version == 4 else socket.AF_INET6, host)


class Resolver:
    """The names that a worker has looked up, and those that it is looking up."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        look_up: LookUp = ask_system,
        now: Callable[[], float] = monotonic,
        max_threads: int = MAX_THREADS,
    ) -> None:
        self._loop = loop
        self._look_up = look_up
        self._now = now
        self._max_threads = max_threads
        self._known: OrderedDict[str, tuple[float, Addresses]] = OrderedDict()
        """Until when it counts, and the answer."""
        self._pending: dict[str, asyncio.Future[Addresses | OSError | UnicodeError]] = {}
        """A failure is a value here: nobody may be left to whom it could be raised."""
        self._queued: deque[str] = deque()
        self._threads = 0

    @property
    def threads(self) -> int:
        """Look-ups under way."""
        return self._threads

    async def resolve(self, host: str) -> Addresses:
        """Return the addresses of a host, in the order in which they are to be tried.

        Raises:
            OSError: it has none, or nobody who could tell was reached.
            UnicodeError: it is no valid name.
        """
        address = literal(host)
        if address is not None:
            return (address,)
        known = self._known.get(host)
        if known is not None and self._now() < known[0]:
            return known[1]
        pending = self._pending.get(host)
        if pending is None:
            pending = self._pending[host] = self._loop.create_future()
            self._queued.append(host)
            self._begin()
        found = await asyncio.shield(pending)
        if isinstance(found, OSError | UnicodeError):
            raise found.with_traceback(None)
        return found

    def _begin(self) -> None:
        while self._queued and self._threads < self._max_threads:
            host = self._queued.popleft()
            self._threads += 1
            thread = threading.Thread(target=self._work, args=(host,), name=f"resolve {host}"[:64], daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads
                self._finish(host, OSError(errno.EAGAIN, "no thread could be started to resolve its name"))

    def _work(self, host: str) -> None:
        found: Addresses | OSError | UnicodeError
        try:
            found = self._look_up(host) or socket.gaierror(socket.EAI_NODATA, "no address")
        except (OSError, UnicodeError) as error:
            found = error
        with contextlib.suppress(RuntimeError):  # the loop has ended in the meantime
            self._loop.call_soon_threadsafe(self._finish, host, found)

    def _finish(self, host: str, found: Addresses | OSError | UnicodeError) -> None:
        self._threads -= 1
        self._known.pop(host, None)
        if isinstance(found, tuple):
            self._known[host] = (self._now() + LIFETIME_SECONDS, found)
            if len(self._known) > MAX_NAMES:
                self._known.popitem(last=False)
        pending = self._pending.pop(host)
        if not pending.done():
            pending.set_result(found)
        self._begin()
