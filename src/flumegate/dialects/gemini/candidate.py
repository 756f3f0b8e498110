"""One candidate of a stream: its open block, its calls in pieces, and why it ended."""

from __future__ import annotations

from typing import Protocol

import msgspec

from flumegate.dialects.gemini.finish import read_finish
from flumegate.dialects.gemini.grounding import read_citations
from flumegate.dialects.gemini.logprobs import read_logprobs
from flumegate.dialects.gemini.members import CANDIDATE_TRIVIAL, NAME, Members, gathered
from flumegate.dialects.gemini.partial import Arguments, PartialArg
from flumegate.dialects.gemini.read_parts import Calls, read_part
from flumegate.dialects.gemini.signature import read_signature
from flumegate.ir.answer import Finish
from flumegate.ir.events import Cited, Closed, Event, Finished, Grew, Opened
from flumegate.ir.parts import Extras, Part, Text, Thinking, ToolCall

MAX_CITED_CHARACTERS = 65_536
"""How much of a text is kept to tell where its sources belong; the sources of a longer one are told without a place."""
_decode_partials = msgspec.json.Decoder(list[PartialArg]).decode


class Counter(Protocol):
    """Gives out what is unique within the stream."""

    def next_block(self) -> int:
        """Return the index of the next block."""

    def next_call(self) -> str:
        """Return an id for the next call."""


