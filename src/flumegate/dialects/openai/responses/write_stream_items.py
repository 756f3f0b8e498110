"""The output items of a stream on their way to a client: each knows its events, and the whole that its end repeats."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.openai.responses.names import ITEM, own
from flumegate.dialects.openai.responses.output_items import call_item, message_item, thinking_item
from flumegate.dialects.openai.responses.write_parts import output_text, part_extras, write_citation
from flumegate.ir import events as e
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Citation, Refusal, Text, Thinking, ToolCall

_encode = msgspec.json.Encoder().encode
_NO_LOGPROBS = b',"logprobs":[]}\n\n'


class Frames:
    """Numbers the events."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0

    def event(self, kind: str, members: dict[str, Any]) -> bytes:
        """Return one event."""
        data = _encode({"type": kind, "sequence_number": self.number} | members)
        self.number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def delta(self, head: bytes, text: str, tail: bytes = b"}\n\n") -> bytes:
        """Return one delta: `head` from `delta_head`, `tail` closes the object and the event."""
        number = self.number
        self.number = number + 1
        return b'%b%d,"delta":%b%b' % (head, number, _encode(text), tail)


def delta_head(kind: str, where: dict[str, Any]) -> bytes:
    """Return what all deltas of one block begin with."""
    members = _encode({"type": kind} | where)[:-1]
    return b'event: %b\ndata: %b,"sequence_number":' % (kind.encode(), members)


def join_lists(lists: list[bytes]) -> bytes:
    """Return several JSON lists as one; empty if nothing is in them."""
    inner = b",".join(stripped for one in lists if (stripped := one.strip()[1:-1].strip()))
    return b"[%b]" % inner if inner else b""


class TextOut:
    """One content part of a message: text or refusal."""

    def __init__(self, part: Text | Refusal, where: dict[str, Any], frames: Frames, losses: Losses) -> None:
        self._part = part
        self._where = where
        self._frames = frames
        self._losses = losses
        self._texts: list[str] = []
        self._logprobs: list[bytes] = []
        self._unplaced: list[Citation] = []
        self._annotations: list[dict[str, Any]] = []
        self._refusal = isinstance(part, Refusal)
        self._head = delta_head("response.refusal.delta" if self._refusal else "response.output_text.delta", where)

    def added(self) -> bytes:
        """Return the event that announces the part."""
        return self._frames.event("response.content_part.added", self._where | {"part": self._whole("", b"", [])})

    def _whole(self, text: str, logprobs: bytes, annotations: list[dict[str, Any]]) -> dict[str, Any]:
        if isinstance(self._part, Text):
            members = output_text(text, annotations, logprobs)
            part_extras(members, self._part)
            return members
        members = {"type": "refusal", "refusal": text}
        return members | {name: raw for name, raw in own(self._part.extras).items() if name != ITEM}

    def grow(self, event: e.Grew) -> bytes:
        """Return a delta."""
        text = event.text
        self._texts.append(text)
        if self._refusal:
            return self._frames.delta(self._head, text)
        if not event.logprobs:
            return self._frames.delta(self._head, text, _NO_LOGPROBS)
        self._logprobs.append(event.logprobs)
        return self._frames.delta(self._head, text, b',"logprobs":%b}\n\n' % event.logprobs)

    def cite(self, citation: Citation) -> bytes:
        """Return an annotation; one without a place in the text waits for the end of it."""
        if citation.end is None and "type" not in own(citation.extras):
            self._unplaced.append(citation)
            return b""
        return self._annotate(citation, 0)

    def _annotate(self, citation: Citation, length: int) -> bytes:
        annotation = write_citation(citation, length, self._losses)
        if annotation is None:
            return b""
        self._annotations.append(annotation)
        members = {"annotation_index": len(self._annotations) - 1, "annotation": annotation}
        return self._frames.event("response.output_text.annotation.added", self._where | members)

    def close(self) -> tuple[bytes, dict[str, Any]]:
        """Return the events that end the part, and the whole part."""
        text = "".join(self._texts)
        logprobs = join_lists(self._logprobs)
        cited = b"".join(self._annotate(citation, len(text)) for citation in self._unplaced)
        whole = self._whole(text, logprobs, self._annotations)
        if self._refusal:
            done = self._frames.event("response.refusal.done", self._where | {"refusal": text})
        else:
            said = {"text": text, "logprobs": whole["logprobs"]}
            done = self._frames.event("response.output_text.done", self._where | said)
        return cited + done + self._frames.event("response.content_part.done", self._where | {"part": whole}), whole


