"""Writes turns as input items. A turn of several parts becomes several items in the same order.

Opaque state goes back only to its own provider: other reasoning is left out and reported once.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.node import give_back
from flumegate.dialects.openai.responses.names import INSIDE, NAME, TARGET
from flumegate.dialects.openai.responses.write_parts import (
    Marks,
    part_extras,
    write_citation,
    write_media,
    write_texts,
)
from flumegate.dialects.openai.responses.write_tools import Names
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Request, Turn
from flumegate.ir.turns import safe_id
from flumegate.ir.written import Abilities

Item = dict[str, Any] | msgspec.Raw


class ItemWriter:
    """Writes the conversation of one request."""

    def __init__(self, request: Request, abilities: Abilities, names: Names, losses: Losses) -> None:
        self._own = request.dialect == NAME
        self._abilities = abilities
        self._names = names
        self._losses = losses
        self._marks = Marks(losses, taken=self._own or abilities.server == "openai")
        self._state_reported = False
        self._custom = {
            part.id
            for turn in request.turns
            for part in turn.parts
            if isinstance(part, ToolCall) and part.kind == "custom"
        }

    def write(self, turns: tuple[Turn, ...]) -> str | list[Item]:
        """Return the value of `input`."""
        if len(turns) == 1 and turns[0].at == "input" and self._own:
            return "".join(part.text for part in turns[0].parts if isinstance(part, Text))
        items: list[Item] = []
        for turn in turns:
            self._write_turn(turn, items)
        return items

    def _write_turn(self, turn: Turn, items: list[Item]) -> None:
        self._losses.extras(turn.extras, turn.at, (NAME,), TARGET)
        if turn.name:
            self._losses.dropped(f"{turn.at}.name", f"{TARGET} does not name speakers.")
        content: list[Item] = []
        wrote_message = False
        for part in turn.parts:
            if isinstance(part, Text | Media | Refusal) or (isinstance(part, Opaque) and INSIDE in part.at):
                written = self._write_content(part, assistant=turn.role == "assistant")
                if written is not None:
                    content.append(written)
                continue
            if content:
                items.append(self._message(turn, content, first=not wrote_message))
                content, wrote_message = [], True
            item = self._write_item(part)
            if item is not None:
                items.append(item)
        if content or (self._own and not turn.parts):
            items.append(self._message(turn, content, first=not wrote_message))

    def _message(self, turn: Turn, content: list[Item], *, first: bool) -> Item:
        role = "user" if turn.role == "tool" else turn.role
        if role == "developer" and self._abilities.developer_role is False:
            role = "system"
            self._losses.approximated(f"{turn.at}.role", "The model knows no developer role; it gets a system message.")
        members: dict[str, Any] = {"type": "message", "role": role, "content": content}
        if turn.plain and len(content) == 1 and isinstance(content[0], dict) and "text" in content[0]:
            members["content"] = content[0]["text"]
        if first:
            give_back(members, turn.extras, NAME)
        return members

    def _write_content(self, part: Text | Media | Refusal | Opaque, *, assistant: bool) -> Item | None:
        if isinstance(part, Opaque):
            return self._write_opaque(part)
        self._losses.extras(part.extras, part.at, (NAME,), TARGET)
        if isinstance(part, Text):
            return self._write_text(part, assistant=assistant)
        if isinstance(part, Media):
            return self._write_media(part, assistant=assistant)
        refusal: dict[str, Any] = {"type": "refusal", "refusal": part.text}
        give_back(refusal, part.extras, NAME)
        return refusal

    def _write_text(self, part: Text, *, assistant: bool) -> dict[str, Any]:
        members: dict[str, Any] = {"type": "output_text" if assistant else "input_text", "text": part.text}
        written = [
            write_citation(one, len(part.text), self._losses, f"{part.at}.annotations") for one in part.citations
        ]
        annotations = [one for one in written if one is not None]
        if annotations:
            members["annotations"] = annotations
        if part.logprobs:
            members["logprobs"] = msgspec.Raw(part.logprobs)
        self._marks.write(members, part.cache)
        part_extras(members, part)
        return members

    def _write_media(self, part: Media, *, assistant: bool) -> dict[str, Any] | None:
        if assistant and not self._own:
            self._losses.refused(part.at, f"{TARGET} takes no media from the assistant.")
            return None
        able = self._abilities.images if part.kind == "image" else self._abilities.files
        if able is False and not part.text:
            self._losses.refused(part.at, f"The model takes no {part.kind}s.")
            return None
        members = write_media(part, self._losses)
        if members is not None:
            self._marks.write(members, part.cache)
            give_back(members, part.extras, NAME)
        return members

    def _write_item(self, part: Part) -> Item | None:
        match part:
            case Thinking():
                return self._write_thinking(part)
            case ToolCall():
                return self._write_call(part)
            case ToolResult():
                return self._write_result(part)
            case Opaque():
                return self._write_opaque(part)
            case _:  # pragma: no cover - the others are content
                return None

    def _write_opaque(self, part: Opaque) -> Item | None:
        if part.dialect == NAME:
            return msgspec.Raw(part.raw)
        self._losses.opaque(part, TARGET)
        return None

    def _report_state(self) -> None:
        if not self._state_reported:
            self._state_reported = True
            self._losses.dropped("reasoning", "Reasoning of another provider means nothing to this one.")

    def _write_thinking(self, part: Thinking) -> Item | None:
        self._losses.extras(part.extras, part.at, (NAME,), TARGET)
        if part.origin != NAME and (part.signature or not self._own):
            self._report_state()
            return None
        members: dict[str, Any] = {"type": "reasoning", **write_texts(part)}
        if part.signature:
            members["encrypted_content"] = part.signature
        self._marks.report(part.cache)
        give_back(members, part.extras, NAME)
        return members

    def _write_call(self, part: ToolCall) -> Item:
        self._losses.extras(part.extras, part.at, (NAME,), TARGET)
        if part.signature:
            self._report_state()
        self._marks.report(part.cache)
        name = self._names.of(part.name, part.kind)
        members: dict[str, Any]
        if part.kind == "custom":
            members = {"type": "custom_tool_call", "call_id": self._id(part.id), "name": name, "input": part.arguments}
        else:
            arguments = part.arguments if part.arguments or self._own else "{}"
            members = {"type": "function_call", "call_id": self._id(part.id), "name": name, "arguments": arguments}
        if part.namespace:
            members["namespace"] = part.namespace
        give_back(members, part.extras, NAME)
        return members

    def _id(self, call_id: str) -> str:
        return call_id if self._own else safe_id(call_id)

    def _write_result(self, part: ToolResult) -> Item:
        self._losses.extras(part.extras, part.at, (NAME,), TARGET)
        self._marks.report(part.cache)
        custom = part.kind == "custom" or part.call_id in self._custom
        members: dict[str, Any] = {
            "type": "custom_tool_call_output" if custom else "function_call_output",
            "call_id": self._id(part.call_id),
            "output": self._output(part),
        }
        give_back(members, part.extras, NAME)
        return members

    def _output(self, part: ToolResult) -> str | list[Item]:
        content: list[Item] = []
        for inner in part.parts:
            if isinstance(inner, Text | Media | Refusal | Opaque):
                written = self._write_content(inner, assistant=False)
                if written is not None:
                    content.append(written)
            else:
                self._losses.refused(part.at, f"{TARGET} takes text, images and files as a tool's result.")
        if part.is_error:
            self._losses.approximated(f"{part.at}.is_error", "The failure is told in the text of the result.")
            content.insert(0, {"type": "input_text", "text": "Error: "})
        if (part.plain or (not content and not self._own)) and all(isinstance(one, dict) for one in content):
            return "".join(one["text"] for one in content if isinstance(one, dict) and "text" in one)
        return content
