"""Endpoints that prove what a proxy did to a request: upload, download, reflect. Bodies of any size in flat memory."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator

from flumegate.mock.frames import encode
from flumegate.mock.look import Json

BLOCK_BYTES = 64 << 10
_BLOCK_TAIL = hashlib.shake_128(b"flumegate mock").digest(BLOCK_BYTES - 8)


class Sink:
    """Takes a body piece by piece, keeps its size and hash and, up to `keep_bytes`, its beginning."""

    def __init__(self, keep_bytes: int) -> None:
        self.size = 0
        self.kept = bytearray()
        self._keep_bytes = keep_bytes
        self._hash = hashlib.sha256()

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        self.size += len(piece)
        self._hash.update(piece)
        lack = self._keep_bytes - len(self.kept)
        if lack > 0:
            self.kept += piece[:lack]

    def sha256(self) -> str:
        """Return the hash of everything so far, in hexadecimal."""
        return self._hash.hexdigest()


def download(size: int) -> Iterator[bytes]:
    """Yield `size` bytes, always the same: blocks of 64 KiB, each its number (8 bytes, big-endian) and a fixed tail."""
    for number in range(-(-size // BLOCK_BYTES)):
        block = number.to_bytes(8, "big") + _BLOCK_TAIL
        yield block[: size - number * BLOCK_BYTES]


def uploaded(method: str, headers: Iterable[tuple[bytes, bytes]], sink: Sink) -> bytes:
    """Return what `/v1/upload` answers."""
    return encode({"bytes": sink.size, "sha256": sink.sha256(), "method": method, "headers": _pairs(headers)})


def reflection(method: str, target: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Return what `/v1/reflect` and `/v1/echo/…` answer: the request as it arrived, the body in base64."""
    path, _, query = target.partition("?")
    seen: Json = {"method": method, "path": path, "query": query, "headers": _pairs(headers)}
    return encode(seen | {"body": base64.b64encode(body).decode()})


def _pairs(headers: Iterable[tuple[bytes, bytes]]) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]
