"""A provider that answers only when a test lets it: for proofs about requests in flight."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

ANSWER = b'{"id":"x","object":"chat.completion","model":"m","choices":[]}'


class HeldUpstream:
    """Accepts requests at once and answers each when `release` has been called."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._arrived = threading.Semaphore(0)
        self._released = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def settings(self) -> dict[str, object]:
        """How it stands in a configuration."""
        url = f"http://127.0.0.1:{self.port}/v1"
        return {"type": "openai_compatible", "base_url": url, "api_key": "sk-upstream-canary", "default": True}

    def wait_for_request(self) -> None:
        assert self._arrived.acquire(timeout=30), "no request has reached the upstream"

    def release(self) -> None:
        self._released.set()

    def close(self) -> None:
        self._released.set()
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(65536)
            head, _, body = received.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            while len(body) < length:
                body += connection.recv(65536)
            self._arrived.release()
            self._released.wait(60)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
                + ANSWER
            )
            connection.recv(1)


@contextlib.contextmanager
def held_upstream() -> Iterator[HeldUpstream]:
    """Run the provider for the length of a `with` block."""
    upstream = HeldUpstream()
    try:
        yield upstream
    finally:
        upstream.close()
