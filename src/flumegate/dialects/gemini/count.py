"""Gemini's `countTokens`: a request, bare or wrapped, and one number."""

from __future__ import annotations

import msgspec

from flumegate.dialects.gemini.members import Members
from flumegate.dialects.gemini.read_request import read_members
from flumegate.dialects.gemini.write_request import write_request
from flumegate.dialects.node import ReadError
from flumegate.ir.request import Request
from flumegate.ir.written import Abilities, Written

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def read_count_request(body: bytes, *, model: str = "", stream: bool = False) -> Request:
    """Return the request whose tokens shall be counted.

    Raises:
        ReadError: it is none.
    """
    node = Members(body)
    inner = node.node("generateContentRequest")
    return read_members(node if inner is None else inner, model, stream=stream)


def write_count_request(request: Request, abilities: Abilities) -> Written:
    """Return the body that asks for a count: wrapped, as only so tools and instructions are counted."""
    written = write_request(request, abilities)
    model = abilities.model if "/" in abilities.model else f"models/{abilities.model}"
    members = _decode(written.body)
    wrapped = {"generateContentRequest": {"model": model} | members}
    return msgspec.structs.replace(written, body=_encode(wrapped))


def read_count_answer(body: bytes) -> int:
    """Return the number.

    Raises:
        ReadError: there is none.
    """
    total = Members(body).integer("totalTokens")
    if total is None:
        raise ReadError("totalTokens", "It is required.")
    return total


def write_count_answer(tokens: int) -> bytes:
    """Return the answer."""
    return _encode({"totalTokens": tokens})
