"""AWS event streams as bytes: binary frames with headers, a payload and two checksums.

A frame is: total length, headers' length, CRC-32 of these eight bytes; headers; payload; CRC-32 of all before it; all
numbers big-endian (Smithy, "Amazon Event Stream Specification"). Frames before a damaged one count, so damage is told
by `Reader.fault` and not by an exception.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

MAX_FRAME_BYTES = 25_165_824
"""The specification allows payloads of 24 MiB; a length beyond it is damage, or not an event stream at all."""
_MAX_HEADERS_BYTES = 131_072
_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_SHORT = struct.Struct(">H")
_SMALLEST = _PRELUDE.size + _CRC.size
_FIXED_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of the values that have no length of their own, by type: booleans, integers, timestamp, UUID."""
_BYTES, _STRING = 6, 7


class Frame(NamedTuple):
    """One message: its headers of type string, and its payload."""

    headers: dict[str, str]
    payload: bytes


class Reader:
    """Frames out of a stream that arrives in any pieces.

    Attributes:
        fault: what is wrong with the stream, empty while nothing is; nothing is read behind it.
    """

    __slots__ = ("_held", "_max_bytes", "fault")

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._held = bytearray()
        self._max_bytes = max_bytes
        self.fault = ""

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; return the frames that they complete."""
        frames: list[Frame] = []
        if self.fault:
            return frames
        held = self._held
        held += data
        start = 0
        while len(held) - start >= _PRELUDE.size:
            size = self._size(start)
            if len(held) - start < size:
                break
            frame = self._frame(bytes(held[start : start + size])) if size else None
            if frame is None:
                start = len(held)  # nothing behind damage can be told apart
                break
            frames.append(frame)
            start += size
        del held[:start]
        return frames

    def is_between(self) -> bool:
        """Tell whether the stream may end here: no frame has begun."""
        return not self._held

    def _size(self, start: int) -> int:
        """Return the length of the frame that begins there; 0 = there is none."""
        total, headers, checksum = _PRELUDE.unpack_from(self._held, start)
        if zlib.crc32(self._held[start : start + 8]) != checksum:
            self.fault = "A frame of the event stream begins with a wrong checksum."
        elif not _SMALLEST + headers <= total <= self._max_bytes or headers > _MAX_HEADERS_BYTES:
            self.fault = f"A frame of the event stream has an impossible length ({total} bytes)."
        return 0 if self.fault else int(total)

    def _frame(self, block: bytes) -> Frame | None:
        (checksum,) = _CRC.unpack_from(block, len(block) - _CRC.size)
        if zlib.crc32(memoryview(block)[: -_CRC.size]) != checksum:
            self.fault = "A frame of the event stream has a wrong checksum."
            return None
        end = _PRELUDE.size + int.from_bytes(block[4:8], "big")
        headers = _read_headers(block[_PRELUDE.size : end])
        if headers is None:
            self.fault = "A frame of the event stream has headers that cannot be read."
            return None
        return Frame(headers, block[end : -_CRC.size])


def _read_headers(block: bytes) -> dict[str, str] | None:
    """Return the headers of type string; None = they are damaged."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(block):
            start = at + 1 + block[at]
            name = block[at + 1 : start].decode()
            kind = block[start]
            start += 1
            if kind in (_BYTES, _STRING):
                size = _SHORT.unpack_from(block, start)[0]
                start += _SHORT.size
            else:
                size = _FIXED_SIZES[kind]
            at = start + size
            if kind == _STRING:
                found[name] = block[start:at].decode()
    except (IndexError, KeyError, UnicodeDecodeError, struct.error):
        return None
    return found if at == len(block) else None


def write(headers: dict[str, str], payload: bytes) -> bytes:
    """Return one frame; the headers become strings."""
    block = b"".join(
        b"%c%b%c%b%b" % (len(name.encode()), name.encode(), _STRING, _SHORT.pack(len(value.encode())), value.encode())
        for name, value in headers.items()
    )
    lengths = struct.pack(">II", _SMALLEST + len(block) + len(payload), len(block))
    frame = b"%b%b%b%b" % (lengths, _CRC.pack(zlib.crc32(lengths)), block, payload)
    return frame + _CRC.pack(zlib.crc32(frame))
