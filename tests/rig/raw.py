"""A client without manners: bytes on a socket, and everything that comes back read without forgiveness.

No HTTP library stands between a test and the wire, so malformed requests can be sent and cut answers be told from whole
ones.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

WAIT_SECONDS = 20.0
_NO_LINGER = struct.pack("ii", 1, 0)
Ending = Literal["fin", "reset", "open"]


class BrokenAnswerError(AssertionError):
    """What came is no HTTP/1.1 answer."""


class Answer(NamedTuple):
    """One final answer. `complete` is False where the connection ended before the framing said so."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The gateway's error code, in whichever dialect it is written."""
        body = self.json()
        error = body["error"]
        return str(error.get("code") or body.get("code") or error.get("type"))


class Talk(NamedTuple):
    """All final answers of a connection, the number of interim ones, bytes that are no answer yet, and how it ended."""

    answers: list[Answer]
    interims: int
    rest: bytes
    end: Ending


def request(
    path: str = "/v1/chat/completions",
    body: bytes | dict[str, Any] | None = None,
    *,
    key: str | None = None,
    method: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> bytes:
    """Return a well-formed request; a dict is sent as JSON, and what has a body is a POST."""
    lines = [f"{method or ('GET' if body is None else 'POST')} {path} HTTP/1.1", "host: gateway.test"]
    if key is not None:
        lines.append(f"authorization: Bearer {key}")
    data = b""
    if body is not None:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        if isinstance(body, dict):
            lines.append("content-type: application/json")
        lines.append(f"content-length: {len(data)}")
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


class Wire:
    """One connection."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(WAIT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.data = bytearray()
        self.end: Ending = "open"

    def send(self, *pieces: bytes) -> None:
        """Send; a peer that has already closed is no error, for it may have had enough."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                self.socket.sendall(piece)

    def receive(self, size: int = 65536) -> bytes:
        """Read once and keep what came; empty when the connection has ended."""
        try:
            piece = self.socket.recv(size)
        except ConnectionResetError:
            self.end = "reset"
            return b""
        if not piece:
            self.end = "fin"
        self.data += piece
        return piece

    def until(self, mark: bytes) -> bytes:
        """Return everything read once it holds these bytes.

        Raises:
            AssertionError: the connection ended before, or they did not come in time.
        """
        limit = time.monotonic() + WAIT_SECONDS
        while mark not in self.data:
            assert time.monotonic() < limit, f"{mark!r} did not come: {bytes(self.data)!r}"
            assert self.receive(), f"the connection ended before {mark!r}: {bytes(self.data)!r}"
        return bytes(self.data)

    def answers(self, count: int) -> list[Answer]:
        """Return the first answers, once so many are complete or the connection has ended."""
        while True:
            talk = read_answers(bytes(self.data), "open" if self.end == "open" else self.end)
            if sum(answer.complete for answer in talk.answers) >= count or self.end != "open":
                return talk.answers
            self.receive()

    def to_end(self) -> Talk:
        """Read until the connection ends, and return what it was."""
        while self.receive():
            pass
        return read_answers(bytes(self.data), self.end)

    def half_close(self) -> None:
        """Say that nothing more is sent."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.socket.close()

    def close(self) -> None:
        """Leave with a FIN, or with a RST where unread data is left, as the kernel does."""
        self.socket.close()


@contextlib.contextmanager
def wire(port: int, *, receive_buffer: int | None = None) -> Iterator[Wire]:
    """Open one connection for the length of a `with` block."""
    opened = Wire(port, receive_buffer=receive_buffer)
    try:
        yield opened
    finally:
        opened.close()


@contextlib.contextmanager
def wires(port: int, count: int, *, receive_buffer: int | None = None) -> Iterator[list[Wire]]:
    """Open several connections for the length of a `with` block."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(wire(port, receive_buffer=receive_buffer)) for _ in range(count)]


def talk(port: int, *pieces: bytes) -> Talk:
    """Send pieces and read until the other side ends the connection."""
    with wire(port) as opened:
        opened.send(*pieces)
        return opened.to_end()


def ask(port: int, data: bytes) -> Answer:
    """Send one request and return its answer, complete or not."""
    with wire(port) as opened:
        opened.send(data)
        answers = opened.answers(1)
        assert answers, f"the connection ended ({opened.end}) without an answer: {bytes(opened.data)!r}"
        return answers[0]


def read_answers(data: bytes, end: Ending) -> Talk:
    """Return what bytes from a gateway mean.

    Raises:
        BrokenAnswerError: they are not HTTP/1.1.
    """
    answers: list[Answer] = []
    interims = 0
    while data:
        head, blank, rest = data.partition(b"\r\n\r\n")
        if not blank:
            break
        status, headers = _read_head(head)
        if 100 <= status < 200:
            interims += 1
            data = rest
            continue
        body, rest, complete = _read_body(status, headers, rest, end)
        answers.append(Answer(status, headers, body, complete))
        data = rest
        if not complete:
            data = b""
    return Talk(answers, interims, data, end)


def _read_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.split(b"\r\n")
    version, _, rest = first.partition(b" ")
    if version != b"HTTP/1.1" or not rest[:3].isdigit():
        raise BrokenAnswerError(f"no status line: {first!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip() or b"\n" in line or b"\r" in line:
            raise BrokenAnswerError(f"no header field: {line!r}")
        headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
    return int(rest[:3]), headers


def _read_body(status: int, headers: dict[str, str], data: bytes, end: Ending) -> tuple[bytes, bytes, bool]:
    if status in (204, 304):
        return b"", data, True
    if headers.get("transfer-encoding") == "chunked":
        return _read_chunks(data)
    if "content-length" in headers:
        length = int(headers["content-length"])
        return data[:length], data[length:], len(data) >= length
    return data, b"", end == "fin"


def _read_chunks(data: bytes) -> tuple[bytes, bytes, bool]:
    body = bytearray()
    while True:
        size, line_end, rest = data.partition(b"\r\n")
        if not line_end:
            return bytes(body), data, False
        length = int(size, 16)
        if len(rest) < length + 2:
            return bytes(body) + rest[:length], b"", False
        if rest[length : length + 2] != b"\r\n":
            raise BrokenAnswerError(f"a chunk of {length} bytes does not end where it says")
        body += rest[:length]
        data = rest[length + 2 :]
        if length == 0:
            return bytes(body), data, True
