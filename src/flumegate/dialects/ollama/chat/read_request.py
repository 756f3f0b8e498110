"""A client's `POST /api/chat`.

Tool results name their tool and often no call: each is given the id of the first call of that name, in the assistant's
last message, that is still without a result.
"""

from __future__ import annotations

from typing import cast

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.ollama.calls import nested, read_call
from flumegate.dialects.ollama.images import read_images
from flumegate.dialects.ollama.names import CHAT
from flumegate.dialects.ollama.settings import read_settings, with_options
from flumegate.ir.parts import Opaque, Part, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Request, Role, Tool, Turn

_ROLES = ("system", "developer", "user", "assistant", "tool")


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> Request:  # noqa: ARG001 - the body tells
    """Return the request.

    Raises:
        ReadError: the document is not of the dialect.
    """
    node = Node(body, CHAT)
    settings = read_settings(node)
    left = settings.pop("left")
    name = node.text("model") or model
    turns = _read_turns(node)
    tools = tuple(_read_tool(tool) for tool in node.nodes("tools"))
    extras = with_options(node.left(), CHAT, left)
    return Request(dialect=CHAT, model=name, turns=turns, tools=tools, extras=extras, **settings)


def _read_turns(node: Node) -> tuple[Turn, ...]:
    place = node.at("messages")
    waiting: list[ToolCall] = []
    turns = []
    for number, raw in enumerate(node.items("messages")):
        message = Node(raw, CHAT, f"{place}[{number}]")
        role = message.required("role").lower()
        if role not in _ROLES:
            opaque = Opaque(CHAT, role, bytes(raw), at=message.path)
            turns.append(Turn("user", (opaque,), at=message.path))
        elif role == "tool":
            turns.append(_read_result(message, waiting))
        else:
            turn = _read_message(message, cast("Role", role), number)
            if role == "assistant":
                waiting = [part for part in turn.parts if isinstance(part, ToolCall)]
            turns.append(turn)
    return tuple(turns)


def _read_message(message: Node, role: Role, number: int) -> Turn:
    parts: list[Part] = []
    thinking = message.text("thinking")
    if thinking:
        parts.append(Thinking((thinking,), at=message.at("thinking")))
    content = message.string("content")
    if content is not None:
        parts.append(Text(content, at=message.at("content")))
    parts += read_images(message)
    calls = message.nodes("tool_calls")
    parts += [read_call(call, position, str(number), lenient=False) for position, call in enumerate(calls)]
    plain = content is not None and len(parts) == 1
    return Turn(role, tuple(parts), plain=plain, at=message.path, extras=message.left())


def _read_result(message: Node, waiting: list[ToolCall]) -> Turn:
    """Return a tool's result; take its call from those that wait for one."""
    name, call_id = message.text("tool_name"), message.text("tool_call_id")
    for place, call in enumerate(waiting):
        if call.id == call_id if call_id else call.name == name or not name:
            call_id = waiting.pop(place).id
            break
    parts: list[Part] = []
    content = message.string("content")
    if content is not None:
        parts.append(Text(content, at=message.at("content")))
    parts += read_images(message)
    plain = content is not None and len(parts) == 1
    result = ToolResult(call_id, tuple(parts), plain=plain, name=name, at=message.path)
    return Turn("tool", (result,), at=message.path, extras=message.left())


def _read_tool(node: Node) -> Tool:
    kind = node.text("type") or "function"
    if kind != "function":
        return Tool(kind, "hosted", dialect=CHAT, at=node.path, extras=node.left())
    function = node.node("function")
    if function is None:
        raise ReadError(node.at("function"), "It is required.")
    name = function.required("name")
    description = function.text("description")
    parameters = function.raw("parameters")
    left = function.left()
    fields: dict[str, msgspec.Raw] = left.fields if left is not None else {}
    extras = nested(node, "function", fields)
    return Tool(name, description=description, parameters=parameters, at=node.path, extras=extras)
