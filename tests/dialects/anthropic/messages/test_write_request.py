"""Requests of other dialects as Messages: write_turns, write_blocks, write_tools, write_thinking, draft, schema."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.anthropic.messages.write_request import MAX_TOKENS, write_count, write_request
from flumegate.ir.parts import (
    CacheMark,
    Citation,
    Extras,
    Media,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from flumegate.ir.request import Output, Reasoning, Request, Role, Tool, ToolChoice, Turn
from flumegate.ir.written import Abilities, Rename, Written

HI = Turn("user", (Text("Hi", at="messages[0]"),), plain=True, at="messages[0]")
LOOK = Tool("look", parameters=b'{"type":"object"}', at="tools[0]")
FOREIGN = Extras("chat", {"odd": msgspec.Raw(b"1"), "heavy": msgspec.Raw(b"2")}, ("heavy",))
OLD = Abilities("m", thinking_budget=True, adaptive_thinking=False)
NEW = Abilities("m", thinking_budget=False, adaptive_thinking=True, efforts=("low", "medium", "high", "max"))


def write(abilities: Abilities | None = None, **fields: Any) -> Written:
    usual: dict[str, Any] = {"turns": (HI,), "max_output_tokens": 4_000, "dialect": "chat", "model": "client-name"}
    return write_request(Request(**(usual | fields)), abilities or Abilities("m"))


def body(written: Written) -> Any:
    return json.loads(written.body)


def codes(written: Written) -> list[str]:
    return [loss.code for loss in written.losses]


def messages(*turns: Turn, abilities: Abilities | None = None) -> tuple[list[Any], list[str]]:
    written = write(abilities, turns=turns)
    return body(written)["messages"], codes(written)


def block(part: Part, *, role: Role = "user", abilities: Abilities | None = None) -> tuple[Any, list[str]]:
    """Return what a part becomes, and what is lost; None = nothing."""
    turns = (Turn(role, (Text("a"), part), at="messages[0]"), Turn("user", (Text("b"),), at="messages[1]"))
    content = body(written := write(abilities, turns=turns))["messages"][0]["content"]
    return (content[1] if len(content) > 1 and content[1] != {"type": "text", "text": "b"} else None), codes(written)


def test_the_least_request() -> None:
    """The model is the provider's, the limit the client's, and nothing else is said."""
    written = write()
    assert body(written) == {"model": "m", "max_tokens": 4_000, "messages": [{"role": "user", "content": "Hi"}]}
    assert written.losses == ()


def test_the_answer_to_a_count() -> None:
    """As `count_tokens` gives it."""
    assert json.loads(write_count(12)) == {"input_tokens": 12}


@pytest.mark.parametrize(
    ("wish", "most", "limit", "lost"),
    [
        (5, None, 5, []),
        (5, 9, 5, []),
        (0, 9, 0, []),
        (10, 9, 9, ["approximated:max_output_tokens"]),
        (None, 64_000, 64_000, []),
        (None, None, MAX_TOKENS, ["invented:max_output_tokens"]),
    ],
)
def test_the_limit_is_never_made_small(wish: int | None, most: int | None, limit: int, lost: list[str]) -> None:
    """Case 20: the client's limit, else all that the model can say, else a large number."""
    written = write(Abilities("m", max_output_tokens=most), max_output_tokens=wish)
    assert body(written)["max_tokens"] == limit
    assert codes(written) == lost


