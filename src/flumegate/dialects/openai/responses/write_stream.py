"""Writes a stream of Responses events for a client (dialects: §4.3, §14), numbered from 0 without gaps.

A message stays open while texts follow each other. An item's end waits for the next event, because only the finish
reason tells whether the last item is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from flumegate.dialects.openai.responses.errors import error_members
from flumegate.dialects.openai.responses.names import INSIDE, NAME, TARGET, own
from flumegate.dialects.openai.responses.output_items import begins_message, state_item
from flumegate.dialects.openai.responses.response_object import ending, response_object, write_usage
from flumegate.dialects.openai.responses.write_answer import explained, foreign_extras, write_picture
from flumegate.dialects.openai.responses.write_stream_items import (
    CallOut,
    Frames,
    MessageOut,
    TextOut,
    ThinkingOut,
)
from flumegate.ir import events as e
from flumegate.ir.answer import Asked, Finish
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Extras, Media, Opaque, Part, Refusal, Text, Thinking, ToolCall
from flumegate.ir.usage import Usage

_DONE = b"data: [DONE]\n\n"
_Out = MessageOut | CallOut | ThinkingOut


class ResponsesStreamWriter:
    """Writes one stream."""

    def __init__(self, asked: Asked) -> None:
        self.losses = Losses()
        self._asked = asked
        self._frames = Frames()
        self._response: dict[str, Any] = {}
        self._extras: Extras | None = None
        self._growing: dict[int, TextOut | CallOut | ThinkingOut] = {}
        self._messages: dict[int, MessageOut] = {}
        """Block → the message that it is a part of."""
        self._message: MessageOut | None = None
        """The last item, if it is a message and may go on."""
        self._held: _Out | None = None
        """An item whose end was not told yet."""
        self._output: dict[int, dict[str, Any] | msgspec.Raw] = {}
        self._next = 0
        self._refused = False
        self._others_reported = False
        self._usage: Usage | None = None
        self._finish = Finish("stop")
        self._writers: dict[type[e.Event], Callable[[Any], bytes]] = {
            e.Started: self._start,
            e.Opened: self._open,
            e.Closed: self._close,
            e.Cited: self._cite,
            e.Counted: self._count,
            e.Finished: self._finished,
            e.Ended: self._end,
            e.Failed: self._fail,
        }

    def write(self, event: e.Event) -> bytes:
        """See `codecs.StreamWriter.write`."""
        if type(event) is e.Grew:  # first: nearly all events are of this kind
            growing = self._growing.get(event.index)
            return growing.grow(event) if growing is not None else b""
        return self._writers[type(event)](event)

    def _cite(self, event: e.Cited) -> bytes:
        text = self._growing.get(event.index)
        return text.cite(event.citation) if isinstance(text, TextOut) else b""

    def _count(self, event: e.Counted) -> bytes:
        self._usage = event.usage
        return b""

    def _start(self, event: e.Started) -> bytes:
        self.losses.extras(event.extras, "", (NAME,), TARGET)
        self._extras = event.extras
        self._response = response_object(self._asked, event.id, event.created, event.extras)
        return self._frames.event("response.created", {"response": self._response}) + self._frames.event(
            "response.in_progress", {"response": self._response}
        )

    def _open(self, event: e.Opened) -> bytes:
        if event.choice != 0:
            if not self._others_reported:
                self._others_reported = True
                self.losses.dropped("choices", f"{TARGET} gives one answer.")
            return b""
        part = event.part
        if isinstance(part, Text | Refusal):
            return self._open_text(event.index, part)
        if isinstance(part, Opaque) and part.dialect == NAME and INSIDE in part.at and self._message is not None:
            return self._message.put(part.raw)
        return self._open_item(event.index, part)

    def _open_text(self, block: int, part: Text | Refusal) -> bytes:
        foreign_extras(part.extras, self.losses, f"content[{block}]")
        self._refused = self._refused or isinstance(part, Refusal)
        message = self._message
        written = b""
        if message is None or begins_message(part):
            written = self._leave()
            message = MessageOut(part, self._asked.seed, self._next, self._frames)
            written += self._announce(message)
            self._message = message
        self._messages[block] = message
        written += message.add(block, part, self.losses)
        self._growing[block] = message.open[block][0]
        return written

    def _announce(self, out: _Out) -> bytes:
        self._next += 1
        return self._frames.event(
            "response.output_item.added", {"output_index": out.number, "item": out.item | _zero(out.item)}
        )

    def _leave(self) -> bytes:
        """Tell the end of what was held back: another item begins."""
        message, self._message = self._message, None
        if message is not None and not message.open:
            self._held = message
        return self._release("completed")

    def _release(self, status: str) -> bytes:
        held, self._held = self._held, None
        if held is None:
            return b""
        if held.item["type"] != "reasoning" and held.item.get("status") == "in_progress":
            held.item["status"] = status if held.number == self._next - 1 else "completed"
        return self._done(held.number, held.item)

    def _done(self, number: int, item: dict[str, Any] | msgspec.Raw) -> bytes:
        self._output[number] = item
        return self._frames.event("response.output_item.done", {"output_index": number, "item": item})

    def _whole(self, item: dict[str, Any] | msgspec.Raw | None) -> bytes:
        """Write an item that comes in one piece."""
        if item is None:
            return b""
        number = self._next
        self._next += 1
        added = item | _zero(item) if isinstance(item, dict) else item
        return self._frames.event("response.output_item.added", {"output_index": number, "item": added}) + self._done(
            number, item
        )

    def _open_item(self, block: int, part: Part) -> bytes:
        seed = self._asked.seed
        at = f"content[{block}]"
        if isinstance(part, Opaque) and part.dialect != NAME:
            self.losses.opaque(msgspec.structs.replace(part, at=at), TARGET)
            return b""
        written = self._leave()
        match part:
            case Thinking():
                foreign_extras(part.extras, self.losses, at)
                thinking = ThinkingOut(part, seed, self._next, self._frames)
                self._growing[block] = thinking
                return written + self._announce(thinking)
            case ToolCall():
                foreign_extras(part.extras, self.losses, at)
                if part.signature:
                    written += self._whole(state_item(part, seed, self._next))
                call = CallOut(part, seed, self._next, self._frames)
                self._growing[block] = call
                return written + self._announce(call)
            case Opaque():
                return written + self._whole(msgspec.Raw(part.raw))
            case Media():
                return written + self._whole(write_picture(part, seed, self._next, self.losses, at))
            case _:
                self.losses.dropped(at, f"{TARGET} has no tool results in answers.")
                return written

    def _close(self, event: e.Closed) -> bytes:
        growing = self._growing.pop(event.index, None)
        if growing is None:
            return b""
        if isinstance(growing, TextOut):
            message = self._messages.pop(event.index)
            written = message.close(event.index)
            if message is not self._message and not message.open:
                written += self._hold(message)
            return written
        if isinstance(growing, CallOut):
            if event.signature:
                self.losses.dropped("reasoning", "State that comes behind its call has no place here.")
            return growing.close() + self._hold(growing)
        return growing.close(event) + self._hold(growing)

    def _hold(self, out: _Out) -> bytes:
        written = self._release("completed")
        self._held = out
        return written

    def _finished(self, event: e.Finished) -> bytes:
        if event.choice != 0:
            return b""
        self._finish = event.finish
        written = b""
        for refusal in explained(event.finish, refused=self._refused):
            block = -1  # of our own, so that it meets none of the stream's
            written += self._open_text(block, refusal)
            written += self._growing[block].grow(e.Grew(block, refusal.text))
            written += self._close(e.Closed(block))
        status, _ = ending(event.finish, refused=self._refused)
        item_status = "incomplete" if status == "incomplete" else "completed"
        written += self._release(item_status)
        self._held, self._message = self._message, None
        return written + self._release(item_status)

    def _close_response(self, status: str) -> dict[str, Any]:
        output = [self._output[number] for number in sorted(self._output)]
        return self._response | {
            "status": status,
            "output": output,
            "usage": write_usage(self._usage, self._extras),
        }

    def _end(self, _: e.Ended) -> bytes:
        status, details = ending(self._finish, refused=self._refused)
        response = self._close_response(status)
        if self._finish.reason != "pause" or "incomplete_details" not in own(self._extras):
            response["incomplete_details"] = details
        kind = "response.incomplete" if status == "incomplete" else "response.completed"
        return self._frames.event(kind, {"response": response}) + _DONE

    def _fail(self, event: e.Failed) -> bytes:
        written = b"" if self._response else self._start(e.Started())
        error = error_members(event.failure)
        response = self._close_response("failed")
        response["error"] = {"code": error["code"], "message": error["message"]}
        written += self._frames.event("error", {"error": error})
        return written + self._frames.event("response.failed", {"response": response}) + _DONE


def _zero(item: dict[str, Any]) -> dict[str, Any]:
    """Return what an item says before anything is in it."""
    zero: dict[str, Any] = {"content": [], "arguments": "", "input": "", "summary": []}
    return {name: value for name, value in zero.items() if name in item}
