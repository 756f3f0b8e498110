"""`chat.completion.chunk` as it is decoded while it streams.

Members whose type differs from server to server are `object`: a sloppy chunk must not end a stream. What nobody takes
is skipped by the decoder.
"""

from __future__ import annotations

import msgspec

_NONE = msgspec.Raw()


class Function(msgspec.Struct, gc=False):
    """`function` of a call, `function_call`, or `custom`."""

    name: object = None
    arguments: object = None
    input: object = None


class Call(msgspec.Struct, gc=False):
    """One entry of `tool_calls`."""

    index: object = None
    id: object = None
    type: object = None
    function: Function | None = None
    custom: Function | None = None
    extra_content: object = None


class Delta(msgspec.Struct, gc=False):
    """What a chunk adds to a choice."""

    content: object = None
    reasoning_content: object = None
    reasoning: object = None
    refusal: object = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    reasoning_details: msgspec.Raw = _NONE
    thinking_blocks: msgspec.Raw = _NONE
    annotations: msgspec.Raw = _NONE
    images: msgspec.Raw = _NONE
    audio: msgspec.Raw = _NONE


class ChunkChoice(msgspec.Struct, gc=False):
    """One choice of a chunk; `message` instead of `delta` comes from servers that answer whole in a stream."""

    index: object = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: object = None
    stop_reason: object = None
    logprobs: msgspec.Raw = _NONE
    error: object = None


class Chunk(msgspec.Struct, gc=False):
    """One event."""

    id: object = None
    model: object = None
    created: object = None
    kind: str | None = msgspec.field(default=None, name="object")
    choices: list[ChunkChoice] | None = None
    usage: msgspec.Raw = _NONE
    error: object = None


class _Logprobs(msgspec.Struct, gc=False):
    content: msgspec.Raw = _NONE


decode = msgspec.json.Decoder(Chunk).decode
_decode_logprobs = msgspec.json.Decoder(_Logprobs | None).decode


def is_there(raw: msgspec.Raw) -> bool:
    """Tell whether a raw member is there, not null and not empty."""
    return bytes(raw) not in (b"", b"null", b"[]", b"{}")


def logprobs_of(choice: ChunkChoice) -> bytes:
    """Return the list of log probabilities of a chunk's text, or nothing."""
    if not is_there(choice.logprobs):
        return b""
    found = _decode_logprobs(choice.logprobs)
    return bytes(found.content) if found is not None and is_there(found.content) else b""


def text_of(value: object) -> str:
    """Return a member that should be a string."""
    return value if isinstance(value, str) else ""