@pytest.mark.parametrize(
    ("fields", "expected", "lost"),
    [
        ({"temperature": 0.5, "top_p": 0.5, "top_k": 3}, {"temperature": 0.5, "top_p": 0.5, "top_k": 3}, []),
        ({"temperature": 1.5}, {"temperature": 1.0}, ["approximated:temperature"]),
        ({"stream": True}, {"stream": True}, []),
        ({"stop": ("END", " ", "")}, {"stop_sequences": ["END"]}, ["dropped:stop"]),
        ({"stop": ("\n",)}, {}, ["dropped:stop"]),
        ({"user": "u-1"}, {"metadata": {"user_id": "u-1"}}, []),
        (
            {"user": "a@b.example"},
            {"metadata": {"user_id": hashlib.sha256(b"a@b.example").hexdigest()}},
            ["approximated:user"],
        ),
        (
            {"user": "u" * 65},
            {"metadata": {"user_id": hashlib.sha256(b"u" * 65).hexdigest()}},
            ["approximated:user"],
        ),
        ({"cache": CacheMark("1h")}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}, []),
        ({"service_tier": "auto"}, {"service_tier": "auto"}, []),
        ({"service_tier": "flex"}, {}, ["dropped:service_tier"]),
        ({"candidates": 1, "logprobs": False, "top_logprobs": 0}, {}, []),
        ({"candidates": 2}, {}, ["refused:candidates"]),
        ({"logprobs": True, "top_logprobs": 2}, {}, ["refused:logprobs", "refused:top_logprobs"]),
        ({"seed": 0}, {}, ["dropped:seed"]),
        ({"presence_penalty": 0.0}, {}, ["dropped:presence_penalty"]),
        ({"frequency_penalty": 1.0}, {}, ["dropped:frequency_penalty"]),
        ({"repeat_penalty": 1.1, "min_p": 0.1}, {}, ["dropped:min_p", "dropped:repeat_penalty"]),
        ({"logit_bias": b'{"1":1}', "metadata": b'{"a":"b"}'}, {}, ["dropped:logit_bias", "dropped:metadata"]),
        ({"verbosity": "low", "cache_key": "k"}, {}, ["dropped:verbosity", "dropped:cache_key"]),
        ({"store": False}, {}, ["dropped:store"]),
        ({"extras": FOREIGN}, {}, ["dropped:odd", "refused:heavy"]),
        ({"include_usage": True}, {}, []),
    ],
    ids=str,
)  # fmt: skip
def test_settings(fields: dict[str, Any], expected: dict[str, Any], lost: list[str]) -> None:
    """Each setting is said, or its loss bears its neutral name."""
    written = write(**fields)
    assert {
        name: value for name, value in body(written).items() if name not in ("model", "max_tokens", "messages")
    } == (expected)
    assert codes(written) == lost


@pytest.mark.parametrize(
    ("abilities", "kept", "lost"),
    [
        (Abilities("m", sampling=False), set(), ["dropped:temperature", "dropped:top_p", "dropped:top_k"]),
        (Abilities("m", temperature_and_top_p=False), {"temperature", "top_k"}, ["dropped:top_p"]),
    ],
)
def test_sampling_by_what_the_model_takes(abilities: Abilities, kept: set[str], lost: list[str]) -> None:
    """Case 22: models that refuse sampling, and those that take one setting of two."""
    written = write(abilities, temperature=0.5, top_p=0.97, top_k=3)
    assert kept == {"temperature", "top_p", "top_k"} & set(body(written))
    assert codes(written) == lost


def test_one_of_two_is_no_conflict() -> None:
    """A model that takes either takes top_p alone."""
    assert body(write(Abilities("m", temperature_and_top_p=False), top_p=0.5))["top_p"] == 0.5


# Turns


def test_the_leading_system_run_becomes_blocks() -> None:
    """One block a message, marks kept; a single plain one stays a string."""
    first = Turn("system", (Text("One."),), plain=True, at="messages[0]")
    second = Turn("developer", (Text("Two.", cache=CacheMark()),), at="messages[1]", name="n", extras=FOREIGN)
    written = write(turns=(first, second, HI))
    assert body(written)["system"] == [
        {"type": "text", "text": "One."},
        {"type": "text", "text": "Two.", "cache_control": {"type": "ephemeral"}},
    ]
    assert codes(written) == ["dropped:messages.odd", "refused:messages.heavy", "dropped:messages.name"]
    assert body(write(turns=(first, HI)))["system"] == "One."
    assert "system" not in body(write(turns=(Turn("system", (Text(""),), at="messages[0]"), HI)))


def test_a_system_holds_text_only() -> None:
    """A picture among the instructions cannot be said."""
    written = write(turns=(Turn("system", (Media("image", url="https://a.example"),), at="messages[0]"), HI))
    assert codes(written) == ["refused:messages"]


def test_a_later_system_message_stays_where_it_is() -> None:
    """Case 19: never hoisted; as its own role where the model takes it, else marked, behind tool results."""
    call = Turn("assistant", (ToolCall("c1", "look"),), at="messages[1]")
    note = Turn("developer", (Text("Mind."), Opaque("messages", "x", b'{"type":"x"}')), at="messages[2]")
    result = Turn("tool", (ToolResult("c1", (Text("ok"),), plain=True),), at="messages[3]")
    after = Turn("system", (Text("Later."),), plain=True, at="messages[4]")
    written, lost = messages(HI, call, note, result, after, abilities=Abilities("m", system_anywhere=True))
    assert [message["role"] for message in written] == ["user", "assistant", "user", "system", "system"]
    assert written[4]["content"] == "Later."
    assert lost == []
    written, lost = messages(HI, call, note, result, after)
    assert [message["role"] for message in written] == ["user", "assistant", "user"]
    assert [part.get("type") for part in written[2]["content"]] == ["tool_result", "text", "x", "text"]
    assert written[2]["content"][1]["text"] == "<system>\nMind.\n</system>"
    assert lost == ["approximated:messages", "approximated:messages"]


