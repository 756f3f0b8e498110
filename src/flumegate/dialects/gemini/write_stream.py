"""Gemini's stream, written for a client: as server-sent events, or as one JSON array where `alt=sse` was not asked for.

Texts go out piece by piece; a call goes out whole when it is complete. Why it ended and what it cost stand in the last
event, as usage may follow the finish.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.gemini.errors import write_failure
from flumegate.dialects.gemini.grounding import write_citations
from flumegate.dialects.gemini.logprobs import write_logprobs
from flumegate.dialects.gemini.members import NAME, give_back
from flumegate.dialects.gemini.usage import write_usage
from flumegate.dialects.gemini.write_answer import PartWriter, is_prompt_block, write_block, write_end, write_head
from flumegate.dialects.gemini.write_parts import TARGET
from flumegate.ir.answer import Asked
from flumegate.ir.events import Cited, Closed, Counted, Ended, Event, Failed, Finished, Grew, Opened, Started
from flumegate.ir.failure import Failure
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Citation, Refusal, Text, Thinking, ToolCall
from flumegate.ir.usage import Usage

_encode = msgspec.json.Encoder().encode
Members = dict[str, Any]


class _Block:
    __slots__ = ("around", "choice", "citations", "held", "part", "piece", "said")

    def __init__(self, opened: Opened, around: tuple[bytes, bytes]) -> None:
        self.part = opened.part
        self.choice = opened.choice
        self.around = around
        """What stands before and behind a piece of text."""
        self.piece = 0
        self.said: list[str] = []
        """What must be known whole: arguments, and texts for their citations."""
        self.citations: list[Citation] = []
        part = opened.part
        self.held = not (isinstance(part, Refusal) or (isinstance(part, Text | Thinking) and part.extras is None))
        """It goes out in one piece."""


class GeminiStreamWriter:
    """See `codecs.StreamWriter`."""

    def __init__(self, asked: Asked) -> None:
        self.losses = Losses()
        self._asked = asked
        self._parts = PartWriter("", self.losses)
        self._head: Members = {}
        self._tail = b"}"
        self._blocks: dict[int, _Block] = {}
        self._around: dict[tuple[int, bool], tuple[bytes, bytes]] = {}
        self._finished: dict[int, Finished] = {}
        self._usage: Usage | None = None
        self._broken = ""
        """Why a call cannot be written."""
        self._spoke: set[int] = set()

    def write(self, event: Event) -> bytes:
        """See `codecs.StreamWriter.write`."""
        if type(event) is Grew:  # first: nearly all events are of this kind
            return self._grow(event)
        match event:
            case Opened():
                return self._open(event)
            case Closed():
                return self._close(event)
            case Cited():
                self._blocks[event.index].citations.append(event.citation)
            case Finished():
                self._finished[event.choice] = event
            case Counted():
                self._usage = event.usage
            case Started():
                self._start(event)
            case Ended():
                return self._end()
            case Failed():
                return self._fail(event.failure)
            case _:  # pragma: no cover - it was looked at first
                pass
        return b""

    def frame(self, payload: bytes) -> bytes:
        """Return one partial answer as it stands on the wire."""
        return b"data: %b\r\n\r\n" % payload

    def last(self, payload: bytes) -> bytes:
        """Return the last one."""
        return self.frame(payload)

    def _start(self, event: Started) -> None:
        self.losses.extras(event.extras, "", (NAME,), TARGET)
        self._parts = PartWriter(event.id, self.losses)
        self._head = write_head(event.id, event.created, self._asked)
        give_back(self._head, event.extras)
        self._tail = b"," + _encode(self._head)[1:]

    def _open(self, event: Opened) -> bytes:
        part = event.part
        thought = isinstance(part, Thinking)
        around = self._around.get((event.choice, thought))
        if around is None:
            around = self._around[event.choice, thought] = self._write_around(event.choice, thought=thought)
        block = self._blocks[event.index] = _Block(event, around)
        self._spoke.add(event.choice)
        if isinstance(part, Refusal):
            self.losses.approximated(_at(event.index), "Gemini has no refusals; it is said as text.")
        if block.held or not isinstance(part, Text | Refusal | Thinking):
            return b""
        before = part.texts[0] if isinstance(part, Thinking) and part.texts else ""
        before = before or (part.text if not isinstance(part, Thinking) else "")
        return self._say(block, before) if before else b""

    def _write_around(self, choice: int, *, thought: bool) -> tuple[bytes, bytes]:
        behind = b',"thought":true' if thought else b""
        return (
            b'{"candidates":[{"content":{"parts":[{"text":',
            b'%b}],"role":"model"},"index":%d}]%b' % (behind, choice, self._tail),
        )

    def _say(self, block: _Block, text: str) -> bytes:
        before, behind = block.around
        return self.frame(b"%b%b%b" % (before, _encode(text), behind))

    def _grow(self, event: Grew) -> bytes:
        block = self._blocks[event.index]
        text = event.text
        if event.piece != block.piece:
            block.piece = event.piece
            text = "\n\n" + text
        block.said.append(text)
        if block.held:
            return b""
        if event.logprobs:
            beside = {"logprobsResult": write_logprobs(event.logprobs)}
            return self._send(block.choice, {"text": text}, beside)
        return self._say(block, text) if text else b""

    def _send(self, choice: int, part: Members | msgspec.Raw, beside: Members | None = None) -> bytes:
        candidate = {"content": {"parts": [part], "role": "model"}, "index": choice} | (beside or {})
        return self.frame(_encode({"candidates": [candidate]} | self._head))

    def _close(self, event: Closed) -> bytes:
        block = self._blocks.pop(event.index)
        part, said = block.part, "".join(block.said)
        beside: Members = {}
        signed = event.signature or getattr(part, "signature", "")
        match part:
            case Thinking():
                if not signed and not block.held:
                    return b""
                whole = "\n\n".join(part.texts) + said
                shown = (whole if block.held else "",) if block.said or part.texts else ()
                origin = event.origin or part.origin
                part = msgspec.structs.replace(part, texts=shown, signature=signed, origin=origin)
            case ToolCall():
                changes = {"arguments": part.arguments + said}
                if event.signature:
                    changes |= {"signature": event.signature, "origin": event.origin or part.origin}
                part = msgspec.structs.replace(part, **changes)
            case Text():
                beside = self._cite(block, part, said)
                if not block.held:
                    return self._send(block.choice, {"text": ""}, beside) if beside else b""
                part = msgspec.structs.replace(part, text=part.text + said)
            case Refusal():
                return b""
            case _:
                pass  # comes whole
        written = self._parts.write(part, _at(event.index), cut=True)
        if written is None:
            if isinstance(part, ToolCall):
                self._broken = part.name
            return b""
        return self._send(block.choice, written, beside)

    def _cite(self, block: _Block, part: Text, said: str) -> Members:
        citations = part.citations + tuple(block.citations)
        return {"groundingMetadata": write_citations(citations, part.text + said)} if citations else {}

    def _end(self) -> bytes:
        if self._broken and not any(
            finished.finish.reason in ("length", "context_full", "filter") for finished in self._finished.values()
        ):
            # The client would wait for a call that it never gets; it must not take the answer for complete.
            return self._fail(Failure("internal", f"The model's call of {self._broken!r} has no JSON arguments."))
        members: Members = {}
        only = self._finished.get(0)
        if len(self._finished) == 1 and only is not None and not self._spoke and is_prompt_block(only.finish):
            members["promptFeedback"] = write_block(only.finish)
        else:
            members["candidates"] = [self._write_finish(finished) for finished in self._finished.values()]
        spent = write_usage(self._usage) if self._usage is not None else {}
        if spent:
            members["usageMetadata"] = spent
        return self.last(_encode(members | self._head))

    def _write_finish(self, finished: Finished) -> Members:
        content = {"parts": [{"text": ""}], "role": "model"}
        candidate: Members = {"content": content} | write_end(finished.finish, self.losses)
        candidate["index"] = finished.choice
        self.losses.extras(finished.extras, "", (NAME,), TARGET)
        give_back(candidate, finished.extras)
        return candidate

    def _fail(self, failure: Failure) -> bytes:
        return self.last(write_failure(failure))


def _at(index: int) -> str:
    return f"content[{index}]"


class GeminiArrayWriter(GeminiStreamWriter):
    """The same as one JSON array (`application/json`), piece by piece."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self._opening = b"["

    def frame(self, payload: bytes) -> bytes:
        """Return one item of the array."""
        opening = self._opening
        self._opening = b",\r\n"
        return opening + payload

    def last(self, payload: bytes) -> bytes:
        """Return the last item and the array's end."""
        return self.frame(payload) + b"]"
