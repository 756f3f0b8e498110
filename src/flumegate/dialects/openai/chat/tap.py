"""OpenAI chat completions, and legacy completions, which differ only in where the text stands (dialects: §3, §5)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flumegate.dialects.openai.usage import WireUsage, read_usage
from flumegate.dialects.tap import Tap, is_no_json
from flumegate.ir import estimate
from flumegate.wire import sse


class _Delta(msgspec.Struct, gc=False):
    content: object = None
    reasoning: object = None
    reasoning_content: object = None
    refusal: object = None
    tool_calls: object = None
    function_call: object = None
    audio: object = None
    images: object = None


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None


class _Whole(msgspec.Struct, gc=False):
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: WireUsage | None = None
    kind: object = msgspec.field(name="object", default=None)
    error: object = None


class _ChunkChoice(msgspec.Struct, gc=False):
    index: int | None = None
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    model: str | None = None
    choices: list[_ChunkChoice] | None = None
    usage: WireUsage | None = None
    kind: object = msgspec.field(name="object", default=None)
    error: object = None


_ERROR_OBJECT = "error"
"""How old releases of vLLM name an error that they answer with."""
_decode_whole = msgspec.json.Decoder(_Whole).decode
_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class ChatTap(Tap):
    """Tap on a chat or completions answer. Of several choices, the first one's finish reason is kept."""

    end_marks = (b'"finish_reason":"', b'"finish_reason": "')

    def read_whole(self, body: bytes) -> None:
        """See `Tap.read_whole`."""
        try:
            whole = _decode_whole(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.unreadable = is_no_json(body, error)
            return
        self.model = whole.model or ""
        if whole.usage is not None:
            self.usage = read_usage(whole.usage)
        if whole.choices:
            self.finish_reason = whole.choices[0].finish_reason or ""
            self.complete = True
        elif whole.error or whole.kind == _ERROR_OBJECT:
            self.failed = True

    def look(self, events: Iterable[sse.Event]) -> None:
        """See `Tap.look`. The end is every choice's finish reason; `[DONE]` is a hint that some servers leave out."""
        done = False
        speaking: set[int | None] = set()
        for event in events:
            if event.data == b"[DONE]":
                self.complete = done = True
                continue
            try:
                chunk = _decode_chunk(event.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            broken = bool(chunk.error) or chunk.kind == _ERROR_OBJECT
            if broken:
                self.failed = True
            if chunk.model:
                self.model = chunk.model
            if chunk.usage is not None:
                self.usage = read_usage(chunk.usage)
            for choice in chunk.choices or ():
                if choice.finish_reason:
                    if not choice.index or not self.finish_reason:
                        self.finish_reason = choice.finish_reason
                    speaking.discard(choice.index)
                    self.complete = True
                    self.started = self.started or not broken  # some give an error a finish reason, too
                elif choice.text or _says_something(choice.delta):
                    speaking.add(choice.index)
                    self.started = True
        if speaking and not done:
            self.complete = False

    def close(self) -> None:
        """See `Tap.close`. One choice's end, seen on the way, may not be the last one's."""
        self.look(sse.read(b"".join(self._kept or ())))

    def _said_bytes_of(self, data: bytes) -> int:
        try:
            choices = _decode_chunk(data).choices or ()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return 0
        return sum(estimate.text_bytes([choice.text, *_texts(choice.delta or _Delta())]) for choice in choices)


def _says_something(delta: _Delta | None) -> bool:
    return delta is not None and bool(
        delta.content
        or delta.reasoning
        or delta.reasoning_content
        or delta.refusal
        or delta.tool_calls
        or delta.function_call
        or delta.audio
        or delta.images
    )


def _texts(delta: _Delta) -> list[object]:
    # Some servers say the same reasoning under both names.
    reasoning = delta.reasoning or delta.reasoning_content
    return [delta.content, reasoning, delta.refusal, delta.tool_calls, delta.function_call, delta.audio]


def is_usage_only(event: bytes) -> bool:
    """Tell whether a raw event is the chunk without choices that `include_usage` adds at the end."""
    for frame in sse.read(event):
        try:
            chunk = _decode_chunk(frame.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return chunk.usage is not None and chunk.choices == []
    return False


INCLUDE_USAGE_MEMBER = b'"stream_options":{"include_usage":true}'
INCLUDE_USAGE_VALUE = b'{"include_usage":true}'
