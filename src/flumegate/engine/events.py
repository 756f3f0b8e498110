"""A tapped stream of events, server-sent or a JSON document a line, passed on event by event.

Events travel whole: what must follow a cut (our error event) may not land inside half an event. One that is too large
to be held is passed on in pieces, and then a cut can only be shown by cutting the connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from flumegate.dialects.openai.chat.tap import is_usage_only
from flumegate.dialects.tap import Tap
from flumegate.wire import sse

MAX_HELD_BYTES = 8_388_608
"""Events with an image in them have megabytes."""
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')


class EventStream:
    """Frames one stream. `on_start` is called once, at the first meaningful event."""

    __slots__ = ("_feed", "_held", "_on_start", "_plain", "_tap", "_withhold", "broken")

    def __init__(self, tap: Tap, on_start: Callable[[], None], *, withhold_usage: bool) -> None:
        self._tap = tap
        self._feed = tap.feed
        self._on_start: Callable[[], None] | None = on_start
        self._withhold = withhold_usage
        self._held = bytearray()
        self._plain = False
        """Nothing is held or waited for: a read that ends with an event can pass as it is."""
        self.broken = False
        """Part of an event has been passed on and its end has not."""

    def take(self, data: bytes) -> bytes:
        """Return the whole events in what was held and what came; hold the rest."""
        if self._plain and data.endswith(b"\n\n"):
            self._feed(data)
            return data
        held = self._held
        searched = len(held)
        held += data
        end = sse.last_end(held, searched)
        if end:
            self.broken = False
        elif self.broken or len(held) > MAX_HELD_BYTES:
            end = len(held.rstrip(b"\r\n"))  # with what comes, these may be the event's end
            self.broken = True
        block = _cut(held, end)
        if block:
            block = self._look(block)
        self._plain = not (held or self.broken or self._on_start or self._withhold)
        return block

    def _look(self, block: bytes) -> bytes:
        self._feed(block)
        if self._on_start is not None and self._tap.started:
            self._on_start()
            self._on_start = None
        if self._withhold and _NO_CHOICES.search(block):
            return b"".join(event for event in sse.split(block) if not is_usage_only(event))
        return block

    def close(self) -> bytes:
        """Judge the end and return what is left to be passed on: a last event that lacks only its blank line."""
        held = bytes(self._held)
        self._held.clear()
        if held and not self.broken and not self._is_whole(held):
            held = b""  # the beginning of an event says nothing, whatever its name
        if held:
            self._tap.feed(held)
        self._tap.close()
        if not self._tap.complete and not self._tap.failed:
            return b""
        return b"" if self._withhold and is_usage_only(held) else held

    def _is_whole(self, held: bytes) -> bool:
        """Tell whether the data of these last events is complete: JSON, or OpenAI's end marker."""
        return all(event.data == b"[DONE]" or _is_json(event.data) for event in sse.read(held))


class LineStream(EventStream):
    """Frames a stream of JSON documents, one a line, as Ollama sends it."""

    __slots__ = ()

    def take(self, data: bytes) -> bytes:
        """Return the whole lines in what was held and what came; hold the rest."""
        held = self._held
        held += data
        end = held.rfind(b"\n") + 1
        if end:
            self.broken = False
        elif self.broken or len(held) > MAX_HELD_BYTES:
            end = len(held)
            self.broken = True
        block = _cut(held, end)
        return self._look(block) if block else block

    def _is_whole(self, held: bytes) -> bool:
        return _is_json(held)


def _cut(held: bytearray, end: int) -> bytes:
    """Return the beginning of what is held, which is let go: a copy, and of megabytes no second one."""
    if end == len(held):
        block = bytes(held)
        held.clear()
    else:
        block = bytes(held[:end])
        del held[:end]
    return block


def _is_json(data: bytes) -> bool:
    try:
        _decode_raw(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
