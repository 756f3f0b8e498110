"""An upstream that does what it is told, byte by byte: half a head, a wrong length, a reset at any offset.

A script is what happens after one whole request was read; the connection then waits for the next one. Set `script` for
all requests that follow, or `scripts` for one request each.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Iterator, Sequence

_NO_LINGER = struct.pack("ii", 1, 0)


class Step(enum.Enum):
    """What a script can do besides sending bytes."""

    FIN = "close the connection"
    RESET = "reset the connection"
    HANG = "say nothing more, and wait until the other side leaves"


class Pause(threading.Event):
    """A step that waits until the test sets it."""


Script = Sequence[bytes | Step | Pause]


class ScriptedUpstream:
    """A running upstream. `requests` holds what came, head and body, in its order."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._context = context
        self._changed = threading.Condition()
        self._sockets: set[socket.socket] = set()
        self.port: int = self._server.getsockname()[1]
        self.script: Script = ()
        self.scripts: deque[Script] = deque()
        self.requests: list[bytes] = []
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def play(self, *steps: bytes | Step | Pause) -> None:
        """Set what happens at every request from now on, and forget what came before."""
        with self._changed:
            self.script = steps
            self.scripts.clear()
            self.requests.clear()

    def play_once(self, *steps: bytes | Step | Pause) -> None:
        """Add what happens at one request; then comes the next such script, or `script`."""
        self.scripts.append(steps)

    @property
    def open_sockets(self) -> int:
        with self._changed:
            return len(self._sockets)

    def wait_for(self, *, requests: int | None = None, open_sockets: int | None = None, seconds: float = 20) -> None:
        """Return once so many requests have come, or so many sockets are left open."""

        def reached() -> bool:
            enough = requests is None or len(self.requests) >= requests
            return enough and (open_sockets is None or len(self._sockets) == open_sockets)

        with self._changed:
            assert self._changed.wait_for(reached, seconds), (
                f"{len(self.requests)} requests, {len(self._sockets)} open sockets"
            )

    def say(self, data: bytes) -> None:
        """Send bytes that nobody asked for, on every open connection."""
        with self._changed:
            for end in self._sockets:
                with contextlib.suppress(OSError):
                    end.sendall(data)

    def hang_up(self) -> None:
        """Close every open connection."""
        with self._changed:
            for end in self._sockets:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening and end all connections."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.hang_up()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                end, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(end,), daemon=True).start()

    def _serve(self, end: socket.socket) -> None:
        if self._context is not None:
            try:
                end = self._context.wrap_socket(end, server_side=True)
            except OSError:
                end.close()
                return
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._changed:
            self._sockets.add(end)
            self.accepted += 1
        try:
            with contextlib.suppress(OSError):
                while (script := self._next(end)) is not None and _perform(end, script):
                    pass
        finally:
            with self._changed:
                self._sockets.discard(end)
                end.close()
                self._changed.notify_all()

    def _next(self, end: socket.socket) -> Script | None:
        request = _read_request(end)
        if request is None:
            return None
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
            return self.scripts.popleft() if self.scripts else self.script


def _read_request(end: socket.socket) -> bytes | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = end.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        while not body.endswith(b"0\r\n\r\n"):
            body += end.recv(65536) or b"0\r\n\r\n"
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
    while len(body) < length:
        piece = end.recv(65536)
        if not piece:
            return None
        body += piece
    return head + b"\r\n\r\n" + body


def _perform(end: socket.socket, script: Script) -> bool:
    """Return whether the connection serves further requests."""
    for step in script:
        if isinstance(step, bytes):
            end.sendall(step)
        elif isinstance(step, Pause):
            step.wait(60)
        elif step is Step.FIN:
            end.shutdown(socket.SHUT_RDWR)
            return False
        elif step is Step.RESET:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            return False
        else:
            while end.recv(65536):
                pass
            return False
    return True


def answer(body: bytes, *, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    """Return a JSON answer of known length; `headers` are whole lines."""
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
    return head % (status, headers, len(body)) + body


def stream(*events: bytes) -> bytes:
    """Return a chunked stream of server-sent events, each in a chunk of its own."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"


@contextlib.contextmanager
def scripted_upstream(context: ssl.SSLContext | None = None) -> Iterator[ScriptedUpstream]:
    """Run one for the length of a `with` block."""
    upstream = ScriptedUpstream(context)
    try:
        yield upstream
    finally:
        upstream.close()
