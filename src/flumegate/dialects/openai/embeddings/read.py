"""OpenAI embeddings, read: requests of clients, answers of providers.

Vectors come as lists of numbers or as base64 of little-endian float32, whatever was asked for.
"""

from __future__ import annotations

import binascii
import struct
from typing import Literal, cast

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.ir.embedding import EmbeddingAnswer, EmbeddingRequest
from flumegate.ir.usage import Usage

NAME = "openai_embeddings"
_decode_string = msgspec.json.Decoder(str).decode
_decode_vector = msgspec.json.Decoder(tuple[float, ...]).decode
_decode_input = msgspec.json.Decoder(tuple[str | tuple[int, ...], ...]).decode
_decode_ids = msgspec.json.Decoder(tuple[int, ...]).decode
_FAILURES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_request(body: bytes, *, model: str = "") -> EmbeddingRequest:
    """Return a client's request.

    Raises:
        ReadError: the document is not of the dialect.
    """
    node = Node(body, NAME)
    inputs, plain = _read_input(node)
    encoding = node.text("encoding_format")
    if encoding not in ("", "float", "base64"):
        raise ReadError("encoding_format", "It must be 'float' or 'base64'.")
    return EmbeddingRequest(
        dialect=NAME,
        model=node.text("model") or model,
        inputs=inputs,
        plain=plain,
        dimensions=node.integer("dimensions"),
        encoding=cast("Literal['', 'float', 'base64']", encoding),
        user=node.text("user"),
        extras=node.left(),
    )


def _read_input(node: Node) -> tuple[tuple[str | tuple[int, ...], ...], bool]:
    """Take the input: a text, token ids, or a list of either."""
    raw = node.raw("input")
    if not raw:
        raise ReadError("input", "It is required.")
    try:
        if raw[:1] == b'"':
            return (_decode_string(raw),), True
        inner = raw[1:].lstrip()[:1]
        if raw[:1] == b"[" and (inner.isdigit() or inner == b"-"):
            return (_decode_ids(raw),), True
        inputs = _decode_input(raw)
    except _FAILURES:
        raise ReadError("input", "It must be a text, a list of texts, or token ids.") from None
    if not inputs:
        raise ReadError("input", "It must not be empty.")
    return inputs, False


def read_answer(body: bytes) -> EmbeddingAnswer:
    """Return a provider's answer, its vectors in the order of the inputs.

    Raises:
        ReadError: the document is not of the dialect.
    """
    node = Node(body, NAME)
    if "data" not in node:
        raise ReadError("data", "It is required.")
    found = []
    for number, item in enumerate(node.nodes("data")):
        index = item.integer("index")
        found.append((number if index is None else index, _read_vector(item)))
    found.sort(key=lambda entry: entry[0])
    node.raw("object")
    model = node.text("model")
    usage = node.node("usage")
    tokens = None
    if usage is not None:
        tokens = usage.integer("prompt_tokens")
        if tokens is None:
            tokens = usage.integer("total_tokens")
    vectors = tuple(vector for _, vector in found)
    return EmbeddingAnswer(vectors, model, None if tokens is None else Usage(tokens), node.left())


def _read_vector(item: Node) -> tuple[float, ...]:
    place = item.at("embedding")
    raw = item.raw("embedding")
    if raw[:1] == b'"':
        return _unpack(_decode_string(raw), place)
    try:
        return _decode_vector(raw)
    except _FAILURES:
        raise ReadError(place, "It must be a list of numbers, or base64.") from None


def _unpack(text: str, place: str) -> tuple[float, ...]:
    try:
        data = binascii.a2b_base64(text)
        return cast("tuple[float, ...]", struct.unpack(f"<{len(data) // 4}f", data))
    except (binascii.Error, ValueError, struct.error):
        raise ReadError(place, "It must be base64 of little-endian float32.") from None
