"""The messages of a request: each is one text, and beside it images, thinking and tool calls.

A turn of the neutral model becomes one message, but for tool results: each of them is a message of its own, in front of
what else its turn says. Opaque state of other providers and cache marks are reported once, not part by part.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.node import give_back
from flumegate.dialects.ollama.calls import is_minted, wire_name, write_call
from flumegate.dialects.ollama.names import CHAT
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Request, Turn
from flumegate.ir.turns import leading_system, with_calls_together
from flumegate.ir.written import Abilities

_TARGET = "Ollama"
_BETWEEN = {"system": "\n\n", "assistant": ""}
"""Between the text parts of a message; those of users and tools are lines."""


class _Message:
    """What the parts of one turn add up to."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.images: list[str] = []
        self.thinking: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.order: list[str] = []
        """`text` and `image` as they alternate: the wire cannot tell."""

    def place(self, kind: str) -> None:
        if self.order[-1:] != [kind]:
            self.order.append(kind)

    def members(self, role: str, between: str, *, bare: bool) -> dict[str, Any]:
        """Return the message; `bare` leaves out a text that nobody wrote."""
        members: dict[str, Any] = {"role": role}
        if self.texts or not bare:
            members["content"] = between.join(self.texts)
        if self.thinking:
            members["thinking"] = "\n\n".join(self.thinking)
        if self.images:
            members["images"] = self.images
        if self.calls:
            members["tool_calls"] = self.calls
        return members


def _wire_names(turns: tuple[Turn, ...]) -> dict[str, str]:
    """Return call id → name of the tool as it is sent."""
    calls = (part for turn in turns for part in turn.parts if isinstance(part, ToolCall))
    return {call.id: wire_name(call.name, call.namespace) for call in calls}


