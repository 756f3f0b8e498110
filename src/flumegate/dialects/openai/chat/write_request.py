"""Our request as a chat completion request, for OpenAI and for every server that speaks its dialect."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.names import CHAT, TARGET
from flumegate.dialects.openai.chat.write_messages import MessageWriter
from flumegate.dialects.openai.chat.write_parts import PartWriter
from flumegate.dialects.openai.chat.write_settings import write_settings
from flumegate.dialects.openai.chat.write_tools import ToolWriter
from flumegate.ir.loss import Losses
from flumegate.ir.request import Request
from flumegate.ir.written import Abilities, Written

_encode = msgspec.json.Encoder().encode


def write_request(request: Request, abilities: Abilities) -> Written:
    """Return the request for the wire, its losses, and the names to be undone in the answer."""
    losses = Losses()
    parts = PartWriter(abilities, losses)
    tools = ToolWriter(request, abilities, losses)
    members: dict[str, Any] = {"model": abilities.model or request.model}
    members["messages"] = MessageWriter(request, parts, tools).write()
    if request.stream:
        members["stream"] = True
        members["stream_options"] = {"include_usage": True}
    _write_tools(members, request, abilities, tools, parts)
    write_settings(members, request, abilities, losses)
    leftovers.give_back(members, request.extras)
    losses.extras(request.extras, "", (CHAT,), TARGET)
    return Written(_encode(members), tuple(losses.found), tools.renames)


def _write_tools(
    members: dict[str, Any], request: Request, abilities: Abilities, tools: ToolWriter, parts: PartWriter
) -> None:
    if request.tools and abilities.tools is False:
        parts.losses.refused("tools", "The model takes no tools.")
    written = tools.tools(parts)
    if written:
        members["tools"] = written
        if request.parallel_tool_calls is not None:
            members["parallel_tool_calls"] = request.parallel_tool_calls
    if request.tool_choice is not None:
        choice = tools.choice(request.tool_choice, written)
        if choice is not None:
            members["tool_choice"] = choice
