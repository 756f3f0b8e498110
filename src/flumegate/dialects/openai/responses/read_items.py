"""The `input` of a request as turns: one item is one turn.

An item that only this dialect knows becomes `Opaque`; it is vital unless it only tells of work done at the provider.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.openai.responses.names import NAME, TRACES, TRIVIAL
from flumegate.dialects.openai.responses.read_parts import read_call, read_part, read_thinking
from flumegate.ir.parts import Opaque, Part, Text, ToolResult
from flumegate.ir.request import Role, Turn

_ROLES: dict[str, Role] = {"user": "user", "system": "system", "developer": "developer", "assistant": "assistant"}
_CALLS = frozenset({"function_call", "custom_tool_call"})
_RESULTS: dict[str, Literal["function", "custom"]] = {
    "function_call_output": "function",
    "custom_tool_call_output": "custom",
}


def read_input(node: Node) -> tuple[Turn, ...]:
    """Return the turns of `input`.

    Raises:
        ReadError: it is neither a string nor a list of items, or an item is wrong.
    """
    if node.is_string("input"):
        text = Text(node.text("input"), at="input")
        return (Turn("user", (text,), plain=True, at="input"),)
    return tuple(_read_item(raw, f"{node.at('input')}[{number}]") for number, raw in enumerate(node.items("input")))


def _read_item(raw: msgspec.Raw, at: str) -> Turn:
    node = Node(raw, NAME, at)
    kind = node.text("type") or _untyped(node)
    if kind == "message":
        turn = _read_message(node)
        if turn is not None:
            return turn
    elif kind in _CALLS:
        return Turn("assistant", (read_call(node, kind, at),), at=at)
    elif kind in _RESULTS:
        return Turn("tool", (_read_result(node, _RESULTS[kind]),), at=at)
    elif kind == "reasoning":
        return Turn("assistant", (read_thinking(node, at, sealed=True),), at=at)
    opaque = Opaque(NAME, kind, bytes(raw), vital=kind not in TRACES, at=at)
    return Turn(_role_of(kind, node), (opaque,), at=at)


def _untyped(node: Node) -> str:
    if "role" in node:
        return "message"
    if "id" in node:
        return "item_reference"
    raise ReadError(node.at("type"), "It is required.")


def _role_of(kind: str, node: Node) -> Role:
    if "role" in node:
        return _ROLES.get(node.text("role"), "user")
    return "tool" if kind.endswith("_output") else "assistant"


def _read_message(node: Node) -> Turn | None:
    """Return a message; None if it has a role that no other dialect knows."""
    role = _ROLES.get(node.required("role"))
    if role is None:
        return None
    plain = node.is_string("content")
    parts = _read_content(node, "content")
    return Turn(role, parts, plain, at=node.path, extras=node.left(trivial=TRIVIAL))


def _read_content(node: Node, name: str) -> tuple[Part, ...]:
    if node.is_string(name):
        return (Text(node.text(name), at=node.at(name)),)
    place = node.at(name)
    return tuple(
        read_part(raw, f"{place}[{number}]", f"{place}[{number}]") for number, raw in enumerate(node.items(name))
    )


def _read_result(node: Node, kind: Literal["function", "custom"]) -> ToolResult:
    call_id = node.required("call_id")
    plain = node.is_string("output")
    parts = _read_content(node, "output")
    return ToolResult(call_id, parts, plain, kind=kind, at=node.path, extras=node.left(trivial=TRIVIAL))
