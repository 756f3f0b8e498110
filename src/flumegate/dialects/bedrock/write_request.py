"""A request as Bedrock's Converse wants it (dialects: §10). The model and the stream go into the path."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from flumegate.dialects.bedrock.names import NAME, TARGET
from flumegate.dialects.bedrock.write_messages import Messages
from flumegate.dialects.bedrock.write_thinking import may_think, write_thinking
from flumegate.dialects.bedrock.write_tools import Tools
from flumegate.ir.loss import Losses
from flumegate.ir.request import Output, Request
from flumegate.ir.turns import refuse_no_answer
from flumegate.ir.written import Abilities, Written

Members = dict[str, Any]
_encode = msgspec.json.Encoder().encode
_MAX_MARKS = 4
_TIERS = {"flex": "flex", "priority": "priority", "default": "default", "standard_only": "default"}
_NOTE = re.compile(r"[A-Za-z0-9\s:_@$#=/+,.-]{0,256}")
_MAX_NOTES = 16
_JSON = "Answer with one JSON value and nothing else."
_UNKNOWN: tuple[str, ...] = (
    "verbosity",
    "min_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repeat_penalty",
    "logit_bias",
    "user",
    "cache_key",
)
_MEANT: tuple[str, ...] = ("logprobs", "top_logprobs")
"""Settings that the answer shows: left out in silence they would be missed."""
_decode_notes = msgspec.json.Decoder(dict[str, str]).decode


def write_request(request: Request, abilities: Abilities) -> Written:
    """Return the body, and what could not be said."""
    losses = Losses()
    tools = Tools(request, abilities, losses)
    messages = Messages(request, abilities, losses)
    members: Members = {"messages": messages.written}
    inference = _write_inference(request, abilities, losses)
    extra = write_thinking(request, abilities, inference.get("maxTokens"), losses)
    if not may_think(extra, messages.written, tools.config, losses):
        del extra["thinking"]
    _write_sampling(inference, extra, request, abilities, losses)
    form = _write_output(request.output, abilities, messages.system, losses)
    tier = _write_tier(request, losses)
    notes = _write_notes(request, losses)
    for name, value in (
        ("system", messages.system),
        ("inferenceConfig", inference),
        ("toolConfig", tools.config),
        ("outputConfig", form),
        ("serviceTier", tier),
        ("requestMetadata", notes),
        ("additionalModelRequestFields", extra),
    ):
        if value:
            members[name] = value
    _report(request, messages, tools, losses)
    losses.extras(request.extras, "", (NAME,), TARGET)
    return Written(_encode(members), tuple(losses.found), tools.renames)


def _write_inference(request: Request, abilities: Abilities, losses: Losses) -> Members:
    config: Members = {}
    limit = request.max_output_tokens
    if limit is None and abilities.max_output_tokens is not None:
        # Without it many models at Bedrock stop after 4096 tokens or fewer.
        limit = abilities.max_output_tokens
        losses.invented("max_output_tokens", f"Bedrock's own limit is low; the model's is sent ({limit}).")
    if refuse_no_answer(request, losses):
        pass  # that it is refused is all there is to say
    elif limit is not None and limit < 1:
        losses.refused("max_output_tokens", "Bedrock gives at least one token.")
    elif limit is not None:
        config["maxTokens"] = limit
    stops = [stop for stop in request.stop if stop.strip()]
    if len(stops) < len(request.stop):
        losses.dropped("stop", "Bedrock takes no blank stop sequences.")
    if stops:
        config["stopSequences"] = stops
    return config


def _write_sampling(config: Members, extra: Members, request: Request, abilities: Abilities, losses: Losses) -> None:
    wishes = {"temperature": request.temperature, "top_p": request.top_p, "top_k": request.top_k}
    budgeted = extra.get("thinking", {}).get("type") == "enabled"
    for name, value in wishes.items():
        if value is None:
            continue
        if abilities.sampling is False:
            losses.dropped(name, "The model takes no sampling settings.")
        elif budgeted and name != "top_p":
            losses.dropped(name, "The model does not take it beside a thinking budget.")
        elif name == "top_k":
            _write_top_k(extra, value, abilities, losses)
        elif name == "top_p" and abilities.temperature_and_top_p is False and "temperature" in config:
            losses.dropped(name, "The model takes temperature or top_p, not both.")
        else:
            if value > 1:
                losses.approximated(name, "Bedrock's greatest value is 1.")
            config["topP" if name == "top_p" else name] = min(value, 1)


def _write_top_k(extra: Members, value: float, abilities: Abilities, losses: Losses) -> None:
    """Converse has no word for it; the models that are known to take it call it `top_k`."""
    if abilities.sampling:
        extra["top_k"] = value
    else:
        losses.dropped("top_k", "Bedrock has no setting for it.")


def _write_output(output: Output | None, abilities: Abilities, system: list[Members], losses: Losses) -> Members:
    if output is None or output.kind == "text":
        return {}
    losses.extras(output.extras, "output", (NAME,), TARGET)
    if output.kind == "json":
        losses.approximated("output", "Bedrock has no form of any JSON; the model is told to give it.")
        system.append({"text": _JSON})
        return {}
    if abilities.json_schema is False:
        losses.approximated("output", "The model cannot be held to a schema; it is told to keep to it.")
        schema = output.schema.decode("utf-8", "replace")
        system.append({"text": f"{_JSON} It must be valid against this JSON Schema:\n{schema}"})
        return {}
    wanted: Members = {"schema": output.schema.decode("utf-8", "replace")}
    if output.name:
        wanted["name"] = output.name
    if output.description:
        wanted["description"] = output.description
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": wanted}}}


def _write_tier(request: Request, losses: Losses) -> Members:
    tier = request.service_tier
    if tier in _TIERS:
        return {"type": _TIERS[tier]}
    if tier not in ("", "auto"):
        losses.dropped("service_tier", "Bedrock has no tier of that name.")
    return {}


def _write_notes(request: Request, losses: Losses) -> Members:
    """Return the client's notes, as far as Bedrock's log of invocations takes them."""
    if not request.metadata:
        return {}
    try:
        notes = _decode_notes(request.metadata)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        losses.dropped("metadata", "Bedrock takes notes of plain letters.")
        return {}
    fitting = {
        name: value
        for name, value in list(notes.items())[:_MAX_NOTES]
        if name and _NOTE.fullmatch(name) and _NOTE.fullmatch(value)
    }
    if len(fitting) < len(notes):
        losses.dropped("metadata", "Bedrock takes 16 notes of plain letters.")
    return fitting


def _report(request: Request, messages: Messages, tools: Tools, losses: Losses) -> None:
    """Report the settings that Bedrock does not know, and what was left out in more than one place."""
    for name in _UNKNOWN:
        if getattr(request, name) not in (None, "", b""):
            losses.dropped(name, "Bedrock has no setting for it.")
    for name in _MEANT:
        if getattr(request, name):
            losses.refused(name, "Bedrock tells no probabilities.")
    if request.candidates is not None and request.candidates > 1:
        losses.refused("candidates", "Bedrock gives one answer.")
    if request.store:
        losses.dropped("store", "Bedrock stores no answers.")
    if messages.unmarked or (not tools.marked and any(tool.cache for tool in request.tools)):
        losses.dropped("cache", "The model takes no cache breakpoints.")
    if messages.marked + tools.marked > _MAX_MARKS:
        losses.approximated("cache", f"Bedrock takes {_MAX_MARKS} cache breakpoints; the last ones are sent.")
        _unmark(messages, tools)
    if messages.stateless:
        losses.dropped("reasoning", "Reasoning without state of this model's own means nothing to it.")


def _unmark(messages: Messages, tools: Tools) -> None:
    """Take cache breakpoints out from the front: those behind cover what those before them covered."""
    surplus = messages.marked + tools.marked - _MAX_MARKS
    lists = [tools.config.get("tools", []), messages.system, *(message["content"] for message in messages.written)]
    for blocks in lists:
        kept = []
        for block in blocks:
            if surplus and "cachePoint" in block:
                surplus -= 1
            else:
                kept.append(block)
        blocks[:] = kept