def test_a_system_message_behind_calls_without_results_is_not_lost() -> None:
    """It keeps its place when nothing answers the calls, also at the end."""
    able = Abilities("m", system_anywhere=True)
    call = Turn("assistant", (ToolCall("c1", "look"),), at="messages[1]")
    note = Turn("system", (Text("Mind."),), at="messages[2]")
    written, lost = messages(HI, call, note, HI, abilities=able)
    assert [message["role"] for message in written] == ["user", "assistant", "system", "user"]
    assert lost == ["refused:messages"]
    written, _ = messages(HI, call, note, abilities=able)
    assert [message["role"] for message in written] == ["user", "assistant", "system"]


def test_results_stand_together_and_first() -> None:
    """Case 18: all results of a turn in the next user message, text behind them."""
    calls = Turn("assistant", (ToolCall("c1", "look"), ToolCall("c2", "look")), at="messages[1]")
    user = Turn("user", (Text("And?"),), at="messages[2]")
    one = Turn("tool", (ToolResult("c1", (Text("1"),), plain=True),), at="messages[3]")
    two = Turn("tool", (ToolResult("c2", (Text(" "),), is_error=True),), at="messages[4]")
    written, lost = messages(HI, calls, user, one, two)
    assert written[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "c1", "content": "1"},
        {"type": "tool_result", "tool_use_id": "c2", "is_error": True},
        {"type": "text", "text": "And?"},
    ]
    assert lost == []


def test_calls_without_a_result_are_refused_by_name() -> None:
    """The reason names the ids."""
    calls = Turn("assistant", (ToolCall("c1", "look", at="messages[1].tool_calls[0]"),), at="messages[1]")
    written = write(turns=(HI, calls, HI))
    assert codes(written) == ["refused:messages.tool_calls"]
    assert "c1" in written.losses[0].reason


def test_nothing_empty_is_sent() -> None:
    """Blank texts and empty messages are left out; a request without any message is refused."""
    empty = Turn("assistant", (Text(""),), plain=True, at="messages[1]")
    blank = Turn("user", (Text(" "), Text("x")), at="messages[2]")
    written, lost = messages(HI, empty, blank)
    assert written == [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "x"}]}]
    assert lost == ["dropped:messages", "dropped:messages"]
    assert messages(empty) == ([], ["dropped:messages", "refused:messages"])


