"""How budgets of thinking and levels of effort stand for each other: one table for all dialects (dialects: §15.4).

The bounds are powers of two because the budgets that clients send are; decimal ones of the same size fall on the same
side. Budgets are the ones that Anthropic's models are given; a dialect with budgets of its own keeps its table.
"""

from __future__ import annotations

from flumegate.ir.request import Effort

_LEVELS: tuple[tuple[int, Effort], ...] = ((0, "none"), (2_048, "low"), (8_192, "medium"), (24_576, "high"))
_BUDGETS: dict[Effort, int] = {
    "none": 0,
    "minimal": 1_024,
    "low": 1_024,
    "medium": 4_096,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 65_536,
}


def effort_of(budget: int) -> Effort:
    """Return the level that a budget of so many tokens comes nearest to."""
    return next((level for most, level in _LEVELS if budget <= most), "xhigh")


def budget_of(effort: Effort | None) -> int:
    """Return how many tokens a level is about; None = the client left it open."""
    return _BUDGETS[effort or "medium"]
