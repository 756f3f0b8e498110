from __future__ import annotations

import pytest

from flumegate.dialects.ollama.think import write_think
from flumegate.ir.loss import Losses
from flumegate.ir.request import Reasoning
from flumegate.ir.written import Abilities

UNKNOWN = Abilities("m")
LEVELS = Abilities("m", efforts=("low", "medium", "high"))
SOME = Abilities("m", efforts=("none", "minimal", "high", "xhigh"))
SWITCH = Abilities("m", efforts=(), adaptive_thinking=True)
NEVER = Abilities("m", efforts=())
ODD = Abilities("m", efforts=("none",))

DROPPED = ["dropped:reasoning"]
LESS = ["approximated:reasoning"]
CASES: list[tuple[Reasoning | None, Abilities, bool | str | None, list[str]]] = [
    (None, UNKNOWN, None, []),
    (Reasoning(), UNKNOWN, None, []),
    (Reasoning(visible=True), LEVELS, None, []),
    (Reasoning(enabled=True), UNKNOWN, True, []),
    (Reasoning(enabled=False), UNKNOWN, False, []),
    (Reasoning(effort="none"), LEVELS, False, []),
    (Reasoning(budget_tokens=0), UNKNOWN, False, []),
    (Reasoning(effort="minimal"), UNKNOWN, "low", LESS),
    (Reasoning(effort="low"), UNKNOWN, "low", []),
    (Reasoning(effort="medium"), UNKNOWN, "medium", []),
    (Reasoning(effort="high", enabled=True), UNKNOWN, "high", []),
    (Reasoning(effort="xhigh"), UNKNOWN, "high", LESS),
    (Reasoning(effort="max"), UNKNOWN, "max", []),
    (Reasoning(effort="max"), LEVELS, "high", LESS),
    (Reasoning(effort="low"), SOME, "high", LESS),
    (Reasoning(effort="low"), ODD, "low", []),
    (Reasoning(enabled=True), LEVELS, True, []),
    (Reasoning(budget_tokens=9000), UNKNOWN, True, LESS),
    (Reasoning(budget_tokens=1024), LEVELS, "low", LESS),
    (Reasoning(budget_tokens=4096), LEVELS, "medium", LESS),
    (Reasoning(budget_tokens=16384), LEVELS, "high", LESS),
    (Reasoning(budget_tokens=60000), LEVELS, "high", LESS),
    (Reasoning(enabled=True), SWITCH, True, []),
    (Reasoning(effort="low"), SWITCH, True, LESS),
    (Reasoning(budget_tokens=5), SWITCH, True, LESS),
    (Reasoning(enabled=False), SWITCH, False, []),
    (Reasoning(enabled=True), NEVER, None, DROPPED),
    (Reasoning(effort="high"), NEVER, None, DROPPED),
    (Reasoning(enabled=False), NEVER, None, []),
    (Reasoning(effort="low", summary="auto"), UNKNOWN, "low", DROPPED),
    (Reasoning(encrypted=True), UNKNOWN, None, DROPPED),
]


@pytest.mark.parametrize(("reasoning", "abilities", "expected", "lost"), CASES)
def test_think(reasoning: Reasoning | None, abilities: Abilities, expected: object, lost: list[str]) -> None:
    """Off, on or a level, as near as the model takes it; every change is told."""
    losses = Losses()
    found = write_think(reasoning, abilities, losses)
    assert (type(found), found) == (type(expected), expected)
    assert [loss.code for loss in losses.found] == lost
