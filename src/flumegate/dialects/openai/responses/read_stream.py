"""Reads a stream of Responses events (dialects: §4.3) from any server that speaks it, also carelessly.

Items are told apart by `output_index`: some relays change an item's id from event to event. Numbers of sequence and
unknown events are passed over. Exactly one terminal event ends the stream; `[DONE]` alone does not.
"""

from __future__ import annotations

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.openai.responses.errors import failure_of
from flumegate.dialects.openai.responses.names import NAME
from flumegate.dialects.openai.responses.read_answer import finish_from, left_of, read_counts, read_time
from flumegate.dialects.openai.responses.read_stream_items import (
    Blocks,
    CallItem,
    Item,
    MessageItem,
    ReasoningItem,
    WholeItem,
    WireEvent,
)
from flumegate.ir import events as e
from flumegate.ir.failure import Failure
from flumegate.wire import sse

_ENDS = {"response.completed": "completed", "response.incomplete": "incomplete"}
_FAILED = frozenset({"error", "response.failed", "response.error", "response.cancelled"})
_MESSAGE = frozenset(
    {
        "response.output_text.delta",
        "response.output_text.done",
        "response.output_text.annotation.added",
        "response.content_part.added",
        "response.content_part.done",
        "response.refusal.delta",
        "response.refusal.done",
    }
)
_CALL = frozenset(
    {
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
    }
)
_REASONING = frozenset(
    {
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_part.done",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.reasoning.delta",
        "response.reasoning.done",
    }
)
_KNOWN = _MESSAGE | _CALL | _REASONING | _ENDS.keys() | _FAILED
_NO_ERROR = frozenset({b"", b"null", b"false", b"{}", b'""'})


class _Kind(msgspec.Struct, gc=False):
    type: object = None


