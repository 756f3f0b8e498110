"""How an answer's pieces are framed: server-sent events, JSON lines, a JSON array.

Events leave here with LF line ends; the `crlf` and `cr` faults replace them later, which is safe because JSON carries
no raw line end. `encode` keeps key order, so that the bytes of an answer are the same in every run.
"""

from __future__ import annotations

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
