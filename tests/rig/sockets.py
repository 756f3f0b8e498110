"""A client that hides nothing: bytes in, bytes out, every header line and every chunk as it stood on the wire.

    answer = call(gateway.port, "POST", "/v1/chat/completions", body=b"{}", key=KEY)
    assert answer.header("x-request-id")

`call` opens a connection of its own; `Caller` keeps one and lets a test send whatever it likes.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple, Self

ANSWER_SECONDS = 60.0
Pairs = Iterable[tuple[str, str]]


class WireAnswer(NamedTuple):
    """One answer as it came. Header names are in lower case, in the order of the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    chunks: list[bytes]
    """The chunks as framed; empty where the body had a length or ended with the connection."""
    interim: list[int]
    """Statuses of the 1xx answers before it."""
    complete: bool
    """The framing came to its end."""

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each == name]

    def header(self, name: str) -> str | None:
        found = self.values(name)
        assert len(found) < 2, f"{name} came {len(found)} times: {found}"
        return found[0] if found else None

    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """One client connection."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        end = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket = end if context is None else context.wrap_socket(end, server_hostname="localhost")
        except BaseException:
            end.close()
            raise
        self._reader: BinaryIO = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_head(self) -> tuple[int, list[tuple[str, str]]]:
        """Return status and headers of the next head, a 1xx one included."""
        line = self._reader.readline()
        assert line.startswith(b"HTTP/1.1 "), f"no status line: {line!r}"
        headers: list[tuple[str, str]] = []
        while (field := self._reader.readline()) not in (b"\r\n", b""):
            name, _, value = field.decode("latin-1").rstrip("\r\n").partition(": ")
            headers.append((name.lower(), value))
        return int(line[9:12]), headers

    def read_bytes(self, size: int) -> bytes:
        return self._reader.read(size)

    def read_line(self) -> bytes:
        return self._reader.readline()

    def read_answer(self, *, headless: bool = False) -> WireAnswer:
        """Return the next answer, read to its end."""
        interim: list[int] = []
        status, headers = self.read_head()
        while status < 200:
            interim.append(status)
            status, headers = self.read_head()
        fields = dict(headers)
        if headless or status in (204, 304):
            return WireAnswer(status, headers, b"", [], interim, complete=True)
        if fields.get("transfer-encoding") == "chunked":
            assert "content-length" not in fields, "both a length and chunks"
            chunks, complete = self._read_chunks()
            return WireAnswer(status, headers, b"".join(chunks), chunks, interim, complete)
        if "content-length" in fields:
            length = int(fields["content-length"])
            body = self._reader.read(length)
            return WireAnswer(status, headers, body, [], interim, len(body) == length)
        return WireAnswer(status, headers, self._reader.read(), [], interim, complete=True)

    def _read_chunks(self) -> tuple[list[bytes], bool]:
        chunks: list[bytes] = []
        while size := int(self._reader.readline() or b"-1", 16):
            if size < 0:
                return chunks, False
            chunk = self._reader.read(size)
            chunks.append(chunk)
            if self._reader.read(2) != b"\r\n":
                return chunks, False
        return chunks, self._reader.readline() == b"\r\n"

    def read_end(self) -> bytes:
        """Return what comes until the connection ends."""
        return self._reader.read()


def head(method: str, path: str, headers: Pairs = (), *, key: str = "") -> bytes:
    """Return a request's head; `host` stands first, the key behind it."""
    lines = [f"{method} {path} HTTP/1.1", "host: gateway.test"]
    if key:
        lines.append(f"authorization: Bearer {key}")
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def call(
    port: int,
    method: str,
    path: str,
    headers: Pairs = (),
    *,
    body: bytes | None = None,
    key: str = "",
    context: ssl.SSLContext | None = None,
) -> WireAnswer:
    """Return the answer to one request on a connection of its own; a body gets its length, and JSON as its type."""
    fields = list(headers)
    names = {name.lower() for name, _ in fields}
    if body is not None:
        if "content-type" not in names:
            fields.append(("content-type", "application/json"))
        fields.append(("content-length", str(len(body))))
    with Caller(port, context) as caller:
        caller.send(head(method, path, fields, key=key) + (body or b""))
        return caller.read_answer(headless=method == "HEAD")


def chunked(pieces: Iterable[bytes]) -> bytes:
    """Return pieces framed as chunks, the last chunk included."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"
