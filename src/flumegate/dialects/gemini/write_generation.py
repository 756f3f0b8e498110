"""`generationConfig`: sampling, form of the answer, thinking; what a model takes is told by its abilities alone."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.gemini.members import NAME, give_back
from flumegate.dialects.gemini.schema import Cleaner
from flumegate.dialects.gemini.write_parts import TARGET
from flumegate.ir.effort import effort_of
from flumegate.ir.loss import Losses
from flumegate.ir.request import EFFORTS, Effort, Output, Reasoning, Request
from flumegate.ir.turns import asks_reasoning, refuse_no_answer
from flumegate.ir.written import Abilities

Members = dict[str, Any]
_MAX_STOPS = 5
_BUDGETS: dict[Effort, int] = {
    "none": 0,
    "minimal": 512,
    "low": 1_024,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 24_576,
    "max": 24_576,
}
"""Google's own for the words of OpenAI; no model of Gemini's takes more than the last."""
_LEVELS = ("minimal", "low", "medium", "high")
"""What the wire has names for."""


def write_generation(request: Request, abilities: Abilities, losses: Losses) -> Members:
    """Return the object; empty where nothing was asked for."""
    config: Members = {}
    _write_sampling(config, request, abilities, losses)
    if request.dialect != NAME:
        refuse_no_answer(request, losses)
    limit, most = request.max_output_tokens, abilities.max_output_tokens
    if limit is not None and most is not None and limit > most:
        losses.approximated("max_output_tokens", f"The model gives no more than {most} tokens.")
        limit = most
    stop = request.stop
    if request.dialect != NAME and not all(stop):
        losses.dropped("stop", "Gemini takes no empty stop sequences.")
        stop = tuple(one for one in stop if one)
    if len(stop) > _MAX_STOPS:
        losses.dropped("stop", f"Gemini takes {_MAX_STOPS} sequences; the others are left out.")
    settings = {
        "maxOutputTokens": limit,
        "candidateCount": request.candidates,
        "stopSequences": list(stop[:_MAX_STOPS]) or None,
        "seed": request.seed,
        "presencePenalty": request.presence_penalty,
        "frequencyPenalty": request.frequency_penalty,
        "responseLogprobs": request.logprobs,
        "logprobs": request.top_logprobs,
    }
    config |= {name: value for name, value in settings.items() if value is not None}
    if request.output is not None:
        _write_output(config, request.output, abilities, losses, own=request.dialect == NAME)
    if request.reasoning is not None:
        thinking = _write_thinking(request, request.reasoning, abilities, losses)
        if thinking:
            config["thinkingConfig"] = thinking
    return config


def _write_sampling(config: Members, request: Request, abilities: Abilities, losses: Losses) -> None:
    both = abilities.temperature_and_top_p is not False or request.temperature is None
    for name, wire in (("temperature", "temperature"), ("top_p", "topP"), ("top_k", "topK")):
        value = getattr(request, name)
        if value is None:
            continue
        if abilities.sampling is False:
            losses.dropped(name, "The model takes no sampling settings.")
        elif name == "top_p" and not both:
            losses.dropped(name, "The model takes temperature or top_p, not both.")
        else:
            config[wire] = value


def _write_output(config: Members, output: Output, abilities: Abilities, losses: Losses, *, own: bool) -> None:
    losses.extras(output.extras, "output", (NAME,), TARGET)
    if output.kind == "text":
        if own:
            config["responseModalities"] = ["TEXT"]
        return
    config["responseMimeType"] = "application/json"
    if output.kind == "json":
        return
    if output.description:
        losses.dropped("output.description", "Gemini takes no description of the answer's form.")
    if abilities.json_schema is not False:
        config["responseJsonSchema"] = msgspec.Raw(output.schema)
        return
    cleaner = Cleaner()
    config["responseSchema"] = msgspec.Raw(cleaner.clean(output.schema))
    if cleaner.dropped:
        names = ", ".join(sorted(cleaner.dropped))[:120]
        losses.approximated("output.schema", f"The model's schemas have no {names}.")


def _write_thinking(request: Request, reasoning: Reasoning, abilities: Abilities, losses: Losses) -> Members:
    losses.extras(reasoning.extras, "reasoning", (NAME,), TARGET)
    own = request.dialect == NAME
    thinking: Members = {}
    give_back(thinking, reasoning.extras)
    if reasoning.summary in ("concise", "detailed"):
        losses.dropped("reasoning.summary", "Gemini tells its thoughts at one length.")
    if abilities.efforts == () and not abilities.thinking_budget:
        if asks_reasoning(request):
            losses.dropped("reasoning.effort", "The model does not think.")
        return thinking
    thinking |= _write_amount(reasoning, abilities, losses)
    visible = reasoning.visible
    if visible is None and not own and asks_reasoning(request):
        visible = True
    if visible is not None:
        thinking["includeThoughts"] = visible
    return thinking


def _write_amount(reasoning: Reasoning, abilities: Abilities, losses: Losses) -> Members:
    """Return budget or level, never both: Gemini refuses that."""
    takes_levels = bool(abilities.efforts)
    takes_budget = abilities.thinking_budget is True or (abilities.thinking_budget is None and not takes_levels)
    effort, budget = reasoning.effort, reasoning.budget_tokens
    if reasoning.enabled is False or effort == "none":
        return {"thinkingBudget": 0} if takes_budget else _write_level("none", abilities, losses)
    if budget is not None and takes_budget:
        return {"thinkingBudget": budget}
    if budget is not None and effort is None:
        losses.approximated("reasoning.budget_tokens", "The model takes a level instead of a budget.")
        return _write_level(effort_of(budget), abilities, losses)
    if effort is None:
        return {"thinkingBudget": -1} if reasoning.enabled and takes_budget else {}
    if takes_levels or abilities.thinking_budget is not True:
        return _write_level(effort, abilities, losses)
    if effort in ("xhigh", "max"):
        losses.approximated("reasoning.effort", "The model's largest budget is sent.")
    return {"thinkingBudget": _BUDGETS[effort]}


def _write_level(effort: Effort, abilities: Abilities, losses: Losses) -> Members:
    known = [name for name in EFFORTS if name in _LEVELS and name in (abilities.efforts or _LEVELS)]
    if not known:
        losses.dropped("reasoning.effort", "The model takes no level that Gemini's wire has a name for.")
        return {}
    wanted = EFFORTS.index(effort)
    level = min(known, key=lambda name: (abs(EFFORTS.index(name) - wanted), EFFORTS.index(name)))
    if level != effort:
        losses.approximated("reasoning.effort", f"The model takes {level} for {effort}.")
    return {"thinkingLevel": level.upper()}
