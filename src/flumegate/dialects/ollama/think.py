"""The `think` member of a request: off, on, or a level (fates: §15.4).

Only some models take levels; the others know on and off, and refuse a level. A model of which nothing is known is
asked in the client's own words.
"""

from __future__ import annotations

from flumegate.ir.effort import effort_of
from flumegate.ir.loss import Losses
from flumegate.ir.request import EFFORTS, Reasoning
from flumegate.ir.written import Abilities

_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "max"}
_PATH = "reasoning"


def write_think(reasoning: Reasoning | None, abilities: Abilities, losses: Losses) -> bool | str | None:
    """Return the value of `think`; None = it is not said."""
    if reasoning is None:
        return None
    losses.extras(reasoning.extras, _PATH, (), "Ollama")
    if reasoning.summary or reasoning.encrypted:
        losses.dropped(_PATH, "Ollama shows the thinking as it is: neither a summary nor an opaque state of it.")
    if reasoning.enabled is False or reasoning.effort == "none" or reasoning.budget_tokens == 0:
        return False if abilities.efforts is None or abilities.efforts or abilities.adaptive_thinking else None
    if reasoning.effort is None and reasoning.budget_tokens is None and reasoning.enabled is None:
        return None
    if abilities.efforts == ():
        return _switch_on(reasoning, abilities, losses)
    return _level(reasoning, abilities.efforts, losses)


def _switch_on(reasoning: Reasoning, abilities: Abilities, losses: Losses) -> bool | None:
    """Answer for a model without levels."""
    if not abilities.adaptive_thinking:
        losses.dropped(_PATH, "The model does not think.")
        return None
    if reasoning.effort is not None or reasoning.budget_tokens is not None:
        losses.approximated(_PATH, "The model thinks or does not: it takes neither an effort nor a budget.")
    return True


def _level(reasoning: Reasoning, efforts: tuple[str, ...] | None, losses: Losses) -> bool | str:
    wanted = reasoning.effort
    if wanted is None and reasoning.budget_tokens is None:
        return True
    if wanted is None:
        losses.approximated(_PATH, "Ollama has levels of thinking, not a budget in tokens.")
        if efforts is None:
            return True
        level = _LEVELS[effort_of(reasoning.budget_tokens or 1)]
    else:
        level = _LEVELS[wanted]
    taken = _nearest(level, efforts)
    if wanted is not None and taken != wanted:
        losses.approximated(_PATH, f"The nearest level that is taken is {taken!r}.")
    return taken


def _nearest(level: str, efforts: tuple[str, ...] | None) -> str:
    """Return the level, or the nearest one that the model takes; of two the lower one."""
    if efforts is None:
        return level
    taken = [one for one in EFFORTS if one in efforts and _LEVELS.get(one) == one]
    order: list[str] = list(EFFORTS)
    return min(taken, key=lambda one: abs(order.index(one) - order.index(level)), default=level) if taken else level
