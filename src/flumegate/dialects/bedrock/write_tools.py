"""`toolConfig`: the tools, the choice among them, and the names that Bedrock does not take.

Bedrock refuses calls and results in a conversation without tools, so tools that only the history knows are declared.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.bedrock.names import NAME, TARGET
from flumegate.dialects.bedrock.write_parts import write_cache
from flumegate.ir.loss import Losses
from flumegate.ir.parts import ToolCall, ToolResult
from flumegate.ir.request import Request, Tool, ToolChoice
from flumegate.ir.restore import CUSTOM_PARAMETERS, packed_description
from flumegate.ir.turns import safe_name, tool_names
from flumegate.ir.written import Abilities, Rename

Members = dict[str, Any]
_NO_PARAMETERS = b'{"type":"object","properties":{}}'
_UNKNOWN_TOOL = "unknown_tool"
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def write_name(name: str, namespace: str) -> str:
    """Return a tool's name for the wire: flattened, and legal."""
    return safe_name(f"{namespace}__{name}" if namespace else name)


class Tools:
    """The tools for the wire.

    Attributes:
        config: the `toolConfig`, or nothing.
        renames: see `Written`.
        marked: how many cache breakpoints stand in it.
    """

    def __init__(self, request: Request, abilities: Abilities, losses: Losses) -> None:
        self.config: Members = {}
        self.renames: dict[str, Rename] = {}
        self.marked = 0
        self._request = request
        self._abilities = abilities
        self._losses = losses
        self._used = any(isinstance(part, ToolCall | ToolResult) for turn in request.turns for part in turn.parts)
        if request.tools and abilities.tools is False:
            losses.refused("tools", "The model takes no tools.")
            return
        choice = request.tool_choice
        if choice is not None:
            losses.extras(choice.extras, "tool_choice", (NAME,), TARGET)
        written = self._write_tools(choice)
        if written:
            self.config["tools"] = written
            chosen = self._write_choice(choice)
            if chosen:
                self.config["toolChoice"] = chosen

    def _write_tools(self, choice: ToolChoice | None) -> list[Members]:
        if choice is not None and choice.mode == "none" and not self._used:
            return []  # without tools nothing can be called, which is what was asked for
        written: list[Members] = []
        for number, tool in enumerate(self._request.tools):
            if choice is None or choice.mode != "allowed" or tool.name in choice.names:
                self._add(written, tool, tool.at or f"tools[{number}]")
        forced = choice is not None and (choice.mode in ("required", "named") or choice.required)
        if not written and forced:
            self._losses.refused("tool_choice", "There is no tool that could be called.")
        elif not written and self._used:
            self._losses.invented("tools", "Bedrock takes calls and results only where tools are declared.")
            names = sorted(set(tool_names(self._request.turns).values())) or [_UNKNOWN_TOOL]
            written.extend(_spec(write_name(name, ""), msgspec.Raw(_NO_PARAMETERS)) for name in names)
        return written

    def _add(self, written: list[Members], tool: Tool, at: str) -> None:
        losses = self._losses
        if tool.kind == "hosted":
            losses.dropped(at, f"Bedrock does not run the tool {tool.name[:60]!r}.")
            return
        losses.extras(tool.extras, at, (NAME,), TARGET)
        name = write_name(tool.name, tool.namespace)
        if name != tool.name or tool.kind == "custom":
            self.renames[name] = Rename(tool.name, tool.namespace, tool.kind)
        spec = _spec(name, self._write_schema(tool, at))
        description = tool.description
        if tool.kind == "custom":
            description = packed_description(tool, losses, at, "Bedrock")
        if description:
            spec["toolSpec"]["description"] = description
        if tool.strict and self._abilities.json_schema is False:
            losses.dropped(f"{at}.strict", "The model promises no strict arguments.")
        elif tool.strict:
            spec["toolSpec"]["strict"] = True
        written.append(spec)
        if tool.cache is not None and self._abilities.cache_marks is not False:
            written.append(write_cache(tool.cache))
            self.marked += 1

    def _write_schema(self, tool: Tool, at: str) -> msgspec.Raw | Members:
        if tool.kind == "custom":
            return msgspec.Raw(CUSTOM_PARAMETERS)
        if not tool.parameters:
            return msgspec.Raw(_NO_PARAMETERS)
        try:
            schema = _decode_object(tool.parameters)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._losses.refused(f"{at}.parameters", "Bedrock takes a JSON Schema of an object.")
            return msgspec.Raw(_NO_PARAMETERS)
        if "type" in schema:
            return msgspec.Raw(tool.parameters)
        return {"type": "object", **schema}  # arguments are an object in every dialect: nothing else was meant

    def _write_choice(self, choice: ToolChoice | None) -> Members:
        if self._request.parallel_tool_calls is False:
            self._losses.dropped("parallel_tool_calls", "Bedrock calls tools in parallel when it likes.")
        if choice is None:
            return {}
        if choice.mode == "none":
            self._losses.dropped("tool_choice", "Bedrock needs the tools of the conversation, and may call them.")
            return {}
        if choice.mode == "named":
            return self._write_named(choice)
        if choice.mode == "allowed":
            self._losses.approximated("tool_choice", "Only the allowed tools are sent.")
        return {"any": {}} if choice.mode == "required" or choice.required else {"auto": {}}

    def _write_named(self, choice: ToolChoice) -> Members:
        named = next(
            (tool for tool in self._request.tools if tool.kind != "hosted" and tool.name in choice.names[:1]), None
        )
        if named is None:
            self._losses.refused("tool_choice", "The tool that must be called is not among those that are sent.")
            return {}
        return {"tool": {"name": write_name(named.name, named.namespace)}}


def _spec(name: str, schema: msgspec.Raw | Members) -> Members:
    return {"toolSpec": {"name": name, "inputSchema": {"json": schema}}}
