"""Requests read (read_request, read_items, read_parts, read_tools) and written (write_items, write_settings, …)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.node import ReadError
from flumegate.dialects.openai.responses.read_request import read_request
from flumegate.dialects.openai.responses.write_request import write_request
from flumegate.ir.parts import (
    CacheMark,
    Citation,
    Extras,
    Media,
    Opaque,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from flumegate.ir.request import Output, Reasoning, Request, Tool, ToolChoice, Turn
from flumegate.ir.seal import seal
from flumegate.ir.written import Abilities, Rename, Written

PNG = "data:image/png;base64,iVBORw0="
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}


def pruned(value: Any) -> Any:
    """Nulls and empty lists aside."""
    if isinstance(value, dict):
        return {key: pruned(one) for key, one in value.items() if one is not None and one != []}
    return [pruned(one) for one in value] if isinstance(value, list) else value


def read(**members: Any) -> Request:
    return read_request(json.dumps({"model": "river-1", "input": "Hello", **members}).encode())


def codes(written: Written) -> list[str]:
    return [loss.code for loss in written.losses]


def write(request: Request, **abilities: Any) -> tuple[dict[str, Any], list[str]]:
    written = write_request(request, Abilities("river-1", **abilities))
    return json.loads(written.body), codes(written)


def foreign(*turns: Turn, **settings: Any) -> Request:
    return Request(dialect="chat", model="m", turns=turns, **settings)


def said(*parts: Any, role: Any = "user", at: str = "messages[0]", **more: Any) -> Turn:
    return Turn(role, parts, at=at, **more)


AGENT: dict[str, Any] = {
    "model": "river-1",
    "instructions": "You work on a repository.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandbox: read-only."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List the files."}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Look."}], "encrypted_content": "gAAA1"},
        {"type": "function_call", "call_id": "call_1", "name": "shell", "arguments": '{"command":["ls"]}'},
        {"type": "function_call", "call_id": "call_2", "name": "open", "namespace": "files", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "a.txt"},
        {
            "type": "function_call_output",
            "call_id": "call_2",
            "output": [{"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": PNG}],
        },
        {"type": "custom_tool_call", "call_id": "call_3", "name": "apply_patch", "input": "*** Begin", "id": "ctc_1"},
        {"type": "custom_tool_call_output", "call_id": "call_3", "output": "done", "status": "completed"},
        {
            "type": "message",
            "role": "assistant",
            "id": "msg_1",
            "phase": "commentary",
            "content": [
                {
                    "type": "output_text",
                    "text": "One file.",
                    "annotations": [
                        {"type": "url_citation", "start_index": 0, "end_index": 3, "url": "https://a", "title": "A"},
                        {"type": "file_citation", "file_id": "file_1", "filename": "a.txt", "index": 2},
                    ],
                    "logprobs": [{"token": "One", "logprob": -0.5, "bytes": [79], "top_logprobs": []}],
                },
                {"type": "refusal", "refusal": "Not more."},
            ],
        },
    ],
    "tools": [
        {"type": "function", "name": "shell", "description": "Runs.", "strict": False, "parameters": SCHEMA},
        {"type": "function", "name": "later", "defer_loading": True},
        {
            "type": "namespace",
            "name": "files",
            "description": "Files.",
            "tools": [
                {"type": "function", "name": "open", "strict": True, "parameters": SCHEMA},
                {"type": "function", "name": "shut", "parameters": SCHEMA},
            ],
        },
        {"type": "namespace", "name": "bare", "tools": [{"type": "web_search"}]},
        {"type": "namespace", "name": "void", "tools": []},
        {"type": "web_search", "external_web_access": False},
        {
            "type": "custom",
            "name": "apply_patch",
            "description": "Edits.",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
        },
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "high", "summary": "auto", "context": "all_turns"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "thread-1",
    "text": {"verbosity": "low"},
    "client_metadata": {"installation": "abc"},
}
SETTINGS: list[dict[str, Any]] = [
    {"max_output_tokens": 5, "temperature": 0.5, "top_p": 1, "top_logprobs": 3, "max_tool_calls": 2},
    {"metadata": {"a": "b"}, "service_tier": "flex", "safety_identifier": "u1", "user": "u2", "truncation": "auto"},
    {"presence_penalty": 0.5, "frequency_penalty": 0, "stream_options": {"include_obfuscation": False}},
    {"background": True, "previous_response_id": "resp_1", "moderation": {"model": "m"}},
    {"background": False, "conversation": {"id": "conv_1"}, "prompt": {"id": "p"}, "context_management": [{"a": 1}]},
    {"text": {"format": {"type": "text"}}},
    {"text": {"format": {"type": "json_object"}, "future": 1}},
    {"text": {"format": {"type": "json_schema"}}},
    {"text": {"format": {"type": "grammar", "grammar": "x"}}},
    {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True, "description": "d"}}},
    {"include": ["message.output_text.logprobs"]},
    {"include": ["reasoning.encrypted_content", "message.output_text.logprobs"]},
    {"include": ["file_search_call.results"], "tools": [{"type": "file_search", "vector_store_ids": ["v"]}]},
    {"include": ["web_search_call.action.sources", "reasoning.encrypted_content"]},
    {"reasoning": {"effort": "turbo"}},
    {"reasoning": {}},
    {"tool_choice": "none"},
    {"tool_choice": "required"},
    {"tool_choice": {"type": "function", "name": "f"}},
    {"tool_choice": {"type": "function", "name": "f", "namespace": "files"}},
    {"tool_choice": {"type": "custom", "name": "c"}},
    {"tool_choice": {"type": "web_search_preview"}},
    {"tool_choice": {"type": "mcp", "server_label": "s", "name": "n"}},
    {
        "tools": [{"type": "custom", "name": "c"}, {"type": "function", "name": "f"}],
        "tool_choice": {
            "type": "allowed_tools",
            "mode": "required",
            "tools": [{"type": "custom", "name": "c"}, {"type": "function", "name": "f"}],
        },
    },
    {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "s"}]}},
    {"input": [{"id": "msg_9", "type": "item_reference"}, {"type": "compaction", "encrypted_content": "x"}]},
    {"input": [{"type": "additional_tools", "role": "developer", "tools": [{"type": "web_search"}]}]},
    {"input": [{"type": "web_search_call", "id": "ws_1", "status": "completed"}]},
    {"input": [{"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "x"}]}]},
    {"input": [{"type": "message", "role": "critic", "content": "x"}]},
    {"input": [{"type": "message", "role": "user", "content": []}]},
    {"input": [{"type": "message", "role": "system", "content": "Be brief."}]},
    {
        "input": [
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "a"}]}
        ]
    },
    {
        "input": [
            {
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "s"}],
                "content": [{"type": "reasoning_text", "text": "a"}],
            },
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s", "future": 1}]},
            {"type": "reasoning", "summary": [], "content": [{"type": "other_text", "text": "a", "future": 1}]},
        ]
    },
    {
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
                    {"type": "input_text", "text": "b", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
                    {"type": "input_text", "text": "c", "prompt_cache_breakpoint": {"mode": "other"}},
                    {"type": "input_image", "image_url": "https://a/b.png", "detail": "low"},
                    {"type": "input_image", "file_id": "file_1", "future": 1},
                    {"type": "input_image", "image_url": "data:text,notbase64"},
                    {"type": "input_image"},
                    {"type": "input_file", "file_id": "file_2"},
                    {"type": "input_file", "file_url": "https://a/b.pdf"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "JVBE"},
                    {"type": "input_file"},
                    {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}},
                    {"type": "input_hologram", "x": [1.5, {"y": None}]},
                ],
            }
        ]
    },
]


@pytest.mark.parametrize("members", [AGENT, *SETTINGS], ids=lambda one: ",".join(one)[:60])
def test_a_request_stays_what_it_was(members: dict[str, Any]) -> None:
    """Read and written, it is the same JSON, and nothing is reported."""
    body = {"model": "river-1", "input": "Hello", **members}
    request = read_request(json.dumps(body).encode())
    written = write_request(request, Abilities("river-1"))
    assert written.losses == ()
    assert pruned(json.loads(written.body)) == pruned(body)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (
            {"input": [{"role": "user", "content": "x"}]},
            {"input": [{"type": "message", "role": "user", "content": "x"}]},
        ),
        ({"input": [{"id": "msg_9"}]}, {"input": [{"id": "msg_9"}]}),
        ({"user": "u"}, {"safety_identifier": "u"}),
        ({"include": []}, {}),
        ({"stream": False, "instructions": None}, {}),
        (
            {"input": [{"type": "message", "role": "assistant", "content": [{"type": "text", "text": "x"}]}]},
            {"input": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}]},
        ),
        ({"input": None}, {"input": None}),
    ],
)
def test_documented_normalisations(given: dict[str, Any], written: dict[str, Any]) -> None:
    """Messages get their type, `user` its new name, defaults and empty lists are left out."""
    assert pruned(write(read(**given))[0]) == pruned({"model": "river-1", "input": "Hello", **written})


def test_what_the_neutral_form_says_of_an_agents_request() -> None:
    """Everything that another dialect can say has left the extras."""
    request = read_request(json.dumps(AGENT).encode())
    assert [turn.role for turn in request.turns[:3]] == ["system", "developer", "user"]
    assert request.turns[1].parts == (Text("Sandbox: read-only.", at="input[0].content[0]"),)
    assert [type(turn.parts[0]).__name__ for turn in request.turns[3:]] == [
        "Thinking",
        "ToolCall",
        "ToolCall",
        "ToolResult",
        "ToolResult",
        "ToolCall",
        "ToolResult",
        "Text",
    ]
    thinking = request.turns[3].parts[0]
    assert isinstance(thinking, Thinking)
    assert (thinking.texts, thinking.signature, thinking.origin) == (("Look.",), "gAAA1", "responses")
    assert [(tool.namespace, tool.name, tool.kind) for tool in request.tools] == [
        ("", "shell", "function"),
        ("", "later", "function"),
        ("files", "open", "function"),
        ("files", "shut", "function"),
        ("bare", "web_search", "hosted"),
        ("", "namespace", "hosted"),
        ("", "web_search", "hosted"),
        ("", "apply_patch", "custom"),
    ]
    assert request.reasoning is not None
    assert (request.reasoning.encrypted, request.reasoning.visible, request.reasoning.effort) == (True, True, "high")
    assert request.extras is not None
    assert list(request.extras.fields) == ["client_metadata"]
    assert request.extras.vital == ()
    assert (request.cache_key, request.store, request.stream, request.verbosity) == ("thread-1", False, True, "low")


@pytest.mark.parametrize(
    ("members", "vital"),
    [
        ({"previous_response_id": "r"}, {"previous_response_id"}),
        ({"conversation": "c"}, {"conversation"}),
        ({"prompt": {"id": "p"}}, {"prompt"}),
        ({"context_management": [{"type": "compaction"}]}, {"context_management"}),
        ({"background": True}, {"background"}),
        ({"background": False, "truncation": "auto", "max_tool_calls": 1}, set()),
        ({"include": ["file_search_call.results"]}, set()),
        ({"include": ["file_search_call.results"], "tools": [{"type": "file_search"}]}, {"include"}),
        ({"text": {"format": {"type": "grammar"}}}, {"text"}),
    ],
)
def test_what_another_dialect_must_refuse_is_vital(members: dict[str, Any], vital: set[str]) -> None:
    extras = read(**members).extras
    assert set(extras.vital if extras is not None else ()) == vital


@pytest.mark.parametrize(
    ("item", "vital", "role"),
    [
        ({"type": "item_reference", "id": "x"}, True, "assistant"),
        ({"type": "web_search_call"}, False, "assistant"),
        ({"type": "tool_search_output"}, False, "tool"),
        ({"type": "computer_call_output"}, True, "tool"),
        ({"type": "additional_tools", "role": "developer"}, True, "developer"),
    ],
)
def test_items_of_this_dialect_alone_are_kept_whole(item: dict[str, Any], vital: bool, role: str) -> None:
    turn = read(input=[item]).turns[0]
    part = turn.parts[0]
    assert isinstance(part, Opaque)
    assert (json.loads(part.raw), part.vital, part.at, turn.role) == (item, vital, "input[0]", role)


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"input": 5}, "input"),
        ({"input": [5]}, "input[0]"),
        ({"input": [{}]}, "input[0].type"),
        ({"input": [{"type": "message", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": 5}]}]}, "input[0].content[0].text"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name"),
        ({"input": [{"type": "reasoning", "summary": [{"text": 5}]}]}, "input[0].summary[0].text"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [{"type": "namespace", "tools": [{"type": "function"}]}]}, "tools[0].tools[0].name"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"temperature": "hot"}, "temperature"),
        ({"text": {"format": {}}}, "text.format.type"),
    ],
)
def test_a_wrong_member_is_named(members: dict[str, Any], path: str) -> None:
    with pytest.raises(ReadError) as caught:
        read(**members)
    assert caught.value.path == path


def test_the_path_may_tell_model_and_stream() -> None:
    request = read_request(b'{"input":"x"}', model="m", stream=True)
    assert (request.model, request.stream) == ("m", True)


def test_state_of_another_provider_comes_back_under_its_name() -> None:
    """What a writer of answers sealed, the reader of the next request opens."""
    sealed = seal("sig", "messages", own="responses", redacted=True)
    request = read(input=[{"type": "reasoning", "summary": [], "encrypted_content": sealed}])
    thinking = request.turns[0].parts[0]
    assert isinstance(thinking, Thinking)
    assert (thinking.signature, thinking.origin, thinking.redacted) == ("sig", "messages", True)
    body, losses = write(request)
    assert body["input"] == []
    assert losses == ["dropped:reasoning"]


def test_a_conversation_of_another_dialect_becomes_items_in_order() -> None:
    """One turn of several parts is several items; nothing moves."""
    body, losses = write(
        foreign(
            said(Text("Be brief.", at="a"), role="system", plain=True),
            said(Text("Look", at="b"), Media("image", data="/9j/AA", at="c", detail="low")),
            said(
                Thinking(("hm",), "sig", "messages", at="d"),
                Text("On it."),
                ToolCall("call 1", "find"),
                Text("And."),
                ToolCall("c2", "patch", "text", "custom", signature="s", origin="gemini"),
                Refusal("no"),
                role="assistant",
            ),
            said(
                ToolResult("call 1", (Text("found"),), is_error=True, at="messages[3]"),
                ToolResult("c2", (), at="messages[4]"),
                Text("next"),
                role="tool",
            ),
            said(role="assistant"),
        )
    )
    assert [item.get("role") or item["type"] for item in body["input"]] == [
        "system",
        "user",
        "assistant",
        "function_call",
        "assistant",
        "custom_tool_call",
        "assistant",
        "function_call_output",
        "custom_tool_call_output",
        "user",
    ]
    assert body["input"][0]["content"] == "Be brief."
    assert body["input"][1]["content"][1] == {
        "type": "input_image",
        "image_url": "data:image/jpeg;base64,/9j/AA",
        "detail": "low",
    }
    call, result = body["input"][3], body["input"][7]
    assert call["arguments"] == "{}"
    assert call["call_id"] == result["call_id"] != "call 1"
    assert result["output"] == [{"type": "input_text", "text": "Error: "}, {"type": "input_text", "text": "found"}]
    assert body["input"][8]["output"] == ""
    assert body["store"] is False
    assert losses == ["dropped:reasoning", "approximated:messages.is_error"]


PARTS: list[tuple[Any, str, list[str]]] = [
    (Media("audio", "audio/wav", "AA", at="p"), "user", ["refused:p"]),
    (Media("image", file_id="f", dialect="messages", at="p"), "user", ["refused:p"]),
    (Media("image", url="https://a/b.png", at="p"), "assistant", ["refused:p"]),
    (Media("file", text="plain words", at="p"), "user", ["approximated:p"]),
    (Media("file", "application/pdf", "JVBE", at="p"), "user", ["invented:p.filename"]),
    (Media("file", "application/pdf", "JVBE", filename="a.pdf", at="p"), "user", []),
    (Media("image", data="AAAA", extras=Extras("messages", {"x": msgspec.Raw(b"1")}), at="p"), "user", ["dropped:p.x"]),
    (Opaque("messages", "search_result", b"{}", at="p"), "user", ["refused:p"]),
    (Opaque("messages", "server_tool_use", b"{}", vital=False, at="p"), "assistant", ["dropped:p"]),
    (Text("x", cache=CacheMark("5m"), at="p"), "user", ["dropped:cache"]),
    (Text("x", (Citation("https://a", "A", quote="q"),), at="p"), "assistant", ["dropped:p.annotations.quote"]),
    (Text("x", (Citation(title="Paper"),), at="p"), "assistant", ["dropped:p.annotations"]),
    (ToolCall("c", "f", cache=CacheMark(), at="p"), "assistant", ["dropped:cache"]),
    (ToolResult("c", (ToolCall("d", "g"),), at="p"), "tool", ["refused:p"]),
    (ToolResult("c", (Media("audio", data="x", at="p"),)), "tool", ["refused:p"]),
]


@pytest.mark.parametrize(("part", "role", "losses"), PARTS)
def test_what_cannot_be_said_is_reported_with_its_place(part: Any, role: Any, losses: list[str]) -> None:
    assert write(foreign(said(part, role=role)))[1] == losses


def test_cache_breakpoints_go_to_the_vendor_itself() -> None:
    body, losses = write(foreign(said(Text("x", cache=CacheMark("1h")), Text("y", cache=CacheMark()))), server="openai")
    marks = [part["prompt_cache_breakpoint"] for part in body["input"][0]["content"]]
    assert marks == [{"mode": "explicit", "ttl": "1h"}, {"mode": "explicit"}]
    assert losses == []


FATES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], list[str]]] = [
    (
        {"seed": 1, "top_k": 2, "min_p": 0.1, "repeat_penalty": 1.1},
        {},
        {},
        ["top_k", "min_p", "seed", "repeat_penalty"],
    ),
    ({"presence_penalty": 1.0, "frequency_penalty": 1.0}, {}, {}, ["presence_penalty", "frequency_penalty"]),
    ({"logit_bias": b"{}", "cache": CacheMark()}, {}, {}, ["logit_bias", "cache"]),
    ({"stop": ("x",)}, {}, {}, ["refused:stop"]),
    ({"stop": ("",)}, {}, {}, []),
    ({"candidates": 2}, {}, {}, ["refused:candidates"]),
    ({"candidates": 1}, {}, {}, []),
    ({"temperature": 0.1, "top_p": 0.2}, {}, {"temperature": 0.1, "top_p": 0.2}, []),
    ({"temperature": 0.1, "top_p": 0.2}, {"sampling": False}, {}, ["temperature", "top_p"]),
    ({"temperature": 0.1, "top_p": 0.2}, {"temperature_and_top_p": False}, {"temperature": 0.1}, ["top_p"]),
    ({"max_output_tokens": 3}, {}, {"max_output_tokens": 16}, ["approximated:max_output_tokens"]),
    (
        {"max_output_tokens": 99},
        {"max_output_tokens": 50},
        {"max_output_tokens": 50},
        ["approximated:max_output_tokens"],
    ),
    ({"max_output_tokens": 99}, {}, {"max_output_tokens": 99}, []),
    ({"service_tier": "standard_only"}, {}, {}, ["service_tier"]),
    ({"service_tier": "priority"}, {}, {"service_tier": "priority"}, []),
    ({"store": True}, {}, {"store": True}, []),
    ({"user": "u", "metadata": b'{"a":"b"}'}, {}, {"safety_identifier": "u", "metadata": {"a": "b"}}, []),
    ({"logprobs": True, "top_logprobs": 2}, {}, {"include": ["message.output_text.logprobs"], "top_logprobs": 2}, []),
    ({"output": Output("json")}, {}, {"text": {"format": {"type": "json_object"}}}, []),
    (
        {"output": Output("schema", schema=b"{}")},
        {"json_schema": False},
        {"text": {"format": {"type": "json_schema", "name": "answer", "schema": {}}}},
        ["refused:output", "invented:output.name"],
    ),
    ({"reasoning": Reasoning("xhigh")}, {"efforts": ("low", "high")}, {"reasoning": {"effort": "high"}}, ["~effort"]),
    ({"reasoning": Reasoning("high")}, {"efforts": ()}, {}, ["reasoning.effort"]),
    ({"reasoning": Reasoning("none")}, {"efforts": ()}, {}, []),
    ({"reasoning": Reasoning(budget_tokens=2000)}, {}, {"reasoning": {"effort": "low"}}, ["~budget_tokens"]),
    ({"reasoning": Reasoning(budget_tokens=9000)}, {}, {"reasoning": {"effort": "high"}}, ["~budget_tokens"]),
    ({"reasoning": Reasoning(budget_tokens=90000)}, {}, {"reasoning": {"effort": "xhigh"}}, ["~budget_tokens"]),
    ({"reasoning": Reasoning(enabled=False, visible=True)}, {}, {"reasoning": {"effort": "none"}}, []),
    ({"reasoning": Reasoning(enabled=True, visible=True)}, {}, {"reasoning": {"summary": "auto"}}, []),
    ({"reasoning": Reasoning(encrypted=True)}, {}, {"include": ["reasoning.encrypted_content"]}, []),
    ({"tool_choice": ToolChoice("auto"), "parallel_tool_calls": False}, {}, {}, []),
    ({"extras": Extras("chat", {"prediction": msgspec.Raw(b"{}")})}, {}, {}, ["prediction"]),
]


@pytest.mark.parametrize(("settings", "abilities", "written", "losses"), FATES)
def test_every_setting_has_a_fate(
    settings: dict[str, Any], abilities: dict[str, Any], written: dict[str, Any], losses: list[str]
) -> None:
    body, found = write(foreign(said(Text("x"), plain=True), **settings), **abilities)
    usual = {"model": "river-1", "store": False, "input": [{"type": "message", "role": "user", "content": "x"}]}
    assert body == usual | written
    expected = [
        one.replace("~", "approximated:reasoning.") if "~" in one else one if ":" in one else f"dropped:{one}"
        for one in losses
    ]
    assert found == expected


def test_tools_of_another_dialect() -> None:
    """Loose stays loose, missing parameters are an empty object, and unsafe names are undone in the answer."""
    tools = (
        Tool("find.all", description="d", extras=Extras("messages", {"e": msgspec.Raw(b"1")}), at="tools[0]"),
        Tool("grep", "custom"),
        Tool("bash_2025", "hosted", dialect="messages", at="tools[2]"),
    )
    request = foreign(
        said(ToolCall("c", "find.all", "{}"), role="assistant"),
        tools=tools,
        tool_choice=ToolChoice("allowed", ("find.all", "grep"), required=True),
        parallel_tool_calls=False,
    )
    written = write_request(request, Abilities("m"))
    body = json.loads(written.body)
    name = body["tools"][0]["name"]
    assert written.renames == {name: Rename("find.all")}
    assert body["tools"] == [
        {
            "type": "function",
            "name": name,
            "description": "d",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
        {"type": "custom", "name": "grep"},
    ]
    assert body["input"][0]["name"] == name
    assert body["parallel_tool_calls"] is False
    allowed = [{"type": "function", "name": name}, {"type": "custom", "name": "grep"}]
    assert body["tool_choice"] == {"type": "allowed_tools", "mode": "required", "tools": allowed}
    assert codes(written) == ["dropped:tools.e", "dropped:tools"]


@pytest.mark.parametrize(
    "choice", [ToolChoice("required"), ToolChoice("named", ("bash_2025",), kind="hosted")], ids=["any", "named"]
)
def test_a_hosted_tool_that_must_be_called_cannot_be_left_out(choice: ToolChoice) -> None:
    tool = Tool("bash_2025", "hosted", dialect="messages", at="tools[0]")
    lost = write(foreign(said(Text("x")), tools=(tool,), tool_choice=choice))[1]
    assert lost == ["refused:tools", "refused:tool_choice"]


def test_a_choice_by_another_name_is_refused_with_its_tool() -> None:
    tool = Tool("bash_2025", "hosted", dialect="messages", at="tools[0]")
    choice = ToolChoice("named", ("bash",))
    lost = write(foreign(said(Text("x")), tools=(tool,), tool_choice=choice))[1]
    assert lost == ["dropped:tools", "refused:tool_choice"]


@pytest.mark.parametrize(
    ("abilities", "losses"),
    [
        ({"tools": False}, ["refused:tools"]),
        ({"images": False}, ["refused:i"]),
        ({"files": False}, ["refused:f"]),
        ({"developer_role": False}, ["approximated:messages.role"]),
    ],
)
def test_what_a_model_cannot_do(abilities: dict[str, Any], losses: list[str]) -> None:
    request = foreign(
        said(Text("x"), role="developer", name=""),
        said(Media("image", url="u", at="i"), Media("file", url="u", at="f"), Media("file", text="t", at="t")),
        tools=(Tool("f"),),
    )
    assert sorted(write(request, **abilities)[1]) == sorted([*losses, "approximated:t"])


def test_speakers_have_no_names() -> None:
    assert write(foreign(said(Text("x"), name="Ann")))[1] == ["dropped:messages.name"]


def test_a_call_without_result_is_named() -> None:
    """The API would refuse it in its own words; the client gets a path in its own document."""
    calls = said(ToolCall("c1", "f", at="a"), ToolCall("c2", "f", at="b"), role="assistant")
    results = said(ToolResult("c1", plain=True), role="tool")
    note = said(Text("note"), role="system")
    written = write_request(foreign(calls, note, results, said(Text("next"))), Abilities("m"))
    assert [(loss.kind, loss.path, loss.reason) for loss in written.losses] == [
        ("refused", "b", "These tool calls have no result: c2.")
    ]
