"""The output items of a stream, each a small state that turns wire events into blocks.

What an item's end repeats is compared by length only: missing tails are added, so that servers which send few deltas,
or none, lose nothing.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from flumegate.dialects.node import Node
from flumegate.dialects.openai.responses.names import EMPTY_LIST, NAME, RAW_TEXT, with_more
from flumegate.dialects.openai.responses.read_answer import (
    mark,
    read_call_item,
    read_message_item,
    read_thinking_item,
)
from flumegate.dialects.openai.responses.read_parts import is_empty, read_citation, read_part
from flumegate.ir import events as e
from flumegate.ir.parts import Opaque, Part, Refusal, Text, Thinking, ToolCall

NOTHING = msgspec.Raw(b"")


class WireEvent(msgspec.Struct, gc=False):
    """The members of any event that we look at."""

    type: str = ""
    delta: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    input: str | None = None
    logprobs: msgspec.Raw = NOTHING
    item: msgspec.Raw = NOTHING
    part: msgspec.Raw = NOTHING
    annotation: msgspec.Raw = NOTHING
    response: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING


class Blocks:
    """Counts the blocks of a stream, and what the finish reason must know of them."""

    __slots__ = ("called", "next", "refused")

    def __init__(self) -> None:
        self.next = 0
        self.called = False
        self.refused = False

    def open(self, part: Part, out: list[e.Event]) -> int:
        """Open a block."""
        index = self.next
        self.next += 1
        self.called = self.called or isinstance(part, ToolCall)
        self.refused = self.refused or isinstance(part, Refusal)
        out.append(e.Opened(index, part))
        return index


class Item(Protocol):
    """One output item on its way."""

    def begin(self, out: list[e.Event]) -> None:
        """Another item begins: take your place before it."""

    def take(self, event: WireEvent, out: list[e.Event]) -> None:
        """Take an event of this item."""

    def finish(self, raw: bytes, out: list[e.Event]) -> None:
        """The item is done; `raw` is the whole of it, empty if nobody sent it."""


class _Growing:
    """A block of text, refusal or arguments, and how much of it came."""

    __slots__ = ("cited", "index", "logged", "open", "seen")

    def __init__(self, index: int) -> None:
        self.index = index
        self.seen = 0
        self.cited = 0
        self.logged = False
        self.open = True

    def grow(self, text: str, out: list[e.Event], logprobs: bytes = b"") -> None:
        self.seen += len(text)
        self.logged = self.logged or bool(logprobs)
        out.append(e.Grew(self.index, text, 0, logprobs))

    def reach(self, text: str, out: list[e.Event]) -> None:
        if len(text) > self.seen:
            self.grow(text[self.seen :], out)

    def close(self, out: list[e.Event]) -> None:
        if self.open:
            self.open = False
            out.append(e.Closed(self.index))


class MessageItem:
    """A message: one block per content part."""

    def __init__(self, raw: bytes, number: int, blocks: Blocks) -> None:
        self._number = number
        self._blocks = blocks
        self._parts: dict[int, _Growing] = {}
        self._whole = False
        """Its first part is of no known kind: it comes as one opaque item at its end."""
        self._item: dict[str, msgspec.Raw] = {}
        if raw:
            node = Node(raw, NAME, f"output[{number}]")
            node.raw("type")
            self._item = read_message_item(node)

    def begin(self, out: list[e.Event]) -> None:
        """See `Item.begin`; a message that has shown nothing is none yet."""

    def take(self, event: WireEvent, out: list[e.Event]) -> None:
        """See `Item.take`."""
        kind = event.type
        number = event.content_index or 0
        if kind == "response.output_text.delta":
            block = self._at(number, Text(""), out)
            if block is not None and event.delta is not None:
                logprobs = bytes(event.logprobs)
                block.grow(event.delta, out, b"" if is_empty(logprobs) else logprobs)
        elif kind == "response.content_part.added":
            self._complete(number, bytes(event.part), out, ended=False)
        elif kind == "response.content_part.done":
            self._complete(number, bytes(event.part), out, ended=True)
        elif kind == "response.output_text.done":
            self._reach(number, Text(""), event.text, out)
        elif kind == "response.output_text.annotation.added":
            block = self._at(number, Text(""), out)
            if block is not None:
                block.cited += 1
                citation = read_citation(Node(event.annotation, NAME, f"output[{self._number}].annotation"))
                out.append(e.Cited(block.index, citation))
        elif kind == "response.refusal.delta":
            block = self._at(number, Refusal(""), out)
            if block is not None and event.delta is not None:
                block.grow(event.delta, out)
        else:
            self._reach(number, Refusal(""), event.refusal, out)

    def _reach(self, number: int, part: Text | Refusal, text: str | None, out: list[e.Event]) -> None:
        block = self._at(number, part, out)
        if block is not None and text is not None:
            block.reach(text, out)

    def _at(self, number: int, part: Text | Refusal, out: list[e.Event]) -> _Growing | None:
        """Return the open block at a place, opened if need be; None if it is closed or not to be shown."""
        block = self._parts.get(number)
        if block is None and not self._whole:
            if self._item:
                part, self._item = mark(part, self._item), {}
            block = self._parts[number] = _Growing(self._blocks.open(part, out))
        return block if block is not None and block.open else None

    def _complete(self, number: int, raw: bytes, out: list[e.Event], *, ended: bool) -> None:
        if not raw:
            return
        place = f"output[{self._number}].content[{number}]"
        part = read_part(raw, place, "")
        if not isinstance(part, Text | Refusal):
            self._pass_over(number, part, out, ended=ended)
            return
        empty: Text | Refusal = msgspec.structs.replace(part, text="")
        if isinstance(empty, Text):
            empty = msgspec.structs.replace(empty, citations=(), logprobs=b"")
        block = self._at(number, empty, out)
        if block is None or not ended:
            return
        block.reach(part.text, out)
        if isinstance(part, Text):
            if part.logprobs and not block.logged:
                block.grow("", out, part.logprobs)
            out += [e.Cited(block.index, citation) for citation in part.citations[block.cited :]]
        block.close(out)

    def _pass_over(self, number: int, part: Part, out: list[e.Event], *, ended: bool) -> None:
        if not self._parts:
            self._whole = True
        elif ended and number not in self._parts:
            block = self._parts[number] = _Growing(self._blocks.open(part, out))
            block.close(out)

    def finish(self, raw: bytes, out: list[e.Event]) -> None:
        """See `Item.finish`."""
        if raw:
            node = Node(raw, NAME, f"output[{self._number}]")
            for number, one in enumerate(node.items("content")):
                self._complete(number, bytes(one), out, ended=True)
            if not self._parts:
                index = self._blocks.open(Opaque(NAME, node.text("type"), raw, vital=False), out)
                out.append(e.Closed(index))
        for block in self._parts.values():
            block.close(out)


class CallItem:
    """A call of a function or a custom tool."""

    def __init__(self, raw: bytes, number: int, blocks: Blocks, out: list[e.Event]) -> None:
        self._number = number
        call = self._read(raw)
        self._block = _Growing(blocks.open(msgspec.structs.replace(call, arguments=""), out))

    def _read(self, raw: bytes) -> ToolCall:
        node = Node(raw, NAME, f"output[{self._number}]")
        return read_call_item(node, node.text("type"))

    def begin(self, out: list[e.Event]) -> None:
        """See `Item.begin`; a call is there from its first event."""

    def take(self, event: WireEvent, out: list[e.Event]) -> None:
        """See `Item.take`."""
        if event.delta is not None:
            self._block.grow(event.delta, out)
            return
        whole = event.arguments if event.arguments is not None else event.input
        if whole is not None:
            self._block.reach(whole, out)

    def finish(self, raw: bytes, out: list[e.Event]) -> None:
        """See `Item.finish`."""
        if raw:
            self._block.reach(self._read(raw).arguments, out)
        self._block.close(out)


class ReasoningItem:
    """Reasoning: opened by its first text, because only that tells whether it is a summary or raw text."""

    def __init__(self, raw: bytes, number: int, blocks: Blocks) -> None:
        self._number = number
        self._blocks = blocks
        self._thinking = self._read(raw) if raw else Thinking()
        self._index: int | None = None
        self._source = ""
        self._key = -1
        self._lengths: list[int] = []
        """Characters of each piece so far."""

    def _read(self, raw: bytes) -> Thinking:
        node = Node(raw, NAME, f"output[{self._number}]")
        node.raw("type")
        return read_thinking_item(node)

    def _open(self, source: str, out: list[e.Event]) -> int:
        if self._index is None:
            self._source = source
            extras = self._thinking.extras
            if source == RAW_TEXT and (extras is None or RAW_TEXT not in extras.fields):
                extras = with_more(extras, {RAW_TEXT: EMPTY_LIST})
            self._index = self._blocks.open(Thinking(extras=extras), out)
        return self._index

    def begin(self, out: list[e.Event]) -> None:
        """See `Item.begin`."""
        self._open("summary", out)

    def take(self, event: WireEvent, out: list[e.Event]) -> None:
        """See `Item.take`."""
        raw_text = "summary" not in event.type
        source = RAW_TEXT if raw_text else "summary"
        index = self._open(source, out)
        if self._source != source:
            return  # raw text beside a summary says the same at length
        key = (event.content_index if raw_text else event.summary_index) or 0
        if key != self._key:
            self._key = key
            self._fill(out)
            self._lengths.append(-1)
        piece = len(self._lengths) - 1
        if event.delta is not None:
            self._grow(index, piece, event.delta, out)
        elif event.text is not None:
            self._reach(index, piece, event.text, out)

    def _grow(self, index: int, piece: int, text: str, out: list[e.Event]) -> None:
        self._lengths[piece] = max(self._lengths[piece], 0) + len(text)
        out.append(e.Grew(index, text, piece))

    def _reach(self, index: int, piece: int, text: str, out: list[e.Event]) -> None:
        if len(text) > self._lengths[piece]:
            self._grow(index, piece, text[max(self._lengths[piece], 0) :], out)

    def _fill(self, out: list[e.Event]) -> None:
        """Let an announced piece that stayed empty be there."""
        if self._lengths and self._lengths[-1] < 0 and self._index is not None:
            self._grow(self._index, len(self._lengths) - 1, "", out)

    def finish(self, raw: bytes, out: list[e.Event]) -> None:
        """See `Item.finish`."""
        whole = self._read(raw) if raw else self._thinking
        if self._index is None:
            self._thinking = whole
        index = self._open(self._source or "summary", out)
        for piece, text in enumerate(whole.texts):
            if piece == len(self._lengths):
                self._fill(out)
                self._lengths.append(-1)
            if piece == len(self._lengths) - 1:
                self._reach(index, piece, text, out)
        self._fill(out)
        out.append(e.Closed(index, whole.signature, whole.origin))


class WholeItem:
    """An item that only this dialect knows: it counts when it is done."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks

    def begin(self, out: list[e.Event]) -> None:
        """See `Item.begin`."""

    def take(self, event: WireEvent, out: list[e.Event]) -> None:
        """See `Item.take`; its end repeats everything."""

    def finish(self, raw: bytes, out: list[e.Event]) -> None:
        """See `Item.finish`."""
        if raw:
            kind = Node(raw, NAME).text("type")
            out.append(e.Closed(self._blocks.open(Opaque(NAME, kind, raw, vital=False), out)))
