"""Gemini's embeddings: `embedContent` for one text, `batchEmbedContents` for several (dialects: §9)."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.codecs import EmbeddingCodec
from flumegate.dialects.gemini.members import NAME, Members, give_back
from flumegate.dialects.gemini.usage import WireUsage, read_usage
from flumegate.dialects.gemini.write_parts import TARGET
from flumegate.dialects.node import ReadError
from flumegate.ir.embedding import EmbeddingAnswer, EmbeddingRequest
from flumegate.ir.loss import Losses
from flumegate.ir.usage import Usage
from flumegate.ir.written import Abilities, Written

_encode = msgspec.json.Encoder().encode
_decode_vector = msgspec.json.Decoder(tuple[float, ...]).decode
_decode_usage = msgspec.json.Decoder(WireUsage).decode


def read_request(body: bytes, *, model: str = "") -> EmbeddingRequest:
    """Return the request of either form.

    Raises:
        ReadError: it is none, or its texts want different settings.
    """
    node = Members(body)
    if "requests" not in node:
        return _read_one(node, model)
    read = [_read_one(one, model) for one in node.lists("requests")]
    if not read:
        raise ReadError("requests", "It must not be empty.")
    first = read[0]
    for number, one in enumerate(read):
        if msgspec.structs.replace(one, inputs=first.inputs) != first:
            raise ReadError(f"requests[{number}]", "All requests of a batch must want the same model and settings.")
    inputs = tuple(text for one in read for text in one.inputs)
    return msgspec.structs.replace(first, inputs=inputs, plain=False)


def _read_one(node: Members, model: str) -> EmbeddingRequest:
    named = node.text("model").removeprefix("models/")
    content = node.node("content")
    if content is None:
        raise ReadError(node.at("content"), "It is required.")
    texts = []
    for part in content.lists("parts"):
        if "text" not in part:
            raise ReadError(part.path, "Only texts can be embedded here.")
        texts.append(part.text("text"))
    return EmbeddingRequest(
        dialect=NAME,
        model=model or named,
        inputs=("\n".join(texts),),
        plain=True,
        dimensions=node.integer("outputDimensionality"),
        truncate=node.boolean("autoTruncate"),
        task=node.text("taskType"),
        title=node.text("title"),
        extras=node.left(),
    )


def write_request(request: EmbeddingRequest, abilities: Abilities) -> Written:
    """Return the body of a `batchEmbedContents`."""
    losses = Losses()
    losses.extras(request.extras, "", (NAME,), TARGET)
    if request.user:
        losses.dropped("user", "Gemini takes no ids of end users.")
    model = abilities.model if "/" in abilities.model else f"models/{abilities.model}"
    requests = []
    for number, text in enumerate(request.inputs):
        if not isinstance(text, str):
            losses.refused(f"input[{number}]", "Gemini embeds texts, not lists of tokens.")
            continue
        members: dict[str, Any] = {"model": model, "content": {"parts": [{"text": text}]}}
        settings = {
            "taskType": request.task or None,
            "title": request.title or None,
            "outputDimensionality": request.dimensions,
            "autoTruncate": request.truncate,
        }
        members |= {name: value for name, value in settings.items() if value is not None}
        give_back(members, request.extras)
        requests.append(members)
    return Written(_encode({"requests": requests}), tuple(losses.found))


def read_answer(body: bytes) -> EmbeddingAnswer:
    """Return the answer of either form.

    Raises:
        ReadError: it is none.
    """
    node = Members(body)
    rows = node.lists("embedding") or node.lists("embeddings")
    if not rows:
        raise ReadError("embeddings", "There is none.")
    vectors = tuple(_read_vector(row) for row in rows)
    return EmbeddingAnswer(vectors, usage=_read_usage(node), extras=node.left())


def _read_vector(row: Members) -> tuple[float, ...]:
    place = row.at("values")
    try:
        return _decode_vector(row.raw("values"))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ReadError(place, "It must be a list of numbers.") from None


def _read_usage(node: Members) -> Usage | None:
    raw = node.raw("usageMetadata")
    try:
        return read_usage(_decode_usage(raw)) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # vectors are worth more than their count


def write_answer(answer: EmbeddingAnswer, request: EmbeddingRequest) -> bytes:
    """Return the body in the form that was asked for."""
    rows = [{"values": vector} for vector in answer.vectors]
    members: dict[str, Any] = {"embedding": rows[0]} if request.plain and len(rows) == 1 else {"embeddings": rows}
    if answer.usage is not None and answer.usage.input_tokens is not None:
        members["usageMetadata"] = {"promptTokenCount": answer.usage.input_tokens}
    give_back(members, answer.extras)
    return _encode(members)


EMBEDDING_CODEC = EmbeddingCodec(NAME, NAME, read_request, write_request, read_answer, write_answer)
