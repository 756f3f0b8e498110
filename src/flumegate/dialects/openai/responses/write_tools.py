"""Writes tools and the choice among them; tools of one namespace that follow each other are put together again."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.node import give_back
from flumegate.dialects.openai.responses.names import NAME, TARGET, own
from flumegate.dialects.openai.responses.read_tools import NAMESPACE
from flumegate.ir.loss import Losses
from flumegate.ir.request import Request, Tool, ToolChoice
from flumegate.ir.turns import safe_name
from flumegate.ir.written import Rename

_NO_PARAMETERS = msgspec.Raw(b'{"type":"object","properties":{}}')
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Names:
    """Tool names as the wire takes them, and what must be undone in the answer."""

    def __init__(self, request: Request) -> None:
        self._foreign = request.dialect != NAME
        self.renames: dict[str, Rename] = {}

    def of(self, name: str, kind: str) -> str:
        """Return a tool's name for the wire."""
        if not self._foreign or kind != "function":
            return name
        safe = safe_name(name)
        if safe != name:
            self.renames[safe] = Rename(name)
        return safe


def write_tools(request: Request, names: Names, losses: Losses) -> list[dict[str, Any]]:
    """Return the tools for the wire."""
    written: list[dict[str, Any]] = []
    group: dict[str, Any] | None = None
    for tool in request.tools:
        members = _write_tool(tool, request, names, losses)
        if members is None:
            continue
        if not tool.namespace:
            group = None
            written.append(members)
            continue
        outer = members.pop(NAMESPACE, None)
        if group is None or group["name"] != tool.namespace or outer is not None:
            group = {"type": NAMESPACE, "name": tool.namespace, "tools": []}
            if outer is not None:
                group |= _decode_members(outer)
            written.append(group)
        group["tools"].append(members)
    return written


def _write_tool(tool: Tool, request: Request, names: Names, losses: Losses) -> dict[str, Any] | None:
    foreign = request.dialect != NAME
    if tool.kind == "hosted":
        if tool.dialect != NAME:
            _report_hosted(tool, request.tool_choice, losses)
            return None
        hosted: dict[str, Any] = {"type": tool.name}
        give_back(hosted, tool.extras, NAME)
        return hosted
    losses.extras(tool.extras, tool.at, (NAME,), TARGET)
    if tool.cache is not None:
        losses.dropped(f"{tool.at}.cache", f"{TARGET} takes no cache breakpoint behind a tool.")
    members: dict[str, Any] = {"type": tool.kind, "name": names.of(tool.name, tool.kind)}
    if tool.description:
        members["description"] = tool.description
    if tool.kind == "function":
        if tool.parameters or foreign:
            members["parameters"] = msgspec.Raw(tool.parameters) if tool.parameters else _NO_PARAMETERS
        if tool.strict is not None or foreign:
            # Not said means strict here and loose everywhere else.
            members["strict"] = bool(tool.strict)
    elif tool.format:
        members["format"] = msgspec.Raw(tool.format)
    give_back(members, tool.extras, NAME)
    return members


def _report_hosted(tool: Tool, choice: ToolChoice | None, losses: Losses) -> None:
    reason = f"{TARGET} has no tool {tool.name[:60]!r}."
    if choice is not None and (choice.mode == "required" or tool.name in choice.names):
        losses.refused(tool.at, reason)
    else:
        losses.dropped(tool.at, reason)


def write_tool_choice(request: Request, names: Names, losses: Losses) -> str | dict[str, Any] | None:
    """Return the choice for the wire; None = not said."""
    choice = request.tool_choice
    if choice is None:
        return None
    losses.extras(choice.extras, "tool_choice", (NAME,), TARGET)
    match choice.mode:
        case "named":
            members = _write_named(choice, names)
        case "allowed":
            members = _write_allowed(choice, request, names)
        case mode:
            return mode
    give_back(members, choice.extras, NAME)
    return members


def _write_named(choice: ToolChoice, names: Names) -> dict[str, Any]:
    name = choice.names[0] if choice.names else ""
    if choice.kind == "hosted":
        return {"type": name}
    return {"type": choice.kind, "name": names.of(name, choice.kind)}


def _write_allowed(choice: ToolChoice, request: Request, names: Names) -> dict[str, Any]:
    members: dict[str, Any] = {"type": "allowed_tools", "mode": "required" if choice.required else "auto"}
    if "tools" not in own(choice.extras):
        custom = {tool.name for tool in request.tools if tool.kind == "custom"}
        kinds = ((name, "custom" if name in custom else "function") for name in choice.names)
        members["tools"] = [{"type": kind, "name": names.of(name, kind)} for name, kind in kinds]
    return members
