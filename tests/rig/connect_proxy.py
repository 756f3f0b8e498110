"""An HTTP CONNECT proxy (RFC 9110 §9.3.6) that keeps what it was asked and everything that went through it."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator


class ConnectProxy:
    """A running proxy.

    Attributes:
        asked: request line and header lines of every CONNECT, oldest first.
        carried: all bytes from clients to servers.
    """

    def __init__(self, login: str = "", refusal: str = "") -> None:
        self._login = login
        self._refusal = refusal
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.asked: list[list[str]] = []
        self.carried = b""
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, login: str = "") -> str:
        return f"http://{login}@127.0.0.1:{self.port}" if login else f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        for end in (self._server, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the threads that wait on it
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self._ends.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(65536)
                if not piece:
                    return
                head += piece
            lines = head.decode("latin-1").split("\r\n")[:-2]
            self.asked.append(lines)
            wanted = f"proxy-authorization: Basic {base64.b64encode(self._login.encode()).decode()}"
            if self._login and wanted not in lines:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
                return
            if self._refusal:
                client.sendall(self._refusal.encode())
                return
            host, _, port = lines[0].split(" ")[1].rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port)), timeout=30) as server:
                self._ends.append(server)
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                while data := client.recv(65536):
                    self.carried += data
                    server.sendall(data)
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)
                back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def run_connect_proxy(login: str = "", refusal: str = "") -> Iterator[ConnectProxy]:
    """Run a proxy for the length of a `with` block.

    Args:
        login: `user:password` that it demands; empty = none.
        refusal: the bytes that it answers CONNECT with, instead of opening a tunnel.
    """
    proxy = ConnectProxy(login, refusal)
    try:
        yield proxy
    finally:
        proxy.close()
