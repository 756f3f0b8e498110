from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.ir.effort import budget_of, effort_of
from flumegate.ir.request import EFFORTS, Effort, Reasoning, Request
from flumegate.ir.written import Abilities
from rig.goldens import CODECS

_ALL = tuple(EFFORTS)
WORDS: dict[str, tuple[Abilities, tuple[str, ...]]] = {
    "chat": (Abilities("m", "openai"), ("reasoning_effort",)),
    "responses": (Abilities("m", efforts=_ALL), ("reasoning", "effort")),
    "messages": (Abilities("m", efforts=_ALL, thinking_budget=False), ("output_config", "effort")),
    "ollama_chat": (Abilities("m", efforts=_ALL), ("think",)),
    "gemini": (
        Abilities("m", efforts=_ALL, thinking_budget=False),
        ("generationConfig", "thinkingConfig", "thinkingLevel"),
    ),
}


@pytest.mark.parametrize(
    ("budget", "effort"),
    [
        (0, "none"),
        (1, "low"),
        (2_000, "low"),
        (2_048, "low"),
        (2_049, "medium"),
        (8_192, "medium"),
        (8_193, "high"),
        (24_000, "high"),
        (24_576, "high"),
        (24_577, "xhigh"),
    ],
)
def test_a_budget_is_about_a_level(budget: int, effort: Effort) -> None:
    """The bounds of the guide, each on the side of the smaller level."""
    assert effort_of(budget) == effort


def test_levels_are_about_budgets_that_grow() -> None:
    """What is between off and the highest comes back as the same level; who says nothing gets the middle."""
    budgets = [budget_of(effort) for effort in EFFORTS]
    assert budgets == sorted(budgets)
    assert [effort_of(budget_of(effort)) for effort in EFFORTS] == [
        "none",
        "low",
        "low",
        "medium",
        "high",
        "xhigh",
        "xhigh",
    ]
    assert budget_of(None) == budget_of("medium")


@pytest.mark.parametrize("dialect", WORDS)
@pytest.mark.parametrize("budget", [1_024, 2_048, 2_049, 8_192, 8_193, 24_576])
def test_every_dialect_goes_by_the_table(dialect: str, budget: int) -> None:
    """One budget is one level, whoever is asked."""
    abilities, path = WORDS[dialect]
    write = CODECS[dialect].write_request
    assert write is not None
    request = Request(dialect="bedrock", model="m", max_output_tokens=64_000, reasoning=Reasoning(budget_tokens=budget))
    value: Any = json.loads(write(request, abilities).body)
    for name in path:
        value = value[name]
    assert value.lower() == effort_of(budget)
