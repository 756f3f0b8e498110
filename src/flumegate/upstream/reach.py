"""A connected socket to whichever address of a host answers first (after RFC 8305, without its sorting).

The addresses are tried in their order, the next one as soon as one fails or takes longer than 250 ms: a broken IPv6
route costs a quarter of a second, not the connect timeout. Names come from `upstream.resolve`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque

from flumegate.upstream.resolve import Address, Addresses

STAGGER_SECONDS = 0.25
"""Connection Attempt Delay (RFC 8305 §5)."""


async def reach(loop: asyncio.AbstractEventLoop, addresses: Addresses, port: int) -> socket.socket:
    """Return a connected socket; whoever cancels this leaves none behind.

    Raises:
        OSError: no address accepted; the failure of the last one.
    """
    if len(addresses) == 1:
        return await _connect(loop, addresses[0], port)
    waiting = deque(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    failure = OSError("no address")
    try:
        while waiting or running:
            if waiting:
                running.add(loop.create_task(_connect(loop, waiting.popleft(), port)))
            patience = STAGGER_SECONDS if waiting else None
            done, _ = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                running.discard(task)
                error = task.exception()
                if error is None:
                    running |= done - {task}
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                failure = error
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_discard)  # it may have been connected in this very turn
    raise failure


async def _connect(loop: asyncio.AbstractEventLoop, address: Address, port: int) -> socket.socket:
    # Not loop.sock_connect: uvloop passes even numbers through the four threads of its resolver.
    end = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        end.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        status = end.connect_ex((address.host, port))
        if status in (errno.EINPROGRESS, errno.EWOULDBLOCK):
            await _writable(loop, end)
            status = end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            raise OSError(status, os.strerror(status))
    except BaseException:
        end.close()
        raise
    return end


async def _writable(loop: asyncio.AbstractEventLoop, end: socket.socket) -> None:
    ready = loop.create_future()
    loop.add_writer(end.fileno(), _wake, ready)
    try:
        await ready
    finally:
        loop.remove_writer(end.fileno())


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _discard(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
