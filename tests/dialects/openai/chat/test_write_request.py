from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flumegate.dialects.openai.chat.write_request import write_request
from flumegate.ir.parts import CacheMark, Extras, Text, ToolCall
from flumegate.ir.request import Output, Reasoning, Tool, ToolChoice, Turn
from flumegate.ir.written import Abilities, Rename
from rig.chat_codec import USER, foreign, read, written

HELLO = Turn("user", (Text("hi", at="messages[0].content"),), plain=True, at="messages[0]")

FATES: list[tuple[dict[str, Any], str, dict[str, Any], dict[str, Any], list[str]]] = [
    ({"max_output_tokens": 5}, "openai", {}, {"max_completion_tokens": 5}, []),
    ({"max_output_tokens": 5}, "vllm", {}, {"max_tokens": 5}, []),
    ({"max_output_tokens": 5}, "vllm", {"max_completion_tokens": True}, {"max_completion_tokens": 5}, []),
    ({"max_output_tokens": 5}, "", {"max_completion_tokens": False}, {"max_tokens": 5}, []),
    (
        {"max_output_tokens": 9},
        "",
        {"max_output_tokens": 5},
        {"max_completion_tokens": 5},
        ["approximated:max_output_tokens"],
    ),
    ({"max_output_tokens": 0}, "", {}, {"max_completion_tokens": 0}, ["refused:max_output_tokens"]),
    (
        {"temperature": 1.0, "top_p": 0.5, "top_k": 3},
        "",
        {"sampling": False},
        {},
        ["dropped:temperature", "dropped:top_p", "dropped:top_k"],
    ),
    ({"temperature": 1.0, "top_p": 0.5}, "", {"temperature_and_top_p": False}, {"temperature": 1}, ["dropped:top_p"]),
    (
        {"top_k": 3, "min_p": 0.1, "repeat_penalty": 1.1},
        "vllm",
        {},
        {"top_k": 3, "min_p": 0.1, "repetition_penalty": 1.1},
        [],
    ),
    ({"top_k": 3}, "groq", {}, {}, ["dropped:top_k"]),
    ({"stop": ("a", "")}, "", {}, {"stop": ["a"]}, ["dropped:stop"]),
    ({"stop": tuple("abcde")}, "", {}, {"stop": list("abcd")}, ["dropped:stop"]),
    ({"stop": tuple("abcde")}, "vllm", {}, {"stop": list("abcde")}, []),
    ({"verbosity": "low", "metadata": b"{}"}, "groq", {}, {}, ["dropped:verbosity", "dropped:metadata"]),
    (
        {"verbosity": "low", "metadata": b"{}", "store": False},
        "openai",
        {},
        {"verbosity": "low", "metadata": {}, "store": False},
        [],
    ),
    ({"cache": CacheMark()}, "", {}, {}, ["dropped:cache"]),
    ({"output": Output("text")}, "", {}, {"response_format": {"type": "text"}}, []),
    (
        {"output": Output("schema", schema=b"{}", description="d")},
        "",
        {},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": {}, "description": "d"},
            }
        },
        ["invented:output.name"],
    ),
    (
        {"output": Output("schema", "n")},
        "",
        {},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
        [],
    ),
    ({"reasoning": Reasoning("high")}, "", {}, {"reasoning_effort": "high"}, []),
    ({"reasoning": Reasoning("high")}, "", {"efforts": ()}, {}, ["dropped:reasoning.effort"]),
    (
        {"reasoning": Reasoning("max")},
        "",
        {"efforts": ("none", "low", "high")},
        {"reasoning_effort": "high"},
        ["approximated:reasoning.effort"],
    ),
    (
        {"reasoning": Reasoning("minimal")},
        "",
        {"efforts": ("none", "low")},
        {"reasoning_effort": "low"},
        ["approximated:reasoning.effort"],
    ),
    ({"reasoning": Reasoning(enabled=False)}, "", {}, {"reasoning_effort": "none"}, []),
    ({"reasoning": Reasoning(enabled=True)}, "", {}, {}, []),
    (
        {"reasoning": Reasoning(budget_tokens=1024)},
        "",
        {},
        {"reasoning_effort": "low"},
        ["approximated:reasoning.budget_tokens"],
    ),
    (
        {"reasoning": Reasoning(budget_tokens=99_999)},
        "",
        {},
        {"reasoning_effort": "xhigh"},
        ["approximated:reasoning.budget_tokens"],
    ),
    (
        {"reasoning": Reasoning(summary="auto", encrypted=True)},
        "",
        {},
        {},
        ["dropped:reasoning.summary", "dropped:reasoning.encrypted"],
    ),
    (
        {"reasoning": Reasoning("low", 5, enabled=True, visible=False, summary="auto")},
        "openrouter",
        {},
        {"reasoning": {"effort": "low", "max_tokens": 5, "enabled": True, "exclude": True, "summary": "auto"}},
        [],
    ),
    ({"reasoning": Reasoning()}, "openrouter", {}, {}, []),
    ({"tool_choice": ToolChoice("auto")}, "", {}, {}, []),
    ({"tool_choice": ToolChoice("allowed", ("f",))}, "", {}, {}, ["dropped:tool_choice"]),
    ({"tool_choice": ToolChoice("none")}, "", {}, {}, []),
    ({"tool_choice": ToolChoice("required")}, "", {}, {}, ["refused:tool_choice"]),
    ({"stream": True}, "", {}, {"stream": True, "stream_options": {"include_usage": True}}, []),
    ({"extras": Extras("messages", {"speed": msgspec.Raw(b"1")}, ("speed",))}, "", {}, {}, ["refused:speed"]),
]


