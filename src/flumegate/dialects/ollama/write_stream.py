"""A stream for a client of chat or generate: JSON lines, each of which says something, the last one `done`.

Tool calls come whole in one line, so their pieces are held until they are complete. One whose arguments are no object
can only be judged when the end is known: cut short by a limit it is left out, else it is the provider's failure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.ollama.calls import give_back_nested, write_call
from flumegate.dialects.ollama.ending import write_ending, write_time
from flumegate.dialects.ollama.errors import write_text
from flumegate.dialects.ollama.said import CUT_SHORT, Reporter
from flumegate.ir import events as e
from flumegate.ir.answer import Asked, Finish
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Media, Opaque, Refusal, Text, Thinking, ToolCall
from flumegate.ir.usage import Usage

_encode = msgspec.json.Encoder().encode
_BETWEEN = "\n\n"


class Form:
    """Where chat or generate have text and thinking in a line."""

    def __init__(self, text: tuple[bytes, bytes], thinking: tuple[bytes, bytes], *, messages: bool) -> None:
        self.text = text
        """What stands before and behind the JSON string; the line goes on with a comma or its end."""
        self.thinking = thinking
        self.messages = messages
        """It has messages, so its answers can hold tool calls and images."""


class LineStreamWriter:
    """Writes one stream.

    Attributes:
        losses: what could not be said.
    """

    def __init__(self, asked: Asked, form: Form) -> None:
        self.losses = Losses()
        self._asked = asked
        self._form = form
        self._report = Reporter(self.losses)
        self._start(asked.created)
        self._blocks: dict[int, type] = {}
        """Kinds of the open blocks that are shown as they grow: text or thinking."""
        self._piece: tuple[int, int] | None = None
        """Which piece of which block was thought last."""
        self._held: dict[int, tuple[ToolCall, list[str]]] = {}
        self._broken: list[ToolCall] = []
        self._usage: Usage | None = None
        self._finished: e.Finished | None = None
        self._over = False

    def _start(self, created: int) -> None:
        head = {"model": self._asked.request.model, "created_at": write_time(created)}
        self._head = _encode(head)[:-1] + b","

    def write(self, event: e.Event) -> bytes:
        """Return the bytes for one event; often none."""
        if self._over:
            return b""
        match event:
            case e.Grew():
                return self._grow(event)
            case e.Opened():
                return self._opened(event)
            case e.Closed():
                return self._closed(event)
            case e.Finished() | e.Ended():
                return self._finish(event)
            case _:
                return self._note(event)

    def _note(self, event: e.Started | e.Cited | e.Counted | e.Failed) -> bytes:
        match event:
            case e.Failed():
                return self._fail(event.failure.message or f"The answer broke off ({event.failure.reason}).")
            case e.Started():
                if event.created:
                    self._start(event.created)
                self._report.extras(event.extras)
            case e.Cited():
                self._report.cited((event.citation,))
            case _:
                self._usage = event.usage
        return b""

    def _fail(self, message: str) -> bytes:
        self._over = True
        return write_text(message) + b"\n"

    def _opened(self, event: e.Opened) -> bytes:
        part = event.part
        if event.choice:
            self._report.once("choices", "Ollama gives one answer: the others are left out.")
            return b""
        at = f"content[{event.index}]"
        match part:
            case Text():
                self._blocks[event.index] = Text
                self._report.extras(part.extras, at)
                return self._text(part.text, b"")
            case Refusal():
                self._blocks[event.index] = Text
                self._report.refusal(at)
                return self._text(part.text, b"")
            case Thinking():
                self._blocks[event.index] = Thinking
                self._report.state(part.signature)
                self._report.extras(part.extras, at)
            case ToolCall():
                self._held[event.index] = (part, [part.arguments])
                self._report.state(part.signature)
                self._report.extras(part.extras, at)
            case Media():
                return self._media(part)
            case Opaque():
                self._report.opaque(part, at)
            case _:
                self._report.results()
        return b""

    def _grow(self, event: e.Grew) -> bytes:
        kind = self._blocks.get(event.index)
        if kind is Text:
            return self._text(event.text, event.logprobs)
        if kind is Thinking:
            return self._think(event)
        held = self._held.get(event.index)
        if held is not None:
            held[1].append(event.text)
        return b""

    def _text(self, text: str, logprobs: bytes) -> bytes:
        before, behind = self._form.text
        if logprobs:
            return b'%b%b%b%b,"logprobs":%b,"done":false}\n' % (self._head, before, _encode(text), behind, logprobs)
        return b'%b%b%b%b,"done":false}\n' % (self._head, before, _encode(text), behind) if text else b""

    def _think(self, event: e.Grew) -> bytes:
        if not event.text:
            return b""
        place = (event.index, event.piece)
        text = event.text if self._piece in (None, place) else _BETWEEN + event.text
        self._piece = place
        before, behind = self._form.thinking
        return b'%b%b%b%b,"done":false}\n' % (self._head, before, _encode(text), behind)

    def _media(self, part: Media) -> bytes:
        if part.kind != "image" or not part.data or not self._form.messages:
            self._report.media(part)
            return b""
        return self._message({"images": [part.data]})

    def _message(self, members: dict[str, Any]) -> bytes:
        message = _encode({"role": "assistant", "content": ""} | members)
        return b'%b"message":%b,"done":false}\n' % (self._head, message)

    def _closed(self, event: e.Closed) -> bytes:
        self._report.state(event.signature)
        self._blocks.pop(event.index, None)
        held = self._held.pop(event.index, None)
        if held is None:
            return b""
        if not self._form.messages:
            self._report.calls()
            return b""
        call = msgspec.structs.replace(held[0], arguments="".join(held[1]))
        written = write_call(call, bare=True)
        if written is None:
            self._broken.append(call)
            return b""
        return self._message({"tool_calls": [written]})

    def _finish(self, event: e.Finished | e.Ended) -> bytes:
        if isinstance(event, e.Ended):
            return self._end()
        if event.choice:
            return b""
        self._finished = event
        for call in self._broken:
            self._report.broken(call, event.finish)
        if self._broken and event.finish.reason not in CUT_SHORT:
            return self._fail(f"The arguments of the call of {self._broken[0].name[:60]!r} are no JSON object.")
        return b""

    def _end(self) -> bytes:
        self._over = True
        finished = self._finished or e.Finished(Finish("stop"))
        members: dict[str, Any] = {"message": {"role": "assistant", "content": ""}}
        if not self._form.messages:
            members = {"response": ""}
        members |= write_ending(finished.finish, self._usage, finished.extras, self.losses)
        if self._form.messages:
            give_back_nested(members, finished.extras, "message")
        return b"%b%b\n" % (self._head, _encode(members)[1:])
