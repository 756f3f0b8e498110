"""How much the model shall think. Converse has no word for it: it stands in `additionalModelRequestFields`.

Which words a model knows there is told by its abilities alone: Claude's `thinking` where it takes a budget or thinks
adaptively, `reasoning_effort` where it takes efforts and neither of the two.
"""

from __future__ import annotations

from typing import Any

from flumegate.dialects.bedrock.names import NAME, TARGET
from flumegate.ir.effort import budget_of, effort_of
from flumegate.ir.loss import Losses
from flumegate.ir.request import EFFORTS, Effort, Reasoning, Request
from flumegate.ir.turns import asks_reasoning
from flumegate.ir.written import Abilities

Members = dict[str, Any]
MIN_BUDGET = 1_024


def write_thinking(request: Request, abilities: Abilities, limit: int | None, losses: Losses) -> Members:
    """Return members of `additionalModelRequestFields`; `limit` is the `maxTokens` that is sent."""
    reasoning = request.reasoning
    if reasoning is None:
        return {}
    losses.extras(reasoning.extras, "reasoning", (NAME,), TARGET)
    if reasoning.summary in ("concise", "detailed"):
        losses.dropped("reasoning.summary", "Bedrock knows no kinds of summary.")
    claude = bool(abilities.adaptive_thinking or abilities.thinking_budget)
    if reasoning.enabled is False or reasoning.effort == "none":
        return _switched_off(abilities, losses, claude=claude)
    if not asks_reasoning(request):
        return {}
    if not claude:
        return _effort_alone(reasoning, abilities, losses)
    if abilities.thinking_budget and (reasoning.budget_tokens is not None or not abilities.adaptive_thinking):
        return _budgeted(reasoning, limit, losses)
    return _adaptive(reasoning, abilities, losses)


def may_think(extra: Members, messages: list[Members], tools: Members, losses: Losses) -> bool:
    """Tell whether the rest of the request lets the model think with a budget; it would be refused otherwise."""
    if extra.get("thinking", {}).get("type") != "enabled":
        return True
    if set(tools.get("toolChoice", {})) - {"auto"}:
        losses.approximated("reasoning", "The model does not think where a tool must be called.")
        return False
    waiting = messages and any("toolResult" in block for block in messages[-1]["content"])
    asking: list[Members] = next(
        (message["content"] for message in reversed(messages) if message["role"] == "assistant"), []
    )
    if waiting and any("toolUse" in block for block in asking) and "reasoningContent" not in asking[0]:
        losses.approximated(
            "reasoning", "The model does not think: its last tool calls stand without the thinking that led to them."
        )
        return False
    return True


def _switched_off(abilities: Abilities, losses: Losses, *, claude: bool) -> Members:
    if claude and (abilities.efforts is None or "none" in abilities.efforts):
        return {"thinking": {"type": "disabled"}}
    if abilities.efforts and "none" in abilities.efforts:
        return {"reasoning_effort": "none"}
    if abilities.efforts != ():
        losses.dropped("reasoning", "It is not known how the model is kept from thinking.")
    return {}


def _effort_alone(reasoning: Reasoning, abilities: Abilities, losses: Losses) -> Members:
    if not abilities.efforts:
        losses.dropped("reasoning", "Bedrock has no common word for it, and none of this model is known.")
        return {}
    level = _nearest(reasoning, abilities.efforts, losses)
    return {"reasoning_effort": level} if level is not None else {}


def _adaptive(reasoning: Reasoning, abilities: Abilities, losses: Losses) -> Members:
    thinking: Members = {"type": "adaptive"}
    if reasoning.visible is not None:
        thinking["display"] = "summarized" if reasoning.visible else "omitted"
    members: Members = {"thinking": thinking}
    efforts = abilities.efforts if abilities.efforts is not None else EFFORTS[2:]
    level = _nearest(reasoning, efforts, losses)
    if level is not None:
        members["output_config"] = {"effort": level}
    return members


def _budgeted(reasoning: Reasoning, limit: int | None, losses: Losses) -> Members:
    budget = reasoning.budget_tokens
    if budget is None:
        budget = budget_of(reasoning.effort)
        if reasoning.effort == "minimal":
            losses.approximated("reasoning.effort", "The model's smallest budget is sent.")
    fitting = max(MIN_BUDGET, budget)
    if limit is not None and fitting >= limit:
        fitting = max(MIN_BUDGET, limit * 3 // 4)  # thinking counts towards the limit; an answer needs room too
        if fitting >= limit:
            losses.dropped("reasoning", f"Thinking needs more than {MIN_BUDGET} tokens, and the limit is {limit}.")
            return {}
    if fitting != budget:
        losses.approximated("reasoning.budget_tokens", f"The budget is {fitting}.")
    return {"thinking": {"type": "enabled", "budget_tokens": fitting}}


def _nearest(reasoning: Reasoning, efforts: tuple[str, ...], losses: Losses) -> Effort | None:
    """Return the effort to name; None = the client left it to the model."""
    wish = reasoning.effort
    if wish is None and reasoning.budget_tokens is not None:
        wish = effort_of(reasoning.budget_tokens)
        losses.approximated("reasoning.budget_tokens", "The model takes an effort instead of a budget.")
    known = [level for level in EFFORTS[1:] if level in efforts]
    if wish is None or not known:
        if wish is not None:
            losses.dropped("reasoning.effort", "The model takes no effort.")
        return None
    place = EFFORTS.index(wish)
    best = min(known, key=lambda level: (abs(EFFORTS.index(level) - place), EFFORTS.index(level)))
    if best != wish:
        losses.approximated("reasoning.effort", f"The model takes {best} for {wish}.")
    return best