class MessageOut:
    """A message."""

    def __init__(self, part: Text | Refusal, seed: str, number: int, frames: Frames) -> None:
        self.number = number
        self.item = message_item(part, seed, number, "in_progress")
        self.open: dict[int, tuple[TextOut, int]] = {}
        """Block → part, and its place in the content."""
        self._frames = frames
        self._status = own(part.extras).get("status")

    def add(self, block: int, part: Text | Refusal, losses: Losses) -> bytes:
        """Open a content part."""
        place = len(self.item["content"])
        where = {"item_id": self.item["id"], "output_index": self.number, "content_index": place}
        text = TextOut(part, where, self._frames, losses)
        self.item["content"].append(None)
        self.open[block] = (text, place)
        return text.added()

    def put(self, raw: bytes) -> bytes:
        """Write a content part that comes whole."""
        place = len(self.item["content"])
        self.item["content"].append(msgspec.Raw(raw))
        where = {"item_id": self.item["id"], "output_index": self.number, "content_index": place}
        members = where | {"part": msgspec.Raw(raw)}
        return self._frames.event("response.content_part.added", members) + self._frames.event(
            "response.content_part.done", members
        )

    def close(self, block: int) -> bytes:
        """Close a content part."""
        text, place = self.open.pop(block)
        written, self.item["content"][place] = text.close()
        return written


class CallOut:
    """A call of a function or a custom tool."""

    def __init__(self, part: ToolCall, seed: str, number: int, frames: Frames) -> None:
        self.number = number
        self.item = call_item(part, "", seed, number, "in_progress")
        self._custom = part.kind == "custom"
        self._frames = frames
        self._texts: list[str] = []
        self._kind = f"response.{'custom_tool_call_input' if self._custom else 'function_call_arguments'}"
        self._where = {"item_id": self.item["id"], "output_index": number}
        self._head = delta_head(f"{self._kind}.delta", self._where)

    def grow(self, event: e.Grew) -> bytes:
        """Return a delta."""
        self._texts.append(event.text)
        return self._frames.delta(self._head, event.text)

    def close(self) -> bytes:
        """Return the events that end the arguments; a function without any has an empty object."""
        text = "".join(self._texts)
        written = b""
        if not text and not self._custom:
            text = "{}"
            written = self._frames.delta(self._head, text)
        name = "input" if self._custom else "arguments"
        self.item[name] = text
        members = {name: text} if self._custom else {name: text, "name": self.item["name"]}
        return written + self._frames.event(f"{self._kind}.done", self._where | members)


class ThinkingOut:
    """Reasoning, always as a summary: the events of raw text have two names, those of a summary one."""

    def __init__(self, part: Thinking, seed: str, number: int, frames: Frames) -> None:
        self.number = number
        self.item = thinking_item(msgspec.structs.replace(part, texts=()), seed, number, as_summary=True)
        self._part = part
        self._seed = seed
        self._frames = frames
        self._texts: list[str] = []
        self._piece: list[str] | None = None
        self._head = b""

    def _where(self) -> dict[str, Any]:
        return {"item_id": self.item["id"], "output_index": self.number, "summary_index": len(self._texts)}

    def grow(self, event: e.Grew) -> bytes:
        """Return a delta, with the change to another part of the summary before it."""
        written = b""
        if self._piece is not None and event.piece != len(self._texts):
            written = self._end_piece()
        if self._piece is None:
            self._piece = []
            self._head = delta_head("response.reasoning_summary_text.delta", self._where())
            begun = self._where() | {"part": {"type": "summary_text", "text": ""}}
            written += self._frames.event("response.reasoning_summary_part.added", begun)
        self._piece.append(event.text)
        return written + self._frames.delta(self._head, event.text)

    def _end_piece(self) -> bytes:
        text = "".join(self._piece or ())
        where = self._where()
        written = self._frames.event("response.reasoning_summary_text.done", where | {"text": text})
        part = {"type": "summary_text", "text": text}
        written += self._frames.event("response.reasoning_summary_part.done", where | {"part": part})
        self._texts.append(text)
        self._piece = None
        return written

    def close(self, event: e.Closed) -> bytes:
        """Return the events that end the last part of the summary; the item is whole then."""
        written = self._end_piece() if self._piece is not None else b""
        part = msgspec.structs.replace(self._part, texts=tuple(self._texts))
        if event.signature:
            part = msgspec.structs.replace(part, signature=event.signature, origin=event.origin or part.origin)
        self.item = thinking_item(part, self._seed, self.number, as_summary=True)
        return written
