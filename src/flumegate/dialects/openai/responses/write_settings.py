"""Settings of a request in this dialect's words, for requests and for the answers that repeat them."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.node import give_back
from flumegate.dialects.openai.responses.names import NAME, TARGET, own
from flumegate.dialects.openai.responses.read_request import understood_include
from flumegate.ir.effort import effort_of
from flumegate.ir.loss import Losses
from flumegate.ir.request import EFFORTS, Effort, Output, Reasoning, Request
from flumegate.ir.written import Abilities

_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def write_include(request: Request) -> list[str]:
    """Return the wishes that have a neutral form, as `include` says them."""
    encrypted = request.reasoning is not None and request.reasoning.encrypted
    return list(understood_include(encrypted=encrypted, logprobs=bool(request.logprobs)))


def write_text(request: Request, losses: Losses) -> dict[str, Any]:
    """Return `text`: form and verbosity of the answer."""
    members: dict[str, Any] = {}
    if request.output is not None:
        members["format"] = _write_format(request.output, request, losses)
    if request.verbosity:
        members["verbosity"] = request.verbosity
    left = own(request.extras).get("text")
    if left is not None:
        members |= _decode_members(left)
    return members


def _write_format(output: Output, request: Request, losses: Losses) -> dict[str, Any]:
    losses.extras(output.extras, "output", (NAME,), TARGET)
    members: dict[str, Any] = {"type": {"text": "text", "json": "json_object", "schema": "json_schema"}[output.kind]}
    if output.kind == "schema":
        if not output.name and request.dialect != NAME:
            losses.invented("output.name", f"{TARGET} wants a name for the schema.")
        if output.name or request.dialect != NAME:
            members["name"] = output.name or "answer"
        if output.schema:
            members["schema"] = msgspec.Raw(output.schema)
        if output.strict is not None:
            members["strict"] = output.strict
        if output.description:
            members["description"] = output.description
    give_back(members, output.extras, NAME)
    return members


def write_reasoning(request: Request, abilities: Abilities, losses: Losses) -> dict[str, Any]:
    """Return `reasoning`; empty = not said."""
    reasoning = request.reasoning
    if reasoning is None:
        return {}
    losses.extras(reasoning.extras, "reasoning", (NAME,), TARGET)
    members: dict[str, Any] = {}
    effort = _clamp(_effort(reasoning, losses), abilities, losses)
    if effort is not None:
        members["effort"] = effort
    summary = reasoning.summary or ("auto" if reasoning.visible and effort != "none" else "")
    if summary:
        members["summary"] = summary
    give_back(members, reasoning.extras, NAME)
    return members


def _effort(reasoning: Reasoning, losses: Losses) -> Effort | None:
    if reasoning.effort is not None:
        return reasoning.effort
    if reasoning.enabled is False:
        return "none"
    budget = reasoning.budget_tokens
    if budget is None:
        return None
    losses.approximated("reasoning.budget_tokens", f"{TARGET} knows levels of effort, no budgets.")
    return effort_of(budget)


def _clamp(effort: Effort | None, abilities: Abilities, losses: Losses) -> str | None:
    known = abilities.efforts
    if effort is None or known is None or effort in known:
        return effort
    if not known:
        if effort != "none":
            losses.dropped("reasoning.effort", "The model takes no effort.")
        return None
    order: dict[str, int] = {name: place for place, name in enumerate(EFFORTS)}
    wanted = order[effort]
    nearest = min(known, key=lambda name: abs(order.get(name, len(order)) - wanted))
    losses.approximated("reasoning.effort", f"The model does not know the level {effort}; it gets {nearest}.")
    return nearest


def write_service_tier(request: Request, losses: Losses) -> str | None:
    """Return the tier; None = not said."""
    tier = request.service_tier
    if not tier:
        return None
    if tier in _TIERS or request.dialect == NAME:
        return tier
    losses.dropped("service_tier", f"{TARGET} has no tier {tier[:40]!r}.")
    return None
