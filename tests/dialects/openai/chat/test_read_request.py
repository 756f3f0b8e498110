from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.dialects.node import ReadError
from flumegate.dialects.openai.chat import CODEC
from flumegate.dialects.openai.chat.read_request import read_request
from flumegate.ir.request import Output, Reasoning, ToolChoice
from rig.chat_codec import USER, read, written

SCHEMA = {"type": "object", "properties": {"way": {"type": "string"}}}

SETTINGS: dict[str, tuple[Any, str, Any]] = {
    "max_completion_tokens": (9, "max_output_tokens", 9),
    "max_tokens": (8, "max_output_tokens", 8),
    "temperature": (0.5, "temperature", 0.5),
    "top_p": (0.25, "top_p", 0.25),
    "top_k": (4, "top_k", 4),
    "min_p": (0.1, "min_p", 0.1),
    "repetition_penalty": (1.1, "repeat_penalty", 1.1),
    "repeat_penalty": (1.2, "repeat_penalty", 1.2),
    "stop": (["x"], "stop", ("x",)),
    "seed": (3, "seed", 3),
    "presence_penalty": (1.0, "presence_penalty", 1.0),
    "frequency_penalty": (-1.0, "frequency_penalty", -1.0),
    "n": (2, "candidates", 2),
    "logprobs": (True, "logprobs", True),
    "top_logprobs": (5, "top_logprobs", 5),
    "logit_bias": ({"7": 1}, "logit_bias", b'{"7": 1}'),
    "user": ("u-1", "user", "u-1"),
    "safety_identifier": ("u-2", "user", "u-2"),
    "metadata": ({"a": "b"}, "metadata", b'{"a": "b"}'),
    "service_tier": ("flex", "service_tier", "flex"),
    "prompt_cache_key": ("k", "cache_key", "k"),
    "store": (False, "store", False),
    "verbosity": ("low", "verbosity", "low"),
    "reasoning_effort": ("high", "reasoning", Reasoning("high")),
    "reasoning": ({"max_tokens": 5, "exclude": True}, "reasoning", Reasoning(budget_tokens=5, visible=False)),
    "response_format": ({"type": "json_object"}, "output", Output("json")),
    "parallel_tool_calls": (False, "parallel_tool_calls", False),
    "tool_choice": ("any", "tool_choice", ToolChoice("required")),
    "function_call": ("none", "tool_choice", ToolChoice("none")),
    "stream": (True, "stream", True),
    "stream_options": ({"include_usage": True}, "include_usage", True),
}
LEFT = {
    "audio": ({"voice": "v"}, True),
    "modalities": (["text", "audio"], True),
    "web_search_options": ({}, True),
    "moderation": ({"mode": "block"}, True),
    "prediction": ({"type": "content"}, False),
    "prompt_cache_options": ({"mode": "explicit"}, False),
    "prompt_cache_retention": ("24h", False),
    "unheard_of": (1, False),
    "response_format": ({"type": "grammar"}, True),
    "reasoning_effort": ("heroic", True),
    "reasoning": ({"effort": "heroic"}, True),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_its_place(name: str) -> None:
    """Every documented setting is read into the neutral field of its meaning, and nothing is left of it."""
    value, field, expected = SETTINGS[name]
    request = read(**{name: value})
    assert getattr(request, field) == expected
    assert request.extras is None


@pytest.mark.parametrize("name", LEFT)
def test_what_no_other_dialect_knows_is_left_over(name: str) -> None:
    """It is given back to its own dialect, and vital where the answer would be another one without it."""
    value, vital = LEFT[name]
    request = read(**{name: value})
    assert request.extras is not None
    assert request.extras.dialect == "chat"
    assert (name in request.extras.vital) is vital
    assert written(request) == ({"model": "m-1", "messages": [USER], name: value}, [])


@pytest.mark.parametrize("name", [*SETTINGS, *LEFT])
def test_null_is_absent(name: str) -> None:
    """An explicit null says nothing."""
    assert read(**{name: None}) == read()


def test_the_path_may_name_the_model() -> None:
    """Azure's deployments stand in the path, as does a stream elsewhere."""
    request = read_request(json.dumps({"messages": [USER]}).encode(), model="deployed", stream=True)
    assert (request.model, request.stream) == ("deployed", True)


def test_of_two_limits_the_new_one_counts() -> None:
    """The old one is left over, so that another dialect reports it."""
    request = read(max_tokens=5, max_completion_tokens=6)
    assert request.max_output_tokens == 6
    assert request.extras is not None
    assert list(request.extras.fields) == ["max_tokens"]


def test_text_as_the_only_modality_is_no_wish() -> None:
    """It is the default: dropped with a word, never refused."""
    extras = read(modalities=["text"]).extras
    assert extras is not None
    assert extras.vital == ()


def test_leftovers_of_inner_objects_come_back_in_their_place() -> None:
    """`stream_options` and schemas may carry members that we do not know."""
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True, "x": 1}, "y": 2}
    request = read(
        stream=True,
        stream_options={"include_usage": False, "include_obfuscation": False},
        response_format=form,
        reasoning={"effort": "low", "z": 3},
    )
    body, losses = written(request, "openrouter")
    assert losses == []
    assert body["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert body["response_format"] == form
    assert body["reasoning"] == {"effort": "low", "z": 3}
    assert request.output is not None
    assert (request.output.kind, request.output.name, request.output.strict) == ("schema", "n", True)


TOOL = {"type": "function", "function": {"name": "find", "description": "d", "parameters": SCHEMA, "strict": True}}
CUSTOM = {
    "type": "custom",
    "custom": {
        "name": "note",
        "description": "d",
        "format": {"type": "grammar", "grammar": {"definition": "a", "syntax": "lark"}},
    },
}
CHOICES: list[Any] = [
    "none",
    "auto",
    "required",
    {"type": "function", "function": {"name": "find"}},
    {"type": "custom", "custom": {"name": "note"}},
    {
        "type": "allowed_tools",
        "allowed_tools": {
            "mode": "required",
            "tools": [
                {"type": "function", "function": {"name": "find"}},
                {"type": "custom", "custom": {"name": "note"}},
            ],
        },
    },
    {"type": "web_search"},
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_tools_and_choices_come_back(choice: Any) -> None:
    """Functions, custom tools and hosted ones, whichever of them is chosen."""
    tools = [TOOL, CUSTOM | {"x": 1}, {"type": "web_search", "size": 2}, {"type": "custom", "custom": {"name": "any"}}]
    body, losses = written(read(tools=tools, tool_choice=choice, parallel_tool_calls=True))
    assert losses == []
    assert body["tools"] == tools
    assert body["tool_choice"] == choice


def test_the_old_form_is_read_as_the_new_one() -> None:
    """`functions`, `function_call` and the messages that belong to them; the answer shall have the old form too."""
    request = read(
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "find", "arguments": "{}"}},
        {"role": "function", "name": "find", "content": "left"},
        {"role": "function", "name": "lost", "content": "?"},
        functions=[{"name": "find", "parameters": SCHEMA}],
        function_call={"name": "find"},
    )
    body, losses = written(request, "vllm")
    assert losses == []
    assert body["tools"] == [{"type": "function", "function": {"name": "find", "parameters": SCHEMA}}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "find"}}
    _, call, result, lost = body["messages"]
    assert call["tool_calls"] == [{"id": "call_1", "type": "function", "function": {"name": "find", "arguments": "{}"}}]
    assert result == {"role": "tool", "tool_call_id": "call_1", "name": "find", "content": "left"}
    assert lost["tool_call_id"] == "call_lost"
    assert "functions" not in body


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": [{"content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "ghost"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].image_url"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].input_audio"),
    ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages[0].content[0].file"),
    (
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
        "messages[0].content[0].file.file_data",
    ),
    ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages[0].tool_calls[0].function"),
    ({"temperature": "hot"}, "temperature"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"tools": [{"type": "custom"}]}, "tools[0].custom"),
    ({"tool_choice": "perhaps"}, "tool_choice"),
    ({"function_call": "perhaps"}, "function_call"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"response_format": {}}, "response_format.type"),
]


@pytest.mark.parametrize(("members", "path"), FAULTS, ids=[path for _, path in FAULTS])
def test_a_fault_is_named_by_its_path(members: dict[str, Any], path: str) -> None:
    """The client learns which member is wrong."""
    with pytest.raises(ReadError) as raised:
        read_request(json.dumps({"model": "m", "messages": [USER]} | members).encode())
    assert raised.value.path == path


def test_settings_have_names_that_the_client_knows() -> None:
    """Losses are named in neutral words; the codec translates them."""
    for neutral, path in CODEC.names.items():
        name = path.partition(".")[0]
        assert name in SETTINGS
        assert SETTINGS[name][1] in (neutral.partition(".")[0], "include_usage")
