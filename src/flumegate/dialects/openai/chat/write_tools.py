"""Tools, their names on the wire, and the choice among them (dialects: §13.1, §13.4)."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.names import CHAT, OPENAI_SERVERS, TARGET
from flumegate.dialects.openai.chat.read_tools import nested_format
from flumegate.dialects.openai.chat.write_parts import Json, PartWriter
from flumegate.ir.loss import Losses
from flumegate.ir.parts import ToolCall
from flumegate.ir.request import Request, Tool, ToolChoice
from flumegate.ir.restore import CUSTOM_PARAMETERS, pack_custom, packed_description
from flumegate.ir.turns import safe_id, safe_name
from flumegate.ir.written import Abilities, Rename

_MISTRAL_ID = 9
"""Letters and digits: the only ids that Mistral takes."""
_OPENAI_ID = 40
"""Characters, at most."""


class ToolWriter:
    """Knows every tool of one request under its name on the wire."""

    def __init__(self, request: Request, abilities: Abilities, losses: Losses) -> None:
        self.request = request
        self.losses = losses
        self.server = abilities.server
        self.native = abilities.server in OPENAI_SERVERS
        self.renames: dict[str, Rename] = {}
        self._known: dict[tuple[str, str], tuple[str, bool]] = {}
        self._taken: set[str] = set()
        for tool in request.tools:
            if tool.kind != "hosted":
                self._wire(tool.namespace, tool.name, custom=tool.kind == "custom")

    def _wire(self, namespace: str, name: str, *, custom: bool) -> tuple[str, bool]:
        """Return a tool's name on the wire, and whether it travels as a packed function."""
        known = self._known.get((namespace, name))
        if known is None:
            flat = f"{namespace}__{name}" if namespace else name
            wire = safe_name(flat)
            while wire in self._taken:
                wire = safe_name(f"{wire}.{namespace}")  # the dot is not allowed, so this hashes
            self._taken.add(wire)
            packed = custom and not self.native
            known = self._known[namespace, name] = (wire, packed)
            if packed or wire != name:
                self.renames[wire] = Rename(name, namespace, "custom" if custom and packed else "function")
        return known

    def tools(self, parts: PartWriter) -> list[Any]:
        """Return `tools`."""
        written = []
        for tool in self._allowed():
            members = self._tool(tool)
            if members is not None:
                parts.mark(members, tool.cache)
                written.append(members)
        return written

    def _allowed(self) -> tuple[Tool, ...]:
        choice = self.request.tool_choice
        if choice is None or choice.mode != "allowed" or self.native:
            return self.request.tools
        return tuple(tool for tool in self.request.tools if tool.name in choice.names)

    def _tool(self, tool: Tool) -> Json | None:
        if tool.kind == "hosted":
            return self._hosted(tool)
        wire, packed = self._wire(tool.namespace, tool.name, custom=tool.kind == "custom")
        inner: Json = {"name": wire}
        if tool.description:
            inner["description"] = tool.description
        kind = "function"
        if packed:
            self._pack(tool, inner)
        elif tool.kind == "custom":
            kind = "custom"
            if tool.format:
                inner["format"] = nested_format(tool.format)
        else:
            if tool.parameters:
                inner["parameters"] = msgspec.Raw(tool.parameters)
            if tool.strict is not None:
                inner["strict"] = tool.strict
        members: Json = {"type": kind, kind: inner}
        leftovers.give_back(members, tool.extras)
        self.losses.extras(tool.extras, tool.at, (CHAT,), TARGET)
        return members

    def _pack(self, tool: Tool, inner: Json) -> None:
        inner["parameters"] = msgspec.Raw(CUSTOM_PARAMETERS)
        if told := packed_description(tool, self.losses, tool.at, "The server"):
            inner["description"] = told

    def _hosted(self, tool: Tool) -> Json | None:
        if tool.dialect == CHAT:
            members: Json = {"type": tool.name}
            leftovers.give_back(members, tool.extras)
            return members
        choice = self.request.tool_choice
        if choice is not None and choice.kind == "hosted" and choice.mode == "named":
            self.losses.refused(tool.at, f"{TARGET} has no tool of type {tool.name[:60]!r}, and it must be called.")
        else:
            self.losses.dropped(tool.at, f"{TARGET} has no tool of type {tool.name[:60]!r}.")
        return None

    def call(self, part: ToolCall) -> Json:
        """Return an earlier call of the conversation."""
        wire, packed = self._wire(part.namespace, part.name, custom=part.kind == "custom")
        members: Json = {"id": self.id(part.id)}
        if part.kind == "custom" and not packed:
            members |= {"type": "custom", "custom": {"name": wire, "input": part.arguments}}
        else:
            packing = part.kind == "custom"
            arguments = pack_custom(part.arguments) if packing else part.arguments or "{}"
            members |= {"type": "function", "function": {"name": wire, "arguments": arguments}}
        leftovers.give_back(members, part.extras)
        self.losses.extras(part.extras, part.at, (CHAT,), TARGET)
        return members

    def id(self, value: str) -> str:
        """Return a call's id as the server takes it; a call and its result get the same."""
        if self.server == "mistral":
            if len(value) == _MISTRAL_ID and value.isalnum() and value.isascii():
                return value
            return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:_MISTRAL_ID]
        limit = _OPENAI_ID if self.native else 64
        return safe_id(value, limit) if len(value) > limit else value

    def choice(self, choice: ToolChoice, written: list[Any]) -> Any:  # noqa: ANN401 - a string or an object
        """Return `tool_choice`; None where there is nothing to choose from."""
        if not written:
            if choice.mode in ("required", "named"):
                self.losses.refused("tool_choice", "A tool must be called, and none of the tools can be offered.")
            elif choice.mode == "allowed":
                self.losses.dropped("tool_choice", "There are no tools to choose from.")
            return None
        self.losses.extras(choice.extras, "tool_choice", (CHAT,), TARGET)
        match choice.mode:
            case "named":
                members = self._named(choice)
            case "allowed" if self.native:
                tools = [self._reference(name) for name in choice.names]
                mode = "required" if choice.required else "auto"
                members = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}
            case "allowed":
                self.losses.approximated(
                    "tool_choice", "The server cannot narrow tools; only the allowed ones are sent."
                )
                return "required" if choice.required else "auto"
            case _:
                return choice.mode
        leftovers.give_back(members, choice.extras)
        return members

    def _named(self, choice: ToolChoice) -> Json:
        return {"type": choice.names[0]} if choice.kind == "hosted" else self._reference(choice.names[0])

    def _reference(self, name: str) -> Json:
        tool = next((tool for tool in self.request.tools if tool.name == name), None)
        custom = tool is not None and tool.kind == "custom"
        wire, packed = self._wire(tool.namespace if tool is not None else "", name, custom=custom)
        kind = "custom" if custom and not packed else "function"
        return {"type": kind, kind: {"name": wire}}
