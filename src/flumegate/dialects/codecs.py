"""Codecs: what a dialect's wire format means, and how meaning is written in it. The types; the table is `registry`.

All functions are pure. Readers of requests and answers raise `node.ReadError`; a stream reader never raises, it ends in
`Failed`. Writers never raise either: what cannot be said is a loss, and a `refused` one keeps the request from being
sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from flumegate.ir.answer import Answer, Asked
from flumegate.ir.embedding import EmbeddingAnswer, EmbeddingRequest
from flumegate.ir.events import Event
from flumegate.ir.failure import Failure
from flumegate.ir.loss import Loss, Losses
from flumegate.ir.request import Request
from flumegate.ir.written import Abilities, Written


class RequestReader(Protocol):
    """Reads a client's request."""

    def __call__(self, body: bytes, *, model: str = "", stream: bool = False) -> Request:
        """Return the request; `model` and `stream` count where the path, not the body, tells them.

        Raises:
            ReadError: the document is not of the dialect.
        """


class StreamReader(Protocol):
    """Reads an upstream's stream, in any pieces."""

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return what they say."""

    def close(self) -> list[Event]:
        """The stream has ended; without the dialect's own end this yields Failed."""


class StreamWriter(Protocol):
    """Writes a stream for a client. What could not be said stands in `losses`."""

    losses: Losses

    def write(self, event: Event) -> bytes:
        """Return the bytes for one event of a legal stream (see `ir.grammar`); often none."""


class Codec(NamedTuple):
    """One wire format for questions to a model."""

    name: str
    """`chat`, `responses`, `completions`, `messages`, `ollama_chat`, `ollama_generate`, `gemini`, `bedrock`."""
    title: str
    """For people: `OpenAI chat completions`."""
    family: str
    """Whose error shape belongs to it: `openai`, `anthropic`, `ollama`, `gemini`."""
    read_request: RequestReader | None = None
    write_request: Callable[[Request, Abilities], Written] | None = None
    """None: nobody is asked in this dialect."""
    read_answer: Callable[[bytes], Answer] | None = None
    write_answer: Callable[[Answer, Asked], tuple[bytes, tuple[Loss, ...]]] | None = None
    stream_reader: Callable[[], StreamReader] | None = None
    stream_writer: Callable[[Asked], StreamWriter] | None = None
    read_error: Callable[[int, bytes], Failure] | None = None
    """From status and body of an error answer."""
    media_type: str = "text/event-stream; charset=utf-8"
    """Of its streams."""
    names: Mapping[str, str] = MappingProxyType({})
    """Neutral name of a setting → path in a request of this dialect, where they differ."""


class EmbeddingCodec(NamedTuple):
    """One wire format for embeddings."""

    name: str
    family: str
    read_request: Callable[..., EmbeddingRequest] | None = None
    """(body, *, model="")"""
    write_request: Callable[[EmbeddingRequest, Abilities], Written] | None = None
    read_answer: Callable[[bytes], EmbeddingAnswer] | None = None
    write_answer: Callable[[EmbeddingAnswer, EmbeddingRequest], bytes] | None = None
    read_error: Callable[[int, bytes], Failure] | None = None
    """From status and body of an error answer."""
