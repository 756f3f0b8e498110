"""Ollama's embeddings: `POST /api/embed`, and the old `POST /api/embeddings` (one prompt, one vector; clients only).

Texts only. The server cuts what is too long unless it is told not to; a client of another dialect would never know.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.codecs import EmbeddingCodec
from flumegate.dialects.node import Node, ReadError, give_back
from flumegate.dialects.ollama.ending import read_usage
from flumegate.dialects.ollama.errors import message_of, read_error
from flumegate.dialects.ollama.names import EMBED, EMBEDDINGS, FAMILY
from flumegate.ir.embedding import EmbeddingAnswer, EmbeddingRequest
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Extras
from flumegate.ir.written import Abilities, Written

_OWN = (EMBED, EMBEDDINGS)
_TARGET = "Ollama"
_decode = msgspec.json.Decoder().decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_vectors = msgspec.json.Decoder(tuple[tuple[float, ...], ...]).decode
_encode = msgspec.json.Encoder().encode


def read_request(body: bytes, *, model: str = "") -> EmbeddingRequest:
    """Return a request of `/api/embed`.

    Raises:
        ReadError: the document is not of the dialect.
    """
    node = Node(body, EMBED)
    plain = node.is_string("input")
    return EmbeddingRequest(
        dialect=EMBED,
        model=node.text("model") or model,
        inputs=(node.text("input"),) if plain else node.strings("input"),
        plain=plain,
        dimensions=node.integer("dimensions"),
        truncate=node.boolean("truncate"),
        extras=node.left(),
    )


def read_old_request(body: bytes, *, model: str = "") -> EmbeddingRequest:
    """Return a request of `/api/embeddings`.

    Raises:
        ReadError: the document is not of the dialect.
    """
    node = Node(body, EMBEDDINGS)
    prompt = node.string("prompt")
    inputs = () if prompt is None else (prompt,)
    name = node.text("model") or model
    return EmbeddingRequest(dialect=EMBEDDINGS, model=name, inputs=inputs, plain=True, extras=node.left())


def write_request(request: EmbeddingRequest, abilities: Abilities) -> Written:
    """Return a request for `/api/embed`; what it cannot say is among the losses."""
    losses = Losses()
    texts = [one for one in request.inputs if isinstance(one, str)]
    if len(texts) < len(request.inputs):
        losses.refused("input", "Ollama takes texts, no token ids.")
    members: dict[str, Any] = {"model": abilities.model, "input": texts}
    if request.plain and len(texts) == 1:
        members["input"] = texts[0]
    if request.dimensions is not None:
        members["dimensions"] = request.dimensions
    truncate = request.truncate
    if truncate is None and request.dialect not in _OWN:
        truncate = False
    if truncate is not None:
        members["truncate"] = truncate
    for name in ("user", "task", "title"):
        if getattr(request, name):
            losses.dropped(name, f"{_TARGET} has no such knob.")
    losses.extras(request.extras, "", _OWN, _TARGET)
    _write_options(members, request.extras, abilities)
    return Written(_encode(members), tuple(losses.found))


def _write_options(members: dict[str, Any], extras: Extras | None, abilities: Abilities) -> None:
    give_back(members, extras, *_OWN)
    if abilities.num_ctx is None:
        return
    options = members.get("options")
    options = _decode_members(options) if isinstance(options, msgspec.Raw) else {}
    members["options"] = {"num_ctx": abilities.num_ctx} | options


def read_answer(body: bytes) -> EmbeddingAnswer:
    """Return an answer of `/api/embed`.

    Raises:
        ReadError: the document is not of the dialect, or it is an error.
    """
    node = Node(body, EMBED)
    error = _decode(node.raw("error") or b"null")
    if error:
        raise ReadError("error", message_of(error))
    raw = node.raw("embeddings")
    try:
        vectors = _decode_vectors(raw or b"[]")
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ReadError("embeddings", "It must be a list of lists of numbers.") from None
    model = node.text("model")
    usage = read_usage(node)
    return EmbeddingAnswer(vectors, model, usage, node.left())


def write_answer(answer: EmbeddingAnswer, request: EmbeddingRequest) -> bytes:
    """Return an answer of `/api/embed`. Durations that nobody measured are 0."""
    members: dict[str, Any] = {"model": request.model, "embeddings": answer.vectors}
    give_back(members, answer.extras, *_OWN)
    for name in ("total_duration", "load_duration"):
        members.setdefault(name, 0)
    if answer.usage is not None and answer.usage.input_tokens is not None:
        members["prompt_eval_count"] = answer.usage.input_tokens
    return _encode(members)


def write_old_answer(answer: EmbeddingAnswer, request: EmbeddingRequest) -> bytes:  # noqa: ARG001 - one signature
    """Return an answer of `/api/embeddings`."""
    return _encode({"embedding": answer.vectors[0] if answer.vectors else ()})


EMBED_CODEC = EmbeddingCodec(EMBED, FAMILY, read_request, write_request, read_answer, write_answer, read_error)
EMBEDDINGS_CODEC = EmbeddingCodec(EMBEDDINGS, FAMILY, read_request=read_old_request, write_answer=write_old_answer)
