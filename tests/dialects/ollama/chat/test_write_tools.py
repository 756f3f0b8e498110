from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.ollama.chat.write_request import write_request
from flumegate.ir.parts import CacheMark, Extras
from flumegate.ir.request import Request, Tool, ToolChoice
from flumegate.ir.restore import CUSTOM_PARAMETERS
from flumegate.ir.written import Abilities, Rename, Written

EMPTY = {"type": "object", "properties": {}}
ODD = Extras("chat", {"x": msgspec.Raw(b"1")})
TWO = (Tool("tide", at="tools[0]"), Tool("moon", at="tools[1]"))


def write(tools: tuple[Tool, ...], choice: ToolChoice | None = None, abilities: Abilities | None = None) -> Written:
    request = Request(dialect="chat", model="heron", tools=tools, tool_choice=choice)
    return write_request(request, abilities or Abilities("heron:8b"))


def codes(written: Written) -> list[str]:
    return [loss.code for loss in written.losses]


def names(written: Written) -> list[str]:
    return [tool["function"]["name"] for tool in json.loads(written.body).get("tools", [])]


TOOLS: dict[str, tuple[Tool, list[dict[str, Any]], list[str], dict[str, Rename]]] = {
    "bare": (Tool("f"), [{"name": "f", "parameters": EMPTY}], [], {}),
    "full": (
        Tool("f", description="d", parameters=b'{"type":"object"}'),
        [{"name": "f", "description": "d", "parameters": {"type": "object"}}],
        [],
        {},
    ),
    "any name": (Tool("Höhe.über NN"), [{"name": "Höhe.über NN", "parameters": EMPTY}], [], {}),
    "loose": (Tool("f", strict=False), [{"name": "f", "parameters": EMPTY}], [], {}),
    "strict": (Tool("f", strict=True, at="t"), [{"name": "f", "parameters": EMPTY}], ["dropped:t.strict"], {}),
    "marked": (Tool("f", cache=CacheMark()), [{"name": "f", "parameters": EMPTY}], ["dropped:cache"], {}),
    "members of others": (Tool("f", at="t", extras=ODD), [{"name": "f", "parameters": EMPTY}], ["dropped:t.x"], {}),
    "custom": (
        Tool("f", "custom", description="d", format=b'{"type":"text"}', at="t"),
        [{"name": "f", "description": "d", "parameters": json.loads(CUSTOM_PARAMETERS)}],
        ["approximated:t"],
        {"f": Rename("f", kind="custom")},
    ),
    "bare custom": (
        Tool("f", "custom", at="t"),
        [{"name": "f", "parameters": json.loads(CUSTOM_PARAMETERS)}],
        ["approximated:t"],
        {"f": Rename("f", kind="custom")},
    ),
    "custom with a grammar": (
        Tool("f", "custom", format=b'{"type":"grammar"}', at="t"),
        [
            {
                "name": "f",
                "description": 'The input must follow this format: {"type":"grammar"}',
                "parameters": json.loads(CUSTOM_PARAMETERS),
            }
        ],
        ["approximated:t", "approximated:t.format"],
        {"f": Rename("f", kind="custom")},
    ),
    "in a namespace": (
        Tool("f", namespace="sea", at="t"),
        [{"name": "sea__f", "parameters": EMPTY}],
        [],
        {"sea__f": Rename("f", "sea")},
    ),
    "of another provider": (Tool("web_search", "hosted", dialect="messages", at="t"), [], ["dropped:t"], {}),
}


@pytest.mark.parametrize("name", TOOLS)
def test_fates(name: str) -> None:
    """Each tool is said, or its loss is; a changed name can be undone."""
    tool, expected, lost, renames = TOOLS[name]
    written = write((tool,))
    body = json.loads(written.body)
    assert body.get("tools", []) == [{"type": "function", "function": function} for function in expected]
    assert (codes(written), written.renames) == (lost, renames)


def test_two_tools_may_not_become_one() -> None:
    """Nobody could tell whose call it is."""
    in_sea = Tool("f", namespace="sea", at="t")
    assert codes(write((Tool("sea__f"), in_sea))) == ["refused:t"]
    assert codes(write((in_sea, Tool("sea__f")))) == ["refused:t"]
    assert codes(write((in_sea, in_sea))) == ["refused:t"]


CHOICES: dict[str, tuple[ToolChoice | None, list[str], list[str]]] = {
    "not said": (None, ["tide", "moon"], []),
    "auto": (ToolChoice("auto"), ["tide", "moon"], []),
    "none": (ToolChoice("none"), [], []),
    "required": (ToolChoice("required"), ["tide", "moon"], ["refused:tool_choice"]),
    "named": (ToolChoice("named", ("tide",)), ["tide", "moon"], ["refused:tool_choice"]),
    "some of them": (ToolChoice("allowed", ("moon",)), ["moon"], ["approximated:tool_choice"]),
    "all of them": (ToolChoice("allowed", ("tide", "moon")), ["tide", "moon"], []),
    "one of some": (ToolChoice("allowed", ("moon",), required=True), ["tide", "moon"], ["refused:tool_choice"]),
    "members of others": (ToolChoice("auto", extras=ODD), ["tide", "moon"], ["dropped:tool_choice.x"]),
}


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name: str) -> None:
    """What must be called cannot be said; what may be called can."""
    choice, expected, lost = CHOICES[name]
    written = write(TWO, choice)
    assert (names(written), codes(written)) == (expected, lost)


def test_a_choice_without_tools_means_nothing() -> None:
    """There is nothing that must be called."""
    written = write((), ToolChoice("required"))
    assert (names(written), codes(written)) == ([], [])


def test_a_model_that_calls_no_tools() -> None:
    """It would answer without them, and nobody would know."""
    unable = Abilities("heron:8b", tools=False)
    assert codes(write(TWO, abilities=unable)) == ["refused:tools"]
    assert codes(write(TWO, ToolChoice("none"), unable)) == []
    assert codes(write((), abilities=unable)) == []
