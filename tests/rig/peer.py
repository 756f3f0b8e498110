"""A provider that says exactly the bytes that a test wrote, and keeps exactly the bytes that it was sent.

    with run_peer() as peer:
        peer.say(answer(b'{"id": 1.0}'))
        ...
        assert peer.last.body == sent

Threads and plain sockets: what it writes leaves as it stands, one `sendall` for each piece. With a TLS context it
counts the handshakes that failed.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from typing import NamedTuple

WAIT_SECONDS = 30.0
CHAT = b'{"id":"c1","object":"chat.completion","model":"m","choices":[],"usage":null}'


class Seen(NamedTuple):
    """One request as it arrived. Header names as received, in the order of the wire."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes
    """Without its chunk framing."""
    connection: int
    client_certificate: bool

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each.lower() == name]

    @property
    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.headers}


def answer(
    body: bytes,
    *headers: tuple[str, str],
    status: str = "200 OK",
    content_type: str = "application/json",
    length: bool = True,
) -> bytes:
    """Return an answer with its length; without one it ends with the connection."""
    fields = [("content-type", content_type), *headers]
    if length:
        fields.append(("content-length", str(len(body))))
    return _head(status, fields) + body


def stream(
    pieces: Iterable[bytes], *headers: tuple[str, str], content_type: str = "text/event-stream"
) -> tuple[bytes, ...]:
    """Return a chunked answer as the pieces it is written in: the head, one chunk each, the last chunk."""
    fields = [("content-type", content_type), *headers, ("transfer-encoding", "chunked")]
    return (_head("200 OK", fields), *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n\r\n")


def _head(status: str, fields: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Peer:
    """One running provider.

    Attributes:
        seen: every request, oldest first.
        failed_handshakes: TLS connections that did not come about.
        versions: of TLS, of those that did.
        received_bytes: everything that came in, below TLS decrypted.
        answers_early: the answer leaves with the request's head, before its body.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._server.getsockname()[1]
        self.seen: list[Seen] = []
        self.failed_handshakes = 0
        self.versions: set[str | None] = set()
        self.received_bytes = 0
        self.answers_early = False
        self._writes: tuple[bytes, ...] = (answer(CHAT),)
        self._close = False
        self._changed = threading.Condition()
        self._ends: set[socket.socket] = set()
        self._connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Its origin; over TLS by name, because certificates are made out to one."""
        return f"https://localhost:{self.port}" if self._context else f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    def say(self, *writes: bytes, close: bool = False) -> None:
        """Answer with these pieces from now on; `close`: the connection ends behind them."""
        self._writes, self._close = writes, close

    def swap(self, context: ssl.SSLContext) -> None:
        """Show another certificate from now on, and end the connections that were made under the last one."""
        self._context = context
        self._hang_up()

    def wait_for_failed_handshakes(self, count: int) -> None:
        with self._changed:
            came = self._changed.wait_for(lambda: self.failed_handshakes >= count, WAIT_SECONDS)
            assert came, f"only {self.failed_handshakes} handshakes failed"

    def wait_for_requests(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.seen) >= count, WAIT_SECONDS), f"{len(self.seen)} requests"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
        self._server.close()
        self._hang_up()

    def _hang_up(self) -> None:
        with self._changed:
            for end in self._ends:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(end, socket.SHUT_RDWR)  # below TLS, which its own thread is using

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                end, _ = self._server.accept()
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections += 1
                threading.Thread(target=self._serve, args=(end, self._connections), daemon=True).start()

    def _serve(self, end: socket.socket, number: int) -> None:
        with self._changed:
            self._ends.add(end)
        try:
            if self._context is None:
                self._talk(end, number)
                return
            try:
                secured = self._context.wrap_socket(end, server_side=True)
            except OSError:
                with self._changed:
                    self.failed_handshakes += 1
                    self._changed.notify_all()
                return
            with self._changed:
                self._ends = (self._ends - {end}) | {secured}
                self.versions.add(secured.version())
            end = secured
            self._talk(end, number)
        except OSError:
            pass  # the other side has left; what it sent until then is kept
        finally:
            with self._changed:
                self._ends.discard(end)
            end.close()

    def _talk(self, end: socket.socket, number: int) -> None:
        known = isinstance(end, ssl.SSLSocket) and bool(end.getpeercert())
        buffer = bytearray()
        while True:
            head = self._until(end, buffer, b"\r\n\r\n")
            if head is None:
                return
            line, *fields = head[:-4].decode("latin-1").split("\r\n")
            headers = [(name, value) for name, _, value in (field.partition(": ") for field in fields)]
            if self.answers_early:
                self._see(Seen(line, headers, b"", number, known))
                self._write(end)
                end.shutdown(socket.SHUT_WR)
                while end.recv(65536):
                    pass
                return
            body = self._body(end, buffer, {name.lower(): value for name, value in headers})
            if body is None:
                return
            self._see(Seen(line, headers, body, number, known))
            self._write(end)
            if self._close:
                return

    def _see(self, seen: Seen) -> None:
        with self._changed:
            self.seen.append(seen)
            self._changed.notify_all()

    def _write(self, end: socket.socket) -> None:
        for piece in self._writes:
            end.sendall(piece)

    def _body(self, end: socket.socket, buffer: bytearray, fields: dict[str, str]) -> bytes | None:
        if "transfer-encoding" not in fields:
            return self._exactly(end, buffer, int(fields.get("content-length", "0")))
        body = b""
        while True:
            line = self._until(end, buffer, b"\r\n")
            if line is None:
                return None
            size = int(line, 16)
            piece = self._exactly(end, buffer, size + 2)
            if piece is None:
                return None
            if not size:
                return body
            body += piece[:-2]

    def _until(self, end: socket.socket, buffer: bytearray, mark: bytes) -> bytes | None:
        while (at := buffer.find(mark)) < 0:
            if not self._more(end, buffer):
                return None
        return self._taken(buffer, at + len(mark))

    def _exactly(self, end: socket.socket, buffer: bytearray, size: int) -> bytes | None:
        while len(buffer) < size:
            if not self._more(end, buffer):
                return None
        return self._taken(buffer, size)

    def _more(self, end: socket.socket, buffer: bytearray) -> bool:
        data = end.recv(1 << 20)
        self.received_bytes += len(data)
        buffer += data
        return bool(data)

    @staticmethod
    def _taken(buffer: bytearray, size: int) -> bytes:
        taken = bytes(buffer[:size])
        del buffer[:size]
        return taken


@contextlib.contextmanager
def run_peer(context: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """Run a provider for the length of a `with` block."""
    peer = Peer(context)
    try:
        yield peer
    finally:
        peer.close()
