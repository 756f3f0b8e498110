"""OpenAI Responses: what the tap reads of an answer (dialects: §4.2, §4.3)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flumegate.dialects.openai.usage import WireUsage, read_usage
from flumegate.dialects.tap import Tap, is_no_json
from flumegate.ir import estimate
from flumegate.wire import sse


class _Response(msgspec.Struct, gc=False):
    model: str | None = None
    status: str | None = None
    usage: WireUsage | None = None
    error: object = None


class _Item(msgspec.Struct, gc=False):
    type: object = None


class _Event(msgspec.Struct, gc=False):
    type: str | None = None
    response: _Response | None = None
    item: _Item | None = None
    delta: object = True
    """Where a server calls it otherwise, it says something all the same."""
    error: object = None


_decode_whole = msgspec.json.Decoder(_Response).decode
_decode_event = msgspec.json.Decoder(_Event).decode

_END_MARKS = (b"response.completed", b"response.incomplete", b"response.failed")
_FAILED = "failed"
_ENDS = frozenset(mark.decode() for mark in _END_MARKS)
_PIECE = ".delta"
_ITEM_BEGINS = "response.output_item.added"
_ITEM_ENDS = "response.output_item.done"
_CALL = "_call"
"""How the types of items end that are calls, of the client's tools or of the provider's own."""


class ResponsesTap(Tap):
    """Tap on a Responses answer; the status stands in for a finish reason."""

    end_marks = _END_MARKS

    def read_whole(self, body: bytes) -> None:
        """See `Tap.read_whole`."""
        try:
            whole = _decode_whole(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.unreadable = is_no_json(body, error)
            return
        self._take(whole)
        if whole.status == _FAILED or (whole.error and not whole.status):
            self.failed = True
        else:
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
            try:
                decoded = _decode_event(event.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._guess(event.name)
                continue
            failed = bool(decoded.error) or decoded.type in ("error", "response.failed")
            if failed:
                self.failed = True
            if decoded.type in _ENDS:
                self.complete = True
            if not self.started and not failed:
                self.started = _is_meaningful(decoded)
            if decoded.response is not None:
                self._take(decoded.response)

    def _said_bytes_of(self, data: bytes) -> int:
        try:
            event = _decode_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return 0
        return estimate.text_bytes(event.delta) if (event.type or "").endswith(_PIECE) else 0

    def _guess(self, name: bytes) -> None:
        """Take what the name alone tells: of an event too large to be held, the data is no JSON."""
        if name in _END_MARKS:
            self.complete = True
            self.started = self.started or not name.endswith(b".failed")
        elif name.endswith(b".delta"):
            self.started = True


def _is_meaningful(event: _Event) -> bool:
    kind = event.type or ""
    if kind == _ITEM_BEGINS:
        # A call is news as soon as it begins; a message or reasoning only when it says something.
        item = event.item.type if event.item is not None else None
        return isinstance(item, str) and item.endswith(_CALL)
    return kind == _ITEM_ENDS or kind in _ENDS or (kind.endswith(_PIECE) and bool(event.delta))