def test_a_beginning_of_the_answer() -> None:
    """Prefill: sent without white space at its end, refused where the model does not continue it."""
    start = Turn("assistant", (Text("Well, "),), plain=True, at="messages[1]")
    assert messages(HI, start)[0][1] == {"role": "assistant", "content": "Well,"}
    assert messages(HI, start)[1] == ["approximated:messages"]
    assert messages(HI, start, abilities=Abilities("m", prefill=False))[1][0] == "refused:messages"
    tight = Turn("assistant", (Text("Well,"),), plain=True, at="messages[1]")
    assert messages(HI, tight) == ([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well,"}], [])
    refusal = Turn("assistant", (Refusal("No. "),), at="messages[1]")
    assert messages(HI, refusal)[0][1]["content"] == [{"type": "text", "text": "No. "}]


def test_what_a_message_carries_beside_its_content() -> None:
    """Names of speakers and unknown members are reported."""
    turn = Turn("user", (Text("Hi"),), plain=True, name="ann", at="messages[0]", extras=FOREIGN)
    written = write(turns=(turn,))
    assert codes(written) == ["dropped:messages.odd", "refused:messages.heavy", "dropped:messages.name"]


# Blocks


@pytest.mark.parametrize(
    ("part", "expected", "lost"),
    [
        (Text("x", extras=FOREIGN), {"type": "text", "text": "x"}, ["dropped:messages.odd", "refused:messages.heavy"]),
        (Text("x", (Citation("https://a.example"),)), {"type": "text", "text": "x"}, ["dropped:messages.citations"]),
        (Refusal("No."), {"type": "text", "text": "No."}, ["approximated:messages"]),
        (Refusal(""), None, ["approximated:messages"]),
        (Opaque("chat", "audio", b"{}"), None, ["refused:messages"]),
        (Opaque("responses", "web_search_call", b"{}", vital=False), None, ["dropped:messages"]),
        (
            Media("image", "image/PNG; q=1", data="aGk="),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
            [],
        ),
        (Media("image", "image/bmp", data="aGk="), None, ["refused:messages"]),
        (
            Media("image", url="https://a.example", detail="high", cache=CacheMark()),
            {
                "type": "image",
                "source": {"type": "url", "url": "https://a.example"},
                "cache_control": {"type": "ephemeral"},
            },
            ["dropped:messages.detail"],
        ),
        (Media("image", file_id="f", dialect="responses"), None, ["refused:messages"]),
        (
            Media("file", "application/pdf", data="aGk=", filename="a.pdf", detail="auto"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
                "title": "a.pdf",
            },
            [],
        ),
        (
            Media("file", "text/markdown", data=base64.b64encode("Gäp".encode()).decode()),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Gäp"}},
            [],
        ),
        (Media("file", "text/plain", data="!"), None, ["refused:messages"]),
        (Media("file", "text/plain", data="/w=="), None, ["refused:messages"]),
        (Media("file", "application/zip", data="aGk="), None, ["refused:messages"]),
        (
            Media("file", text="Gap."),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Gap."}},
            [],
        ),
        (Media("audio", "audio/wav", data="aGk="), None, ["refused:messages"]),
    ],
    ids=str,
)
def test_parts(part: Part, expected: Any, lost: list[str]) -> None:
    """Each part is a block, or refused because it is content."""
    assert block(part) == (expected, lost)


def test_media_that_the_model_does_not_take() -> None:
    """What the catalogue knows is not tried."""
    assert block(Media("image", url="u"), abilities=Abilities("m", images=False)) == (None, ["refused:messages"])
    assert block(Media("file", url="u"), abilities=Abilities("m", files=False)) == (None, ["refused:messages"])


@pytest.mark.parametrize(
    ("call", "expected", "lost"),
    [
        (ToolCall("c", "look", ""), {}, []),
        (ToolCall("c", "look", ' {"a": 1.0}'), {"a": 1.0}, []),
        (ToolCall("c", "look", "{"), {}, ["refused:messages.arguments"]),
        (ToolCall("c", "look", "[1]"), {}, ["refused:messages.arguments"]),
        (ToolCall("c", "look", "free", kind="custom"), {"input": "free"}, []),
    ],
)
def test_calls(call: ToolCall, expected: Any, lost: list[str]) -> None:
    """Case 4 and 6: no arguments are an empty object; what is no object is refused."""
    turns = (HI, Turn("assistant", (call,), at="messages[1]"), Turn("tool", (ToolResult("c", (Text("r"),)),)))
    written = write(turns=turns)
    assert body(written)["messages"][1]["content"] == [
        {"type": "tool_use", "id": "c", "name": "look", "input": expected}
    ]
    assert codes(written) == lost


def test_ids_and_names_are_made_legal_alike() -> None:
    """Case 8 and 28: call and result keep pointing at each other; the client's names come back by the renames."""
    tool = Tool("a.b", namespace="ns", parameters=b"{}", at="tools[0]")
    long = Tool("n" * 129, at="tools[1]")
    call = ToolCall("id:1", "a.b", namespace="ns")
    turns = (HI, Turn("assistant", (call,), at="m"), Turn("tool", (ToolResult("id:1", (Text("r"),)),)))
    choice = ToolChoice("named", ("a.b",))
    written = write(turns=turns, tools=(tool, long), tool_choice=choice)
    told = body(written)
    name = told["tools"][0]["name"]
    assert written.renames[name] == Rename("a.b", "ns")
    assert written.renames[told["tools"][1]["name"]] == Rename("n" * 129)
    assert told["tool_choice"] == {"type": "tool", "name": name}
    use, result = told["messages"][1]["content"][0], told["messages"][2]["content"][0]
    assert use["name"] == name
    assert use["id"] == result["tool_use_id"] != "id:1"
    assert len(told["tools"][1]["name"]) == 128


def test_reasoning_goes_back_only_to_its_provider() -> None:
    """Case 15: our own signatures unchanged, others left out under one loss, also where a turn holds nothing else."""
    own = Thinking(("a", "b"), "sig", "messages")
    redacted = Thinking((), "data", "messages", redacted=True)
    foreign = Thinking(("x",), "blob", "responses")
    unsigned = Thinking(("y",))
    turn = Turn("assistant", (own, redacted, foreign, unsigned, Text("Hm.")), at="messages[1]")
    written, lost = messages(HI, turn, Turn("assistant", (foreign,), at="messages[2]"), HI)
    assert written[1]["content"] == [
        {"type": "thinking", "thinking": "a\n\nb", "signature": "sig"},
        {"type": "redacted_thinking", "data": "data"},
        {"type": "text", "text": "Hm."},
    ]
    assert lost == ["dropped:reasoning"]
    empty = write(dialect="messages", turns=(HI, Turn("assistant", (foreign,), at="messages[1]"), HI))
    assert [message["role"] for message in body(empty)["messages"]] == ["user", "user"]


def test_marks_are_four_at_most() -> None:
    """The last ones stay, because they cover the longest beginnings; the request's own mark counts."""
    tools = (Tool("t", cache=CacheMark(), at="tools[0]"),)
    system = Turn("system", (Text("s", cache=CacheMark()),), at="messages[0]")
    user = Turn("user", tuple(Text(str(number), cache=CacheMark("24h")) for number in range(3)), at="messages[1]")
    written = write(tools=tools, turns=(system, user), cache=CacheMark())
    told = body(written)
    assert "cache_control" not in told["tools"][0]
    assert "cache_control" not in told["system"][0]
    assert [part["cache_control"] for part in told["messages"][0]["content"]] == [{"type": "ephemeral"}] * 3
    assert codes(written)[-2:] == ["dropped:tools.cache", "dropped:messages.cache"]
    assert codes(written)[0] == "approximated:messages.cache"
    none = write(Abilities("m", cache_marks=False), tools=tools)
    assert "cache_control" not in body(none)["tools"][0]
    assert codes(none) == ["dropped:tools.cache"]


# Tools


def tools_of(written: Written) -> tuple[Any, Any]:
    told = body(written)
    return told.get("tools"), told.get("tool_choice")


@pytest.mark.parametrize(
    ("parameters", "schema"),
    [
        (b"", {"type": "object", "properties": {}}),
        (b"true", {"type": "object", "properties": {}}),
        (b'{"properties":{}}', {"type": "object", "properties": {}}),
        (b'{"type":"object","$ref":"#"}', {"type": "object", "$ref": "#"}),
    ],
)
def test_a_tools_schema_is_of_an_object(parameters: bytes, schema: Any) -> None:
    """Case 29: what is missing is what Anthropic demands; the rest is not touched."""
    tools, choice = tools_of(write(tools=(Tool("t", description="d", parameters=parameters, strict=True),)))
    assert tools == [{"name": "t", "description": "d", "input_schema": schema, "strict": True}]
    assert choice is None


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("auto"), True, {"type": "auto"}),
        (ToolChoice("none"), False, {"type": "none"}),
        (ToolChoice("required"), None, {"type": "any"}),
        (ToolChoice("named", ("look",)), False, {"type": "tool", "name": "look", "disable_parallel_tool_use": True}),
    ],
)
def test_the_choice(choice: ToolChoice | None, parallel: bool | None, expected: Any) -> None:
    """The four modes, and whether several calls may come at once."""
    written = write(tools=(LOOK,), tool_choice=choice, parallel_tool_calls=parallel)
    assert tools_of(written)[1] == expected
    assert written.losses == ()