class Candidate:
    """Turns a candidate's parts into events, which it adds to a list that its reader empties."""

    __slots__ = (
        "_arguments",
        "_call",
        "_called",
        "_counter",
        "_extras",
        "_finish",
        "_number",
        "_open",
        "_out",
        "_said",
        "_said_size",
        "_signature",
        "_sources",
        "_thinking",
        "finished",
    )

    def __init__(self, number: int, counter: Counter, out: list[Event]) -> None:
        self._number = number
        self._counter = counter
        self._out = out
        self._open = -1
        """The block of text or thinking that is open, if any."""
        self._thinking = False
        self._said: list[str] = []
        """The open text, for citations, which count from its start."""
        self._said_size = 0
        self._call = -1
        """The block of a call that comes in pieces, if any."""
        self._arguments = Arguments()
        self._signature = ("", "")
        self._sources: msgspec.Raw | None = None
        """The last `groundingMetadata` that belongs to no text yet."""
        self._called = False
        self._extras: Extras | None = None
        self._finish: tuple[str, str] = ("", "")
        self.finished = False

    def say(self, text: str, *, thought: bool, logprobs: bytes = b"") -> None:
        """Take a piece of text or of a thought."""
        if not text and not logprobs:
            return
        if self._open < 0 or self._thinking is not thought:
            self.close()
            self._thinking = thought
            self._open = self._counter.next_block()
            self._out.append(Opened(self._open, Thinking() if thought else Text(""), self._number))
        if not thought:
            self._said_size += len(text)
            if self._said_size <= MAX_CITED_CHARACTERS:
                self._said.append(text)
        self._out.append(Grew(self._open, text, logprobs=logprobs))

    def read(self, node: Members) -> None:
        """Take a candidate of any form.

        Raises:
            ReadError: a known member is of a wrong type.
        """
        content = node.node("content")
        content_left = None
        if content is not None:
            content.raw("role")
            parts = [Members(raw, path=content.at("parts")) for raw in content.items("parts")]
            logprobs = self._take_logprobs(node, parts)
            for part in parts:
                self._read_part(part, logprobs if "text" in part else b"")
                logprobs = b"" if "text" in part else logprobs
            content_left = content.left()
        left = gathered(node.left(trivial=CANDIDATE_TRIVIAL), content_left, "content")
        if left is not None:
            self._sources = left.fields.get("groundingMetadata", self._sources)
            known = self._extras.fields if self._extras is not None else {}
            fields = known | left.fields
            self._extras = Extras(NAME, fields, left.vital, tuple(name for name in CANDIDATE_TRIVIAL if name in fields))

    def _take_logprobs(self, node: Members, parts: list[Members]) -> bytes:
        if "logprobsResult" not in node or not any("text" in part for part in parts):
            return b""
        return read_logprobs(node.raw("logprobsResult"))

    def _read_part(self, node: Members, logprobs: bytes) -> None:
        if "functionCall" in node:
            self._read_call(node)
            return
        part = read_part(node.whole(), Calls(), "", node.path)
        match part:
            case Text(extras=None):
                self.say(part.text, thought=False, logprobs=logprobs)
            case Thinking(extras=None) if part.texts:
                self._think(part)
            case _:
                self._show(part)

    def _think(self, part: Thinking) -> None:
        self.say(part.texts[0], thought=True)
        if part.signature and self._open >= 0 and self._thinking:
            self._out.append(Closed(self._open, part.signature, part.origin))
            self._open = -1
        elif part.signature:
            self._show(part)

    def _show(self, part: Part) -> None:
        """Say a part that is a block of its own."""
        self.close()
        block = self._counter.next_block()
        said = None
        match part:
            case Text():
                said = part.text
                part = msgspec.structs.replace(part, text="")
            case Thinking() if part.texts:
                said = part.texts[0]
                part = msgspec.structs.replace(part, texts=())
            case _:
                pass  # comes whole
        self._out.append(Opened(block, part, self._number))
        if said is not None:
            self._out.append(Grew(block, said))
        self._out.append(Closed(block))

    def _read_call(self, node: Members) -> None:
        inner = node.node("functionCall")
        if inner is None:  # pragma: no cover - it was seen to be there
            return
        name, given = inner.text("name"), inner.text("id")
        more = inner.boolean("willContinue")
        partials, args = inner.raw("partialArgs"), inner.object_text("args")
        signature, origin, _ = read_signature(node.text("thoughtSignature"))
        if name or given:
            self.close()
            self._called = True
            minted = self._counter.next_call()
            extras = gathered(node.left(), inner.left(), "functionCall")
            call = ToolCall(given or minted, name, signature=signature, origin=origin, extras=extras)
            self._call = self._counter.next_block()
            self._signature = ("", "")
            self._out.append(Opened(self._call, call, self._number))
        elif signature:
            self._signature = (signature, origin)
        if self._call < 0:
            return  # the end of a call that never began
        if args:
            self._out.append(Grew(self._call, args))
        for partial in _decode_partials(partials) if partials else ():
            self._arguments.put(partial)
        if not more:
            self._end_call()

    def _end_call(self) -> None:
        if self._arguments:
            self._out.append(Grew(self._call, self._arguments.text()))
            self._arguments = Arguments()
        self._out.append(Closed(self._call, *self._signature))
        self._call = -1

    def close(self) -> None:
        """Close what is open."""
        if self._call >= 0:
            self._end_call()
        if self._open >= 0:
            if self._sources is not None and not self._thinking:
                self._cite(self._sources)
                self._sources = None
            self._out.append(Closed(self._open))
            self._open = -1
        self._said.clear()
        self._said_size = 0

    def _cite(self, sources: msgspec.Raw) -> None:
        is_kept = self._said_size <= MAX_CITED_CHARACTERS
        for citation in read_citations(sources, "".join(self._said) if is_kept else None):
            self._out.append(Cited(self._open, citation))

    def finish(self, raw: str, detail: str) -> None:
        """Take the reason why it ended."""
        self.close()
        self._finish = (raw, detail)
        self.finished = True

    def end(self, blocked: Finish | None) -> None:
        """Say that it is complete; `blocked` counts where it gave no reason itself."""
        self.close()
        raw, detail = self._finish
        finish = read_finish(raw, detail, called=self._called) if raw or blocked is None else blocked
        self._out.append(Finished(finish, self._number, self._extras))
