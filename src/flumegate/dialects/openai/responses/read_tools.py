"""Tools and the choice among them. The tools of a namespace are flattened; each carries its namespace."""

from __future__ import annotations

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.openai.responses.names import NAME, raw_object, with_more
from flumegate.ir.request import Tool, ToolChoice

NAMESPACE = "namespace"
_MODES: dict[str, ToolChoice] = {
    "none": ToolChoice("none"),
    "auto": ToolChoice("auto"),
    "required": ToolChoice("required"),
}


class _Allowed(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    type: str
    name: str


_decode_allowed = msgspec.json.Decoder(list[_Allowed]).decode


def read_tools(node: Node) -> tuple[Tool, ...]:
    """Return the tools of a request, those of a namespace one by one.

    Raises:
        ReadError: a tool is no object, or a member has the wrong type.
    """
    tools: list[Tool] = []
    for tool in node.nodes("tools"):
        tools += _read_tool(tool)
    return tuple(tools)


def _read_tool(node: Node) -> list[Tool]:
    kind = node.required("type")
    if kind == NAMESPACE and node.is_list("tools"):
        return _read_namespace(node)
    return [_read_one(node, kind, "")]


def _read_namespace(node: Node) -> list[Tool]:
    name = node.text("name")
    inner = [_read_one(tool, tool.required("type"), name) for tool in node.nodes("tools")]
    left = node.left()
    if not inner:  # nothing to carry its members, so it stays whole
        empty = {"name": name, "tools": []}
        fields = {member: msgspec.Raw(msgspec.json.encode(value)) for member, value in empty.items()}
        return [Tool(NAMESPACE, "hosted", dialect=NAME, at=node.path, extras=with_more(left, fields))]
    if left is not None:
        first = inner[0]
        more = {NAMESPACE: raw_object(left.fields)}
        inner[0] = msgspec.structs.replace(first, extras=with_more(first.extras, more))
    return inner


def _read_one(node: Node, kind: str, namespace: str) -> Tool:
    if kind == "function":
        return Tool(
            node.required("name"),
            "function",
            node.text("description"),
            node.raw("parameters"),
            node.boolean("strict"),
            namespace=namespace,
            at=node.path,
            extras=node.left(),
        )
    if kind == "custom":
        return Tool(
            node.required("name"),
            "custom",
            node.text("description"),
            format=node.raw("format"),
            namespace=namespace,
            at=node.path,
            extras=node.left(),
        )
    return Tool(kind, "hosted", namespace=namespace, dialect=NAME, at=node.path, extras=node.left())


def read_tool_choice(node: Node) -> ToolChoice | None:
    """Return the choice; None = not said.

    Raises:
        ReadError: it is neither a known word nor an object with a type.
    """
    if node.is_string("tool_choice"):
        choice = _MODES.get(node.text("tool_choice"))
        if choice is None:
            raise ReadError(node.at("tool_choice"), "It must be none, auto, required, or an object.")
        return choice
    inner = node.node("tool_choice")
    if inner is None:
        return None
    kind = inner.required("type")
    if kind == "allowed_tools":
        return _read_allowed(inner)
    if kind in ("function", "custom"):
        name = inner.required("name")
        return ToolChoice("named", (name,), kind="custom" if kind == "custom" else "function", extras=inner.left())
    return ToolChoice("named", (kind,), kind="hosted", extras=inner.left())


def _read_allowed(node: Node) -> ToolChoice:
    required = node.text("mode") == "required"
    raw = node.raw("tools")
    try:
        allowed = _decode_allowed(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        extras = with_more(node.left(), {"tools": msgspec.Raw(raw)} if raw else {}, ("tools",))
        return ToolChoice("allowed", required=required, extras=extras)
    return ToolChoice("allowed", tuple(tool.name for tool in allowed), required, extras=node.left())