def test_allowed_tools_are_those_that_are_offered() -> None:
    """The others are left out, and the change of the cached prefix is told."""
    tools = (LOOK, Tool("walk", at="tools[1]"))
    auto = write(tools=tools, tool_choice=ToolChoice("allowed", ("walk",)))
    offered, choice = tools_of(auto)
    assert [tool["name"] for tool in offered] == ["walk"]
    assert choice == {"type": "auto"}
    assert codes(auto) == ["approximated:tool_choice"]
    must = write(tools=tools, tool_choice=ToolChoice("allowed", ("walk",), required=True))
    assert tools_of(must)[1] == {"type": "any"}
    none = write(tools=tools, tool_choice=ToolChoice("allowed", ("fly",)))
    assert tools_of(none) == (None, None)
    assert codes(none) == ["dropped:tool_choice"]
    assert codes(write(tools=tools, tool_choice=ToolChoice("allowed", ("fly",), required=True))) == [
        "refused:tool_choice"
    ]


def test_a_choice_without_tools_is_left_out() -> None:
    """Case 30: Anthropic refuses it."""
    written = write(tool_choice=ToolChoice("required"), parallel_tool_calls=False)
    assert tools_of(written) == (None, None)
    assert codes(written) == ["dropped:tool_choice"]
    assert codes(write(tool_choice=ToolChoice("auto"))) == []


