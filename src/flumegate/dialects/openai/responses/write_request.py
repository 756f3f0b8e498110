"""Writes a request for a provider that speaks Responses (dialects: §13.4, §13.5).

`store: false` is sent for clients whose dialect stores nothing: here silence would mean that the answer is kept.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.node import give_back
from flumegate.dialects.openai.responses.names import NAME, TARGET
from flumegate.dialects.openai.responses.write_items import ItemWriter
from flumegate.dialects.openai.responses.write_settings import (
    write_include,
    write_reasoning,
    write_service_tier,
    write_text,
)
from flumegate.dialects.openai.responses.write_tools import Names, write_tool_choice, write_tools
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Text
from flumegate.ir.request import Request
from flumegate.ir.turns import refuse_no_answer, refuse_unanswered
from flumegate.ir.written import Abilities, Written

MIN_OUTPUT_TOKENS = 16
_UNKNOWN = ("top_k", "min_p", "seed", "repeat_penalty")
_PENALTIES = ("presence_penalty", "frequency_penalty")

_encode = msgspec.json.Encoder().encode


def write_request(request: Request, abilities: Abilities) -> Written:
    """Return the request for the wire, what was lost, and which tools got other names."""
    losses = Losses()
    names = Names(request)
    own = request.dialect == NAME
    members: dict[str, Any] = {"model": abilities.model}
    turns = request.turns
    if turns and turns[0].at == "instructions" and own:
        members["instructions"] = "".join(part.text for part in turns[0].parts if isinstance(part, Text))
        turns = turns[1:]
    written = ItemWriter(request, abilities, names, losses).write(turns)
    if written or turns or not own:
        members["input"] = written
    _write_tool_settings(members, request, abilities, names, losses)
    _write_answer_settings(members, request, abilities, losses)
    _write_sampling(members, request, abilities, losses)
    for name in _PENALTIES:
        if request.dialect == NAME:
            _put(members, name, getattr(request, name))
        elif getattr(request, name) is not None:
            losses.dropped(name, f"{TARGET} has nothing like it.")
    _report_unknown(request, losses)
    _put(members, "stream", request.stream or None)
    _put(members, "safety_identifier", request.user or None)
    _put(members, "metadata", msgspec.Raw(request.metadata) if request.metadata else None)
    _put(members, "service_tier", write_service_tier(request, losses))
    _put(members, "prompt_cache_key", request.cache_key or None)
    _put(members, "store", request.store if own or request.store is not None else False)
    losses.extras(request.extras, "", (NAME,), TARGET)
    include = write_include(request)
    if include and (request.extras is None or "include" not in request.extras.fields or not own):
        members["include"] = include
    give_back(members, request.extras, NAME)
    return Written(_encode(members), tuple(losses.found), names.renames)


def _put(members: dict[str, Any], name: str, value: object) -> None:
    if value is not None:
        members[name] = value


def _write_tool_settings(
    members: dict[str, Any], request: Request, abilities: Abilities, names: Names, losses: Losses
) -> None:
    tools = write_tools(request, names, losses)
    if tools and abilities.tools is False:
        losses.refused("tools", "The model calls no tools.")
    if tools:
        members["tools"] = tools
    choice = write_tool_choice(request, names, losses)
    if choice is not None and (tools or request.dialect == NAME):
        members["tool_choice"] = choice
    elif request.tool_choice is not None and request.tool_choice.mode in ("required", "named"):
        losses.refused("tool_choice", "A tool must be called, and none of the tools can be offered.")
    if request.parallel_tool_calls is not None and (tools or request.dialect == NAME):
        members["parallel_tool_calls"] = request.parallel_tool_calls


def _write_answer_settings(members: dict[str, Any], request: Request, abilities: Abilities, losses: Losses) -> None:
    if request.output is not None and request.output.kind == "schema" and abilities.json_schema is False:
        losses.refused("output", "The model does not keep to a schema.")
    text = write_text(request, losses)
    if text:
        members["text"] = text
    reasoning = write_reasoning(request, abilities, losses)
    if reasoning or (request.dialect == NAME and request.reasoning is not None and not request.reasoning.encrypted):
        members["reasoning"] = reasoning
    _put(members, "max_output_tokens", _max_output_tokens(request, abilities, losses))
    _put(members, "top_logprobs", request.top_logprobs)


def _max_output_tokens(request: Request, abilities: Abilities, losses: Losses) -> int | None:
    wanted = request.max_output_tokens
    if wanted is None:
        return None
    if request.dialect != NAME and refuse_no_answer(request, losses):
        return wanted
    if wanted < MIN_OUTPUT_TOKENS and request.dialect != NAME:
        losses.approximated("max_output_tokens", f"{TARGET} takes at least {MIN_OUTPUT_TOKENS}.")
        return MIN_OUTPUT_TOKENS
    limit = abilities.max_output_tokens
    if limit is not None and wanted > limit:
        losses.approximated("max_output_tokens", f"The model writes at most {limit}.")
        return limit
    return wanted


def _write_sampling(members: dict[str, Any], request: Request, abilities: Abilities, losses: Losses) -> None:
    for name in ("temperature", "top_p"):
        value = getattr(request, name)
        if value is None:
            continue
        if abilities.sampling is False:
            losses.dropped(name, "The model chooses its own sampling.")
        elif "temperature" in members and abilities.temperature_and_top_p is False:
            losses.dropped(name, "The model takes either temperature or top_p.")
        else:
            members[name] = value


def _report_unknown(request: Request, losses: Losses) -> None:
    for name in _UNKNOWN:
        if getattr(request, name) is not None:
            losses.dropped(name, f"{TARGET} has nothing like it.")
    if request.logit_bias:
        losses.dropped("logit_bias", f"{TARGET} has nothing like it.")
    if request.cache is not None:
        losses.dropped("cache", f"{TARGET} places its own cache breakpoints.")
    if request.dialect != NAME:
        refuse_unanswered(request.turns, losses)
    if any(request.stop):
        losses.refused("stop", f"{TARGET} has no stop sequences.")
    if request.candidates is not None and request.candidates > 1:
        losses.refused("candidates", f"{TARGET} gives one answer.")
