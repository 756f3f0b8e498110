"""Content codings both ways: request bodies as clients send them, answers as the faults ask for them.

Decoding is bounded, because a test may well send a bomb. Encoding goes piece by piece with a flush behind each, so that
an encoded stream still arrives event by event.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import brotli
import zstandard

DECODED_BYTES_MAX = 64 << 20
_BITE_BYTES = 256


class CodingError(ValueError):
    """A body is damaged, too large when decoded, or in a coding that is not known (`unknown` is True)."""

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


def decode(body: bytes, coding: str) -> bytes:
    """Return a request body without its content codings (a comma list, the last one outermost).

    Raises:
        CodingError: see there.
    """
    for name in reversed([one.strip().lower() for one in coding.split(",")]):
        if name in {"", "identity"}:
            continue
        step = _DECODERS.get(name)
        if step is None:
            raise CodingError(
                f"The content coding `{name}` is not known: send gzip, deflate, br, zstd or none", unknown=True
            )
        try:
            body = step(body)
        except (zlib.error, brotli.error, zstandard.ZstdError, EOFError) as problem:
            raise CodingError(f"The request body is not valid {name}: send it whole, or without a coding") from problem
        if len(body) > DECODED_BYTES_MAX:
            raise CodingError("The request body is too large when decoded: send less")
    return body


def encode(pieces: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """Yield pieces encoded as `gzip`, `deflate`, `br` or `zstd`, each decodable as soon as it has arrived."""
    encoder = _ENCODERS[coding]()
    for piece in pieces:
        yield encoder.compress(piece) + encoder.flush()
    yield encoder.finish()


class _Encoder(NamedTuple):
    compress: Callable[[bytes], bytes]
    flush: Callable[[], bytes]
    finish: Callable[[], bytes]


def _zlib(window_bits: int) -> _Encoder:
    engine = zlib.compressobj(wbits=window_bits)
    return _Encoder(engine.compress, lambda: engine.flush(zlib.Z_SYNC_FLUSH), engine.flush)


def _brotli() -> _Encoder:
    engine = brotli.Compressor(quality=4)
    return _Encoder(engine.process, engine.flush, engine.finish)


def _zstd() -> _Encoder:
    engine = zstandard.ZstdCompressor().compressobj()
    return _Encoder(engine.compress, lambda: engine.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK), engine.flush)


_ENCODERS: dict[str, Callable[[], _Encoder]] = {
    "gzip": lambda: _zlib(31),
    "deflate": lambda: _zlib(15),
    "br": _brotli,
    "zstd": _zstd,
}


def _inflate(body: bytes, window_bits: int) -> bytes:
    engine = zlib.decompressobj(window_bits)
    decoded = engine.decompress(body, DECODED_BYTES_MAX + 1)
    if not engine.eof and len(decoded) <= DECODED_BYTES_MAX:
        raise EOFError
    return decoded


def _unbrotli(body: bytes) -> bytes:
    engine = brotli.Decompressor()
    decoded: bytes = engine.process(body, output_buffer_limit=DECODED_BYTES_MAX + 1)
    if not engine.is_finished() and len(decoded) <= DECODED_BYTES_MAX:
        raise EOFError
    return decoded


def _unzstd(body: bytes) -> bytes:
    engine = zstandard.ZstdDecompressor().decompressobj()
    decoded = bytearray()
    # A block of 128 KiB may stand in four bytes: small bites keep one bite's output small.
    for start in range(0, len(body), _BITE_BYTES):
        decoded += engine.decompress(body[start : start + _BITE_BYTES])
        if engine.eof or len(decoded) > DECODED_BYTES_MAX:
            return bytes(decoded)
    raise EOFError


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: _inflate(body, 31),
    "x-gzip": lambda body: _inflate(body, 31),
    "deflate": lambda body: _inflate(body, 15),
    "br": _unbrotli,
    "zstd": _unzstd,
}
