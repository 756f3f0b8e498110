"""A Messages request (or one that only counts its tokens) into the neutral form (dialects: §6, §13.2).

What has no place there is left over as extras. `type: "custom"` of a tool says what its absence says, and
`stream: false` likewise, so neither is kept.
"""

from __future__ import annotations

import msgspec

from flumegate.dialects.anthropic.messages.extras import DIALECT, Fields, extras_of, inner, read_cache
from flumegate.dialects.anthropic.messages.read_blocks import read_content
from flumegate.dialects.node import Node, ReadError
from flumegate.ir.request import EFFORTS, Effort, Output, Reasoning, Request, Role, Tool, ToolChoice, Turn

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_VITAL = ("output_format",)


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> Request:
    """Return a request; see `codecs.RequestReader`."""
    node = Node(body, DIALECT)
    odd: Fields = {}
    turns = (*_read_system(node), *(_read_turn(one) for one in node.nodes("messages")))
    tools = tuple(_read_tool(one) for one in node.nodes("tools"))
    choice, parallel = _read_choice(node.node("tool_choice"), tools)
    effort, output = _read_output_config(node, odd)
    return Request(
        dialect=DIALECT,
        model=node.text("model") or model,
        turns=turns,
        stream=bool(node.boolean("stream")) or stream,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        output=output,
        reasoning=_read_reasoning(node.node("thinking"), effort),
        max_output_tokens=node.integer("max_tokens"),
        temperature=node.number("temperature"),
        top_p=node.number("top_p"),
        top_k=node.integer("top_k"),
        stop=node.strings("stop_sequences"),
        user=_read_user(node, odd),
        service_tier=_read_tier(node, odd),
        cache=read_cache(node, odd),
        extras=extras_of(node, odd, _VITAL),
    )


def _read_system(node: Node) -> tuple[Turn, ...]:
    place = node.at("system")
    parts, plain = read_content(node, "system")
    return (Turn("system", parts, plain, at=place),) if parts else ()


def _read_turn(node: Node) -> Turn:
    role = _ROLES.get(node.required("role"))
    if role is None:
        raise ReadError(node.at("role"), "It must be 'user', 'assistant' or 'system'.")
    parts, plain = read_content(node, "content")
    return Turn(role, parts, plain, at=node.path, extras=node.left())


def _read_tool(node: Node) -> Tool:
    odd: Fields = {}
    kind = node.text("type") or "custom"
    cache = read_cache(node, odd)
    if kind != "custom":
        return Tool(kind, "hosted", dialect=DIALECT, cache=cache, at=node.path, extras=extras_of(node, odd))
    return Tool(
        node.required("name"),
        description=node.text("description"),
        parameters=node.raw("input_schema"),
        strict=node.boolean("strict"),
        cache=cache,
        at=node.path,
        extras=extras_of(node, odd),
    )


def hosted_name(tool: Tool) -> str:
    """Return the name of a tool that runs at the provider; empty = it has none."""
    raw = tool.extras.fields.get("name") if tool.extras is not None else None
    return msgspec.json.decode(raw, type=str) if raw is not None and bytes(raw)[:1] == b'"' else ""


def _read_choice(node: Node | None, tools: tuple[Tool, ...]) -> tuple[ToolChoice | None, bool | None]:
    if node is None:
        return None, None
    kind = node.required("type")
    single = None if kind == "none" else node.boolean("disable_parallel_tool_use")
    parallel = None if single is None else not single
    if kind == "tool":
        name = node.required("name")
        hosted = any(tool.kind == "hosted" and hosted_name(tool) == name for tool in tools)
        return ToolChoice("named", (name,), kind="hosted" if hosted else "function", extras=node.left()), parallel
    if kind == "any":
        return ToolChoice("required", extras=node.left()), parallel
    if kind in ("auto", "none"):
        return ToolChoice("auto" if kind == "auto" else "none", extras=node.left()), parallel
    raise ReadError(node.at("type"), "It must be 'auto', 'any', 'tool' or 'none'.")


def _read_output_config(node: Node, odd: Fields) -> tuple[Effort | None, Output | None]:
    config = node.node("output_config")
    if config is None:
        return None, None
    word = config.text("effort")
    effort = next((known for known in EFFORTS if known == word), None)
    if word and effort is None:
        odd["output_config.effort"] = msgspec.Raw(msgspec.json.encode(word))
    output = None
    raw = config.raw("format")
    if raw:
        form = Node(raw, DIALECT, config.at("format"))
        if form.text("type") == "json_schema":
            output = Output("schema", schema=form.raw("schema") or b"{}", extras=form.left())
        else:
            odd["output_config.format"] = msgspec.Raw(raw)
    inner(odd, config, "output_config")
    return effort, output


def _read_reasoning(node: Node | None, effort: Effort | None) -> Reasoning | None:
    if node is None:
        return Reasoning(effort) if effort is not None else None
    kind = node.required("type")
    display = node.text("display")
    odd: Fields = {}
    if kind not in ("adaptive", "enabled", "disabled"):
        odd["type"] = msgspec.Raw(msgspec.json.encode(kind))
    if display not in ("", "summarized", "omitted"):
        odd["display"] = msgspec.Raw(msgspec.json.encode(display))
    return Reasoning(
        effort,
        node.integer("budget_tokens"),
        enabled=kind != "disabled",
        visible={"summarized": True, "omitted": False}.get(display),
        extras=extras_of(node, odd),
    )


def _read_user(node: Node, odd: Fields) -> str:
    metadata = node.node("metadata")
    if metadata is None:
        return ""
    user = metadata.text("user_id")
    inner(odd, metadata, "metadata")
    return user


def _read_tier(node: Node, odd: Fields) -> str:
    """Return `auto`, the one tier that means the same everywhere; another stays what it is."""
    tier = node.text("service_tier")
    if tier in ("", "auto"):
        return tier
    odd["service_tier"] = msgspec.Raw(msgspec.json.encode(tier))
    return ""
