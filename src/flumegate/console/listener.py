"""Serves the console's application on a socket: uvicorn inside a loop and a process that belong to control.

Its signal handlers are off, since control decides when to end, and its log lines go through our own log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from flumegate import log

GRACE_SECONDS = 1
"""For answers under way at the end."""


class _OwnLog(logging.Handler):
    """Passes on what uvicorn has to say."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        bug = repr(record.exc_info[1])[:300] if record.exc_info else ""
        level = "error" if record.levelno >= logging.ERROR else "warning"
        log.event(log.level(level), "console_server", says=record.getMessage().strip(), **({"bug": bug} if bug else {}))


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signals alone."""
        yield


class Listener:
    """One run of the server."""

    def __init__(self, app: ASGIApp) -> None:
        logger = logging.getLogger("uvicorn")
        logger.handlers = [_OwnLog(logging.WARNING)]
        logger.propagate = False
        self._server = _Server(
            uvicorn.Config(
                app,
                http="h11",  # httptools would take a head without end
                ws="none",
                lifespan="off",
                log_config=None,
                log_level=logging.WARNING,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    def start(self, end: socket.socket) -> None:
        """Begin to serve on a listening socket, which is ours from now on."""
        # Connections inherit it: head and body are two writes, and the second would wait for an ACK of the first.
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._serving = asyncio.create_task(self._server.serve([end]))

    async def stop(self) -> None:
        """Accept no more, and finish what is under way."""
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.gather(self._serving, return_exceptions=True)
