"""Events as a Messages stream (dialects: §2.2, §6, §14).

The wire knows one open block at a time: what other blocks say meanwhile is held back and follows in their order. A tool
call's arguments are passed on piece by piece and judged at their end: a call that cannot be parsed although the model
was not cut short makes the stream fail, because clients would run the tool.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from flumegate.dialects.anthropic.errors import write_failure
from flumegate.dialects.anthropic.messages import answer_blocks as whole
from flumegate.dialects.anthropic.messages.citations import write_citation
from flumegate.dialects.anthropic.messages.extras import DIALECT, TARGET, put_back
from flumegate.dialects.anthropic.messages.stops import CUT_SHORT
from flumegate.dialects.anthropic.messages.usage import write_usage
from flumegate.ir import events as e
from flumegate.ir.answer import Asked, Finish
from flumegate.ir.arguments import as_object
from flumegate.ir.failure import Failure
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Extras, Media, Opaque, Part, Refusal, Thinking, ToolCall, ToolResult
from flumegate.ir.restore import pack_custom
from flumegate.ir.seal import seal
from flumegate.ir.usage import Usage

_encode = msgspec.json.Encoder().encode
_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b}\n\n'
_START = b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
_STOP_BLOCK = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_TEXT = b'{"type":"text_delta","text":%b}'
_THINKING = b'{"type":"thinking_delta","thinking":%b}'
_ARGUMENTS = b'{"type":"input_json_delta","partial_json":%b}'
_IN_DELTA = ("stop_reason", "stop_sequence", "stop_details", "container")
"""Members of a message that a stream says inside `message_delta.delta`."""


class _Block:
    """A block of the answer.

    Attributes:
        start: the block as it begins on the wire.
        form: how a piece of its text is written; empty = it does not grow there.
        lazy: it is begun only when it says something, because it may turn out to be nothing.
        number: its index on the wire, once it is there.
        piece: which of its texts a thinking block is at.
        pieces: arguments of a call, to be judged at the end.
        held: deltas that wait for their turn.
    """

    __slots__ = ("closed", "form", "held", "lazy", "number", "part", "piece", "pieces", "start")

    def __init__(self, part: Part, start: dict[str, Any] | msgspec.Raw, form: bytes, *, lazy: bool = False) -> None:
        self.part = part
        self.start = start
        self.form = form
        self.lazy = lazy
        self.number = -1
        self.piece = 0
        self.pieces: list[str] = []
        self.held: list[bytes] = []
        self.closed = False


def _state_of(call: ToolCall) -> _Block:
    """Return the complete block that carries a call's state."""
    start = whole.state_of(call)
    block = _Block(call, start, _THINKING)
    block.held.append(b'{"type":"signature_delta","signature":%b}' % _encode(start["signature"]))
    block.start = start | {"signature": ""}
    block.closed = True
    return block


