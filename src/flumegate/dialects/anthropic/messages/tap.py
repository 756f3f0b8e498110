"""Anthropic Messages: what the tap reads of an answer (dialects: §6)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flumegate.dialects.anthropic.messages.usage import lasting_of
from flumegate.dialects.tap import Tap, is_no_json
from flumegate.ir import estimate
from flumegate.ir.usage import Usage
from flumegate.wire import sse


class _OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: int | None = None


class _WireUsage(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None
    cache_creation: object = None


class _Message(msgspec.Struct, gc=False):
    type: object = None
    model: str | None = None
    stop_reason: str | None = None
    error: object = None
    usage: _WireUsage | None = None
    input_tokens: int | None = None
    """The whole answer of `count_tokens`."""


class _Delta(msgspec.Struct, gc=False):
    stop_reason: str | None = None
    text: object = None
    thinking: object = None
    signature: object = None
    partial_json: object = None
    citation: object = None
    content: object = None


class _Block(msgspec.Struct, gc=False):
    type: object = None
    text: object = None
    thinking: object = None


class _Event(msgspec.Struct, gc=False):
    type: str | None = None
    message: _Message | None = None
    delta: _Delta | None = None
    content_block: _Block | None = None
    usage: _WireUsage | None = None
    error: object = None


_decode_whole = msgspec.json.Decoder(_Message).decode
_decode_event = msgspec.json.Decoder(_Event).decode


class MessagesTap(Tap):
    """Tap on a Messages answer. Stream counts are cumulative: what `message_delta` repeats replaces the start's."""

    _wire: _WireUsage | None = None

    def read_whole(self, body: bytes) -> None:
        """See `Tap.read_whole`."""
        try:
            whole = _decode_whole(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.unreadable = is_no_json(body, error)
            return
        self.model = whole.model or ""
        self.finish_reason = whole.stop_reason or ""
        if whole.usage is not None:
            self._count(whole.usage)
        elif whole.input_tokens is not None:
            self._count(_WireUsage(input_tokens=whole.input_tokens))
        if whole.type == "error" or whole.error:
            self.failed = True
        else:
            self.complete = True

    def _count(self, wire: _WireUsage) -> None:
        known = self._wire
        if known is None:
            known = self._wire = wire
        else:
            for name in known.__struct_fields__:
                value = getattr(wire, name)
                if value is not None:
                    setattr(known, name, value)
        read, written = known.cache_read_input_tokens, known.cache_creation_input_tokens
        total = known.input_tokens
        self.usage = Usage(
            # Anthropic counts the cache beside the input; we count it inside.
            None if total is None else total + (read or 0) + (written or 0),
            known.output_tokens,
            read,
            written,
            known.output_tokens_details.thinking_tokens if known.output_tokens_details is not None else None,
            lasting_of(known.cache_creation) if written else None,
        )

    def look(self, events: Iterable[sse.Event]) -> None:
        """See `Tap.look`. `message_stop` is the only complete end."""
        for event in events:
            try:
                decoded = _decode_event(event.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            kind = decoded.type
            if kind == "message_start" and decoded.message is not None:
                self.model = decoded.message.model or ""
                if decoded.message.usage is not None and self.usage is None:
                    self._count(decoded.message.usage)
            elif kind in ("content_block_delta", "content_block_start"):
                self.started = self.started or _says_something(decoded)
            elif kind == "message_delta":
                self.started = True
                if decoded.usage is not None:
                    self._count(decoded.usage)
                if decoded.delta is not None and decoded.delta.stop_reason:
                    self.finish_reason = decoded.delta.stop_reason
            elif kind == "message_stop":
                self.complete = True
            elif kind == "error" or decoded.error:
                self.failed = True

    def _is_counted(self) -> bool:
        return bool(self.finish_reason)  # comes with the last count, before `message_stop`

    def _said_bytes_of(self, data: bytes) -> int:
        try:
            event = _decode_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return 0
        delta, block = event.delta or _Delta(), event.content_block or _Block()
        return estimate.text_bytes(
            [delta.text, delta.thinking, delta.partial_json, delta.content, block.text, block.thinking]
        )


def _says_something(event: _Event) -> bool:
    delta, block = event.delta, event.content_block
    if block is not None:
        # Blocks of text and thinking begin empty; all others (a call, a result, hidden thinking) are news at once.
        return block.type not in ("text", "thinking") or bool(block.text or block.thinking)
    return delta is not None and bool(
        delta.text or delta.thinking or delta.signature or delta.partial_json or delta.citation or delta.content
    )
