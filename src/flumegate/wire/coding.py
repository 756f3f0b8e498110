"""Content codings: gzip, deflate, br and zstd, decoded piece by piece and bounded.

A few bytes can unfold to gigabytes. Nothing here returns more than about a megabyte a step, and a decoder refuses to go
on when its output has outgrown both the caller's limit and any ratio that text reaches.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

STEP_BYTES = 1 << 20
MAX_RATIO = 200
"""Text rarely shrinks more than 20-fold; past this ratio (and past `free_bytes`) it is a bomb."""
MAX_MEMBERS = 10_000
"""Parts (gzip members, zstd frames) of one body. An empty one takes twenty bytes and as long as kilobytes of text."""
MAX_CODINGS = 3
"""Codings on top of one another: each may unfold to the whole limit once more."""
_SLICE_BYTES = 65_536
"""zlib copies what lies behind a member, so it is shown no more than this at a time."""


class CodingError(Exception):
    """The bytes are damaged, incomplete, or unfold beyond the limit (`bomb` is True)."""

    def __init__(self, message: str, *, bomb: bool = False) -> None:
        super().__init__(message)
        self.bomb = bomb


class UnknownCodingError(Exception):
    """No decoder for this content coding."""


def _next_member(count: int) -> int:
    if count >= MAX_MEMBERS:
        raise CodingError(f"the compressed data has more than {MAX_MEMBERS} parts")
    return count + 1


class _Engine(Protocol):
    def steps(self, data: bytes) -> Iterator[bytes]: ...
    def finished(self) -> bool: ...


class _Zlib:
    def __init__(self, window_bits: int) -> None:
        self._inflate = zlib.decompressobj(window_bits)
        self._window_bits = window_bits
        self._begun = False
        self._members = 1

    def steps(self, data: bytes) -> Iterator[bytes]:
        if not self._begun and data:
            self._begun = True
            # "deflate" means zlib-wrapped by the book (RFC 9110 §8.4.1.2) and bare deflate from some servers.
            if self._window_bits == zlib.MAX_WBITS and data[0] & 0x0F != 8:
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            for start in range(0, len(data), _SLICE_BYTES):
                yield from self._inflate_slice(data[start : start + _SLICE_BYTES])
        except zlib.error as error:
            raise CodingError(f"damaged compressed data ({error})") from None

    def _inflate_slice(self, data: bytes) -> Iterator[bytes]:
        full = False
        while data or full:
            if self._inflate.eof:
                if self._window_bits <= zlib.MAX_WBITS:
                    return  # deflate has one end, and what lies behind it says nothing
                self._members = _next_member(self._members)
                self._inflate = zlib.decompressobj(self._window_bits)
            piece = self._inflate.decompress(data, STEP_BYTES)
            yield piece
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            full = len(piece) == STEP_BYTES and not self._inflate.eof  # zlib may hold more than it has input left

    def finished(self) -> bool:
        return self._inflate.eof


class _Brotli:
    def __init__(self) -> None:
        import brotli  # noqa: PLC0415 - most workers never meet a brotli body; 3 MB saved

        self._error = brotli.error
        self._decoder = brotli.Decompressor()

    def steps(self, data: bytes) -> Iterator[bytes]:
        try:
            yield self._decoder.process(data, output_buffer_limit=STEP_BYTES)
            while not self._decoder.can_accept_more_data():
                yield self._decoder.process(b"", output_buffer_limit=STEP_BYTES)
        except self._error:
            raise CodingError("damaged brotli data") from None

    def finished(self) -> bool:
        return bool(self._decoder.is_finished())


_ZSTD_SLICE_BYTES = 32
"""A zstd block of four bytes may unfold to 128 KiB, and the library offers no output limit: feed it bit by bit."""


class _Zstd:
    def __init__(self) -> None:
        import zstandard  # noqa: PLC0415 - as for brotli

        self._error = zstandard.ZstdError
        self._frames = zstandard.ZstdDecompressor(max_window_size=8 << 20)
        self._decoder = self._frames.decompressobj()
        self._members = 1

    def steps(self, data: bytes) -> Iterator[bytes]:
        try:
            for start in range(0, len(data), _ZSTD_SLICE_BYTES):
                piece = data[start : start + _ZSTD_SLICE_BYTES]
                while piece:
                    if self._decoder.eof:
                        self._members = _next_member(self._members)
                        self._decoder = self._frames.decompressobj()  # zstd may have several frames (RFC 8878 §3)
                    yield self._decoder.decompress(piece)
                    piece = self._decoder.unused_data
        except self._error as error:
            raise CodingError(f"damaged zstd data ({error})") from None

    def finished(self) -> bool:
        return bool(self._decoder.eof)


class Decoder:
    """Decodes one body.

    Args:
        coding: value of the `content-encoding` field; one coding, `identity` is not for this class.
        free_bytes: decoded size below which no ratio is looked at.
        max_bytes: decoded size at which decoding stops in any case; None = no limit (the caller streams).

    Raises:
        UnknownCodingError: the coding is not one of gzip, x-gzip, deflate, br, zstd.
    """

    def __init__(self, coding: bytes, *, free_bytes: int = 16 << 20, max_bytes: int | None = None) -> None:
        name = coding.strip().lower()
        self._engine: _Engine
        if name in (b"gzip", b"x-gzip"):
            self._engine = _Zlib(zlib.MAX_WBITS | 16)
        elif name == b"deflate":
            self._engine = _Zlib(zlib.MAX_WBITS)
        elif name == b"br":
            self._engine = _Brotli()
        elif name == b"zstd":
            self._engine = _Zstd()
        else:
            raise UnknownCodingError(name.decode("latin-1"))
        self._free_bytes = free_bytes
        self._max_bytes = max_bytes
        self._in = 0
        self._out = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what a piece unfolds to, about a megabyte at a time.

        Raises:
            CodingError: damaged data, or more output than allowed.
        """
        self._in += len(data)
        for piece in self._engine.steps(data):
            self._out += len(piece)
            if self._max_bytes is not None and self._out > self._max_bytes:
                raise CodingError("the body is larger than the limit once decompressed", bomb=True)
            if self._out > self._free_bytes and self._out > self._in * MAX_RATIO:
                raise CodingError("the body unfolds beyond any sensible ratio", bomb=True)
            if piece:
                yield piece

    def finish(self) -> None:
        """Check that the compressed data came to its end.

        Raises:
            CodingError: it did not.
        """
        if self._in and not self._engine.finished():
            raise CodingError("compressed data ends too early")


def decode_whole(coding: bytes, data: bytes, max_bytes: int) -> bytes:
    """Return a whole body decoded; several codings (`gzip, br`) are undone from the last to the first.

    Raises:
        UnknownCodingError: a coding that we have no decoder for.
        CodingError: damaged or incomplete data, more than `max_bytes` once decoded, or too many codings.
    """
    names = [name for name in coding.split(b",") if name.strip().lower() not in (b"identity", b"")]
    if len(names) > MAX_CODINGS:
        raise CodingError(f"more than {MAX_CODINGS} codings on top of one another")
    for name in reversed(names):
        decoder = Decoder(name, free_bytes=max_bytes, max_bytes=max_bytes)
        data = b"".join(decoder.feed(data))
        decoder.finish()
    return data