class MessagesStreamWriter:
    """Writes one stream for a client; see `codecs.StreamWriter`."""

    def __init__(self, asked: Asked) -> None:
        self.losses = Losses()
        self._asked = asked
        self._blocks: dict[int, _Block] = {}
        self._queue: deque[_Block] = deque()
        """Blocks that are not complete on the wire, in order; only the first is open there."""
        self._next = 0
        self._usage: Usage | None = None
        self._finish = Finish("stop")
        self._extras: Extras | None = None
        self._broken = False
        self._over = False
        self._lost: set[str] = set()

    def write(self, event: e.Event) -> bytes:  # noqa: PLR0911 - one kind of event a return
        """Return the bytes for one event."""
        if type(event) is e.Grew:  # first: nearly all events are of this kind
            return self._grow(event)
        if self._over:
            return b""
        match event:
            case e.Opened():
                return self._open(event)
            case e.Closed():
                return self._close(event)
            case e.Cited():
                return self._cite(event)
            case e.Finished():
                return self._finish_choice(event)
            case e.Started():
                return self._start(event)
            case e.Ended():
                return self._end()
            case e.Failed():
                self._over = True
                return write_failure(event.failure)
            case e.Counted():  # pragma: no branch - the last kind there is
                self._usage = event.usage
        return b""

    def _start(self, event: e.Started) -> bytes:
        """Begin at once: a client that waits sees that there is somebody."""
        message = whole.message(event.id, event.model, self._asked)
        message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": write_usage(self._usage)}
        whole.report(self.losses, event.extras)
        put_back(message, event.extras)
        return b'event: message_start\ndata: {"type":"message_start","message":%b}\n\n' % _encode(message)

    def _open(self, event: e.Opened) -> bytes:
        if event.choice:
            self._lose("choices", f"{TARGET} gives one answer at a time.")
            return b""
        block = self._block_of(event.part, event.index)
        if block is None:
            return b""
        waits = bool(self._queue)
        if isinstance(event.part, ToolCall) and event.part.signature:
            self._queue.append(_state_of(event.part))
        self._blocks[event.index] = block
        self._queue.append(block)
        return b"" if waits else self._flush()

    def _block_of(self, part: Part, index: int) -> _Block | None:
        """Return the block that says a part; None = there is none, which is reported."""
        at = f"content[{index}]"
        if isinstance(part, Opaque):
            raw = whole.opaque(self.losses, part, at)
            return None if raw is None else _Block(part, raw, b"")
        if isinstance(part, Media | ToolResult):
            self.losses.dropped(at, f"{TARGET} has no {type(part).__name__.lower()} in answers.")
            return None
        start: dict[str, Any]
        match part:
            case Thinking():
                start, form, lazy = whole.open_thinking(part), _THINKING, part.redacted
            case ToolCall():
                start, form, lazy = (
                    whole.open_call(part, whole.call_id(part, self._asked.seed, index)),
                    _ARGUMENTS,
                    False,
                )
            case _:
                start, form, lazy = {"type": "text", "text": ""}, _TEXT, True
                if isinstance(part, Refusal):
                    self.losses.approximated(at, f"{TARGET} has no blocks of refusal; it is sent as text.")
        whole.report(self.losses, part.extras, at)
        put_back(start, part.extras)
        return _Block(part, start, form, lazy=lazy)

    def _grow(self, event: e.Grew) -> bytes:
        block = self._blocks.get(event.index)
        if block is None or self._over:
            return b""
        text = event.text
        if event.logprobs:
            self._lose("logprobs", f"{TARGET} tells no probabilities.")
        if block.form is _ARGUMENTS:
            block.pieces.append(text)
            if isinstance(block.part, ToolCall) and block.part.kind == "custom":
                return b""  # a free text can be written as an argument only when it is whole
        elif event.piece != block.piece:
            block.piece = event.piece
            text = f"\n\n{text}"
        return self._put(block, block.form % _encode(text)) if text else b""

    def _put(self, block: _Block, delta: bytes) -> bytes:
        if block.number >= 0:
            return _DELTA % (block.number, delta)
        block.held.append(delta)
        return self._flush() if self._queue[0] is block else b""

    def _cite(self, event: e.Cited) -> bytes:
        block = self._blocks.get(event.index)
        if block is None:
            return b""
        citation = write_citation(event.citation, "")
        if citation is None:
            self._lose(f"content[{event.index}].citations", f"{TARGET} names only sources that have an address.")
            return b""
        return self._put(block, b'{"type":"citations_delta","citation":%b}' % _encode(citation))

    def _close(self, event: e.Closed) -> bytes:
        block = self._blocks.pop(event.index, None)
        if block is None:
            return b""
        out = b""
        part = block.part
        if isinstance(part, Thinking):
            out = self._sign(block, part, event)
        elif isinstance(part, ToolCall):
            if event.signature and not part.signature:
                self._lose("reasoning", whole.NO_STATE)
            arguments = "".join(block.pieces)
            if part.kind == "custom":
                out = self._put(block, _ARGUMENTS % _encode(pack_custom(arguments)))
            elif as_object(arguments) is None:
                self._broken = True
        block.closed = True
        return out + self._flush()

    def _sign(self, block: _Block, part: Thinking, event: e.Closed) -> bytes:
        if event.signature:
            part = msgspec.structs.replace(part, signature=event.signature, origin=event.origin or part.origin)
        if part.redacted:
            block.lazy = False
            block.start = whole.open_thinking(part)
            put_back(block.start, part.extras)
            return b""
        if not part.signature:
            return b""
        signature = seal(part.signature, part.origin, own=DIALECT)
        return self._put(block, b'{"type":"signature_delta","signature":%b}' % _encode(signature))

    def _flush(self) -> bytes:
        """Write what has its turn: the open block's deltas, and the blocks behind it when it is complete."""
        out: list[bytes] = []
        while self._queue:
            block = self._queue[0]
            if block.number < 0 and (block.held or not block.lazy):
                block.number = self._next
                self._next += 1
                out.append(_START % (block.number, _encode(block.start)))
            out.extend(_DELTA % (block.number, delta) for delta in block.held)
            block.held.clear()
            if not block.closed:
                break
            if block.number >= 0:
                out.append(_STOP_BLOCK % block.number)
            self._queue.popleft()
        return b"".join(out)

    def _finish_choice(self, event: e.Finished) -> bytes:
        if event.choice:
            return b""
        self._finish, self._extras = event.finish, event.extras
        if self._broken and event.finish.reason not in CUT_SHORT:
            self._over = True
            reason = "The model called a tool with arguments that are no JSON object."
            self.losses.refused("content", reason)
            return write_failure(Failure("garbage", reason))
        return b""

    def _end(self) -> bytes:
        self._over = True
        if self._usage is None:
            self.losses.invented("usage", "The provider reported no usage; zeros stand for it.")
        members: dict[str, Any] = {}
        whole.ending(members, self.losses, self._extras, self._finish, write_usage(self._usage))
        delta = {name: members.pop(name) for name in _IN_DELTA if name in members}
        event = {"type": "message_delta", "delta": delta, **members}
        return b"event: message_delta\ndata: %b\n\n%b" % (_encode(event), _STOP)

    def _lose(self, path: str, reason: str) -> None:
        if path not in self._lost:
            self._lost.add(path)
            self.losses.dropped(path, reason)
