"""What the tap reads of an answer in JSON lines: chat and generate, streamed or whole, and embeddings (dialects: §7).

A line is decoded only when a cheap byte test says that it matters: the first ones, the last, an error.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from flumegate.dialects.tap import KEPT_BLOCK_BYTES, KEPT_BLOCKS, Tap, is_no_json
from flumegate.ir import estimate
from flumegate.ir.usage import Usage
from flumegate.wire import ndjson, sse

_DONE = b'"done":true'
_DONE_SPACED = b'"done": true'
_ERROR_MARK = b'"error"'
_NOTHING = msgspec.Raw(b"")
_COUNTS = re.compile(rb'"(prompt_eval_count|eval_count)"\s*:\s*(\d{1,16})')


class _Message(msgspec.Struct, gc=False):
    content: object = None
    thinking: object = None
    tool_calls: object = None
    images: object = None


class _Line(msgspec.Struct, gc=False):
    model: str | None = None
    message: _Message | None = None
    response: object = None
    thinking: object = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    embeddings: msgspec.Raw = _NOTHING
    embedding: msgspec.Raw = _NOTHING
    error: object = None


_decode = msgspec.json.Decoder(_Line).decode


class OllamaTap(Tap):
    """Tap on an answer of Ollama's own API, whatever its endpoint."""

    def __init__(self) -> None:
        self._lines = ndjson.Reader()
        self._kept: deque[bytes] = deque(maxlen=KEPT_BLOCKS)

    def read_whole(self, body: bytes) -> None:
        """See `Tap.read_whole`. A stream that somebody gathered is one too: it is read line by line."""
        lines = body.strip().split(b"\n")
        if len(lines) > 1 and lines[0].rstrip().endswith(b"}"):
            self.feed(body)
            self.close()
        else:
            self._look_at(body, whole=True)

    def look(self, events: Iterable[sse.Event]) -> None:
        """See `Tap.look`: lines that somebody framed."""
        for event in events:
            self._look_at(event.data)

    def feed(self, block: bytes) -> None:
        """Look at the next bytes of the stream, in any pieces."""
        try:
            lines = self._lines.feed(block)
        except OverflowError:
            self._lines = ndjson.Reader()  # what it began with is lost, its end cannot be read
            return
        self._kept.append(block if len(block) <= KEPT_BLOCK_BYTES else self._shorten(block))
        for line in lines:
            if not self.started or _ERROR_MARK in line or _DONE in line or _DONE_SPACED in line:
                self._look_at(line)

    def close(self) -> None:
        """See `Tap.close`: a last line may lack its end."""
        for line in self._lines.finish():
            self._look_at(line)

    def _split(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        # The first of what was kept may be the end of one.
        return ((len(line), line) for line in block.splitlines(keepends=True) if line.startswith(b"{"))

    def _holds_event(self, tail: bytes) -> bool:
        return tail.find(b"\n", 0, -1) >= 0

    def _said_bytes_of(self, data: bytes) -> int:
        try:
            line = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return 0
        said = line.message or _Message()
        return estimate.text_bytes([line.response, line.thinking, said.content, said.thinking, said.tool_calls])

    def read_tail(self, tail: bytes) -> None:
        """See `Tap.read_tail`: the counts stand at the end."""
        counts = {name: int(number) for name, number in _COUNTS.findall(tail)}
        if counts:
            self.usage = Usage(counts.get(b"prompt_eval_count"), counts.get(b"eval_count"))

    def _look_at(self, text: bytes, *, whole: bool = False) -> None:
        try:
            line = _decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.unreadable = whole and is_no_json(text, error)
            return
        if line.error:
            self.failed = True
            return
        self.model = line.model or self.model
        if line.prompt_eval_count is not None or line.eval_count is not None:
            self.usage = Usage(line.prompt_eval_count, line.eval_count)
        if line.done:
            self.finish_reason = line.done_reason or ""
            self.complete = self.started = True
        elif _says_something(line):
            self.started = True
        if whole and (line.embeddings or line.embedding):
            self.complete = True


def _says_something(line: _Line) -> bool:
    message = line.message
    return bool(
        line.response
        or line.thinking
        or (message and (message.content or message.thinking or message.tool_calls or message.images))
    )
