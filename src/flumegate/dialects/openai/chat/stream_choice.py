"""One choice of a stream: which block each delta belongs to, whatever the server calls it (dialects: §11, §16).

Thinking, text and refusal follow one another; calls stay open side by side until the choice ends, for their pieces may
interleave. Servers repeat ids and names, leave indices out, give all calls index 0, or put `{}` before the arguments.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.node import Node
from flumegate.dialects.openai.chat import chunk as c
from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.citations import read_annotations
from flumegate.dialects.openai.chat.names import CHAT, GEMINI_ORIGIN
from flumegate.dialects.openai.chat.read_messages import split_thought_signature
from flumegate.dialects.openai.chat.read_parts import read_part
from flumegate.dialects.openai.chat.thinking import details_text, read_blocks
from flumegate.ir import events as e
from flumegate.ir.parts import Media, Opaque, Part, Refusal, Text, Thinking, ToolCall
from flumegate.ir.seal import unseal

_encode = msgspec.json.Encoder().encode
_EMPTY_OBJECT = "{}"


class Numbers:
    """Counts the blocks of a stream, over all its choices."""

    def __init__(self) -> None:
        self.next = 0


class _Call:
    __slots__ = ("given", "held", "id", "index", "name", "opened")

    def __init__(self, index: object, name: str) -> None:
        self.index = index
        self.id = name
        self.name = ""
        self.held = ""
        """Arguments that came before the name, or a `{}` that may be a placeholder."""
        self.given = False
        """Arguments have come."""
        self.opened: int | None = None


class StreamChoice:
    """Turns the deltas of one choice into events."""

    def __init__(self, number: int, numbers: Numbers) -> None:
        self.number = number
        self.finish_reason = ""
        self.stop_sequence = ""
        self.called = False
        self.rest: bytes = b""
        """The choice's member in the chunk that finished it."""
        self._numbers = numbers
        self._kind: type[Part] | None = None
        """Of the open block of speech."""
        self._open = 0
        self._said: list[str] = []
        """Of the open thinking."""
        self._calls: list[_Call] = []

    def _start(self, part: Part, found: list[e.Event]) -> int:
        index = self._numbers.next
        self._numbers.next += 1
        found.append(e.Opened(index, part, self.number))
        return index

    def _speak(self, part: Part, found: list[e.Event]) -> int:
        """Return the open block of a kind, which is opened if another one is."""
        if self._kind is not type(part):
            self.hush(found)
            self._open = self._start(part, found)
            self._kind = type(part)
        return self._open

    def hush(self, found: list[e.Event], signature: str = "", origin: str = "") -> None:
        """Close the open block of speech."""
        if self._kind is not None:
            found.append(e.Closed(self._open, signature, origin))
            self._kind = None
            self._said = []

    def take(self, delta: c.Delta, logprobs: bytes, found: list[e.Event]) -> None:
        """Take what a chunk adds.

        Raises:
            ReadError: a member that is no text is not of the dialect.
        """
        self._think(delta, found)
        content = delta.content
        if content or logprobs:
            self._content(content, logprobs, found)
        if delta.refusal and isinstance(delta.refusal, str):
            found.append(e.Grew(self._speak(Refusal(""), found), delta.refusal))
        self._show(delta, found)
        for call in delta.tool_calls or ():
            self._call(call, found)
        if delta.function_call is not None and (delta.function_call.name or self._calls):
            self._call(c.Call(index="function_call", function=delta.function_call), found)

    def _think(self, delta: c.Delta, found: list[e.Event]) -> None:
        text = c.text_of(delta.reasoning_content) or c.text_of(delta.reasoning)
        if not text and c.is_there(delta.reasoning_details):
            text = details_text(bytes(delta.reasoning_details))
        if text:
            self._thought(text, found)
        if c.is_there(delta.thinking_blocks):
            for block in read_blocks(Node(b'{"thinking_blocks":%b}' % bytes(delta.thinking_blocks), CHAT)):
                self._block(msgspec.structs.replace(block, at=""), found)

    def _thought(self, text: str, found: list[e.Event]) -> None:
        found.append(e.Grew(self._speak(Thinking(), found), text))
        self._said.append(text)

    def _block(self, block: Thinking | Opaque, found: list[e.Event]) -> None:
        """Take an entry of the block list: its text came before as reasoning, its state comes only here."""
        if isinstance(block, Opaque) or block.redacted:
            self.hush(found)
            found.append(e.Closed(self._start(block, found)))
            return
        said = "".join(self._said)
        text = "".join(block.texts)
        if self._kind is not Thinking and text:
            self._thought(text, found)
        elif self._kind is Thinking and text and said != text and not text.startswith(said) and not block.signature:
            return  # a piece that came as reasoning too
        if block.signature:
            self._speak(Thinking(), found)
            self.hush(found, block.signature, block.origin)

    def _content(self, content: object, logprobs: bytes, found: list[e.Event]) -> None:
        if isinstance(content, str) or content is None:
            found.append(e.Grew(self._speak(Text(""), found), content or "", logprobs=logprobs))
            return
        if not isinstance(content, list):
            return
        for item in content:
            part = msgspec.structs.replace(read_part(msgspec.Raw(_encode(item)), ""), at="")
            match part:
                case Text():
                    found.append(e.Grew(self._speak(Text(""), found), part.text))
                case Thinking():
                    self._thought("".join(part.texts), found)
                case Refusal():
                    found.append(e.Grew(self._speak(Refusal(""), found), part.text))
                case _:
                    self._whole(part, found)

    def _whole(self, part: Part, found: list[e.Event]) -> None:
        self.hush(found)
        found.append(e.Closed(self._start(part, found)))

    def _show(self, delta: c.Delta, found: list[e.Event]) -> None:
        """Take what comes whole: sources of the text, images, pieces of sound."""
        if c.is_there(delta.annotations):
            citations, others = read_annotations(Node(b'{"annotations":%b}' % bytes(delta.annotations), CHAT))
            for citation in citations:
                found.append(e.Cited(self._speak(Text(""), found), citation))
            if others:
                self._whole(Opaque(CHAT, "annotations", others, vital=False), found)
        if c.is_there(delta.images):
            node = Node(b'{"images":%b}' % bytes(delta.images), CHAT)
            for raw in node.items("images"):
                part = read_part(raw, "")
                if isinstance(part, Media):
                    extras = leftovers.without(part.extras, "index")  # its place in the list says it already
                    self._whole(msgspec.structs.replace(part, extras=extras), found)
                else:
                    self._whole(Opaque(CHAT, "images", bytes(raw)), found)
        if c.is_there(delta.audio):
            self._whole(Opaque(CHAT, "audio", bytes(delta.audio)), found)

    def _call(self, wire: c.Call, found: list[e.Event]) -> None:
        custom = wire.type == "custom" or wire.function is None
        inner = (wire.custom if custom else wire.function) or c.Function()
        name, arguments = c.text_of(inner.name), inner.input if custom else inner.arguments
        call = self._which(wire.index, c.text_of(wire.id), name)
        call.name = call.name or name
        if arguments is not None and not isinstance(arguments, str):
            arguments = _encode(arguments).decode()  # some servers send the object itself
        if call.opened is None and call.name:
            self._open_call(call, wire, custom=custom and wire.custom is not None, found=found)
        if isinstance(arguments, str) and arguments:
            self._argue(call, arguments, found)

    def _which(self, index: object, name: str, called: str) -> _Call:
        """Return the call that a delta belongs to, a new one if it is none of the known."""
        known = self._calls
        if name:
            for call in known:
                if call.id == name:
                    return call
        match = next((call for call in reversed(known) if index is not None and call.index == index), None)
        if match is None and index is None and known and not called and not name:
            match = known[-1]
        if match is not None and not self._is_another(match, name, called):
            match.id = match.id or name
            return match
        call = _Call(index, name)
        known.append(call)
        return call

    def _is_another(self, call: _Call, name: str, called: str) -> bool:
        """Tell whether a delta with a known index begins a call of its own all the same."""
        if name and call.id:
            return True  # another id: equal ones were found before
        if not called or not call.name:
            return False
        return called != call.name if call.id or not call.given else True

    def _open_call(self, call: _Call, wire: c.Call, *, custom: bool, found: list[e.Event]) -> None:
        self.hush(found)
        self.called = True
        signature, _ = split_thought_signature(wire.extra_content)
        sealed = unseal(signature, own=GEMINI_ORIGIN)
        kind: Any = "custom" if custom else "function"
        part = ToolCall(call.id, call.name, kind=kind, signature=sealed.signature, origin=sealed.origin)
        call.opened = self._start(part, found)

    def _argue(self, call: _Call, arguments: str, found: list[e.Event]) -> None:
        first = not call.given
        call.given = True
        if call.opened is None or (first and arguments == _EMPTY_OBJECT):
            call.held += arguments
            return
        if call.held:
            held, call.held = call.held, ""
            if held != _EMPTY_OBJECT or not arguments.lstrip().startswith("{"):
                arguments = held + arguments
        found.append(e.Grew(call.opened, arguments))

    def end(self, found: list[e.Event]) -> None:
        """Close all that is open."""
        self.hush(found)
        for call in self._calls:
            if call.opened is None:
                if not call.held and not call.id:
                    continue  # an empty entry: no call at all
                self.called = True
                call.opened = self._start(ToolCall(call.id, call.name), found)
            if call.held:
                found.append(e.Grew(call.opened, call.held))
            found.append(e.Closed(call.opened))
        self._calls = []
