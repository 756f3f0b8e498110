"""The tools of a request. Ollama has functions and no say in whether the model must call one (fates: §13.6).

No tools stand for "call none"; a choice of some tools becomes those tools. What must be called cannot be said.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.node import give_back
from flumegate.dialects.ollama.calls import give_back_nested, wire_name
from flumegate.dialects.ollama.names import CHAT
from flumegate.ir.loss import Losses
from flumegate.ir.request import Request, Tool, ToolChoice
from flumegate.ir.restore import CUSTOM_PARAMETERS, packed_description
from flumegate.ir.written import Abilities, Rename

_TARGET = "Ollama"
_NO_PARAMETERS = b'{"type":"object","properties":{}}'
_CHOICE = "tool_choice"


def write_tools(
    request: Request, abilities: Abilities, losses: Losses, renames: dict[str, Rename]
) -> list[dict[str, Any]]:
    """Return the tools that the model may call; fill in what their names stand for."""
    tools = _chosen(request.tools, request.tool_choice, losses)
    if tools and abilities.tools is False:
        losses.refused("tools", "The model calls no tools.")
    own = request.dialect == CHAT
    plain = {tool.name for tool in tools if not tool.namespace}
    written = []
    for tool in tools:
        if tool.cache is not None:
            losses.dropped("cache", "Ollama has no cache that could be steered.")
        if tool.kind == "hosted":
            if tool.dialect == CHAT:
                members: dict[str, Any] = {"type": tool.name}
                give_back(members, tool.extras, CHAT)
                written.append(members)
            else:
                losses.dropped(tool.at, f"Ollama runs no tool of the kind {tool.name[:60]!r}.")
            continue
        written.append(_function(tool, plain, losses, renames, own=own))
    return written


def _function(tool: Tool, plain: set[str], losses: Losses, renames: dict[str, Rename], *, own: bool) -> dict[str, Any]:
    name = wire_name(tool.name, tool.namespace)
    if tool.kind == "custom" or tool.namespace:
        if name in renames or (tool.namespace and name in plain):
            losses.refused(tool.at, "Without its namespace the tool bears the name of another.")
        renames[name] = Rename(tool.name, tool.namespace, tool.kind if tool.kind == "custom" else "function")
    function: dict[str, Any] = {"name": name}
    if tool.description:
        function["description"] = tool.description
    if tool.kind == "custom":
        if told := packed_description(tool, losses, tool.at, "Ollama"):
            function["description"] = told
        function["parameters"] = msgspec.Raw(CUSTOM_PARAMETERS)
    elif tool.parameters or not own:
        function["parameters"] = msgspec.Raw(tool.parameters or _NO_PARAMETERS)
    if tool.strict:
        losses.dropped(f"{tool.at}.strict", "Ollama does not hold a model to the schema of a tool.")
    members = {"type": "function", "function": function}
    give_back_nested(members, tool.extras, "function")
    losses.extras(tool.extras, tool.at, (CHAT,), _TARGET)
    return members


def _chosen(tools: tuple[Tool, ...], choice: ToolChoice | None, losses: Losses) -> tuple[Tool, ...]:
    """Return the tools that the choice leaves."""
    if choice is None:
        return tools
    losses.extras(choice.extras, _CHOICE, (CHAT,), _TARGET)
    if choice.mode == "none":
        return ()
    if choice.mode == "auto" or not tools:
        return tools
    if choice.mode == "allowed" and not choice.required:
        kept = tuple(tool for tool in tools if tool.name in choice.names)
        if len(kept) < len(tools):
            losses.approximated(_CHOICE, "Ollama has no choice among tools: only the allowed ones are sent.")
        return kept
    losses.refused(_CHOICE, "Ollama cannot make a model call a tool.")
    return tools
