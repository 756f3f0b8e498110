"""Requests for Bedrock: write_request, write_messages, write_parts, write_tools, write_thinking."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.bedrock.names import AUDIO_FORMATS, DOCUMENT_FORMATS, IMAGE_FORMATS
from flumegate.dialects.bedrock.write_request import write_request
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
from flumegate.ir.request import Output, Reasoning, Request, Tool, ToolChoice, Turn
from flumegate.ir.written import Abilities, Rename, Written

UNKNOWN = Abilities("some-model", "bedrock")
CLAUDE = Abilities("claude", "bedrock", thinking_budget=True, adaptive_thinking=False, sampling=True)
ADAPTIVE = Abilities(
    "claude", "bedrock", thinking_budget=False, adaptive_thinking=True, efforts=("none", "low", "medium", "high", "max")
)
OTHER = Abilities("llama", "bedrock", thinking_budget=False, adaptive_thinking=False, efforts=(), cache_marks=False)
PNG = "iVBORw0KGgo="
HELLO = Turn("user", (Text("Hello.", at="messages[0].content"),), plain=True, at="messages[0]")
FOREIGN = Extras("chat", {"odd": msgspec.Raw(b"1"), "grave": msgspec.Raw(b"2")}, ("grave",))


def written(*turns: Turn, abilities: Abilities = UNKNOWN, **members: Any) -> Written:
    return write_request(Request(dialect="chat", model="m", turns=turns or (HELLO,), **members), abilities)


def body(*turns: Turn, abilities: Abilities = UNKNOWN, **members: Any) -> Any:
    return json.loads(written(*turns, abilities=abilities, **members).body)


def losses(*turns: Turn, abilities: Abilities = UNKNOWN, **members: Any) -> list[tuple[str, str]]:
    return [(loss.kind, loss.path) for loss in written(*turns, abilities=abilities, **members).losses]


def user(*parts: Part, at: str = "messages[0]") -> Turn:
    return Turn("user", parts, at=at)


def assistant(*parts: Part, at: str = "messages[1]") -> Turn:
    return Turn("assistant", parts, at=at)


CALL = ToolCall("call_1", "find_river", '{"name":"Oder"}', at="messages[1].tool_calls[0]")
RESULT = Turn("tool", (ToolResult("call_1", (Text("long"),), plain=True),), at="messages[2]")
FIND = Tool("find_river", description="Finds.", parameters=b'{"type":"object","properties":{}}', at="tools[0]")
SPEC = {
    "toolSpec": {
        "name": "find_river",
        "description": "Finds.",
        "inputSchema": {"json": {"type": "object", "properties": {}}},
    }
}


def test_the_least_request_is_a_message_alone() -> None:
    """Model and stream stand in the path, and empty objects are left out."""
    got = written(HELLO)
    assert json.loads(got.body) == {"messages": [{"role": "user", "content": [{"text": "Hello."}]}]}
    assert got.losses == ()
    assert got.renames == {}


def test_a_conversation_keeps_its_order() -> None:
    """The leading run is the system's, results are the user's, and come before its words."""
    got = written(
        Turn("system", (Text("Be kind."),)),
        Turn("developer", (Text("Be short."),)),
        user(Text("Which?")),
        assistant(Text("I look."), CALL),
        user(Text("Go on."), ToolResult("call_1", (Text("long"), Media("image", "image/png", PNG)), is_error=True)),
        tools=(FIND,),
        stop=("###", " "),
        max_output_tokens=50,
        temperature=0.5,
        top_p=0.25,
    )
    assert json.loads(got.body) == {
        "system": [{"text": "Be kind."}, {"text": "Be short."}],
        "messages": [
            {"role": "user", "content": [{"text": "Which?"}]},
            {
                "role": "assistant",
                "content": [
                    {"text": "I look."},
                    {"toolUse": {"toolUseId": "call_1", "name": "find_river", "input": {"name": "Oder"}}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "toolResult": {
                            "toolUseId": "call_1",
                            "content": [{"text": "long"}, {"image": {"format": "png", "source": {"bytes": PNG}}}],
                            "status": "error",
                        }
                    },
                    {"text": "Go on."},
                ],
            },
        ],
        "inferenceConfig": {"maxTokens": 50, "stopSequences": ["###"], "temperature": 0.5, "topP": 0.25},
        "toolConfig": {"tools": [SPEC]},
    }
    assert [(loss.kind, loss.path) for loss in got.losses] == [("dropped", "stop")]


def test_a_later_system_message_stays_in_its_place() -> None:
    """Never hoisted: that would reorder meaning and break the prompt cache (dialects: §16.19)."""
    turns = (user(Text("A")), assistant(CALL), Turn("system", (Text("Hurry."),), at="messages[2]"), RESULT)
    content = body(*turns, tools=(FIND,))["messages"][2]["content"]
    assert [next(iter(block)) for block in content] == ["toolResult", "text"]
    assert content[1]["text"] == "[system] Hurry."
    assert ("approximated", "messages[2]") in losses(*turns, tools=(FIND,))


def test_parallel_results_are_one_turn() -> None:
    """And calls without arguments, and results without words, are legal."""
    second = msgspec.structs.replace(CALL, id="call_2", arguments="")
    other = Turn("tool", (ToolResult("call_2", (Text(""),), is_error=False),))
    messages = body(user(Text("A")), assistant(CALL, second), RESULT, other, tools=(FIND,))["messages"]
    results = [block["toolResult"] for block in messages[2]["content"]]
    assert [result["toolUseId"] for result in results] == ["call_1", "call_2"]
    assert [result.get("status") for result in results] == [None, "success"]
    assert results[1]["content"] == []
    assert messages[1]["content"][1]["toolUse"]["input"] == {}


@pytest.mark.parametrize(
    ("turns", "path"),
    [
        ((), "messages"),
        ((user(),), "messages"),
        ((user(Text(" ")),), "messages"),
        ((assistant(Text("Me first."), at="messages[0]"), HELLO), "messages[0]"),
        ((user(Text("A")), assistant(CALL), user(Text("B"), at="messages[2]")), "messages[1].tool_calls[0]"),
        ((user(Text("A")), assistant(ToolCall("c", "n", "[1]", at="here")), RESULT), "here"),
        ((user(Text("A")), assistant(ToolCall("c", "n", "{", at="here")), RESULT), "here"),
        ((user(Media("image", "image/png", file_id="f", at="here")),), "here"),
        ((user(Media("image", url="https://a.example/b.png", at="here")),), "here"),
        ((user(Media("image", "image/heic", "AA==", at="here")),), "here"),
        ((user(Media("audio", "audio/midi", "AA==", at="here")),), "here"),
        ((user(Media("file", "application/zip", "AA==", at="here")),), "here"),
        ((user(Opaque("messages", "container_upload", b"{}", at="here")),), "here"),
        ((Turn("system", (Media("image", "image/png", PNG, at="here"),)), HELLO), "here"),
        ((user(ToolResult("c", (Thinking(("x",), at="here"),))),), "here"),
        ((user(ToolResult("c", (Opaque("messages", "search_result", b"{}", at="here"),))),), "here"),
    ],
)
def test_what_cannot_be_said_is_refused_with_its_place(turns: tuple[Turn, ...], path: str) -> None:
    request = Request(dialect="chat", model="m", turns=turns)
    assert ("refused", path) in [(loss.kind, loss.path) for loss in write_request(request, UNKNOWN).losses]


@pytest.mark.parametrize("kind", ["image", "audio", "file"])
def test_what_the_model_does_not_take_is_refused(kind: Any) -> None:
    abilities = Abilities("m", images=False, audio=False, files=False)
    media = Media(kind, "image/png", PNG, at="here")
    assert ("refused", "here") in losses(user(Text("A"), media), abilities=abilities)


def test_an_answer_that_was_begun_is_gone_on_with_where_the_model_can() -> None:
    """Without its last white space, which Bedrock refuses."""
    turns = (user(Text("A")), assistant(Text("It is ")))
    assert body(*turns)["messages"][1]["content"] == [{"text": "It is"}]
    refused = losses(*turns, abilities=Abilities("m", prefill=False))
    assert refused == [("refused", "messages[1]")]


def test_empty_words_are_left_out_and_neighbours_meet() -> None:
    """Bedrock refuses blank texts, and two turns of one speaker behind one another."""
    turns = (user(Text("A")), assistant(Text(""), Thinking(("hm",)), at="gone"), user(Text("B")))
    got = written(*turns)
    assert json.loads(got.body)["messages"] == [{"role": "user", "content": [{"text": "A"}, {"text": "B"}]}]
    assert [loss.code for loss in got.losses] == ["dropped:gone", "dropped:reasoning"]
    assert losses(user(Text("A")), Turn("assistant", ()), user(Text("B"))) == []


def test_names_citations_and_refusals_are_reported() -> None:
    cited = Text("It is long.", citations=(Citation("https://a.example"),), at="here")
    turns = (
        Turn("user", (Text("A"),), name="ann", at="messages[0]"),
        assistant(cited, Refusal("No.", at="there"), Refusal("")),
        user(Text("B")),
    )
    assert body(*turns)["messages"][1]["content"] == [{"text": "It is long."}, {"text": "No."}]
    assert losses(*turns) == [
        ("dropped", "messages[0].name"),
        ("dropped", "here.citations"),
        ("approximated", "there"),
        ("approximated", ""),
    ]


def test_foreign_members_are_reported_wherever_they_stand() -> None:
    """Nothing is dropped in silence; what changes the meaning is refused."""
    turns = (
        Turn("system", (Text("S", extras=FOREIGN, at="s"),), at="turn", extras=FOREIGN),
        user(Text("A", extras=FOREIGN, at="t"), Media("image", "image/png", PNG, extras=FOREIGN, at="m")),
        assistant(
            Thinking((), "s", "bedrock", extras=FOREIGN, at="k"),
            Refusal("No.", extras=FOREIGN, at="r"),
            msgspec.structs.replace(CALL, extras=FOREIGN, at="c"),
        ),
        user(ToolResult("call_1", (Refusal("x"),), extras=FOREIGN, at="o")),
    )
    found = losses(
        *turns,
        tools=(msgspec.structs.replace(FIND, extras=FOREIGN),),
        tool_choice=ToolChoice("auto", extras=FOREIGN),
        output=Output("schema", schema=b"{}", extras=FOREIGN),
        reasoning=Reasoning(extras=FOREIGN),
        extras=FOREIGN,
        abilities=CLAUDE,
    )
    places = ("s", "turn", "t", "m", "k", "r", "c", "o", "tools[0]", "tool_choice", "output", "reasoning")
    for place in places:
        assert ("dropped", f"{place}.odd") in found
        assert ("refused", f"{place}.grave") in found
    assert ("dropped", "odd") in found


@pytest.mark.parametrize(
    ("media", "block"),
    [
        (Media("image", "image/jpeg", "AA=="), {"image": {"format": "jpeg", "source": {"bytes": "AA=="}}}),
        (Media("image", "", PNG), {"image": {"format": "png", "source": {"bytes": PNG}}}),
        (
            Media("image", url="s3://bucket/a.jpg"),
            {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://bucket/a.jpg"}}}},
        ),
        (Media("file", "image/gif", "AA=="), {"image": {"format": "gif", "source": {"bytes": "AA=="}}}),
        (Media("audio", "audio/wav", "AA=="), {"audio": {"format": "wav", "source": {"bytes": "AA=="}}}),
        (
            Media("file", "application/pdf", "AA=="),
            {"document": {"format": "pdf", "name": "document", "source": {"bytes": "AA=="}}},
        ),
        (
            Media("file", "", "AA==", filename="table.csv"),
            {"document": {"format": "csv", "name": "table", "source": {"bytes": "AA=="}}},
        ),
        (
            Media("file", "text/x-python; charset=utf-8", "AA==", filename="code"),
            {"document": {"format": "txt", "name": "code", "source": {"bytes": "AA=="}}},
        ),
        (
            Media("file", text="wörter"),
            {
                "document": {
                    "format": "txt",
                    "name": "document",
                    "source": {"bytes": base64.b64encode("wörter".encode()).decode()},
                }
            },
        ),
    ],
)
def test_files_are_said_by_their_format(media: Media, block: dict[str, Any]) -> None:
    assert body(user(Text("A"), media))["messages"][0]["content"][1] == block


def test_all_formats_are_words_of_bedrocks() -> None:
    """API reference: ImageBlock, AudioBlock, DocumentBlock."""
    assert set(IMAGE_FORMATS.values()) == {"png", "jpeg", "gif", "webp"}
    assert set(DOCUMENT_FORMATS.values()) == {"pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"}
    assert set(AUDIO_FORMATS.values()) <= {"mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "m4a", "webm"}


def test_every_document_has_a_name_of_its_own() -> None:
    """Bedrock refuses two of one name, and all but plain letters."""
    turn = user(
        Text("A"),
        Media("file", "application/pdf", "AA==", filename="a  b_ü.pdf", at="x"),
        Media("file", "application/pdf", "AA==", filename="a  b_ü.pdf", at="y"),
        Media("file", "application/pdf", "AA==", at="z"),
        Media("file", "application/pdf", "AA==", detail="high", at="w"),
    )
    names = [block["document"]["name"] for block in body(turn)["messages"][0]["content"][1:]]
    assert names == ["a b-", "a b--2", "document", "document-2"]
    assert losses(turn) == [("approximated", "x.filename"), ("approximated", "y.filename"), ("dropped", "w.detail")]


def thinking(part: Thinking, abilities: Abilities) -> tuple[Any, bool]:
    """Return what became of earlier reasoning, and whether its loss was told."""
    turns = (user(Text("A")), assistant(part, Text("B")), user(Text("C")))
    content = body(*turns, abilities=abilities)["messages"][1]["content"]
    told = losses(*turns, abilities=abilities)
    assert told in ([], [("dropped", "reasoning")])
    return (content[0] if len(content) > 1 else None), bool(told)


SIGNED = {"reasoningContent": {"reasoningText": {"text": "Well.", "signature": "c2ln"}}}


@pytest.mark.parametrize(
    ("part", "abilities", "block"),
    [
        (Thinking(("We", "ll."), "c2ln", "bedrock"), UNKNOWN, SIGNED),
        (Thinking(("Well.",), "c2ln", "bedrock"), CLAUDE, SIGNED),
        (Thinking(("Well.",), "c2ln", "bedrock"), OTHER, None),
        (Thinking(("Well.",), "c2ln", "messages"), CLAUDE, SIGNED),
        (Thinking(("Well.",), "c2ln", "messages"), ADAPTIVE, SIGNED),
        (Thinking(("Well.",), "c2ln", "messages"), UNKNOWN, None),
        (Thinking(("Well.",), "c2ln", "responses"), CLAUDE, None),
        (Thinking(("Well.",), "c2ln", ""), CLAUDE, None),
        (Thinking(("Well.",)), CLAUDE, None),
        (
            Thinking((), "aGk=", "bedrock", redacted=True),
            UNKNOWN,
            {"reasoningContent": {"redactedContent": "aGk="}},
        ),
        (
            Thinking((), "EuY=", "messages", redacted=True),
            CLAUDE,
            {"reasoningContent": {"redactedContent": base64.b64encode(b"EuY=").decode()}},
        ),
    ],
)
def test_state_goes_back_only_where_it_means_something(part: Thinking, abilities: Abilities, block: Any) -> None:
    """Anthropic's signatures count at Bedrock's Claude; all else would be a 400 (dialects: §16.15)."""
    assert thinking(part, abilities) == (block, block is None)


def test_the_loss_of_state_is_told_once() -> None:
    turns = (
        user(Text("A")),
        assistant(
            Thinking(("x",), "y", "gemini"),
            Thinking(("z",)),
            msgspec.structs.replace(CALL, signature="g", origin="gemini"),
        ),
        RESULT,
    )
    found = losses(*turns, tools=(FIND,))
    assert found == [("dropped", "reasoning")]


def test_tools_get_legal_names_and_their_own_back() -> None:
    """Renames undo in the answer what the wire demands."""
    tools = (
        Tool("find river", at="tools[0]"),
        Tool("draw", kind="custom", namespace="art", description="Draws.", format=b'{"type":"text"}', at="tools[1]"),
        Tool("plain", parameters=b'{"properties":{}}', strict=True, at="tools[2]"),
    )
    turns = (
        user(Text("A")),
        assistant(ToolCall("id with spaces", "draw", "a line", kind="custom", namespace="art")),
        user(ToolResult("id with spaces", (Text("done"),), kind="custom")),
    )
    got = written(*turns, tools=tools)
    document = json.loads(got.body)
    specs = [tool["toolSpec"] for tool in document["toolConfig"]["tools"]]
    legal = specs[0]["name"]
    assert legal.startswith("find_river_")
    assert specs[0] == {"name": legal, "inputSchema": {"json": {"type": "object", "properties": {}}}}
    assert specs[1]["inputSchema"]["json"]["required"] == ["input"]
    assert specs[2] == {"name": "plain", "inputSchema": {"json": {"type": "object", "properties": {}}}, "strict": True}
    assert got.renames == {legal: Rename("find river"), "art__draw": Rename("draw", "art", "custom")}
    call = document["messages"][1]["content"][0]["toolUse"]
    assert (call["name"], call["input"]) == ("art__draw", {"input": "a line"})
    assert call["toolUseId"] == document["messages"][2]["content"][0]["toolResult"]["toolUseId"] != "id with spaces"
    assert [(loss.kind, loss.path) for loss in got.losses] == [("approximated", "tools[1]")]


@pytest.mark.parametrize(
    ("tool", "abilities", "loss"),
    [
        (Tool("t", parameters=b"[1]", at="tools[0]"), UNKNOWN, ("refused", "tools[0].parameters")),
        (Tool("t", strict=True, at="tools[0]"), Abilities("m", json_schema=False), ("dropped", "tools[0].strict")),
        (Tool("t", kind="custom", format=b'{"type":"grammar"}'), UNKNOWN, ("approximated", "tools[0].format")),
        (Tool("web_search", kind="hosted", dialect="messages"), UNKNOWN, ("dropped", "tools[0]")),
        (Tool("t"), Abilities("m", tools=False), ("refused", "tools")),
    ],
)
def test_what_tools_cannot_be_is_told(tool: Tool, abilities: Abilities, loss: tuple[str, str]) -> None:
    assert loss in losses(tools=(tool,), abilities=abilities)


@pytest.mark.parametrize(
    ("choice", "written_", "loss"),
    [
        (ToolChoice("auto"), {"auto": {}}, None),
        (ToolChoice("required"), {"any": {}}, None),
        (ToolChoice("named", ("find_river",)), {"tool": {"name": "find_river"}}, None),
        (ToolChoice("named", ("other",)), None, ("refused", "tool_choice")),
        (ToolChoice("named"), None, ("refused", "tool_choice")),
        (ToolChoice("allowed", ("find_river",)), {"auto": {}}, ("approximated", "tool_choice")),
        (ToolChoice("allowed", ("find_river",), required=True), {"any": {}}, ("approximated", "tool_choice")),
    ],
)
def test_choices_have_bedrocks_words(choice: ToolChoice, written_: Any, loss: tuple[str, str] | None) -> None:
    members: dict[str, Any] = {"tools": (FIND,), "tool_choice": choice}
    assert body(**members)["toolConfig"].get("toolChoice") == written_
    assert losses(**members) == ([loss] if loss else [])


def test_only_the_allowed_tools_are_sent() -> None:
    other = Tool("other")
    config = body(tools=(FIND, other), tool_choice=ToolChoice("allowed", ("other",)))["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == ["other"]
    assert ("refused", "tool_choice") in losses(tools=(FIND,), tool_choice=ToolChoice("allowed", ("x",), required=True))
    assert ("refused", "tool_choice") in losses(tool_choice=ToolChoice("required"))


def test_no_call_is_had_by_no_tools() -> None:
    """Bedrock has no word for it; where the history has calls, it must have tools, and may call them."""
    none = ToolChoice("none")
    assert "toolConfig" not in body(tools=(FIND,), tool_choice=none)
    assert losses(tools=(FIND,), tool_choice=none) == []
    turns = (user(Text("A")), assistant(CALL), RESULT)
    assert body(*turns, tools=(FIND,), tool_choice=none)["toolConfig"] == {"tools": [SPEC]}
    assert losses(*turns, tools=(FIND,), tool_choice=none) == [("dropped", "tool_choice")]


def test_tools_that_only_the_history_knows_are_declared() -> None:
    """Bedrock refuses calls and results without a `toolConfig`."""
    config = body(user(Text("A")), assistant(CALL), RESULT)["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == ["find_river"]
    assert losses(user(Text("A")), assistant(CALL), RESULT) == [("invented", "tools")]
    lone = body(user(ToolResult("call_9", (Text("x"),))))["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in lone["tools"]] == ["unknown_tool"]


def test_parallel_calls_cannot_be_forbidden() -> None:
    assert losses(tools=(FIND,), parallel_tool_calls=False) == [("dropped", "parallel_tool_calls")]
    assert losses(tools=(FIND,), parallel_tool_calls=True) == []


def test_cache_marks_stand_behind_what_they_mark() -> None:
    mark, hour = CacheMark(), CacheMark("1h")
    point, long = {"cachePoint": {"type": "default"}}, {"cachePoint": {"type": "default", "ttl": "1h"}}
    document = body(
        Turn("system", (Text("S", cache=mark),)),
        user(Text("A")),
        assistant(CALL),
        user(ToolResult("call_1", (Text("x", cache=mark),))),
        tools=(msgspec.structs.replace(FIND, cache=hour),),
        cache=mark,
    )
    assert document["system"] == [{"text": "S"}, point]
    assert document["toolConfig"]["tools"] == [SPEC, long]
    assert [next(iter(block)) for block in document["messages"][2]["content"]] == [
        "toolResult",
        "cachePoint",
        "cachePoint",
    ]


def test_more_than_four_marks_lose_their_first() -> None:
    """The last ones cover what the first ones covered."""
    mark = CacheMark()
    turns = (Turn("system", (Text("S", cache=mark),)), user(*(Text(str(number), cache=mark) for number in range(4))))
    document = body(*turns, tools=(msgspec.structs.replace(FIND, cache=mark),))
    assert document["toolConfig"]["tools"] == [SPEC]
    assert document["system"] == [{"text": "S"}]
    assert sum("cachePoint" in block for block in document["messages"][0]["content"]) == 4
    assert ("approximated", "cache") in losses(*turns)


@pytest.mark.parametrize(
    "members",
    [
        {"turns": (user(Text("A", cache=CacheMark())),)},
        {"cache": CacheMark()},
        {"tools": (msgspec.structs.replace(FIND, cache=CacheMark()),)},
    ],
)
def test_marks_that_the_model_does_not_take_are_told_once(members: dict[str, Any]) -> None:
    turns = members.pop("turns", (HELLO,))
    got = written(*turns, abilities=OTHER, **members)
    assert b"cachePoint" not in got.body
    assert [(loss.kind, loss.path) for loss in got.losses] == [("dropped", "cache")]


def test_a_mark_on_nothing_marks_nothing() -> None:
    assert body(user(Text("", cache=CacheMark()), Text("A")))["messages"][0]["content"] == [{"text": "A"}]


@pytest.mark.parametrize(
    ("members", "loss"),
    [
        ({"seed": 7}, ("dropped", "seed")),
        ({"min_p": 0.1}, ("dropped", "min_p")),
        ({"presence_penalty": 0.0}, ("dropped", "presence_penalty")),
        ({"frequency_penalty": 1.0}, ("dropped", "frequency_penalty")),
        ({"repeat_penalty": 1.1}, ("dropped", "repeat_penalty")),
        ({"logit_bias": b"{}"}, ("dropped", "logit_bias")),
        ({"user": "u1"}, ("dropped", "user")),
        ({"cache_key": "k"}, ("dropped", "cache_key")),
        ({"verbosity": "low"}, ("dropped", "verbosity")),
        ({"store": True}, ("dropped", "store")),
        ({"store": False}, None),
        ({"top_k": 5}, ("dropped", "top_k")),
        ({"candidates": 2}, ("refused", "candidates")),
        ({"candidates": 1}, None),
        ({"logprobs": True}, ("refused", "logprobs")),
        ({"logprobs": False}, None),
        ({"top_logprobs": 2}, ("refused", "top_logprobs")),
        ({"max_output_tokens": 0}, ("refused", "max_output_tokens")),
        ({"temperature": 1.5}, ("approximated", "temperature")),
        ({"service_tier": "ultra"}, ("dropped", "service_tier")),
        ({"service_tier": "auto"}, None),
        ({"metadata": b"{}"}, None),
        ({"metadata": b'{"a":"b"}'}, None),
        ({"metadata": b'{"a":1}'}, ("dropped", "metadata")),
        ({"metadata": b'{"a":"\\u00fc"}'}, ("dropped", "metadata")),
        ({"include_usage": True, "stream": True}, None),
        ({"output": Output("text")}, None),
        ({"output": Output("json")}, ("approximated", "output")),
    ],
)
def test_settings_that_bedrock_does_not_know_are_told(members: dict[str, Any], loss: tuple[str, str] | None) -> None:
    """By their neutral names."""
    assert losses(**members) == ([loss] if loss else [])


def test_settings_that_bedrock_knows_are_said() -> None:
    document = body(
        max_output_tokens=9,
        temperature=2,
        top_k=5,
        service_tier="standard_only",
        metadata=b'{"team":"rivers","":"x"}',
        abilities=CLAUDE,
    )
    assert document["inferenceConfig"] == {"maxTokens": 9, "temperature": 1}
    assert document["additionalModelRequestFields"] == {"top_k": 5}
    assert document["serviceTier"] == {"type": "default"}
    assert document["requestMetadata"] == {"team": "rivers"}


def test_models_without_sampling_get_none() -> None:
    members = {"temperature": 0.5, "top_p": 0.5, "top_k": 5}
    got = written(abilities=Abilities("m", sampling=False), **members)
    assert b"inferenceConfig" not in got.body
    assert [loss.code for loss in got.losses] == ["dropped:temperature", "dropped:top_p", "dropped:top_k"]
    either = Abilities("m", temperature_and_top_p=False)
    assert body(temperature=0.5, top_p=0.5, abilities=either)["inferenceConfig"] == {"temperature": 0.5}
    assert body(top_p=0.5, abilities=either)["inferenceConfig"] == {"topP": 0.5}


def test_the_limit_is_the_models_where_the_client_names_none() -> None:
    """Bedrock would stop after 4096 tokens (dialects: §16.20)."""
    known = Abilities("m", max_output_tokens=64_000)
    assert body(abilities=known)["inferenceConfig"] == {"maxTokens": 64_000}
    assert losses(abilities=known) == [("invented", "max_output_tokens")]
    assert losses(abilities=known, max_output_tokens=5) == []


def test_schemas_are_said_or_told_to_the_model() -> None:
    schema = b'{"type":"object"}'
    wanted = Output("schema", name="River", description="A river.", schema=schema)
    form = body(output=wanted)["outputConfig"]["textFormat"]
    assert form == {
        "type": "json_schema",
        "structure": {
            "jsonSchema": {"schema": '{"type":"object"}', "name": "River", "description": "A river."},
        },
    }
    bare = body(output=Output("schema", schema=schema))["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert bare == {"schema": '{"type":"object"}'}
    without = Abilities("m", json_schema=False)
    assert body(output=wanted, abilities=without)["system"][0]["text"].endswith('{"type":"object"}')
    assert losses(output=wanted, abilities=without) == [("approximated", "output")]
    assert body(output=Output("json"))["system"][0]["text"].startswith("Answer with one JSON value")


LEVELS = Abilities("gpt-oss", "bedrock", thinking_budget=False, adaptive_thinking=False, efforts=("low", "high"))
ALWAYS = msgspec.structs.replace(ADAPTIVE, efforts=("low", "high"))
FREE = msgspec.structs.replace(ADAPTIVE, efforts=None)
MUTE = msgspec.structs.replace(ADAPTIVE, efforts=())


@pytest.mark.parametrize(
    ("reasoning", "abilities", "extra", "found"),
    [
        (Reasoning(), CLAUDE, None, []),
        (Reasoning(effort="none"), CLAUDE, {"thinking": {"type": "disabled"}}, []),
        (Reasoning(enabled=False), ADAPTIVE, {"thinking": {"type": "disabled"}}, []),
        (Reasoning(enabled=False), ALWAYS, None, ["dropped:reasoning"]),
        (Reasoning(enabled=False), UNKNOWN, None, ["dropped:reasoning"]),
        (Reasoning(enabled=False), OTHER, None, []),
        (
            Reasoning(effort="none"),
            msgspec.structs.replace(LEVELS, efforts=("none", "high")),
            {"reasoning_effort": "none"},
            [],
        ),
        (Reasoning(effort="high"), UNKNOWN, None, ["dropped:reasoning"]),
        (Reasoning(effort="high"), OTHER, None, ["dropped:reasoning"]),
        (Reasoning(effort="high"), LEVELS, {"reasoning_effort": "high"}, []),
        (Reasoning(effort="medium"), LEVELS, {"reasoning_effort": "low"}, ["approximated:reasoning.effort"]),
        (Reasoning(enabled=True), LEVELS, None, []),
        (Reasoning(budget_tokens=9_000), CLAUDE, {"thinking": {"type": "enabled", "budget_tokens": 9_000}}, []),
        (Reasoning(effort="low"), CLAUDE, {"thinking": {"type": "enabled", "budget_tokens": 1_024}}, []),
        (Reasoning(enabled=True), CLAUDE, {"thinking": {"type": "enabled", "budget_tokens": 4_096}}, []),
        (
            Reasoning(effort="minimal"),
            CLAUDE,
            {"thinking": {"type": "enabled", "budget_tokens": 1_024}},
            ["approximated:reasoning.effort"],
        ),
        (
            Reasoning(budget_tokens=10),
            CLAUDE,
            {"thinking": {"type": "enabled", "budget_tokens": 1_024}},
            ["approximated:reasoning.budget_tokens"],
        ),
        (Reasoning(enabled=True), ADAPTIVE, {"thinking": {"type": "adaptive"}}, []),
        (
            Reasoning(effort="max", visible=True, summary="detailed"),
            ADAPTIVE,
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max"}},
            ["dropped:reasoning.summary"],
        ),
        (
            Reasoning(effort="xhigh", visible=False),
            ADAPTIVE,
            {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "high"}},
            ["approximated:reasoning.effort"],
        ),
        (
            Reasoning(budget_tokens=50_000),
            FREE,
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}},
            ["approximated:reasoning.budget_tokens"],
        ),
        (
            Reasoning(budget_tokens=8_000),
            ADAPTIVE,
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}},
            ["approximated:reasoning.budget_tokens"],
        ),
        (Reasoning(effort="low"), MUTE, {"thinking": {"type": "adaptive"}}, ["dropped:reasoning.effort"]),
    ],
)
def test_thinking_is_said_in_the_models_own_words(
    reasoning: Reasoning, abilities: Abilities, extra: Any, found: list[str]
) -> None:
    got = written(reasoning=reasoning, abilities=abilities)
    assert json.loads(got.body).get("additionalModelRequestFields") == extra
    assert [loss.code for loss in got.losses] == found


@pytest.mark.parametrize(
    ("limit", "budget", "found"),
    [
        (10_000, 4_096, []),
        (4_000, 3_000, ["approximated:reasoning.budget_tokens"]),
        (1_200, 1_024, ["approximated:reasoning.budget_tokens"]),
        (1_024, None, ["dropped:reasoning"]),
    ],
)
def test_a_budget_leaves_room_for_an_answer(limit: int, budget: int | None, found: list[str]) -> None:
    """Thinking counts towards the limit; Anthropic refuses a budget that is not below it."""
    got = written(reasoning=Reasoning(effort="medium"), max_output_tokens=limit, abilities=CLAUDE)
    thought = json.loads(got.body).get("additionalModelRequestFields", {}).get("thinking", {})
    assert thought.get("budget_tokens") == budget
    assert [loss.code for loss in got.losses] == found


def test_a_model_that_takes_both_forms_gets_the_one_that_was_asked_for() -> None:
    both = msgspec.structs.replace(ADAPTIVE, thinking_budget=True)
    assert body(reasoning=Reasoning(effort="low"), abilities=both)["additionalModelRequestFields"] == {
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low"},
    }
    assert body(reasoning=Reasoning(budget_tokens=2_000), abilities=both)["additionalModelRequestFields"] == {
        "thinking": {"type": "enabled", "budget_tokens": 2_000}
    }


def test_sampling_gives_way_to_a_budget() -> None:
    """Claude refuses temperature and top_k beside it."""
    members: dict[str, Any] = {"temperature": 0.5, "top_k": 5, "top_p": 0.95, "reasoning": Reasoning(effort="low")}
    assert body(abilities=CLAUDE, **members)["inferenceConfig"] == {"topP": 0.95}
    assert losses(abilities=CLAUDE, **members) == [("dropped", "temperature"), ("dropped", "top_k")]


@pytest.mark.parametrize(
    ("first", "choice", "thinks"),
    [
        (Thinking(("Well.",), "c2ln", "bedrock"), None, True),
        (Thinking(("Well.",), "c2ln", "bedrock"), ToolChoice("auto"), True),
        (Thinking(("Well.",), "c2ln", "bedrock"), ToolChoice("required"), False),
        (Thinking(("Well.",), "c2ln", "responses"), None, False),
        (Text("I look."), None, False),
    ],
)
def test_a_budget_is_given_only_where_the_conversation_allows_it(
    first: Part, choice: ToolChoice | None, thinks: bool
) -> None:
    """Calls that wait for their results must begin with the thinking that led to them (dialects: §16.15)."""
    members: dict[str, Any] = {"tools": (FIND,), "tool_choice": choice, "reasoning": Reasoning(effort="low")}
    got = written(user(Text("A")), assistant(first, CALL), RESULT, abilities=CLAUDE, **members)
    assert ("additionalModelRequestFields" in json.loads(got.body)) is thinks
    assert ("approximated:reasoning" in [loss.code for loss in got.losses]) is not thinks
    over = written(user(Text("A")), assistant(Text("B")), user(Text("C")), abilities=CLAUDE, **members)
    assert ("additionalModelRequestFields" in json.loads(over.body)) is (choice is None or choice.mode == "auto")