class Messages:
    """Writes the messages of one request."""

    def __init__(self, request: Request, abilities: Abilities, losses: Losses) -> None:
        self._abilities = abilities
        self._losses = losses
        self._own = request.dialect == CHAT
        """The client speaks the dialect itself: nothing is added to what it wrote."""
        self._turns = request.turns if self._own else tuple(with_calls_together(request.turns))
        self._names = {} if self._own else _wire_names(request.turns)
        self._reported: set[str] = set()

    def write(self) -> list[Any]:
        """Return the messages."""
        count = len(leading_system(self._turns)[0])
        written = [
            message
            for number, turn in enumerate(self._turns)
            for message in self._turn(turn, late=number >= count, last=number == len(self._turns) - 1)
        ]
        if any(turn.name for turn in self._turns):
            self._once("messages.name", "Ollama's messages bear no names.")
        return written

    def _once(self, path: str, reason: str) -> None:
        if path not in self._reported:
            self._reported.add(path)
            self._losses.dropped(path, reason)

    def _turn(self, turn: Turn, *, late: bool, last: bool) -> list[Any]:
        first = turn.parts[0] if len(turn.parts) == 1 else None
        if isinstance(first, Opaque) and first.dialect == CHAT:
            return [msgspec.Raw(first.raw)]
        results = [part for part in turn.parts if isinstance(part, ToolResult)]
        written: list[Any] = [self._result(part) for part in results]
        if results:
            self._give_back(written[0], turn)
        if len(results) < len(turn.parts) or not turn.parts:
            message = _Message()
            for part in turn.parts:
                if not isinstance(part, ToolResult):
                    self._part(message, part, turn)
            written += self._rest(message, turn, late=late, last=last, alone=not results)
        return written

    def _rest(self, message: _Message, turn: Turn, *, late: bool, last: bool, alone: bool) -> list[Any]:
        """Return the message for what is no tool result; none where nothing is left to say."""
        role = self._role(turn, late=late)
        if last and role == "assistant" and self._abilities.prefill is False and not message.calls:
            self._losses.refused(turn.at, "The model does not continue an answer that was begun for it.")
        if len(message.order) > 2:
            self._losses.approximated(turn.at, "Ollama has the images of a message beside its text, not in it.")
        members = message.members(role, _BETWEEN.get(role, "\n"), bare=self._own)
        if alone:
            self._give_back(members, turn)
        if not self._own and members == {"role": role, "content": ""} and not message.texts:
            if not turn.parts:
                self._losses.dropped(turn.at, "The message is empty.")
            return []
        return [members]

    def _role(self, turn: Turn, *, late: bool) -> str:
        if turn.role not in ("system", "developer"):
            return "user" if turn.role == "tool" else turn.role
        if late and self._abilities.system_anywhere is False:
            self._losses.approximated(turn.at, "The model takes system messages only in front: a user says it here.")
            return "user"
        return turn.role if self._own else "system"

    def _give_back(self, members: dict[str, Any], turn: Turn) -> None:
        give_back(members, turn.extras, CHAT)
        self._losses.extras(turn.extras, turn.at, (CHAT,), _TARGET)

    def _part(self, message: _Message, part: Part, turn: Turn) -> None:
        match part:
            case Text():
                self._text(message, part)
            case Media():
                self._media(message, part)
            case Thinking():
                self._thinking(message, part)
            case ToolCall():
                self._call(message, part)
            case Refusal():
                self._losses.approximated(part.at, "Ollama has no refusals: it becomes text.")
                message.texts.append(part.text)
            case Opaque():
                self._losses.opaque(part, _TARGET)
            case ToolResult():  # pragma: no cover - written before, by _turn; a result inside a result is none
                self._losses.refused(part.at or turn.at, "A tool result cannot hold another.")

    def _text(self, message: _Message, part: Text) -> None:
        message.place("text")
        message.texts.append(part.text)
        if part.citations:
            self._losses.dropped(f"{part.at}.citations", "Ollama's texts name no sources.")
        self._marked(part)

    def _marked(self, part: Text | Media | Thinking | ToolCall | ToolResult) -> None:
        """Report what any part may bear and Ollama does not know."""
        if part.cache is not None:
            self._once("cache", "Ollama has no cache that could be steered.")
        if not isinstance(part, ToolCall):
            self._losses.extras(part.extras, part.at, (CHAT,), _TARGET)

    def _media(self, message: _Message, part: Media) -> None:
        self._marked(part)
        if part.detail:
            self._losses.dropped(f"{part.at}.detail", "Ollama takes images as they are.")
        if part.kind == "file" and part.text:
            self._losses.approximated(part.at, "Ollama has no documents: its text becomes part of the message.")
            message.place("text")
            message.texts.append(part.text)
        elif part.kind != "image":
            self._losses.refused(part.at, f"Ollama takes no {part.kind}s.")
        elif self._abilities.images is False:
            self._losses.refused(part.at, "The model takes no images.")
        elif part.data:
            message.place("image")
            message.images.append(part.data)
        else:
            self._losses.refused(part.at, "Ollama takes images as base64 data only, it fetches none.")

    def _thinking(self, message: _Message, part: Thinking) -> None:
        self._marked(part)
        if part.signature:
            self._once("reasoning", "The opaque state of the reasoning is for the provider that made it.")
        if self._abilities.efforts == () and not self._abilities.adaptive_thinking and not self._own:
            self._once("reasoning", "The model does not think.")
        else:
            message.thinking += [text for text in part.texts if text]

    def _call(self, message: _Message, part: ToolCall) -> None:
        self._marked(part)
        if part.signature:
            self._once("reasoning", "The opaque state of the reasoning is for the provider that made it.")
        call = write_call(part, bare=self._own)
        if call is None:
            self._losses.refused(part.at, "The arguments are no JSON object.")
            return
        self._losses.extras(part.extras, part.at, (CHAT,), _TARGET)
        message.calls.append(call)

    def _result(self, part: ToolResult) -> dict[str, Any]:
        """Return the message for a tool's result."""
        self._marked(part)
        message = _Message()
        if part.is_error:
            self._losses.approximated(f"{part.at}.is_error", "Ollama's results know no errors: its text says so.")
            message.texts.append("Error:")
        for inner in part.parts:
            if isinstance(inner, ToolCall | ToolResult | Thinking):
                self._losses.refused(inner.at or part.at, "A tool result holds text and images.")
            else:
                self._part(message, inner, Turn("tool", at=part.at))
        members = message.members("tool", "\n", bare=self._own)
        name = self._names.get(part.call_id) or part.name
        if name:
            members["tool_name"] = name
        if part.call_id and not (self._own and is_minted(part.call_id)):
            members["tool_call_id"] = part.call_id
        return members