@pytest.mark.parametrize(
    ("settings", "server", "abilities", "members", "losses"), FATES, ids=lambda value: str(value)[:40]
)
def test_a_setting_has_its_fate(
    settings: dict[str, Any], server: str, abilities: dict[str, Any], members: dict[str, Any], losses: list[str]
) -> None:
    """It is said, or its loss is named; what a model takes decides, never its name."""
    body, found = written(foreign(HELLO, **settings), server, **abilities)
    assert body == {"model": "m-1", "messages": [{"role": "user", "content": "hi"}]} | members
    assert found == losses


def test_a_schema_may_be_told_in_words() -> None:
    """A model that takes none is asked for JSON, and the schema stands behind the leading system messages."""
    system = Turn("system", (Text("Be brief."),), plain=True)
    request = foreign(system, HELLO, output=Output("schema", "n", b'{"x":1}'))
    body, losses = written(request, json_schema=False)
    assert losses == ["approximated:output"]
    assert body["response_format"] == {"type": "json_object"}
    assert [message["role"] for message in body["messages"]] == ["system", "system", "user"]
    assert '{"x":1}' in body["messages"][1]["content"]
    alone, _ = written(foreign(system, output=request.output), json_schema=False)
    assert [message["role"] for message in alone["messages"]] == ["system", "system"]


GRAMMAR = b'{"type":"grammar","definition":"a","syntax":"lark"}'


def test_tools_that_the_wire_does_not_know_are_renamed_or_packed() -> None:
    """Namespaces are flattened, names made legal, custom tools packed; the renames undo all of it."""
    tools = (
        Tool("go", namespace="maps", parameters=b"{}"),
        Tool("maps__go"),
        Tool("odd name.é", at="tools[2]"),
        Tool("patch", "custom", "Patches.", format=GRAMMAR, at="tools[3]"),
        Tool("note", "custom", format=GRAMMAR, at="tools[4]"),
        Tool("say", "custom", at="tools[5]"),
        Tool("marked", cache=CacheMark()),
    )
    calls = (ToolCall("1", "patch", "x", "custom"), ToolCall("2", "go", namespace="maps"), ToolCall("3", "gone.away"))
    request = foreign(Turn("assistant", calls), tools=tools)
    found = write_request(request, Abilities("m-1", "vllm"))
    body, losses = written(request, "vllm")
    names = [tool["function"]["name"] for tool in body["tools"]]
    assert len(set(names)) == len(tools)
    assert names[0] == "maps__go"
    assert found.renames[names[0]] == Rename("go", "maps")
    assert found.renames[names[1]] == Rename("maps__go")
    assert found.renames[names[2]] == Rename("odd name.é")
    assert found.renames["patch"] == Rename("patch", kind="custom")
    assert "Patches." in body["tools"][3]["function"]["description"]
    assert "lark" in body["tools"][4]["function"]["description"]
    assert losses == [
        "approximated:tools",
        "approximated:tools.format",
        "approximated:tools",
        "approximated:tools.format",
        "approximated:tools",
        "dropped:cache",
    ]
    first, second, third = body["messages"][0]["tool_calls"]
    assert first["function"] == {"name": "patch", "arguments": '{"input":"x"}'}
    assert second["function"] == {"name": "maps__go", "arguments": "{}"}
    assert found.renames[third["function"]["name"]].name == "gone.away"


def test_custom_tools_are_native_at_openai() -> None:
    """With the grammar in chat's own nesting."""
    body, losses = written(foreign(HELLO, tools=(Tool("patch", "custom", format=GRAMMAR),)), "openai")
    assert losses == []
    assert body["tools"][0]["custom"]["format"]["grammar"] == {"definition": "a", "syntax": "lark"}


def test_allowed_tools_are_a_shorter_list_where_the_server_cannot_narrow() -> None:
    """It changes the cached prefix, so it is told."""
    tools = (Tool("a"), Tool("b"))
    for required, word in ((True, "required"), (False, "auto")):
        choice = ToolChoice("allowed", ("b",), required)
        body, losses = written(foreign(HELLO, tools=tools, tool_choice=choice), "groq")
        assert [tool["function"]["name"] for tool in body["tools"]] == ["b"]
        assert body["tool_choice"] == word
        assert losses == ["approximated:tool_choice"]
    native, _ = written(foreign(HELLO, tools=tools, tool_choice=ToolChoice("allowed", ("b",))), "openai")
    assert native["tool_choice"]["allowed_tools"]["mode"] == "auto"


@pytest.mark.parametrize(
    ("choice", "loss"), [(None, "dropped"), (ToolChoice("named", ("x",), kind="hosted"), "refused")]
)
def test_hosted_tools_of_others_are_dropped_or_refused(choice: ToolChoice | None, loss: str) -> None:
    """Refused where they must be called."""
    tools = (Tool("web_search_2", "hosted", dialect="messages", at="tools[0]"), Tool("a"))
    body, losses = written(foreign(HELLO, tools=tools, tool_choice=choice))
    assert len(body["tools"]) == 1
    assert losses == [f"{loss}:tools"]


def test_a_model_without_tools_refuses_them() -> None:
    """They change what is answered."""
    assert written(foreign(HELLO, tools=(Tool("a"),)), tools=False)[1] == ["refused:tools"]


def test_the_name_on_the_wire_is_that_of_the_abilities() -> None:
    """Empty: the client's."""
    assert b'"model":"real"' in write_request(read(USER), Abilities("real")).body
    assert b'"model":"m-1"' in write_request(read(USER), Abilities("")).body
