"""Events as `chat.completion.chunk`s (dialects: §2.2, §3.3): role, id and name once, own indices, usage last.

Deltas of text, thinking and arguments are put together from bytes; everything else is rare and encoded whole.
"""

from __future__ import annotations

from typing import Any, assert_never

import msgspec

from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.citations import write_annotation
from flumegate.dialects.openai.chat.finish import write_finish
from flumegate.dialects.openai.chat.names import CHAT, TARGET
from flumegate.dialects.openai.chat.thinking import BETWEEN, write_block, write_thought_signature
from flumegate.dialects.openai.chat.write_answer import (
    CallNames,
    note_old_form,
    note_opaque,
    note_pause,
    wants_old_form,
    write_image,
)
from flumegate.dialects.openai.errors import write_failure
from flumegate.dialects.openai.usage import write_usage
from flumegate.ir import events as e
from flumegate.ir.answer import Asked
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.usage import Usage

_encode = msgspec.json.Encoder().encode
_DONE = b"data: [DONE]\n\n"


class _Block:
    """An open block: the bytes around its deltas, and what its end needs."""

    __slots__ = ("after", "before", "choice", "grown", "length", "number", "part", "piece", "said", "shift")

    def __init__(self, part: Part, choice: int) -> None:
        self.part = part
        self.choice = choice
        self.before = b""
        """Bytes of a chunk up to the delta's JSON string; empty = its growth cannot be said."""
        self.after = b""
        self.grown = False
        self.number = 0
        """Of a call: its index on the wire."""
        self.piece = 0
        self.said: list[str] = []
        """Of thinking: its text, for the block list."""
        self.length = 0
        self.shift = 0
        """Of text: characters of the choice before it."""


