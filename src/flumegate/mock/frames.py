"""How an answer's pieces are framed: server-sent events, JSON lines, a JSON array, binary frames.

Events leave here with LF line ends; the `crlf` and `cr` faults replace them later, which is safe because JSON carries
no raw line end. `encode` keeps key order, so that the bytes of an answer are the same in every run.
"""

from __future__ import annotations

import binascii
import struct

import msgspec

encode = msgspec.json.Encoder().encode

DONE = b"data: [DONE]\n\n"


def event(value: object) -> bytes:
    """Return one event without a name (OpenAI chat, Gemini)."""
    return b"data: " + encode(value) + b"\n\n"


def named_event(name: str, value: object) -> bytes:
    """Return one event with its name (Anthropic, OpenAI Responses)."""
    return b"event: " + name.encode() + b"\ndata: " + encode(value) + b"\n\n"


def line(value: object) -> bytes:
    """Return one JSON line (Ollama)."""
    return encode(value) + b"\n"


def binary_event(headers: dict[str, str], payload: bytes) -> bytes:
    """Return one frame of an AWS event stream (Smithy, "Amazon Event Stream Specification"); headers are strings."""
    block = b""
    for name, value in headers.items():
        said = value.encode()
        block += struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(said)) + said
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    prelude += struct.pack(">I", binascii.crc32(prelude))
    return prelude + block + payload + struct.pack(">I", binascii.crc32(prelude + block + payload))


def broken(event: bytes) -> bytes:
    """Return an event with the last three bytes of its JSON gone, its framing whole."""
    if event[:1] == b"\0":
        block = int.from_bytes(event[4:8], "big")
        head = struct.pack(">II", len(event) - 3, block)
        cut = head + struct.pack(">I", binascii.crc32(head)) + event[12:-7]
        return cut + struct.pack(">I", binascii.crc32(cut))
    bare = event.rstrip(b"\n")
    return bare[:-3] + event[len(bare) :]