def test_custom_tools_travel_as_functions() -> None:
    """One text as the argument, told in the renames; a grammar is told in words."""
    tools = (
        Tool("say", "custom", at="tools[0]"),
        Tool("sing", "custom", format=b'{"type":"text"}', at="tools[1]"),
        Tool("count", "custom", format=b'{"type":"grammar","syntax":"lark"}', at="tools[2]"),
        Tool("hum", "custom", format=b"[]", at="tools[3]"),
    )
    written = write(tools=tools, tool_choice=ToolChoice("named", ("say",), kind="custom"))
    offered, choice = tools_of(written)
    assert offered[0]["input_schema"]["required"] == ["input"]
    assert choice == {"type": "tool", "name": "say"}
    assert written.renames["say"] == Rename("say", "", "custom")
    assert codes(written).count("approximated:tools") == 4
    assert codes(written).count("approximated:tools.format") == 1
    assert "lark" in offered[2]["description"]


def test_tools_that_run_elsewhere() -> None:
    """Another provider's are left out, and refused where one must be called."""
    search = Tool("web_search_preview", "hosted", dialect="responses", at="tools[1]")
    assert codes(write(tools=(LOOK, search))) == ["dropped:tools"]
    forced = ToolChoice("named", ("web_search_preview",), kind="hosted")
    assert codes(write(tools=(LOOK, search), tool_choice=forced)) == ["dropped:tools", "refused:tool_choice"]
    assert codes(write(tools=(search,), tool_choice=ToolChoice("required"))) == ["dropped:tools", "refused:tool_choice"]


def test_a_model_without_tools() -> None:
    """What the catalogue knows is not tried."""
    assert codes(write(Abilities("m", tools=False), tools=(LOOK,))) == ["refused:tools"]


# The form of the answer


def test_a_schema_loses_what_is_not_enforced() -> None:
    """Keywords that Anthropic refuses are taken out, and objects are closed, under one loss that names them."""
    schema = {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 0},
            "when": {"type": "string", "format": "date"},
            "where": {"type": "string", "format": "postcode"},
            "minimum": {"type": "array", "minItems": 1, "items": {"anyOf": [{"oneOf": [{"type": "null"}, True]}]}},
            "many": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/x"}},
        },
        "$defs": {"x": {"properties": {}, "additionalProperties": False}},
    }
    written = write(output=Output("schema", "name", json.dumps(schema).encode(), description="d"))
    told = body(written)["output_config"]["format"]
    assert told["type"] == "json_schema"
    properties = told["schema"]["properties"]
    assert properties["age"] == {"type": "integer"}
    assert properties["when"] == {"type": "string", "format": "date"}
    assert properties["where"] == {"type": "string"}
    assert properties["minimum"]["items"] == {"anyOf": [{"anyOf": [{"type": "null"}, True]}]}
    assert "minItems" not in properties["many"]
    assert told["schema"]["additionalProperties"] is False
    assert codes(written) == ["dropped:output.description", "approximated:output.schema"]
    for name in ("minimum", "format", "oneOf", "minItems", "additionalProperties"):
        assert name in written.losses[1].reason


@pytest.mark.parametrize("schema", [b'{"type":"string"}', b"true", b'{"type":"object","additionalProperties":false}'])
def test_a_schema_that_needs_no_change_is_not_touched(schema: bytes) -> None:
    """Byte for byte, and no loss."""
    written = write(output=Output("schema", schema=schema))
    assert schema in written.body
    assert written.losses == ()


def test_a_schema_that_is_no_json_does_not_break_the_writer() -> None:
    """Writers never raise; the provider will say what is wrong."""
    assert write(output=Output("schema", schema=b"{" * 2)).body


