"""Embeddings, in nobody's dialect."""

from __future__ import annotations

from typing import Literal

import msgspec

from flumegate.ir.parts import Extras
from flumegate.ir.usage import Usage


class EmbeddingRequest(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Texts, or lists of token ids, to be turned into vectors."""

    dialect: str
    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    plain: bool = False
    """The input was a single value, not a list of them."""
    dimensions: int | None = None
    encoding: Literal["", "float", "base64"] = ""
    user: str = ""
    truncate: bool | None = None
    task: str = ""
    """Gemini's task type."""
    title: str = ""
    extras: Extras | None = None


class EmbeddingAnswer(msgspec.Struct, frozen=True, gc=False):
    """Vectors in the order of the inputs."""

    vectors: tuple[tuple[float, ...], ...]
    model: str = ""
    usage: Usage | None = None
    extras: Extras | None = None
