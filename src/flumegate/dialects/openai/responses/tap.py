"""OpenAI Responses: what the tap reads of an answer (dialects: §4.2, §4.3)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flumegate.dialects.openai.usage import WireUsage, read_usage
from flumegate.dialects.tap import Tap
from flumegate.wire import sse


class _Response(msgspec.Struct, gc=False):
    model: str | None = None
    status: str | None = None
    usage: WireUsage | None = None


class _Event(msgspec.Struct, gc=False):
    type: str | None = None
    response: _Response | None = None
    error: object = None


_decode_whole = msgspec.json.Decoder(_Response).decode
_decode_event = msgspec.json.Decoder(_Event).decode

_END_MARKS = (b"response.completed", b"response.incomplete", b"response.failed")
_ENDS = frozenset(mark.decode() for mark in _END_MARKS)
_STARTS = (b".delta", b"response.output_item.done")


class ResponsesTap(Tap):
    """Tap on a Responses answer; the status stands in for a finish reason."""

    end_marks = _END_MARKS

    def read_whole(self, body: bytes) -> None:
        """See `Tap.read_whole`."""
        try:
            whole = _decode_whole(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        self._take(whole)
        self.complete = True

    def _take(self, response: _Response) -> None:
        if response.model:
            self.model = response.model
        if response.usage is not None:
            self.usage = read_usage(response.usage)
        if response.status:
            self.finish_reason = response.status

    def look(self, events: Iterable[sse.Event]) -> None:
        """See `Tap.look`. Exactly one terminal event ends a stream; OpenAI sends no `[DONE]` here."""
        for event in events:
            if not self.started and any(mark in event.name or mark in event.data[:120] for mark in _STARTS):
                self.started = True
            try:
                decoded = _decode_event(event.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                if event.name in _END_MARKS:
                    self.complete = self.started = True  # the start of an end too large to be held
                continue
            if decoded.error or decoded.type in ("error", "response.failed"):
                self.failed = True
            if decoded.type in _ENDS:
                self.complete = self.started = True
            if decoded.response is not None:
                self._take(decoded.response)
