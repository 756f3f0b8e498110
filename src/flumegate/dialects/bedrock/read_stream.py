"""ConverseStream's binary events, read (dialects: §10).

A text begins with its first delta, a call with an event of its own. `messageStop` ends what is said, `metadata` with
the usage follows it and ends the stream; a stream without `messageStop` was cut. Blocks that grow in ways which the
neutral form does not know are put together and come whole at their end.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.bedrock.errors import read_exception
from flumegate.dialects.bedrock.names import NAME
from flumegate.dialects.bedrock.read_answer import extras_of, left_of, read_metadata
from flumegate.dialects.bedrock.read_parts import CLIENT_CALLS, joined_bytes, read_citation, read_part
from flumegate.dialects.bedrock.usage import broken, read_finish
from flumegate.dialects.node import Node, ReadError
from flumegate.ir import events as e
from flumegate.ir.failure import Failure
from flumegate.ir.parts import Part, Text, Thinking, ToolCall
from flumegate.wire import eventstream


class _Call(msgspec.Struct, gc=False, rename="camel"):
    name: str = ""
    tool_use_id: str = ""
    type: str = ""


class _Begin(msgspec.Struct, gc=False, rename="camel"):
    tool_use: msgspec.Raw = msgspec.Raw(b"")
    tool_result: msgspec.Raw = msgspec.Raw(b"")
    image: msgspec.Raw = msgspec.Raw(b"")


class _BlockStart(msgspec.Struct, gc=False, rename="camel"):
    content_block_index: int = 0
    start: _Begin | None = None


class _Arguments(msgspec.Struct, gc=False):
    input: str = ""


class _Reasoning(msgspec.Struct, gc=False, rename="camel"):
    text: str = ""
    signature: str = ""
    redacted_content: str = ""


class _Delta(msgspec.Struct, gc=False, rename="camel"):
    text: str | None = None
    tool_use: _Arguments | None = None
    reasoning_content: _Reasoning | None = None
    citation: msgspec.Raw = msgspec.Raw(b"")
    tool_result: list[msgspec.Raw] | None = None
    image: msgspec.Raw = msgspec.Raw(b"")


class _BlockDelta(msgspec.Struct, gc=False, rename="camel"):
    content_block_index: int = 0
    delta: _Delta | None = None


class _Source(msgspec.Struct, gc=False):
    bytes: str = ""


class _ImageDelta(msgspec.Struct, gc=False):
    source: _Source | None = None


_decode_start = msgspec.json.Decoder(_BlockStart).decode
_decode_delta = msgspec.json.Decoder(_BlockDelta).decode
_decode_call = msgspec.json.Decoder(_Call).decode
_decode_image = msgspec.json.Decoder(_ImageDelta).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ReadError)


def _is_there(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", b"null")


class _Open:
    """A block that has begun."""

    __slots__ = ("index", "part", "signature")

    def __init__(self, index: int, part: Part) -> None:
        self.index = index
        self.part = part
        self.signature: list[str] = []


class _Whole:
    """A block that is put together before it is told."""

    __slots__ = ("kind", "pieces", "start")

    def __init__(self, kind: str, start: msgspec.Raw) -> None:
        self.kind = kind
        self.start = start
        self.pieces: list[Any] = []

    def read(self) -> Part:
        """Return it as an answer in one piece would have it."""
        members: dict[str, Any] = dict(_decode_members(self.start))
        if self.kind == "toolResult":
            members["content"] = self.pieces
        elif self.kind == "image":
            members["source"] = {"bytes": joined_bytes(self.pieces)} if self.pieces else {}
        else:
            members["input"] = msgspec.json.decode("".join(self.pieces) or "{}")
        return read_part(_encode({self.kind: members}), "")


class BedrockStreamReader:
    """Reads a stream, in any pieces."""

    def __init__(self) -> None:
        self._frames = eventstream.Reader()
        self._blocks: dict[int, _Open | _Whole] = {}
        """By the provider's own index, while they are open."""
        self._next = 0
        self._started = self._called = self._over = False
        self._stop: str | None = None
        self._extras: dict[str, msgspec.Raw] = {}

    def feed(self, data: bytes) -> list[e.Event]:
        """Take the next bytes; return what they say."""
        told: list[e.Event] = []
        for frame in self._frames.feed(data):
            if self._over:
                return told
            try:
                self._take(frame, told)
            except _UNREADABLE as error:
                self._fail(told, Failure("garbage", f"An event cannot be read ({str(error)[:120]})."))
        if self._frames.fault and not self._over:
            self._fail(told, Failure("garbage", self._frames.fault))
        return told

    def close(self) -> list[e.Event]:
        """The stream has ended; without `messageStop` this yields Failed."""
        told: list[e.Event] = []
        if self._over:
            return told
        if self._stop is None or not self._frames.is_between():
            self._fail(told, Failure("cut", "The stream ended before the answer did."))
        else:
            self._end(told)
        return told

    def _take(self, frame: eventstream.Frame, told: list[e.Event]) -> None:
        headers = frame.headers
        kind = headers.get(":event-type", "")
        if kind == "contentBlockDelta" and self._stop is None:
            self._grow(_decode_delta(frame.payload), told)
        elif headers.get(":message-type") == "exception":
            self._fail(told, read_exception(headers.get(":exception-type", ""), frame.payload))
        elif headers.get(":message-type") == "error":
            message = _encode({"message": headers.get(":error-message", "")})
            self._fail(told, read_exception(headers.get(":error-code", ""), message))
        elif kind == "metadata":
            self._count(Node(frame.payload, NAME), told)
        elif kind == "messageStart":
            self._begin(told)
        elif kind == "contentBlockStart" and self._stop is None:
            self._open(_decode_start(frame.payload), told)
        elif kind == "contentBlockStop" and self._stop is None:
            self._close(_decode_start(frame.payload).content_block_index, told)
        elif kind == "messageStop" and self._stop is None:
            self._finish(Node(frame.payload, NAME), told)

    def _begin(self, told: list[e.Event]) -> None:
        if not self._started:
            self._started = True
            told.append(e.Started())

    def _fail(self, told: list[e.Event], failure: Failure) -> None:
        self._over = True
        told.append(e.Failed(failure))

    def _open(self, event: _BlockStart, told: list[e.Event]) -> None:
        begin = event.start
        if begin is None:
            return
        self._close(event.content_block_index, told)
        if _is_there(begin.tool_use):
            call = _decode_call(begin.tool_use)
            if call.type in CLIENT_CALLS:
                self._called = True
                self._tell(event.content_block_index, ToolCall(call.tool_use_id, call.name), told)
            else:
                self._blocks[event.content_block_index] = _Whole("toolUse", begin.tool_use)
        elif _is_there(begin.tool_result):
            self._blocks[event.content_block_index] = _Whole("toolResult", begin.tool_result)
        elif _is_there(begin.image):
            self._blocks[event.content_block_index] = _Whole("image", begin.image)

    def _tell(self, place: int, part: Part, told: list[e.Event]) -> _Open:
        """Open a block, and return it."""
        self._begin(told)
        block = _Open(self._next, part)
        self._next += 1
        told.append(e.Opened(block.index, part))
        self._blocks[place] = block
        return block

    def _growing(self, place: int, part: Part, told: list[e.Event]) -> _Open:
        """Return the open block of a kind at a place; one of another kind gives way."""
        block = self._blocks.get(place)
        if isinstance(block, _Open) and block.part == part:
            return block
        self._close(place, told)
        return self._tell(place, part, told)

    def _grow(self, event: _BlockDelta, told: list[e.Event]) -> None:
        place, delta = event.content_block_index, event.delta
        if delta is None:
            return
        if delta.text is not None:
            block = self._growing(place, Text(""), told)
            if delta.text:
                told.append(e.Grew(block.index, delta.text))
        elif delta.tool_use is not None:
            self._grow_call(place, delta.tool_use.input, told)
        elif delta.reasoning_content is not None:
            self._grow_thinking(place, delta.reasoning_content, told)
        elif _is_there(delta.citation):
            block = self._growing(place, Text(""), told)
            told.append(e.Cited(block.index, read_citation(Node(delta.citation, NAME, "delta.citation"))))
        else:
            self._gather(place, delta)

    def _grow_call(self, place: int, piece: str, told: list[e.Event]) -> None:
        block = self._blocks.get(place)
        if isinstance(block, _Whole) and block.kind == "toolUse":
            block.pieces.append(piece)
        elif isinstance(block, _Open) and isinstance(block.part, ToolCall):
            if piece:
                told.append(e.Grew(block.index, piece))
        else:
            raise ReadError("delta.toolUse", "Arguments came without their call.")

    def _grow_thinking(self, place: int, piece: _Reasoning, told: list[e.Event]) -> None:
        redacted = bool(piece.redacted_content)
        part = Thinking(origin=NAME, redacted=True) if redacted else Thinking()
        block = self._growing(place, part, told)
        if piece.text:
            told.append(e.Grew(block.index, piece.text))
        state = piece.redacted_content or piece.signature
        if state:
            block.signature.append(state)

    def _gather(self, place: int, delta: _Delta) -> None:
        block = self._blocks.get(place)
        if not isinstance(block, _Whole):
            return  # a kind of delta that nobody here knows
        if delta.tool_result is not None:
            block.pieces.extend(delta.tool_result)
        elif _is_there(delta.image):
            source = _decode_image(delta.image).source
            if source is not None:
                block.pieces.append(source.bytes)

    def _close(self, place: int, told: list[e.Event]) -> None:
        block = self._blocks.pop(place, None)
        if isinstance(block, _Whole):
            part = block.read()
            self._begin(told)
            told.extend((e.Opened(self._next, part), e.Closed(self._next)))
            self._next += 1
        elif block is not None:
            redacted = isinstance(block.part, Thinking) and block.part.redacted
            state = joined_bytes(block.signature) if redacted else "".join(block.signature)
            told.append(e.Closed(block.index, state, NAME if state else ""))

    def _finish(self, node: Node, told: list[e.Event]) -> None:
        self._begin(told)
        for place in tuple(self._blocks):
            self._close(place, told)
        self._stop = node.text("stopReason")
        node.raw("p")
        self._extras |= left_of(node)
        failure = broken(self._stop)
        if failure is not None:
            self._fail(told, failure)

    def _count(self, node: Node, told: list[e.Event]) -> None:
        usage, fields = read_metadata(node)
        node.raw("p")
        self._extras |= fields | left_of(node)
        if usage is not None:
            self._begin(told)
            told.append(e.Counted(usage))
        if self._stop is not None:
            self._end(told)

    def _end(self, told: list[e.Event]) -> None:
        self._over = True
        finish = read_finish(self._stop or "", called=self._called)
        told.append(e.Finished(finish, extras=extras_of(self._extras)))
        told.append(e.Ended())
