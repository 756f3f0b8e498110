"""A chat completion request, read into ours (dialects: §3.1). What no other dialect knows is left over as extras."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, get_args

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


class _Setting(NamedTuple):
    """A member that is one of our fields.

    `behind` names another spelling that counts before it; then this one is left over.
    """

    field: str
    take: Callable[[Node, str], object]
    behind: str = ""


_SETTINGS = {
    "parallel_tool_calls": _Setting("parallel_tool_calls", Node.boolean),
    "verbosity": _Setting("verbosity", Node.text),
    "max_completion_tokens": _Setting("max_output_tokens", Node.integer),
    "max_tokens": _Setting("max_output_tokens", Node.integer, "max_completion_tokens"),
    "temperature": _Setting("temperature", Node.number),
    "top_p": _Setting("top_p", Node.number),
    "top_k": _Setting("top_k", Node.integer),
    "min_p": _Setting("min_p", Node.number),
    "seed": _Setting("seed", Node.integer),
    "presence_penalty": _Setting("presence_penalty", Node.number),
    "frequency_penalty": _Setting("frequency_penalty", Node.number),
    "repetition_penalty": _Setting("repeat_penalty", Node.number),
    "repeat_penalty": _Setting("repeat_penalty", Node.number, "repetition_penalty"),
    "n": _Setting("candidates", Node.integer),
    "logprobs": _Setting("logprobs", Node.boolean),
    "top_logprobs": _Setting("top_logprobs", Node.integer),
    "logit_bias": _Setting("logit_bias", Node.raw),
    "user": _Setting("user", Node.text),
    "safety_identifier": _Setting("user", Node.text, "user"),
    "metadata": _Setting("metadata", Node.raw),
    "service_tier": _Setting("service_tier", Node.text),
    "prompt_cache_key": _Setting("cache_key", Node.text),
    "store": _Setting("store", Node.boolean),
}


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> Request:
    """Return the request.

    Raises:
        ReadError: the document is no chat completion request.
    """
    node = Node(body, CHAT)
    named = node.text("model")
    old_form = "functions" in node
    kept: dict[str, bytes] = {}
    fields: dict[str, object] = {"turns": read_messages(node)}
    if "stream_options" in node:
        options = node.node("stream_options")
        fields["include_usage"] = bool(options.boolean("include_usage")) if options is not None else False
    else:
        options = None
    fields["stream"] = bool(node.boolean("stream")) or stream
    # By the members that are there: a request has a handful of the thirty that there are.
    for name in node.member_names():
        setting = _SETTINGS.get(name)
        if setting is None or setting.field in fields or setting.behind in node:
            continue
        value = setting.take(node, name)
        if value not in (None, "", b""):
            fields[setting.field] = value
    fields["tools"] = read_tools(node)
    fields["tool_choice"] = read_choice(node)
    fields["output"] = _output(node, kept)
    fields["reasoning"] = _reasoning(node, kept)
    fields["stop"] = _stop(node)
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