class ChatStreamWriter:
    """Writes a chat stream for a client."""

    def __init__(self, asked: Asked) -> None:
        self.losses = Losses()
        self._asked = asked
        self._old_form = wants_old_form(asked)
        self._with_usage = asked.request.include_usage
        self._names = CallNames(asked.seed)
        self._head = b""
        self._tail = b""
        self._roles = 0
        """Choices that have begun."""
        self._blocks: dict[int, _Block] = {}
        self._calls: dict[int, int] = {}
        self._lengths: dict[int, int] = {}
        self._refused: set[int] = set()
        self._entries: dict[tuple[int, str], int] = {}
        self._usage: Usage | None = None

    def write(self, event: e.Event) -> bytes:  # noqa: PLR0911 - a table, one row an event
        """Return the bytes for one event of a legal stream; often none."""
        if isinstance(event, e.Grew):  # first: nearly all events are of this kind
            return self._grow(event)
        match event:
            case e.Opened():
                return self._open(event)
            case e.Closed():
                return self._close(event)
            case e.Cited():
                block = self._blocks[event.index]
                return self._entry(block.choice, "annotations", write_annotation(event.citation, block.shift))
            case e.Counted():
                self._usage = event.usage
                return b""
            case e.Finished():
                return self._finish(event)
            case e.Started():
                return self._start(event)
            case e.Ended():
                return self._end()
            case e.Failed():
                return b"data: %b\n\n%b" % (write_failure(event.failure), _DONE)
        assert_never(event)

    def _start(self, event: e.Started) -> bytes:
        asked = self._asked
        head: dict[str, Any] = {
            "id": event.id or f"chatcmpl-{asked.seed}",
            "object": "chat.completion.chunk",
            "created": event.created or asked.created,
            "model": asked.request.model,
        }
        leftovers.give_back(head, event.extras)
        self.losses.extras(event.extras, "", (CHAT,), TARGET)
        head.pop("choices", None)
        head.pop("usage", None)
        self._head = b"data: " + _encode(head)[:-1] + b',"choices":[{"index":'
        null = b',"usage":null' if self._with_usage else b""
        self._tail = b'},"logprobs":null,"finish_reason":null}]' + null + b"}\n\n"
        return self._begin(0)

    def _begin(self, choice: int) -> bytes:
        """Return the first chunks of the choices up to this one, which begin in order."""
        chunks = []
        while self._roles <= choice:
            chunks.append(self._chunk(self._roles, {"role": "assistant", "content": "", "refusal": None}))
            self._roles += 1
        return b"".join(chunks)

    def _before(self, choice: int) -> bytes:
        return b'%b%d,"delta":' % (self._head, choice)

    def _chunk(self, choice: int, delta: dict[str, Any]) -> bytes:
        return self._before(choice) + _encode(delta)[:-1] + self._tail

    def _entry(self, choice: int, name: str, entry: dict[str, Any]) -> bytes:
        """Write one entry of a list; OpenAI's accumulator puts lists together by the entries' `index`."""
        number = self._entries.get((choice, name), 0)
        self._entries[choice, name] = number + 1
        return self._chunk(choice, {name: [{"index": number, **entry}]})

    def _grow(self, event: e.Grew) -> bytes:
        block = self._blocks[event.index]
        if not block.before:
            return b""
        block.grown = True
        text = event.text
        part = block.part
        if type(part) is Thinking:
            if event.piece != block.piece:
                block.piece = event.piece
                text = BETWEEN + text
            block.said.append(text)
            piece = _encode(text)
            return block.before + piece + b',"reasoning":' + piece + block.after
        if type(part) is Text:
            self._lengths[block.choice] = self._lengths.get(block.choice, 0) + len(text)
            if event.logprobs:
                tail = self._tail.replace(b"null", b'{"content":%b,"refusal":null}' % event.logprobs, 1)
                return block.before + _encode(text) + tail
        return block.before + _encode(text) + block.after

    def _open(self, event: e.Opened) -> bytes:
        choice, part = event.choice, event.part
        begun = self._begin(choice)
        block = self._blocks[event.index] = _Block(part, choice)
        before = self._before(choice)
        block.after = self._tail
        if isinstance(part, Text | Refusal):
            self.losses.extras(part.extras, f"content[{event.index}]", (CHAT,), TARGET)
        match part:
            case Text():
                block.shift = self._lengths.get(choice, 0)
                block.before = before + b'{"content":'
                return begun + self._whole(event.index, part.text, part)
            case Refusal():
                self._refused.add(choice)
                block.before = before + b'{"refusal":'
                return begun + self._whole(event.index, part.text)
            case Thinking():
                block.before = before + b'{"reasoning_content":'
                return begun + b"".join(
                    self._grow(e.Grew(event.index, text, piece)) for piece, text in enumerate(part.texts)
                )
            case ToolCall():
                return begun + self._open_call(block, part, before, f"content[{event.index}]")
            case Media() | Opaque():
                return begun + self._show(part, choice, f"content[{event.index}]")
            case ToolResult():
                self.losses.dropped(f"content[{event.index}]", f"{TARGET} shows no tool results in an answer.")
                return begun
            case _:
                assert_never(part)

    def _whole(self, index: int, text: str, part: Text | None = None) -> bytes:
        """Write what a block holds when it is opened."""
        found = self._grow(e.Grew(index, text)) if text else b""
        for citation in part.citations if part is not None else ():
            found += self.write(e.Cited(index, citation))
        return found

    def _open_call(self, block: _Block, part: ToolCall, before: bytes, at: str) -> bytes:
        number = block.number = self._calls.get(block.choice, 0)
        self._calls[block.choice] = number + 1
        block.grown = bool(part.arguments)
        custom = part.kind == "custom"
        if self._old_form:
            if number:
                note_old_form(self.losses)
                return b""
            block.before = before + b'{"function_call":{"arguments":'
            block.after = b"}" + self._tail
            return self._chunk(block.choice, {"function_call": {"name": part.name, "arguments": part.arguments}})
        inner = {"name": part.name, "input" if custom else "arguments": part.arguments}
        kind = "custom" if custom else "function"
        call: dict[str, Any] = {"index": number, "id": self._names.of(part), "type": kind, kind: inner}
        if part.signature:
            call["extra_content"] = write_thought_signature(part.signature, part.origin)
        leftovers.give_back(call, part.extras)
        self.losses.extras(part.extras, at, (CHAT,), TARGET)
        middle = b'"custom":{"input":' if custom else b'"function":{"arguments":'
        block.before = b'%b{"tool_calls":[{"index":%d,%b' % (before, number, middle)
        block.after = b"}}]" + self._tail
        return self._chunk(block.choice, {"tool_calls": [call]})

    def _show(self, part: Media | Opaque, choice: int, at: str) -> bytes:
        if isinstance(part, Media):
            image = write_image(part)
            if image is not None:
                return self._entry(choice, "images", image)
            self.losses.dropped(at, f"{TARGET} answers with no part of kind {part.kind}.")
        elif part.dialect == CHAT and part.kind in ("audio", "annotations"):
            return self._chunk(choice, {part.kind: msgspec.Raw(part.raw)})
        else:
            note_opaque(part, self.losses, at)
        return b""

    def _close(self, event: e.Closed) -> bytes:
        block = self._blocks.pop(event.index)
        part = block.part
        if isinstance(part, Thinking):
            signature = event.signature or part.signature
            if not signature and not part.redacted:
                return b""
            origin = (event.origin or part.origin) if event.signature else part.origin
            whole = msgspec.structs.replace(part, texts=("".join(block.said),), signature=signature, origin=origin)
            return self._entry(block.choice, "thinking_blocks", write_block(whole))
        if not isinstance(part, ToolCall) or not block.before:
            return b""
        found = b""
        if not block.grown and part.kind == "function":
            found = block.before + b'"{}"' + block.after
        if event.signature and not self._old_form:
            content = write_thought_signature(event.signature, event.origin or part.origin)
            found += self._chunk(block.choice, {"tool_calls": [{"index": block.number, "extra_content": content}]})
        return found

    def _finish(self, event: e.Finished) -> bytes:
        choice, finish = event.choice, event.finish
        begun = self._begin(choice)
        delta: dict[str, Any] = {}
        if finish.reason == "refusal" and finish.detail and choice not in self._refused:
            delta["refusal"] = finish.detail
        if finish.reason == "pause":
            note_pause(self.losses)
        reason = write_finish(finish, old_form=self._old_form)
        members: dict[str, Any] = {"delta": delta, "logprobs": None, "finish_reason": reason}
        if finish.stop_sequence:
            members["stop_reason"] = finish.stop_sequence
        outer, _ = leftovers.divided(event.extras)
        leftovers.give_back(members, outer)
        self.losses.extras(outer, "", (CHAT,), TARGET)
        null = b',"usage":null' if self._with_usage else b""
        return begun + b"%b%d,%b]%b}\n\n" % (self._head, choice, _encode(members)[1:], null)

    def _end(self) -> bytes:
        if not self._with_usage or self._usage is None:
            return _DONE
        head = self._head[: self._head.rindex(b"[") + 1]
        return b'%b],"usage":%b}\n\n%b' % (head, _encode(write_usage(self._usage)), _DONE)
