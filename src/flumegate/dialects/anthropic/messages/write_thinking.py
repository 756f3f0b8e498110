"""How much the model shall think: an adaptive switch, a budget or an effort (dialects: §13.1, §15.4)."""

from __future__ import annotations

from typing import Any

from flumegate.dialects.anthropic.messages.draft import Draft
from flumegate.dialects.anthropic.messages.extras import DIALECT, TARGET
from flumegate.ir.effort import budget_of, effort_of
from flumegate.ir.parts import Thinking, ToolCall, ToolResult
from flumegate.ir.request import EFFORTS, Effort, Reasoning, Turn
from flumegate.ir.turns import asks_reasoning

_MIN_BUDGET = 1_024


def write_thinking(draft: Draft, members: dict[str, Any], turns: list[Turn]) -> None:
    """Write `thinking` and `output_config.effort`; `max_tokens` and `tool_choice` stand in `members` already."""
    reasoning = draft.request.reasoning
    if reasoning is None:
        return
    draft.losses.extras(reasoning.extras, "reasoning", (DIALECT,), TARGET)
    effort = _effort(draft, reasoning)
    if effort is not None:
        members.setdefault("output_config", {})["effort"] = effort
    thinking = _thinking(draft, members, reasoning, effort)
    if thinking is not None and thinking["type"] == "enabled" and not _may_think(draft, members, turns):
        thinking = {"type": "disabled"}
    if thinking is not None:
        members["thinking"] = thinking
    if reasoning.summary and reasoning.visible is None:
        draft.losses.dropped("reasoning.summary", f"{TARGET} knows no kinds of summary.")


def _effort(draft: Draft, reasoning: Reasoning) -> Effort | None:
    """Return the effort to name, as near to the wish as the model's list has it."""
    efforts = draft.abilities.efforts
    wish = reasoning.effort
    if wish is None and reasoning.budget_tokens is not None and draft.abilities.thinking_budget is False:
        wish = effort_of(reasoning.budget_tokens)
        draft.losses.approximated("reasoning", f"The model takes no budget; the effort {wish!r} stands for it.")
    if wish is None or wish == "none" or not _names_effort(draft):
        return None
    known = [level for level in EFFORTS[1:] if level in efforts] if efforts is not None else list(EFFORTS[2:])
    best = min(known, key=lambda level: (abs(EFFORTS.index(level) - EFFORTS.index(wish)), EFFORTS.index(level)))
    if best != wish:
        draft.losses.approximated("reasoning", f"The model knows no effort {wish!r}; {best!r} is the nearest.")
    return best


def _names_effort(draft: Draft) -> bool:
    """Tell whether the model may be told an effort: where only a budget is known to work, it may not."""
    abilities = draft.abilities
    if abilities.efforts is not None:
        return bool(set(abilities.efforts) & set(EFFORTS[1:]))
    return draft.own or (abilities.adaptive_thinking is not False and not _by_budget(draft))


def _by_budget(draft: Draft) -> bool:
    """Tell whether an effort is said as a budget."""
    abilities = draft.abilities
    adaptive = abilities.adaptive_thinking or (abilities.adaptive_thinking is None and bool(abilities.efforts))
    return abilities.thinking_budget is True and not adaptive


def _thinking(  # noqa: PLR0911 - one row of the table a return
    draft: Draft, members: dict[str, Any], reasoning: Reasoning, effort: Effort | None
) -> dict[str, Any] | None:
    if reasoning.enabled is False or reasoning.effort == "none":
        return _worded(reasoning, {"type": "disabled"})
    if draft.own and reasoning.enabled is None:
        if effort is None and reasoning.effort is not None:
            draft.losses.dropped("reasoning", "The model knows no efforts.")
        return None  # an effort alone switches no thinking on
    if not asks_reasoning(draft.request):
        return None
    abilities = draft.abilities
    if reasoning.budget_tokens is not None and abilities.thinking_budget is not False:
        return _enabled(draft, members, reasoning, reasoning.budget_tokens)
    if _by_budget(draft):
        return _enabled(draft, members, reasoning, budget_of(reasoning.effort or effort))
    if abilities.adaptive_thinking is False:
        draft.losses.dropped("reasoning", "The model cannot be asked to think.")
        return None
    if effort is None and reasoning.effort is not None:
        draft.losses.approximated("reasoning", "The model knows no efforts; it thinks as much as it likes.")
    return _worded(reasoning, {"type": "adaptive"})


def _worded(reasoning: Reasoning, members: dict[str, Any]) -> dict[str, Any]:
    """Add what the client said of how its thinking is shown, and what only Anthropic knows."""
    if reasoning.visible is not None and members["type"] != "disabled":
        members["display"] = "summarized" if reasoning.visible else "omitted"
    if reasoning.extras is not None and reasoning.extras.dialect == DIALECT:
        members |= reasoning.extras.fields  # a type that we do not know replaces the nearest that we do
    return members


def _enabled(draft: Draft, members: dict[str, Any], reasoning: Reasoning, budget: int) -> dict[str, Any] | None:
    limit = members["max_tokens"]
    if draft.own and budget == reasoning.budget_tokens:
        return _worded(reasoning, {"type": "enabled", "budget_tokens": budget})
    fitting = max(_MIN_BUDGET, budget)
    if fitting >= limit:
        fitting = max(_MIN_BUDGET, limit * 3 // 4)  # thinking counts towards max_tokens; an answer needs room too
    if fitting >= limit:
        draft.losses.dropped("reasoning", f"Thinking needs more than {_MIN_BUDGET} tokens, and the limit is {limit}.")
        return None
    if fitting != budget:
        draft.losses.approximated("reasoning", f"A budget of {fitting} tokens, because the limit is {limit}.")
    return _worded(reasoning, {"type": "enabled", "budget_tokens": fitting})


def _may_think(draft: Draft, members: dict[str, Any], turns: list[Turn]) -> bool:
    """Tell whether the rest of the request lets the model think with a budget; the API refuses it otherwise."""
    if not draft.own and members.get("tool_choice", {}).get("type") in ("any", "tool"):
        draft.losses.approximated("reasoning", "The model does not think where a tool must be called.")
        return False
    if _lacks_thinking(turns):
        draft.losses.approximated(
            "reasoning", "The model does not think: its last tool calls stand without the thinking that led to them."
        )
        return False
    return True


def _lacks_thinking(turns: list[Turn]) -> bool:
    """Tell whether the conversation waits behind tool results for calls that do not begin with our own thinking."""
    if not turns or not any(isinstance(part, ToolResult) for part in turns[-1].parts):
        return False
    asking = next((turn for turn in reversed(turns) if turn.role == "assistant"), None)
    if asking is None or not any(isinstance(part, ToolCall) for part in asking.parts):
        return False
    return not any(isinstance(part, Thinking) for part in asking.parts[:1])
