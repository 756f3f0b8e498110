"""Reads a Responses request (dialects: §4.1). `instructions` become a first system turn whose path is `instructions`.

`include` is understood as far as other dialects have the same wish; as soon as it names more it is kept whole.
"""

from __future__ import annotations

import msgspec

from flumegate.dialects.node import Node
from flumegate.dialects.openai.responses.names import ENCRYPTED, LOGPROBS, NAME, raw_object, with_more
from flumegate.dialects.openai.responses.read_items import read_input
from flumegate.dialects.openai.responses.read_tools import read_tool_choice, read_tools
from flumegate.ir.parts import Extras, Text
from flumegate.ir.request import EFFORTS, Effort, Output, Reasoning, Request, Tool, Turn

VITAL = ("previous_response_id", "conversation", "prompt", "context_management")
"""What the answer depends on and only this API holds; `background: true` as well, and results that `include` asks."""
_EFFORTS: dict[str, Effort] = {effort: effort for effort in EFFORTS}


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> Request:
    """Return the request.

    Raises:
        ReadError: the document is no Responses request.
    """
    node = Node(body, NAME)
    more: dict[str, msgspec.Raw] = {}
    vital: list[str] = []
    include = node.strings("include")
    tools = read_tools(node)
    _keep_include(include, tools, more, vital)
    output, verbosity = _read_text_settings(node, more, vital)
    user = node.text("safety_identifier") or node.text("user")
    _keep_background(node, more, vital)
    return Request(
        dialect=NAME,
        model=node.text("model") or model,
        turns=_read_instructions(node) + read_input(node),
        stream=bool(node.boolean("stream")) or stream,
        tools=tools,
        tool_choice=read_tool_choice(node),
        parallel_tool_calls=node.boolean("parallel_tool_calls"),
        output=output,
        reasoning=_read_reasoning(node, encrypted=ENCRYPTED in include),
        verbosity=verbosity,
        max_output_tokens=node.integer("max_output_tokens"),
        temperature=node.number("temperature"),
        top_p=node.number("top_p"),
        presence_penalty=node.number("presence_penalty"),
        frequency_penalty=node.number("frequency_penalty"),
        logprobs=True if LOGPROBS in include else None,
        top_logprobs=node.integer("top_logprobs"),
        user=user,
        metadata=node.raw("metadata"),
        service_tier=node.text("service_tier"),
        cache_key=node.text("prompt_cache_key"),
        store=node.boolean("store"),
        extras=with_more(node.left(VITAL), more, tuple(vital)),
    )


def _keep_background(node: Node, more: dict[str, msgspec.Raw], vital: list[str]) -> None:
    background = node.boolean("background")
    if background is not None:
        more["background"] = msgspec.Raw(b"true" if background else b"false")
    if background:
        vital.append("background")


def _keep_include(
    include: tuple[str, ...], tools: tuple[Tool, ...], more: dict[str, msgspec.Raw], vital: list[str]
) -> None:
    if include == understood_include(encrypted=ENCRYPTED in include, logprobs=LOGPROBS in include):
        return
    more["include"] = msgspec.Raw(msgspec.json.encode(include))
    if set(include) - {ENCRYPTED, LOGPROBS} and any(tool.kind == "hosted" for tool in tools):
        vital.append("include")


def understood_include(*, encrypted: bool, logprobs: bool) -> tuple[str, ...]:
    """Return the `include` that says what the neutral form can say."""
    return (ENCRYPTED,) * encrypted + (LOGPROBS,) * logprobs


def _read_instructions(node: Node) -> tuple[Turn, ...]:
    text = node.string("instructions")
    if text is None:
        return ()
    return (Turn("system", (Text(text, at="instructions"),), plain=True, at="instructions"),)


def _read_reasoning(node: Node, *, encrypted: bool) -> Reasoning | None:
    inner = node.node("reasoning")
    if inner is None:
        return Reasoning(encrypted=True) if encrypted else None
    more: dict[str, msgspec.Raw] = {}
    wanted = inner.text("effort")
    effort = _EFFORTS.get(wanted)
    if wanted and effort is None:
        more["effort"] = msgspec.Raw(msgspec.json.encode(wanted))
    summary = inner.text("summary")
    return Reasoning(
        effort,
        visible=True if summary else None,
        summary=summary,
        encrypted=encrypted,
        extras=with_more(inner.left(), more),
    )


def _read_text_settings(node: Node, more: dict[str, msgspec.Raw], vital: list[str]) -> tuple[Output | None, str]:
    inner = node.node("text")
    if inner is None:
        return None, ""
    verbosity = inner.text("verbosity")
    raw = inner.raw("format")
    output = _read_format(raw) if raw else None
    left: Extras | None = inner.left()
    if raw and output is None:
        left = with_more(left, {"format": msgspec.Raw(raw)})
        vital.append("text")
    if left is not None:
        more["text"] = raw_object(left.fields)
    return output, verbosity


def _read_format(raw: bytes) -> Output | None:
    """Return the form of the answer; None if it is one that only this dialect knows."""
    node = Node(raw, NAME, "text.format")
    kind = node.required("type")
    if kind == "text":
        return Output("text", extras=node.left())
    if kind == "json_object":
        return Output("json", extras=node.left())
    if kind != "json_schema":
        return None
    return Output(
        "schema",
        node.text("name"),
        node.raw("schema"),
        node.boolean("strict"),
        node.text("description"),
        node.left(),
    )
