"""A streamed answer as events, in nobody's dialect.

Order (checked by `grammar`): Started first; then blocks, each Opened, Grew any number of times, Closed once, several of
them open at a time where the dialect interleaves; Counted at any time, the last one wins; Finished once per choice
after its blocks are closed; then exactly one of Ended and Failed, and nothing behind it. Failed may come at any time,
also first.
"""

from __future__ import annotations

import msgspec

from flumegate.ir.answer import Finish
from flumegate.ir.failure import Failure
from flumegate.ir.parts import Citation, Extras, Part
from flumegate.ir.usage import Usage


class Started(msgspec.Struct, frozen=True, gc=False):
    """The answer begins."""

    id: str = ""
    model: str = ""
    created: int = 0
    extras: Extras | None = None


class Opened(msgspec.Struct, frozen=True, gc=False):
    """A block begins."""

    index: int
    """Counts the blocks of the stream in order of opening, from 0 without gaps."""
    part: Part
    """What it is, with nothing in it yet: Text(""), Thinking(), ToolCall(id, name), Refusal(""); Media and Opaque
    come whole and do not grow."""
    choice: int = 0


class Grew(msgspec.Struct, frozen=True, gc=False):
    """A block goes on: text, thinking, refusal, or a tool call's arguments."""

    index: int
    text: str
    piece: int = 0
    """Of thinking: which of its texts; grows by one at a time."""
    logprobs: bytes = b""
    """Of text: as in `Text`."""


class Cited(msgspec.Struct, frozen=True, gc=False):
    """A source of an open text."""

    index: int
    citation: Citation


class Closed(msgspec.Struct, frozen=True, gc=False):
    """A block is complete."""

    index: int
    signature: str = ""
    """Of thinking and tool calls, where it comes at the end; its origin stands in the opened part or here."""
    origin: str = ""


class Counted(msgspec.Struct, frozen=True, gc=False):
    """Usage so far: replaces what was counted before."""

    usage: Usage


class Finished(msgspec.Struct, frozen=True, gc=False):
    """A choice is complete."""

    finish: Finish
    choice: int = 0
    extras: Extras | None = None
    """Of the choice: what a provider says of it beside its parts."""


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The answer is complete."""


class Failed(msgspec.Struct, frozen=True, gc=False):
    """The answer broke off."""

    failure: Failure


Event = Started | Opened | Grew | Cited | Closed | Counted | Finished | Ended | Failed
