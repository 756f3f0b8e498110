"""Settings of a request as chat's members, within what the model and the server take (dialects: §13.1, §13.2)."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.names import (
    CHAT,
    OPENAI_SERVERS,
    REASONING_OBJECT_SERVERS,
    SAMPLING_SERVERS,
    TARGET,
)
from flumegate.ir.effort import effort_of
from flumegate.ir.loss import Losses
from flumegate.ir.request import EFFORTS, Effort, Output, Reasoning, Request
from flumegate.ir.turns import refuse_no_answer
from flumegate.ir.written import Abilities

Json = dict[str, Any]
_LEADING = ("system", "developer")
_MAX_STOPS = 4
_EVERYWHERE = ("seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs")
_OPENAI_ONLY = (
    ("verbosity", "verbosity"),
    ("service_tier", "service_tier"),
    ("cache_key", "prompt_cache_key"),
    ("store", "store"),
)


def write_settings(members: Json, request: Request, abilities: Abilities, losses: Losses) -> None:
    """Put all settings but tools and messages into a request."""
    _limit(members, request, abilities, losses)
    _sampling(members, request, abilities, losses)
    _stops(members, request, abilities, losses)
    for name in _EVERYWHERE:
        value = getattr(request, name)
        if value is not None:
            members[name] = value
    if request.candidates is not None:
        members["n"] = request.candidates
    if request.logit_bias:
        members["logit_bias"] = msgspec.Raw(request.logit_bias)
    if request.user:
        members["user"] = request.user
    known = request.dialect == CHAT or abilities.server in OPENAI_SERVERS
    for name, wire in _OPENAI_ONLY:
        value = getattr(request, name)
        if value in (None, ""):
            continue
        if known:
            members[wire] = value
        else:
            losses.dropped(name, "The server has no such setting.")
    _metadata(members, request, known=known, losses=losses)
    if request.output is not None:
        _output(members, request.output, abilities, losses)
    if request.reasoning is not None:
        _reasoning(members, request.reasoning, abilities, losses)
    if request.cache is not None:
        losses.dropped("cache", f"{TARGET} has no breakpoint that the provider places itself.")


def _metadata(members: Json, request: Request, *, known: bool, losses: Losses) -> None:
    if not request.metadata:
        return
    if known:
        members["metadata"] = msgspec.Raw(request.metadata)
    else:
        losses.dropped("metadata", "The server has no such setting.")


def _limit(members: Json, request: Request, abilities: Abilities, losses: Losses) -> None:
    limit = request.max_output_tokens
    if limit is None:
        return
    if not (request.dialect != CHAT and refuse_no_answer(request, losses)) and limit <= 0:
        losses.refused("max_output_tokens", f"{TARGET} cannot answer in {limit} tokens.")
    most = abilities.max_output_tokens
    if most is not None and limit > most:
        losses.approximated("max_output_tokens", f"The model writes at most {most} tokens.")
        limit = most
    modern = abilities.max_completion_tokens
    if modern is None:
        modern = abilities.server in OPENAI_SERVERS
    members["max_completion_tokens" if modern else "max_tokens"] = limit


def _sampling(members: Json, request: Request, abilities: Abilities, losses: Losses) -> None:
    for name in ("temperature", "top_p"):
        value = getattr(request, name)
        if value is None:
            continue
        if abilities.sampling is False:
            losses.dropped(name, "The model takes no sampling settings.")
        elif name == "top_p" and "temperature" in members and abilities.temperature_and_top_p is False:
            losses.dropped(name, "The model takes temperature or top_p, not both.")
        else:
            members[name] = value
    known = request.dialect == CHAT or abilities.server in SAMPLING_SERVERS
    for name, wire in (("top_k", "top_k"), ("min_p", "min_p"), ("repeat_penalty", "repetition_penalty")):
        value = getattr(request, name)
        if value is None:
            continue
        if not known or abilities.sampling is False:
            losses.dropped(name, "The server or the model has no such setting.")
        else:
            members[wire] = value


def _stops(members: Json, request: Request, abilities: Abilities, losses: Losses) -> None:
    stops = [stop for stop in request.stop if stop]
    if len(stops) < len(request.stop):
        losses.dropped("stop", "An empty stop sequence stops nothing.")
    if len(stops) > _MAX_STOPS and abilities.server in OPENAI_SERVERS:
        losses.dropped("stop", f"{TARGET} takes {_MAX_STOPS} stop sequences; the first ones are sent.")
        stops = stops[:_MAX_STOPS]
    if stops:
        members["stop"] = stops


def _output(members: Json, output: Output, abilities: Abilities, losses: Losses) -> None:
    losses.extras(output.extras, "output", (CHAT,), TARGET)
    if output.kind != "schema":
        members["response_format"] = {"type": "text" if output.kind == "text" else "json_object"}
    elif abilities.json_schema is False:
        losses.approximated("output", "The model takes no schema; it is asked for JSON, and told the schema.")
        members["response_format"] = {"type": "json_object"}
        schema = output.schema.decode("utf-8", "replace")
        told = {"role": "system", "content": f"Answer with one JSON object that follows this JSON Schema: {schema}"}
        messages = members["messages"]
        place = next((at for at, turn in enumerate(messages) if turn["role"] not in _LEADING), len(messages))
        messages.insert(place, told)
    else:
        inner: Json = {"name": output.name or "answer"}
        if not output.name:
            losses.invented("output.name", f"{TARGET} demands a name for the schema.")
        if output.description:
            inner["description"] = output.description
        if output.schema:
            inner["schema"] = msgspec.Raw(output.schema)
        if output.strict is not None:
            inner["strict"] = output.strict
        members["response_format"] = {"type": "json_schema", "json_schema": inner}
    leftovers.give_back(members["response_format"], output.extras)


def _reasoning(members: Json, reasoning: Reasoning, abilities: Abilities, losses: Losses) -> None:
    losses.extras(reasoning.extras, "reasoning", (CHAT,), TARGET)
    if abilities.server in REASONING_OBJECT_SERVERS:
        _reasoning_object(members, reasoning)
        return
    if reasoning.summary:
        losses.dropped("reasoning.summary", f"{TARGET} cannot be asked for a summary of the reasoning.")
    if reasoning.encrypted:
        losses.dropped("reasoning.encrypted", f"{TARGET} does not give out the state of its reasoning.")
    effort = _effort(reasoning, losses)
    if effort is None:
        return
    levels = abilities.efforts
    if levels is not None and effort not in levels:
        nearest = _nearest(effort, levels)
        if nearest is None:
            losses.dropped("reasoning.effort", "The model takes no level of effort.")
            return
        losses.approximated("reasoning.effort", f"The model has no effort {effort!r}; {nearest!r} is the nearest.")
        effort = nearest
    members["reasoning_effort"] = effort


def _reasoning_object(members: Json, reasoning: Reasoning) -> None:
    inner: Json = {}
    if reasoning.effort is not None:
        inner["effort"] = reasoning.effort
    if reasoning.budget_tokens is not None:
        inner["max_tokens"] = reasoning.budget_tokens
    if reasoning.enabled is not None:
        inner["enabled"] = reasoning.enabled
    if reasoning.visible is not None:
        inner["exclude"] = not reasoning.visible
    if reasoning.summary:
        inner["summary"] = reasoning.summary
    leftovers.give_back(inner, reasoning.extras)
    if inner:
        members["reasoning"] = inner


def _effort(reasoning: Reasoning, losses: Losses) -> Effort | None:
    """Return the level that is meant; None = as the model likes."""
    if reasoning.enabled is False:
        return "none"
    if reasoning.effort is not None:
        return reasoning.effort
    budget = reasoning.budget_tokens
    if budget is None:
        return None
    losses.approximated("reasoning.budget_tokens", f"{TARGET} knows levels of effort, not budgets.")
    return effort_of(budget)


def _nearest(effort: Effort, levels: tuple[str, ...]) -> Effort | None:
    """Return the level of the model that is nearest, the lower one of two."""
    place = EFFORTS.index(effort)
    known = [level for level in EFFORTS if level in levels and (level != "none" or effort == "none")]
    return min(known, key=lambda level: abs(EFFORTS.index(level) - place), default=None)
