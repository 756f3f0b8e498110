"""All client keys of an installation in one file: written by control, mapped by the workers, shared by all of them.

A Snapshot with a hundred thousand keys in it would take each worker its memory and a moment of silence; a mapped file
takes neither. Digests stand in order, so a look-up is a few steps from where the digest should be; a row is read when
its key is used. The file holds no secret: a digest is an HMAC under a pepper that stands elsewhere. It is replaced,
never written in place: whoever has mapped the old one keeps it whole.

Layout: magic, format (4 bytes), CRC-32 of all that follows (4), count (8), then `count` entries of 32 bytes digest and
8 bytes offset of the row, then the offset of the end, then the rows (msgpack). Numbers are big-endian, offsets count
from the beginning of the file.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from flumegate.records.access import Key

_MAGIC = b"FGKT"
_FORMAT = 1
_PROOF = struct.Struct(">4sII")
_HEAD = struct.Struct(">4sIIQ")
_OFFSET = struct.Struct(">Q")
DIGEST_BYTES = 32
_ENTRY_BYTES = DIGEST_BYTES + _OFFSET.size
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Key).decode


class DamagedTableError(ValueError):
    """The file is no key table of this release."""


def build(keys: Iterable[tuple[bytes, Key]]) -> bytes:
    """Return the content of a table; of two keys with one digest the later counts.

    Raises:
        ValueError: a digest has not 32 bytes.
    """
    rows = dict(keys)
    digests = sorted(rows)
    entries = bytearray()
    body = bytearray()
    start = _HEAD.size + len(digests) * _ENTRY_BYTES + _OFFSET.size
    for digest in digests:
        if len(digest) != DIGEST_BYTES:
            raise ValueError(f"a digest has {DIGEST_BYTES} bytes, not {len(digest)}")
        entries += digest
        entries += _OFFSET.pack(start + len(body))
        body += _encode(rows[digest])
    rest = struct.pack(">Q", len(digests)) + bytes(entries) + _OFFSET.pack(start + len(body)) + bytes(body)
    return _PROOF.pack(_MAGIC, _FORMAT, zlib.crc32(rest)) + rest


class KeyTable:
    """A mapped table; it stays readable when its file has been replaced or removed."""

    def __init__(self, path: Path) -> None:
        """Map a file and read through it once, a few milliseconds for each hundred thousand keys.

        Raises:
            OSError: it cannot be read.
            DamagedTableError: it is no table, or not whole.
        """
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < _HEAD.size + _OFFSET.size:
                raise DamagedTableError(f"{path} is too short for a key table")
            self._map = mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ)
        magic, number, proof, self.count = _HEAD.unpack_from(self._map)
        if magic != _MAGIC or number != _FORMAT:
            raise DamagedTableError(f"{path} is no key table of this release")
        with memoryview(self._map) as view:
            # Every byte is proven here, so that no look-up can meet an offset that leads astray.
            whole = zlib.crc32(view[_PROOF.size :]) == proof
        if not whole:
            raise DamagedTableError(f"{path} is damaged or not whole")

    def find(self, digest: bytes) -> Key | None:
        """Return the key with a digest, or None."""
        count = self.count
        if not count:
            return None
        # Digests are evenly spread, so it stands near its share of the way; from there the range is doubled.
        guess = int.from_bytes(digest[:8], "big") * count >> 64
        step = 64
        low, high = max(0, guess - step), min(count, guess + step)
        while low and self._digest(low) > digest:
            step *= 4
            low = max(0, guess - step)
        while high < count and self._digest(high) <= digest:
            step *= 4
            high = min(count, guess + step)
        while low < high:
            middle = (low + high) // 2
            if self._digest(middle) < digest:
                low = middle + 1
            else:
                high = middle
        if low >= count or self._digest(low) != digest:
            return None
        at = _HEAD.size + low * _ENTRY_BYTES + DIGEST_BYTES
        following = at + _ENTRY_BYTES if low + 1 < count else at + _OFFSET.size
        return _decode(self._map[self._offset(at) : self._offset(following)])

    def _digest(self, index: int) -> bytes:
        start = _HEAD.size + index * _ENTRY_BYTES
        return self._map[start : start + DIGEST_BYTES]

    def _offset(self, at: int) -> int:
        found: int = _OFFSET.unpack_from(self._map, at)[0]
        return found