@pytest.mark.parametrize(
    ("output", "abilities", "said"),
    [
        (Output("json"), Abilities("m"), "JSON object"),
        (Output("schema", schema=b'{"type":"object"}'), Abilities("m", json_schema=False), '{"type":"object"}'),
    ],
)
def test_json_is_asked_for_in_words_where_nothing_else_is_known(
    output: Output, abilities: Abilities, said: str
) -> None:
    """Behind the client's own instructions."""
    system = Turn("system", (Text("Be brief."),), plain=True, at="messages[0]")
    written = write(abilities, turns=(system, HI), output=output)
    first, second = body(written)["system"]
    assert first["text"] == "Be brief."
    assert said in second["text"]
    assert codes(written) == ["approximated:output"]


def test_text_is_what_it_is_anyway() -> None:
    """Nothing to write; what stands beside it is reported."""
    assert codes(write(output=Output("text", extras=FOREIGN))) == ["dropped:output.odd", "refused:output.heavy"]


# Thinking


@pytest.mark.parametrize(
    ("reasoning", "abilities", "thinking", "effort", "lost"),
    [
        (Reasoning("high"), NEW, {"type": "adaptive"}, "high", []),
        (Reasoning("high"), Abilities("m"), {"type": "adaptive"}, "high", []),
        (Reasoning("high"), Abilities("m", efforts=("high",), thinking_budget=True), {"type": "adaptive"}, "high", []),
        (Reasoning("minimal"), NEW, {"type": "adaptive"}, "low", ["approximated:reasoning"]),
        (Reasoning("minimal"), Abilities("m"), {"type": "adaptive"}, "low", ["approximated:reasoning"]),
        (Reasoning("xhigh"), NEW, {"type": "adaptive"}, "high", ["approximated:reasoning"]),
        (Reasoning("max"), Abilities("m", efforts=("low", "high")), {"type": "adaptive"}, "high",
         ["approximated:reasoning"]),
        (Reasoning(enabled=True), NEW, {"type": "adaptive"}, None, []),
        (Reasoning(enabled=True, visible=True), NEW, {"type": "adaptive", "display": "summarized"}, None, []),
        (Reasoning("low", visible=False), OLD, {"type": "enabled", "budget_tokens": 1_024, "display": "omitted"}, None,
         []),
        (Reasoning("medium"), OLD, {"type": "enabled", "budget_tokens": 3_000}, None, ["approximated:reasoning"]),
        (Reasoning(enabled=True), Abilities("m", max_output_tokens=99_999, thinking_budget=True, efforts=()),
         {"type": "enabled", "budget_tokens": 3_000}, None, ["approximated:reasoning"]),
        (Reasoning(budget_tokens=2_000), OLD, {"type": "enabled", "budget_tokens": 2_000}, None, []),
        (Reasoning(budget_tokens=100), OLD, {"type": "enabled", "budget_tokens": 1_024}, None,
         ["approximated:reasoning"]),
        (Reasoning(budget_tokens=1_999), NEW, {"type": "adaptive"}, "low", ["approximated:reasoning"]),
        (Reasoning(budget_tokens=8_000), NEW, {"type": "adaptive"}, "medium", ["approximated:reasoning"]),
        (Reasoning(budget_tokens=24_000), NEW, {"type": "adaptive"}, "high", ["approximated:reasoning"]),
        (Reasoning(budget_tokens=90_000), Abilities("m", thinking_budget=False), {"type": "adaptive"}, "xhigh",
         ["approximated:reasoning"]),
        (Reasoning("high", budget_tokens=2_000), Abilities("m", adaptive_thinking=False, thinking_budget=True,
         efforts=("low", "medium", "high")), {"type": "enabled", "budget_tokens": 2_000}, "high", []),
        (Reasoning("none"), NEW, {"type": "disabled"}, None, []),
        (Reasoning(enabled=False, visible=True), NEW, {"type": "disabled"}, None, []),
        (Reasoning("high"), Abilities("m", adaptive_thinking=False, thinking_budget=False), None, None,
         ["dropped:reasoning"]),
        (Reasoning("high"), Abilities("m", adaptive_thinking=True, efforts=()), {"type": "adaptive"}, None,
         ["approximated:reasoning"]),
        (Reasoning(), NEW, None, None, []),
        (Reasoning(summary="auto"), NEW, None, None, ["dropped:reasoning.summary"]),
        (Reasoning("high", extras=FOREIGN), NEW, {"type": "adaptive"}, "high",
         ["dropped:reasoning.odd", "refused:reasoning.heavy"]),
    ],
)  # fmt: skip
def test_thinking(
    reasoning: Reasoning, abilities: Abilities, thinking: Any, effort: str | None, lost: list[str]
) -> None:
    """An effort, a budget or a switch, as the model takes it; the limit leaves room for an answer."""
    written = write(abilities, reasoning=reasoning)
    told = body(written)
    assert told.get("thinking") == thinking
    assert told.get("output_config", {}).get("effort") == effort
    assert codes(written) == lost


