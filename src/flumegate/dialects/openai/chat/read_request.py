"""A chat completion request, read into ours (dialects: §3.1). What no other dialect knows is left over as extras."""

from __future__ import annotations

from typing import get_args

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.names import CHAT
from flumegate.dialects.openai.chat.read_messages import read_messages
from flumegate.dialects.openai.chat.read_tools import read_choice, read_tools
from flumegate.ir.parts import Extras
from flumegate.ir.request import EFFORTS, Effort, Output, Reasoning, Request

VITAL = ("audio", "web_search_options", "moderation")
"""Without them the answer would be another one."""
OLD_FORM = "functions"
"""Mark of a request that offers its tools in the old form, and wants calls back in it."""
_EFFORTS = {effort: effort for effort in get_args(Effort)}
assert tuple(_EFFORTS) == EFFORTS  # noqa: S101 - one list, spelled twice
_decode_texts = msgspec.json.Decoder(list[str]).decode


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> Request:
    """Return the request.

    Raises:
        ReadError: the document is no chat completion request.
    """
    node = Node(body, CHAT)
    named = node.text("model")
    old_form = "functions" in node
    turns = read_messages(node)
    options = node.node("stream_options")
    limit, old_limit = node.integer("max_completion_tokens"), None
    if limit is None:
        old_limit = node.integer("max_tokens")
    penalty = node.number("repetition_penalty")
    user = node.text("user")
    kept: dict[str, bytes] = {}
    fields = {
        "turns": turns,
        "stream": bool(node.boolean("stream")) or stream,
        "include_usage": bool(options.boolean("include_usage")) if options is not None else False,
        "tools": read_tools(node),
        "tool_choice": read_choice(node),
        "parallel_tool_calls": node.boolean("parallel_tool_calls"),
        "output": _output(node, kept),
        "reasoning": _reasoning(node, kept),
        "verbosity": node.text("verbosity"),
        "max_output_tokens": limit if limit is not None else old_limit,
        "temperature": node.number("temperature"),
        "top_p": node.number("top_p"),
        "top_k": node.integer("top_k"),
        "min_p": node.number("min_p"),
        "stop": _stop(node),
        "seed": node.integer("seed"),
        "presence_penalty": node.number("presence_penalty"),
        "frequency_penalty": node.number("frequency_penalty"),
        "repeat_penalty": penalty if penalty is not None else node.number("repeat_penalty"),
        "candidates": node.integer("n"),
        "logprobs": node.boolean("logprobs"),
        "top_logprobs": node.integer("top_logprobs"),
        "logit_bias": node.raw("logit_bias"),
        "user": user or node.text("safety_identifier"),
        "metadata": node.raw("metadata"),
        "service_tier": node.text("service_tier"),
        "cache_key": node.text("prompt_cache_key"),
        "store": node.boolean("store"),
    }
    extras = _extras(node, options, kept, old_form=old_form)
    return Request(dialect=CHAT, model=model or named, extras=extras, **fields)  # type: ignore[arg-type]  # by name


def _extras(node: Node, options: Node | None, kept: dict[str, bytes], *, old_form: bool) -> Extras | None:
    modalities = node.strings("modalities")
    extras = node.left(vital=VITAL)
    for name, raw in kept.items():
        extras = leftovers.add_raw(extras, name, raw, vital=True)
    if modalities:
        raw = msgspec.json.encode(modalities)
        extras = leftovers.add_raw(extras, "modalities", raw, vital=set(modalities) != {"text"})
    extras = leftovers.add(extras, "stream_options", options.left() if options is not None else None)
    return leftovers.mark(extras, OLD_FORM) if old_form else extras


def _stop(node: Node) -> tuple[str, ...]:
    return (node.text("stop"),) if node.is_string("stop") else node.strings("stop")


def _output(node: Node, kept: dict[str, bytes]) -> Output | None:
    """Take `response_format`; one of an unknown type is kept as it is."""
    raw = node.raw("response_format")
    if not raw:
        return None
    form = Node(raw, CHAT, node.at("response_format"))
    kind = form.required("type")
    if kind == "text":
        return Output("text", extras=form.left())
    if kind == "json_object":
        return Output("json", extras=form.left())
    if kind != "json_schema":
        kept["response_format"] = raw
        return None
    inner = form.node("json_schema")
    if inner is None:
        raise ReadError(form.at("json_schema"), "It is required.")
    return Output(
        "schema",
        inner.text("name"),
        inner.raw("schema"),
        inner.boolean("strict"),
        inner.text("description"),
        leftovers.add(form.left(), "json_schema", inner.left()),
    )


def _reasoning(node: Node, kept: dict[str, bytes]) -> Reasoning | None:
    """Take `reasoning_effort`, or the object `reasoning` that OpenRouter and others know; unknown levels are kept."""
    name = "reasoning_effort" if "reasoning_effort" in node else "reasoning"
    raw = node.raw(name)
    if not raw:
        return None
    inner = Node(raw if name == "reasoning" else b'{"effort":%b}' % raw, CHAT, node.at(name))
    word = inner.text("effort")
    if word and word not in _EFFORTS:
        kept[name] = raw
        return None
    hidden = inner.boolean("exclude")
    return Reasoning(
        _EFFORTS.get(word),
        inner.integer("max_tokens"),
        inner.boolean("enabled"),
        None if hidden is None else not hidden,
        inner.text("summary"),
        extras=inner.left(),
    )
