"""An Ollama server's stream: JSON lines, each with a piece of thinking or text, or with whole tool calls.

One block is open at a time. The last line, and only that one, is looked at member by member: what a server says there
beside the known is kept, as in an answer in one piece. A line that is no JSON object breaks the answer off.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.ollama.calls import read_call
from flumegate.dialects.ollama.ending import read_extras, read_finish, read_time, read_usage
from flumegate.dialects.ollama.errors import failure_of
from flumegate.dialects.ollama.images import media_type_of
from flumegate.dialects.ollama.names import CHAT
from flumegate.ir import events as e
from flumegate.ir.failure import Failure
from flumegate.ir.parts import Media, Part, Text, Thinking, ToolCall
from flumegate.wire import ndjson

_NOTHING = msgspec.Raw(b"")
_EMPTY = (b"", b"null", b"[]")


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: msgspec.Raw = _NOTHING
    images: list[str] | None = None


class _Line(msgspec.Struct, gc=False):
    message: _Message | None = None
    done: bool | None = None
    error: object = None
    logprobs: msgspec.Raw = _NOTHING


class _Head(msgspec.Struct, gc=False):
    model: str | None = None
    created_at: str | None = None


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_calls = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_FAILURES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _is_whole(line: bytes) -> bool:
    """Tell whether a line that lacks its end is a document; the beginning of one is the sign of a cut, not garbage."""
    try:
        _decode_raw(line)
    except _FAILURES:
        return False
    return True


class ChatStreamReader:
    """Reads one stream."""

    def __init__(self) -> None:
        self._lines = ndjson.Reader()
        self._started = False
        self._over = False
        self._open: type[Part] | None = None
        """Kind of the block that grows: text or thinking."""
        self._index = -1
        self._logprobs: list[bytes] = []
        """Of pieces without text, kept for the next text."""
        self._calls: set[str] = set()
        self._count = 0
        """Of the calls, repeated ones too."""

    def feed(self, data: bytes) -> list[e.Event]:
        """Take the next bytes; return what they say."""
        if self._over:
            return []
        try:
            lines = self._lines.feed(data)
        except OverflowError as error:
            return [self._fail(Failure("garbage", str(error)))]
        return self._read(lines)

    def close(self) -> list[e.Event]:
        """The stream has ended: without a line that is `done` this yields Failed."""
        rest = [] if self._over else self._lines.finish()
        found = self._read(line for line in rest if _is_whole(line))
        if not self._over:
            found.append(self._fail(Failure("cut", "The stream ended without a line that is done.")))
        return found

    def _fail(self, failure: Failure) -> e.Failed:
        self._over = True
        return e.Failed(failure)

    def _read(self, lines: Iterable[bytes]) -> list[e.Event]:
        out: list[e.Event] = []
        for raw in lines:
            if self._over:
                break
            try:
                self._line(raw, out)
            except _FAILURES as error:
                out.append(self._fail(Failure("garbage", f"A line is not of the dialect: {str(error)[:120]}.")))
            except ReadError as error:
                out.append(self._fail(Failure("garbage", f"A line is not of the dialect: {error}")))
        return out

    def _line(self, raw: bytes, out: list[e.Event]) -> None:
        line = _decode_line(raw)
        if line.error:
            out.append(self._fail(failure_of(line.error)))
            return
        if not self._started:
            head = _decode_head(raw)
            out.append(e.Started("", head.model or "", read_time(head.created_at or "")))
            self._started = True
        if bytes(line.logprobs) not in _EMPTY:
            self._logprobs.append(bytes(line.logprobs))
        if line.message is not None:
            self._say(line.message, raw, out)
        if line.done:
            self._end(raw, out)

    def _say(self, message: _Message, raw: bytes, out: list[e.Event]) -> None:
        if message.thinking:
            self._grow(Thinking, message.thinking, out)
        if message.content:
            self._grow(Text, message.content, out)
        if message.images:
            for data in message.images:
                self._whole(Media("image", media_type_of(data), data=data), out)
        if bytes(message.tool_calls) not in _EMPTY:
            self._call(message.tool_calls, raw, out)

    def _grow(self, kind: type[Text | Thinking], text: str, out: list[e.Event]) -> None:
        if self._open is not kind:
            self._close_block(out)
            self._index += 1
            self._open = kind
            out.append(e.Opened(self._index, Thinking() if kind is Thinking else Text("")))
        if kind is Text and self._logprobs:
            out.append(e.Grew(self._index, text, logprobs=self._take_logprobs()))
        else:
            out.append(e.Grew(self._index, text))

    def _take_logprobs(self) -> bytes:
        held, self._logprobs = self._logprobs, []
        return held[0] if len(held) == 1 else b"[%b]" % b",".join(items.strip()[1:-1] for items in held)

    def _close_block(self, out: list[e.Event]) -> None:
        if self._open is not None:
            out.append(e.Closed(self._index))
            self._open = None

    def _whole(self, part: Part, out: list[e.Event]) -> None:
        """Emit a block that comes in one piece."""
        if self._logprobs:
            self._grow(Text, "", out)
        self._close_block(out)
        self._index += 1
        if isinstance(part, ToolCall):
            out.append(e.Opened(self._index, msgspec.structs.replace(part, arguments="", at="")))
            if part.arguments:
                out.append(e.Grew(self._index, part.arguments))
        else:
            out.append(e.Opened(self._index, part))
        out.append(e.Closed(self._index))

    def _call(self, calls: msgspec.Raw, raw: bytes, out: list[e.Event]) -> None:
        stamp = _decode_head(raw).created_at or ""
        for item in _decode_calls(calls):
            node = Node(item, CHAT, "message.tool_calls")
            call = read_call(node, self._count, stamp, lenient=True)
            self._count += 1
            if call.id not in self._calls:
                self._calls.add(call.id)
                self._whole(call, out)

    def _end(self, raw: bytes, out: list[e.Event]) -> None:
        node = Node(raw, CHAT)
        if self._logprobs:
            self._grow(Text, "", out)
        self._close_block(out)
        usage = read_usage(node)
        finish = read_finish(node.text("done_reason"), called=bool(self._calls))
        for name in ("model", "created_at", "done", "error", "logprobs"):
            node.raw(name)
        message = node.node("message")
        if message is not None:
            for name in ("role", "content", "thinking", "images", "tool_calls"):
                message.raw(name)
        out.append(e.Finished(finish, extras=read_extras(node, message)))
        if usage is not None:
            out.append(e.Counted(usage))
        out.append(e.Ended())
        self._over = True
