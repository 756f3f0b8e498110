"""What a turn is made of. Immutable; JSON that nobody here needs to understand stays text.

A node may carry `extras`: members that only the dialect which wrote them knows, given back to that dialect's writer and
reported as a loss by every other. `at` is the path of the node in the document that it was read from (`messages[2]`),
for messages to the client; parts of answers leave it empty.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Extras(msgspec.Struct, frozen=True, gc=False):
    """Members of one JSON object that have no place in the neutral form."""

    dialect: str
    """Who wrote them: `chat`, `responses`, `messages`, `ollama`, `gemini`, …"""
    fields: dict[str, msgspec.Raw]
    vital: tuple[str, ...] = ()
    """Names among them without which the request would mean something else: a writer that cannot say them refuses."""
    trivial: tuple[str, ...] = ()
    """Names among them that tell nothing to anybody else (ids of items, echoes of settings, durations): their own
    dialect gets them back, and no other reports them as a loss."""


class CacheMark(msgspec.Struct, frozen=True, gc=False):
    """A prompt-cache breakpoint behind the node that carries it."""

    ttl: str = ""
    """`5m`, `1h`, or empty for the provider's default."""


class Citation(msgspec.Struct, frozen=True, gc=False):
    """A source that a piece of text names."""

    url: str = ""
    title: str = ""
    start: int | None = None
    """Character offsets in the text, end exclusive, where the dialect has them."""
    end: int | None = None
    quote: str = ""
    extras: Extras | None = None


class Text(msgspec.Struct, frozen=True, gc=False):
    """Plain text."""

    text: str
    citations: tuple[Citation, ...] = ()
    logprobs: bytes = b""
    """JSON list of OpenAI's items (`token, logprob, bytes, top_logprobs`), or empty."""
    cache: CacheMark | None = None
    at: str = ""
    extras: Extras | None = None


class Media(msgspec.Struct, frozen=True, gc=False):
    """An image, a sound or a document: exactly one of `data`, `url`, `file_id` and `text` is not empty."""

    kind: Literal["image", "audio", "file"]
    media_type: str = ""
    """`image/png`, …; empty where only the URL tells. Sounds: `audio/wav`, `audio/mpeg`."""
    data: str = ""
    """Base64 without a prefix."""
    url: str = ""
    file_id: str = ""
    """Known only to the provider that gave it (see `dialect`)."""
    text: str = ""
    """A document given as text."""
    dialect: str = ""
    """Whose `file_id` it is."""
    filename: str = ""
    detail: str = ""
    """Resolution wish of OpenAI: `low`, `high`, `auto`, `original`."""
    cache: CacheMark | None = None
    at: str = ""
    extras: Extras | None = None


class Thinking(msgspec.Struct, frozen=True, gc=False):
    """Reasoning, with the opaque state that its provider wants back unchanged."""

    texts: tuple[str, ...] = ()
    """One piece, or the several parts of a Responses summary. May be empty where only the state is shown."""
    signature: str = ""
    """Signature, encrypted reasoning or redacted data."""
    origin: str = ""
    """The dialect whose provider can read the signature (see `seal`); empty where there is none."""
    redacted: bool = False
    """There is no text because the provider hid it; `signature` holds the data."""
    cache: CacheMark | None = None
    at: str = ""
    extras: Extras | None = None


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """The model wants a tool to run."""

    id: str
    name: str
    arguments: str = ""
    """JSON text of an object (function), or any text (custom). Empty stands for no arguments."""
    kind: Literal["function", "custom"] = "function"
    namespace: str = ""
    signature: str = ""
    """Opaque state that belongs to the call (Gemini's thought signature)."""
    origin: str = ""
    cache: CacheMark | None = None
    at: str = ""
    extras: Extras | None = None


class ToolResult(msgspec.Struct, frozen=True, gc=False):
    """What a tool gave."""

    call_id: str
    parts: tuple[Part, ...] = ()
    plain: bool = False
    """The content was a bare string, now in one Text."""
    name: str = ""
    """Of the tool, where the dialect repeats it."""
    is_error: bool | None = None
    kind: Literal["function", "custom"] = "function"
    cache: CacheMark | None = None
    at: str = ""
    extras: Extras | None = None


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The model says that it will not."""

    text: str
    at: str = ""
    extras: Extras | None = None


class Opaque(msgspec.Struct, frozen=True, gc=False):
    """A block that only its own dialect understands: kept whole, never dropped by a reader."""

    dialect: str
    kind: str
    """Its `type` on the wire."""
    raw: bytes
    """The JSON object."""
    vital: bool = True
    """False: leaving it out changes little (a trace of a server-side tool): a foreign writer drops and reports it."""
    at: str = ""


Part = Text | Media | Thinking | ToolCall | ToolResult | Refusal | Opaque
