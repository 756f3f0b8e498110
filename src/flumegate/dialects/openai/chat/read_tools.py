"""Tools and the choice among them, in the new form and in the old one (dialects: §3.1)."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.names import CHAT
from flumegate.dialects.openai.chat.read_parts import read_cache
from flumegate.ir.request import Tool, ToolChoice

_MODES = {"none": "none", "auto": "auto", "required": "required", "any": "required"}
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def read_tools(node: Node) -> tuple[Tool, ...]:
    """Take `tools`, and `functions`, their old form."""
    return tuple(_tool(tool) for tool in node.nodes("tools")) + tuple(
        _function(function, function.path) for function in node.nodes("functions")
    )


def _tool(node: Node) -> Tool:
    kind = node.text("type") or "function"  # Mistral lets it out
    cache = read_cache(node)
    if kind == "function":
        inner = node.node("function")
        if inner is None:
            raise ReadError(node.at("function"), "It is required.")
        tool = _function(inner, node.path)
        return msgspec.structs.replace(tool, cache=cache, extras=leftovers.add(node.left(), "function", tool.extras))
    if kind == "custom":
        return _custom(node)
    return Tool(kind, "hosted", dialect=CHAT, cache=cache, at=node.path, extras=node.left())


def _function(inner: Node, at: str) -> Tool:
    return Tool(
        inner.required("name"),
        description=inner.text("description"),
        parameters=inner.raw("parameters"),
        strict=inner.boolean("strict"),
        at=at,
        extras=inner.left(),
    )


def _custom(node: Node) -> Tool:
    inner = node.node("custom")
    if inner is None:
        raise ReadError(node.at("custom"), "It is required.")
    return Tool(
        inner.required("name"),
        "custom",
        inner.text("description"),
        format=flat_format(inner.raw("format")),
        at=node.path,
        extras=leftovers.add(node.left(), "custom", inner.left()),
    )


def flat_format(raw: bytes) -> bytes:
    """Return a text format with its grammar's members beside the type, as Responses has them."""
    value = _decode(raw) if raw else None
    if isinstance(value, dict) and isinstance(grammar := value.get("grammar"), dict):
        return _encode({name: inner for name, inner in value.items() if name != "grammar"} | grammar)
    return raw


def nested_format(raw: bytes) -> dict[str, Any] | msgspec.Raw:
    """Return a text format as chat has it: the grammar's members in an object of their own."""
    value = _decode(raw)
    if isinstance(value, dict) and value.get("type") == "grammar" and "grammar" not in value:
        return {"type": "grammar", "grammar": {name: inner for name, inner in value.items() if name != "type"}}
    return msgspec.Raw(raw)


def read_choice(node: Node) -> ToolChoice | None:
    """Take `tool_choice`, or `function_call`, its old form; a choice of an unknown kind is left over."""
    if "tool_choice" not in node:
        return _old_choice(node)
    if node.is_string("tool_choice"):
        word = node.text("tool_choice")
        mode = _MODES.get(word)
        if mode is None:
            raise ReadError(node.at("tool_choice"), f"There is no choice {word[:40]!r}.")
        return ToolChoice(mode)  # type: ignore[arg-type]  # the table holds modes only
    chosen = node.node("tool_choice")
    assert chosen is not None  # noqa: S101 - it is in the node
    return _chosen(chosen)


def _chosen(chosen: Node) -> ToolChoice:
    kind = chosen.text("type") or "function"
    if kind == "allowed_tools":
        inner = chosen.node(kind) or chosen
        names = tuple(_name(tool) for tool in inner.nodes("tools"))
        mode = inner.text("mode")
        return ToolChoice("allowed", names, mode == "required", extras=chosen.left())
    if kind not in ("function", "custom"):
        return ToolChoice("named", (kind,), kind="hosted", extras=chosen.left())
    name = _name(chosen, kind)
    return ToolChoice("named", (name,), kind="custom" if kind == "custom" else "function", extras=chosen.left())


def _name(node: Node, kind: str = "") -> str:
    kind = kind or node.text("type") or "function"
    inner = node.node(kind)
    return (inner or node).required("name")


def _old_choice(node: Node) -> ToolChoice | None:
    if node.is_string("function_call"):
        word = node.text("function_call")
        if word not in ("none", "auto"):
            raise ReadError(node.at("function_call"), f"There is no choice {word[:40]!r}.")
        return ToolChoice("none" if word == "none" else "auto")
    inner = node.node("function_call")
    return ToolChoice("named", (inner.required("name"),), extras=inner.left()) if inner is not None else None
