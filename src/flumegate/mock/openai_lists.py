"""OpenAI embeddings and models (API reference, "Embeddings" and "Models").

A vector is derived from its text, so equal texts have equal vectors in every run and every dialect. Base64 is
little-endian float32, which the official Python client asks for whenever its caller said nothing.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct

from flumegate.mock.asked import words_in
from flumegate.mock.faults import Faults
from flumegate.mock.frames import encode
from flumegate.mock.look import Json, count, items, text

MODELS = (
    *("gpt-4o", "gpt-4o-mini", "gpt-5", "o4-mini", "text-embedding-3-small", "text-embedding-3-large"),
    *("claude-sonnet-4-5", "claude-haiku-4-5", "gemini-2.5-flash", "gemini-embedding-001", "llama3.2", "mock"),
)
CREATED = 1_700_000_000
_WIDTHS = {"text-embedding-3-large": 3072}


def vector(said: str, width: int) -> list[float]:
    """Return a unit vector of so many numbers, each a float32, made from the text alone."""
    drawn = struct.unpack(f"<{width}h", hashlib.shake_128(said.encode(errors="surrogatepass")).digest(2 * width))
    length = math.sqrt(sum(number * number for number in drawn)) or 1.0
    return list(struct.unpack(f"<{width}f", struct.pack(f"<{width}f", *(number / length for number in drawn))))


def embedded(given: object) -> list[str]:
    """Return the texts of `input`: a string, strings, token ids or lists of them, ids written out in decimal."""
    if isinstance(given, str):
        return [given]
    entries = items(given)
    if entries and not isinstance(entries[0], (str, list)):
        return [" ".join(map(str, entries))]
    return [text(entry) or " ".join(map(str, items(entry))) for entry in entries]


def embeddings(body: Json, model: str, faults: Faults) -> tuple[bytes, int]:
    """Return an embeddings answer and its input tokens."""
    said = embedded(body.get("input"))
    tokens = words_in(said)
    width = count(body.get("dimensions")) or _WIDTHS.get(model.partition("+")[0], 1536)
    data: list[Json] = []
    for index, one in enumerate(said):
        numbers: object = vector(one, width)
        if body.get("encoding_format") == "base64":
            numbers = base64.b64encode(struct.pack(f"<{width}f", *vector(one, width))).decode()
        data.append({"object": "embedding", "index": index, "embedding": numbers})
    answer: Json = {"object": "list", "data": data, "model": model}
    if not faults.no_usage:
        answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return encode(answer), tokens


def models() -> bytes:
    """Return the list of models; any other name is served just as well."""
    return encode({"object": "list", "data": [_row(name) for name in MODELS]})


def model(name: str) -> bytes:
    """Return one model, whatever its name."""
    return encode(_row(name))


def _row(name: str) -> Json:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "mock"}
