"""Start and end of the mock: one process, one uvloop, one listening socket, ready when its one line is on stdout."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from typing import TextIO

import uvloop

from flumegate.mock import options as options_
from flumegate.mock.options import OptionError, Options
from flumegate.mock.protocol import Connection
from flumegate.mock.stage import Stage

BACKLOG = 4096


def main(argv: list[str] | None = None) -> int:
    """Run the mock of a command line (`sys.argv` if None) until SIGTERM or SIGINT; return the exit code."""
    return serve(options_.read(argv))


def serve(options: Options) -> int:
    """Run one mock until SIGTERM or SIGINT.

    Returns:
        0 after a signal, 1 if the address cannot be listened on, 2 if an option cannot be used.
    """
    try:
        listening = _listening(options)
    except OptionError as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    except OSError as problem:
        where = f"fd {options.fd}" if options.fd is not None else options.listen
        sys.stderr.write(f"Cannot listen on {where}: {problem.strerror}. Choose another --listen, or port 0\n")
        return 1
    uvloop.run(_run(options, listening))
    return 0


async def _run(options: Options, listening: socket.socket) -> None:
    stage = Stage(options)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = await loop.create_server(lambda: Connection(stage), sock=listening, backlog=BACKLOG)
    gc.collect()
    gc.freeze()
    _say(options, listening)
    await ended.wait()
    server.close()
    for connection in tuple(stage.connections):
        connection.abort()


def _say(options: Options, listening: socket.socket) -> None:
    if options.fd is None:
        # Whoever handed a socket over knows where it listens.
        host, port = listening.getsockname()[:2]
        _write(sys.stdout, f"mock listening on http://{f'[{host}]' if ':' in host else host}:{port}\n")
    if not options.quiet:
        _write(sys.stderr, "It answers every dialect; GET /mock/ledger shows what it served. End it with Ctrl-C\n")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        # Nobody reads: no reason not to serve. The text must not be tried again at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _listening(options: Options) -> socket.socket:
    if options.fd is not None:
        return socket.socket(fileno=options.fd)
    host, port = options_.address(options)
    family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    end = socket.socket(family, kind, protocol)
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        end.bind(where)
        end.listen(BACKLOG)
    except OSError:
        end.close()
        raise
    return end
