"""Tools and the choice among them, as Anthropic takes them (dialects: §13.1)."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.anthropic.messages import schema
from flumegate.dialects.anthropic.messages.draft import Draft
from flumegate.dialects.anthropic.messages.extras import DIALECT, TARGET
from flumegate.dialects.anthropic.messages.read_request import hosted_name
from flumegate.ir.request import Tool, ToolChoice
from flumegate.ir.restore import CUSTOM_PARAMETERS, packed_description
from flumegate.ir.written import Rename


def write_tools(draft: Draft, members: dict[str, Any]) -> None:
    """Write `tools` and `tool_choice`."""
    request = draft.request
    if request.tools and draft.abilities.tools is False:
        draft.losses.refused("tools", "The model takes no tools.")
        return
    choice = request.tool_choice
    allowed = choice.names if choice is not None and choice.mode == "allowed" else None
    written = []
    for tool in request.tools:
        if allowed is not None and tool.name not in allowed and hosted_name(tool) not in allowed:
            continue
        one = _write_hosted(draft, tool) if tool.kind == "hosted" else _write_tool(draft, tool)
        if one is not None:
            written.append(one)
    if written:
        members["tools"] = written
    _write_choice(draft, members, choice)


def _write_tool(draft: Draft, tool: Tool) -> dict[str, Any]:
    at = tool.at or "tools"
    name = draft.name_of(tool.namespace, tool.name)
    if name != tool.name or tool.kind == "custom":
        draft.renames[name] = Rename(tool.name, tool.namespace, "custom" if tool.kind == "custom" else "function")
    members: dict[str, Any] = {"name": name}
    description = tool.description
    if tool.kind == "custom":
        description = packed_description(tool, draft.losses, at, TARGET)
    if description:
        members["description"] = description
    if tool.kind == "custom":
        members["input_schema"] = msgspec.Raw(CUSTOM_PARAMETERS)
    elif not draft.own:
        members["input_schema"] = msgspec.Raw(schema.of_tool(tool.parameters))
    elif tool.parameters:
        members["input_schema"] = msgspec.Raw(tool.parameters)
    if tool.strict is not None:
        members["strict"] = tool.strict
    draft.mark(members, tool.cache, at)
    draft.extras(members, tool.extras, at)
    return members


def _write_hosted(draft: Draft, tool: Tool) -> dict[str, Any] | None:
    at = tool.at or "tools"
    if tool.dialect == DIALECT:
        members: dict[str, Any] = {"type": tool.name}
        draft.mark(members, tool.cache, at)
        draft.extras(members, tool.extras, at)
        return members
    draft.losses.dropped(at, f"{TARGET} does not run the tool {tool.name[:60]!r}.")
    return None


def _write_choice(draft: Draft, members: dict[str, Any], choice: ToolChoice | None) -> None:
    parallel = draft.request.parallel_tool_calls
    if "tools" not in members:
        _without_tools(draft, choice)
        return
    if choice is None and parallel is not False:
        return  # several calls at once are the default
    written: dict[str, Any] = {}
    if choice is not None:
        draft.extras(written, choice.extras, "tool_choice")
    kind = _kind_of(draft, choice)
    written["type"] = kind
    if kind == "tool" and choice is not None:
        written["name"] = _chosen_name(draft, choice)
    if kind != "none" and (parallel is False or (parallel is True and draft.own)):
        written["disable_parallel_tool_use"] = not parallel
    members["tool_choice"] = written


def _without_tools(draft: Draft, choice: ToolChoice | None) -> None:
    forced = choice is not None and (choice.mode in ("required", "named") or choice.required)
    if forced and draft.request.tools:
        draft.losses.refused("tool_choice", "None of the tools that must be called can be offered.")
    elif choice is not None and choice.mode not in ("auto", "none"):
        draft.losses.dropped("tool_choice", "There is no tool to choose.")


def _kind_of(draft: Draft, choice: ToolChoice | None) -> str:
    if choice is None:
        return "auto"
    if choice.mode == "allowed":
        draft.losses.approximated("tool_choice", "Only the allowed tools are offered, which changes the cached prefix.")
        return "any" if choice.required else "auto"
    return {"none": "none", "auto": "auto", "required": "any", "named": "tool"}[choice.mode]


def _chosen_name(draft: Draft, choice: ToolChoice) -> str:
    name = choice.names[0] if choice.names else ""
    if choice.kind == "hosted":
        known = any(
            tool.kind == "hosted" and tool.dialect == DIALECT and hosted_name(tool) == name
            for tool in draft.request.tools
        )
        if not known:
            draft.losses.refused("tool_choice", f"{TARGET} does not run the tool {name[:60]!r}.")
        return name
    space = next((tool.namespace for tool in draft.request.tools if tool.name == name and tool.kind != "hosted"), "")
    return draft.name_of(space, name)
