"""A Messages stream into events (dialects: §6, §14).

The terminal event is `message_stop`; whatever ends without it was cut. Blocks that only Anthropic understands are
gathered until they are whole. A block without its end, a second start and unknown events are no failures.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.anthropic.errors import read_failure
from flumegate.dialects.anthropic.messages.citations import read_citation
from flumegate.dialects.anthropic.messages.extras import DIALECT, Fields, of_fields
from flumegate.dialects.anthropic.messages.read_answer import read_blocks
from flumegate.dialects.anthropic.messages.read_blocks import read_block
from flumegate.dialects.anthropic.messages.stops import read_stop, settle
from flumegate.dialects.anthropic.messages.usage import Counters
from flumegate.dialects.node import Node, ReadError
from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Choice, Finish
from flumegate.ir.failure import Failure
from flumegate.ir.fold import unfold
from flumegate.ir.parts import Opaque, Part, Text, Thinking, ToolCall
from flumegate.wire import sse


class _Delta(msgspec.Struct, gc=False):
    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None


class _Event(msgspec.Struct, gc=False):
    type: str | None = None
    index: int | None = None
    delta: _Delta | None = None
    error: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Event).decode
_decode_members = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode
_FAILURES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ReadError)
_NOTHING = (b"", b"null", b"false", b'""', b"{}", b"0")


class _Block:
    """A block that is open on the wire.

    Attributes:
        index: its number among our events.
        grows: the member of a delta that it grows by; empty = it comes whole.
        first: arguments that stood at the start, which count only if no others follow.
        whole: members of a block that only Anthropic understands, as far as they are known.
    """

    __slots__ = ("first", "grown", "grows", "index", "pieces", "signature", "whole")

    def __init__(self, index: int, grows: str) -> None:
        self.index = index
        self.grows = grows
        self.grown = False
        self.first = ""
        self.signature = ""
        self.whole: dict[str, Any] | None = None
        self.pieces: list[str] = []


class MessagesStreamReader:
    """Reads one stream; see `codecs.StreamReader`."""

    def __init__(self) -> None:
        self._source = sse.Reader()
        self._out: list[e.Event] = []
        self._open: dict[int, _Block] = {}
        self._next = 0
        self._started = False
        self._over = False
        self._called = False
        self._finish: Finish | None = None
        self._found: Fields = {}
        self._counters = Counters()

    def feed(self, data: bytes) -> list[e.Event]:
        """Take the next bytes; return what they say."""
        if self._over:
            return []
        try:
            events = self._source.feed(data)
        except OverflowError as error:
            self._fail(Failure("garbage", f"The stream cannot be read: {error}."))
            events = []
        return self._read(events)

    def close(self) -> list[e.Event]:
        """Say how the stream ended."""
        if self._over:
            return []
        self._read(self._source.finish(), keep=True)
        if not self._over:
            self._fail(Failure("cut", "The stream ended without message_stop."))
        return self._given()

    def _read(self, events: list[sse.Event], *, keep: bool = False) -> list[e.Event]:
        for event in events:
            if self._over:
                break
            try:
                self._take(event.data)
            except _FAILURES as error:
                self._fail(Failure("garbage", f"An event of the stream cannot be read: {str(error)[:200]}"))
        return [] if keep else self._given()

    def _given(self) -> list[e.Event]:
        out, self._out = self._out, []
        return out

    def _fail(self, failure: Failure) -> None:
        self._over = True
        self._out.append(e.Failed(failure))

    def _take(self, data: bytes) -> None:
        if data == b"[DONE]":
            return  # no word of this dialect, but some servers end everything with it
        event = _decode(data)
        kind = event.type
        if kind == "content_block_delta":
            if event.delta is not None:
                self._grow(event.index or 0, event.delta, data)
        elif kind == "content_block_start":
            self._open_block(event.index or 0, data)
        elif kind == "content_block_stop":
            self._close_block(event.index or 0)
        elif kind == "message_start":
            self._start(Node(data, DIALECT).node("message"))
        elif kind == "message_delta":
            self._delta(Node(data, DIALECT))
        elif kind == "message_stop":
            self._stop()
        elif kind == "error" or bytes(event.error) not in _NOTHING:
            self._fail(read_failure(data))

    def _start(self, message: Node | None) -> None:
        if message is None or self._started:
            return  # some servers send it twice; what it repeats comes again at the end
        for name in ("type", "role"):
            message.raw(name)
        self._begin(message.text("id"), message.text("model"))
        for part in read_blocks(message):
            self._emit_whole(part)
        self._note_end(message)

    def _begin(self, identity: str = "", model: str = "") -> None:
        if not self._started:
            self._started = True
            self._out.append(e.Started(identity, model))

    def _note_end(self, node: Node) -> None:
        """Take usage and the members that tell the end, which a later event may repeat."""
        counted = node.node("usage")
        if counted is not None:
            self._begin()
            self._out.append(e.Counted(self._counters.take(counted)))
        self._finish = read_stop(node, self._found) or self._finish
        left = node.left()
        if left is not None:
            self._found.update(left.fields)

    def _delta(self, event: Node) -> None:
        event.raw("type")
        delta = event.node("delta")
        if delta is not None:
            self._note_end(delta)
        self._note_end(event)

    def _stop(self) -> None:
        if not self._started:
            self._fail(Failure("garbage", "The stream ends before anything has begun."))
            return
        for index in list(self._open):
            self._close_block(index)  # on max_tokens the last block may lack its end
        found = self._found | self._counters.left
        finish = settle(self._finish, called=self._called)
        self._out.append(e.Finished(finish, 0, of_fields(found)))
        self._out.append(e.Ended())
        self._over = True

    def _emit_whole(self, part: Part) -> None:
        """Emit a part that is complete as a block of its own."""
        self._called = self._called or isinstance(part, ToolCall)
        number = self._next
        self._next += 1
        for event in unfold(Answer(choices=(Choice((part,)),))):
            if isinstance(event, e.Opened | e.Grew | e.Cited | e.Closed):
                self._out.append(msgspec.structs.replace(event, index=number))

    def _new_block(self, index: int, grows: str, part: Part) -> _Block:
        self._begin()
        block = self._open[index] = _Block(self._next, grows)
        self._next += 1
        self._out.append(e.Opened(block.index, part))
        return block

    def _open_block(self, index: int, data: bytes) -> None:
        self._close_block(index)
        event = Node(data, DIALECT)
        raw = event.raw("content_block")
        if not raw:
            return
        part = read_block(raw, "content_block", at="")
        if isinstance(part, Text):
            block = self._new_block(index, "text", msgspec.structs.replace(part, text="", citations=()))
            self._add(block, part.text)
            self._out.extend(e.Cited(block.index, citation) for citation in part.citations)
        elif isinstance(part, ToolCall):
            self._called = True
            block = self._new_block(index, "partial_json", msgspec.structs.replace(part, arguments=""))
            block.first = part.arguments
        elif isinstance(part, Thinking) and not part.redacted:
            block = self._new_block(index, "thinking", msgspec.structs.replace(part, texts=()))
            self._add(block, "".join(part.texts))
        elif isinstance(part, Opaque):
            self._begin()
            block = self._open[index] = _Block(-1, "")
            block.whole = _decode_members(raw)
        else:
            self._begin()
            self._emit_whole(part)

    def _add(self, block: _Block, text: str) -> None:
        if text:
            block.grown = True
            self._out.append(e.Grew(block.index, text))

    def _grow(self, index: int, delta: _Delta, data: bytes) -> None:
        block = self._open.get(index)
        if block is None:
            block = self._implied(index, delta)
            if block is None:
                return
        if block.grows == "text" and delta.text:
            self._out.append(e.Grew(block.index, delta.text))
        elif block.grows == "partial_json" and delta.partial_json:
            block.grown = True
            self._out.append(e.Grew(block.index, delta.partial_json))
        elif block.grows == "thinking" and (delta.thinking or delta.signature):
            self._add(block, delta.thinking or "")
            block.signature = delta.signature or block.signature
        elif block.whole is not None:
            _gather(block, _decode_members(data)["delta"])
        elif delta.type == "citations_delta":
            self._cite(block, Node(data, DIALECT))

    def _implied(self, index: int, delta: _Delta) -> _Block | None:
        """Open a block whose start never came, where a delta tells what it is."""
        if delta.text:
            return self._new_block(index, "text", Text(""))
        if delta.thinking:
            return self._new_block(index, "thinking", Thinking())
        return None

    def _cite(self, block: _Block, event: Node) -> None:
        delta = event.node("delta")
        citation = delta.node("citation") if delta is not None else None
        if citation is not None and block.grows == "text":
            self._out.append(e.Cited(block.index, read_citation(citation)))

    def _close_block(self, index: int) -> None:
        block = self._open.pop(index, None)
        if block is None:
            return
        if block.whole is not None:
            kind = str(block.whole.get("type"))
            self._emit_whole(Opaque(DIALECT, kind, _whole(block), vital=False))
            return
        if not block.grown:
            self._add(block, block.first)
        signed = block.signature
        self._out.append(e.Closed(block.index, signed, DIALECT if signed else ""))


def _gather(block: _Block, delta: dict[str, Any]) -> None:
    """Add a delta to a block that nobody else understands: texts go on, other members replace."""
    assert block.whole is not None  # noqa: S101 - asked by the only caller
    for name, value in delta.items():
        if name == "partial_json" and isinstance(value, str):
            block.pieces.append(value)
        elif name != "type" and value is not None:
            known = block.whole.get(name)
            both = isinstance(known, str) and isinstance(value, str)
            block.whole[name] = known + value if both else value


def _whole(block: _Block) -> bytes:
    """Return the block as it would stand in a whole message; arguments that were cut short stay text."""
    members = dict(block.whole or {})
    text = "".join(block.pieces)
    if text:
        try:
            members["input"] = _decode_members(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            members["input"] = text
    return _encode(members)