_decode_event = msgspec.json.Decoder(WireEvent).decode
_decode_kind = msgspec.json.Decoder(_Kind).decode
_FAILURES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class ResponsesStreamReader:
    """Reads one stream."""

    def __init__(self) -> None:
        self._events = sse.Reader()
        self._blocks = Blocks()
        self._items: dict[int, Item] = {}
        self._open: set[int] = set()
        self._last = 0
        self._started = False
        self._ended = False

    def feed(self, data: bytes) -> list[e.Event]:
        """See `codecs.StreamReader.feed`."""
        out: list[e.Event] = []
        if not self._ended:
            try:
                events = self._events.feed(data)
            except OverflowError as error:
                self._fail(Failure("garbage", f"The stream holds {error}."), out)
            else:
                self._take_all(events, out)
        return out

    def close(self) -> list[e.Event]:
        """See `codecs.StreamReader.close`."""
        out: list[e.Event] = []
        if not self._ended:
            self._take_all(self._events.finish(), out)
        if not self._ended:
            self._fail(Failure("cut", "The stream ended before the response was complete."), out)
        return out

    def _take_all(self, events: list[sse.Event], out: list[e.Event]) -> None:
        for event in events:
            if self._ended:
                return
            try:
                self._take(event, out)
            except ReadError as error:
                self._fail(Failure("garbage", f"The stream cannot be read: {error}"), out)

    def _fail(self, failure: Failure, out: list[e.Event]) -> None:
        self._ended = True
        out.append(e.Failed(failure))

    def _take(self, raw: sse.Event, out: list[e.Event]) -> None:
        if raw.data == b"[DONE]":
            return
        event = _decode(raw)
        if event is None:
            return
        kind = event.type or raw.name.decode("utf-8", "replace")
        if kind in _FAILED or bytes(event.error) not in _NO_ERROR:
            self._fail(_failure(event, raw.data), out)
            return
        if not self._started:
            self._start(event, out)
        if kind in _MESSAGE or kind in _CALL or kind in _REASONING:
            self._grow(kind, event, out)
        elif kind == "response.output_item.added":
            self._add(event, out)
        elif kind == "response.output_item.done":
            self._finish_item(self._number(event), bytes(event.item), out)
        elif kind in _ENDS:
            self._end(event, _ENDS[kind], out)

    def _start(self, event: WireEvent, out: list[e.Event]) -> None:
        self._started = True
        if not event.response:
            out.append(e.Started())
            return
        node = Node(event.response, NAME, "response")
        for name in ("output", "status", "usage", "incomplete_details"):
            node.raw(name)
        out.append(e.Started(node.text("id"), node.text("model"), read_time(node), left_of(node)))

    def _number(self, event: WireEvent) -> int:
        number = event.output_index
        if number is not None:
            self._last = number
        return self._last

    def _grow(self, kind: str, event: WireEvent, out: list[e.Event]) -> None:
        number = self._number(event)
        item = self._items.get(number)
        if item is None and kind in _MESSAGE:
            item = self._put(number, MessageItem(b"", number, self._blocks))
        if item is None or number not in self._open:
            return
        if kind in _MESSAGE or isinstance(item, CallItem if kind in _CALL else ReasoningItem):
            item.take(event, out)

    def _put(self, number: int, item: Item) -> Item:
        self._items[number] = item
        self._open.add(number)
        return item

    def _add(self, event: WireEvent, out: list[e.Event]) -> None:
        number = self._number(event)
        if number in self._items or not event.item:
            return
        self._announce(number, bytes(event.item), out)

    def _announce(self, number: int, raw: bytes, out: list[e.Event]) -> Item:
        for other in self._open:
            self._items[other].begin(out)
        kind = Node(raw, NAME, f"output[{number}]").text("type")
        if kind == "message":
            return self._put(number, MessageItem(raw, number, self._blocks))
        if kind in ("function_call", "custom_tool_call"):
            return self._put(number, CallItem(raw, number, self._blocks, out))
        if kind == "reasoning":
            return self._put(number, ReasoningItem(raw, number, self._blocks))
        return self._put(number, WholeItem(self._blocks))

    def _finish_item(self, number: int, raw: bytes, out: list[e.Event]) -> None:
        item = self._items.get(number)
        if item is None and raw:
            item = self._announce(number, raw, out)
        if item is not None and number in self._open:
            self._open.discard(number)
            item.finish(raw, out)

    def _end(self, event: WireEvent, status: str, out: list[e.Event]) -> None:
        details = b""
        usage = None
        if event.response:
            node = Node(event.response, NAME, "response")
            for number, raw in enumerate(node.items("output")):
                if number in self._open or number not in self._items:
                    self._finish_item(number, bytes(raw), out)
            details = node.raw("incomplete_details")
            usage, _ = read_counts(node.raw("usage"))
        for number in sorted(self._open):
            self._items[number].finish(b"", out)
        if usage is not None:
            out.append(e.Counted(usage))
        finish = finish_from(status, details, called=self._blocks.called, refused=self._blocks.refused)
        out.append(e.Finished(finish))
        out.append(e.Ended())
        self._ended = True


def _decode(raw: sse.Event) -> WireEvent | None:
    """Return an event; None for one that no reader needs.

    Raises:
        ReadError: it is one that matters, and cannot be read.
    """
    try:
        return _decode_event(raw.data)
    except _FAILURES as error:
        kind: object = raw.name.decode("utf-8", "replace")
        try:
            kind = _decode_kind(raw.data).type or kind
        except msgspec.ValidationError:
            kind = ""  # JSON, but no object
        except _FAILURES:
            raise ReadError("", f"An event is no JSON ({str(error)[:120]}).") from None
        if kind in _KNOWN:
            raise ReadError("", f"An event {kind} has a member of the wrong type ({str(error)[:120]}).") from None
        return None


def _failure(event: WireEvent, data: bytes) -> Failure:
    if bytes(event.error) not in _NO_ERROR:
        return failure_of(bytes(event.error))
    if event.response:
        error = Node(event.response, NAME, "response").raw("error")
        return failure_of(error) if error else Failure("internal", "The response failed.")
    return failure_of(data)
