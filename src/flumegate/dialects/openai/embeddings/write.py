"""OpenAI embeddings, written: requests for providers, answers for clients.

Base64 is asked of OpenAI alone: other servers ignore or refuse it, so they are asked for numbers, and a client that
wants base64 gets it from here.
"""

from __future__ import annotations

import binascii
import math
import struct
from typing import Any

import msgspec

from flumegate.dialects.node import give_back
from flumegate.dialects.openai.embeddings.read import NAME
from flumegate.ir.embedding import EmbeddingAnswer, EmbeddingRequest
from flumegate.ir.loss import Losses
from flumegate.ir.written import Abilities, Written

_TARGET = "OpenAI's embeddings"
_PACKING_SERVERS = ("", "openai", "azure")
_LARGEST = 3.4028234663852886e38
"""Of float32."""
_encode = msgspec.json.Encoder().encode


def write_request(request: EmbeddingRequest, abilities: Abilities) -> Written:
    """Return a request for a provider; what it cannot say is among the losses."""
    losses = Losses()
    members: dict[str, Any] = {
        "model": abilities.model,
        "input": request.inputs[0] if request.plain and len(request.inputs) == 1 else request.inputs,
    }
    if request.dimensions is not None:
        members["dimensions"] = request.dimensions
    encoding = request.encoding if abilities.server in _PACKING_SERVERS else "float"
    if encoding:
        members["encoding_format"] = encoding
    if request.user:
        members["user"] = request.user
    if request.truncate:
        losses.dropped("truncate", f"{_TARGET} refuse a text that is too long.")
    for name in ("task", "title"):
        if getattr(request, name):
            losses.dropped(name, f"{_TARGET} have no such knob.")
    give_back(members, request.extras, NAME)
    losses.extras(request.extras, "", (NAME,), _TARGET)
    return Written(_encode(members), tuple(losses.found))


def write_answer(answer: EmbeddingAnswer, request: EmbeddingRequest) -> bytes:
    """Return an answer for a client, as it asked for it. Usage that nobody reported is 0: the SDKs demand a number."""
    vectors = [_fit(vector, request.dimensions) for vector in answer.vectors]
    packed = request.encoding == "base64"
    tokens = (answer.usage.input_tokens if answer.usage is not None else None) or 0
    members: dict[str, Any] = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _pack(vector) if packed else vector}
            for index, vector in enumerate(vectors)
        ],
        "model": request.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    give_back(members, answer.extras, NAME)
    return _encode(members)


def _fit(vector: tuple[float, ...], dimensions: int | None) -> tuple[float, ...]:
    """Cut a vector to what was asked for, where the server ignored it; what is cut gets the length 1 again."""
    if dimensions is None or not 0 < dimensions < len(vector):
        return vector
    cut = vector[:dimensions]
    length = math.sqrt(math.fsum(number * number for number in cut))
    return tuple(number / length for number in cut) if length else cut


def _pack(vector: tuple[float, ...]) -> str:
    try:
        data = struct.pack(f"<{len(vector)}f", *vector)
    except OverflowError:
        data = struct.pack(f"<{len(vector)}f", *(max(-_LARGEST, min(_LARGEST, number)) for number in vector))
    return binascii.b2a_base64(data, newline=False).decode()
