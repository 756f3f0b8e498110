"""Requests that only load or unload a model: a chat without messages, a generate without a prompt (dialects: §7)."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.ollama.ending import write_time
from flumegate.dialects.ollama.names import CHAT, GENERATE


class _Asked(msgspec.Struct, gc=False):
    messages: list[msgspec.Raw] | None = None
    prompt: str | None = None
    images: list[msgspec.Raw] | None = None
    keep_alive: float | str | None = None


_decode = msgspec.json.Decoder(_Asked).decode
_encode = msgspec.json.Encoder().encode


def write_load(codec: str, body: bytes, model: str, created: int) -> bytes | None:
    """Return the answer of a request that asks the model nothing; None for any other."""
    if codec not in (CHAT, GENERATE):
        return None
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # whoever reads it in earnest says what is wrong
    if asked.messages if codec == CHAT else asked.prompt or asked.images:
        return None
    said: dict[str, Any] = {"message": {"role": "assistant", "content": ""}} if codec == CHAT else {"response": ""}
    reason = "unload" if asked.keep_alive in (0, "0", "0s") else "load"
    return _encode({"model": model, "created_at": write_time(created)} | said | {"done": True, "done_reason": reason})