def test_thinking_needs_room() -> None:
    """A limit that a least budget does not fit under leaves no thinking."""
    written = write(OLD, reasoning=Reasoning("high"), max_output_tokens=1_024)
    assert "thinking" not in body(written)
    assert codes(written) == ["dropped:reasoning"]


def test_a_client_of_our_own_keeps_its_budget() -> None:
    """The client knows what it says; only a model that takes no budget changes it."""
    reasoning = Reasoning(budget_tokens=5_000, enabled=True)
    own = write(OLD, dialect="messages", reasoning=reasoning)
    assert body(own)["thinking"] == {"type": "enabled", "budget_tokens": 5_000}
    assert own.losses == ()
    adaptive = write(OLD, dialect="messages", reasoning=Reasoning(enabled=True), max_output_tokens=9_000)
    assert body(adaptive)["thinking"] == {"type": "enabled", "budget_tokens": 4_096}
    effort = write(Abilities("m", efforts=()), dialect="messages", reasoning=Reasoning("low"))
    assert "thinking" not in body(effort)
    assert codes(effort) == ["dropped:reasoning"]


def test_no_budget_where_a_tool_must_be_called() -> None:
    """The API refuses both at once."""
    written = write(OLD, tools=(LOOK,), tool_choice=ToolChoice("required"), reasoning=Reasoning("low"))
    assert body(written)["thinking"] == {"type": "disabled"}
    assert codes(written) == ["approximated:reasoning"]


@pytest.mark.parametrize(
    ("parts", "allowed"),
    [
        ((Thinking(("t",), "s", "messages"), ToolCall("c", "look")), True),
        ((ToolCall("c", "look"),), False),
        ((Thinking(("t",), "s", "gemini"), ToolCall("c", "look")), False),
    ],
)
def test_no_budget_behind_calls_that_stand_without_their_thinking(parts: tuple[Part, ...], allowed: bool) -> None:
    """With a budget the API wants the thinking that led to the calls whose results it gets; without ours it is off."""
    turns = (HI, Turn("assistant", parts, at="m"), Turn("tool", (ToolResult("c", (Text("r"),)),), at="n"))
    written = write(OLD, turns=turns, reasoning=Reasoning("low"))
    assert body(written)["thinking"]["type"] == ("enabled" if allowed else "disabled")
    assert ("approximated:reasoning" in codes(written)) is not allowed
    adaptive = write(NEW, turns=turns, reasoning=Reasoning("low"))
    assert body(adaptive)["thinking"] == {"type": "adaptive"}


def test_results_of_nothing_ask_for_no_thinking() -> None:
    """A conversation that begins with results, or whose last calls are long answered, may be thought about."""
    lone = (Turn("tool", (ToolResult("c", (Text("r"),)),), at="n"),)
    assert body(write(OLD, turns=lone, reasoning=Reasoning("low")))["thinking"]["type"] == "enabled"
    said = (HI, Turn("assistant", (Text("x"),), at="m"), *lone)
    assert body(write(OLD, turns=said, reasoning=Reasoning("low")))["thinking"]["type"] == "enabled"


def test_what_thinking_does_not_allow_beside_it() -> None:
    """Sampling that would be refused is left out; what fits stays."""
    written = write(NEW, reasoning=Reasoning("low"), temperature=0.2, top_k=3, top_p=0.5)
    assert not {"temperature", "top_k", "top_p"} & set(body(written))
    assert codes(written) == ["dropped:temperature", "dropped:top_k", "dropped:top_p"]
    fitting = write(NEW, reasoning=Reasoning("low"), temperature=1.0, top_p=0.95)
    assert fitting.losses == ()
    off = write(NEW, reasoning=Reasoning("none"), temperature=0.2)
    assert off.losses == ()


def test_members_of_our_own_go_back_inside_other_objects() -> None:
    """Also where the inner object is not written for another reason."""
    extras = Extras("messages", {"output_config.task_budget": msgspec.Raw(b"{}"), "a.b": msgspec.Raw(b"1")})
    told = body(write(extras=extras))
    assert told["output_config"] == {"task_budget": {}}
    assert told["a.b"] == 1
