"""Requests of Gemini clients and for Gemini.

Proves read_request, read_settings, read_parts, write_request, write_contents, write_tools, write_generation,
write_parts, members and count.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.gemini.count import (
    read_count_answer,
    read_count_request,
    write_count_answer,
    write_count_request,
)
from flumegate.dialects.gemini.read_request import read_request
from flumegate.dialects.gemini.signature import BYPASS
from flumegate.dialects.gemini.write_request import write_request
from flumegate.dialects.node import ReadError
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
from rig.gemini_cases import normal_request

MODEL = Abilities("river-1")
PNG = "iVBORw0KGgo="


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def model(*parts: Any) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


CALL = {"functionCall": {"name": "depth", "args": {"at": "weir"}}}
RESULT = {"functionResponse": {"name": "depth", "response": {"output": "2 m"}}}
HELLO = [user({"text": "How deep?"})]
IDENTITY: dict[str, dict[str, Any]] = {
    "least": {"contents": HELLO},
    "system": {"systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}, "contents": HELLO},
    "odd text": {"contents": [user({"text": ""}, {"text": "a\u2028b \U0001f600"}), model(), user()]},
    "content extras": {"contents": [user({"text": "a"}) | {"x": 1}], "systemInstruction": {"parts": [], "y": 2}},
    "thoughts": {
        "contents": [
            *HELLO,
            model(
                {"text": "Hm", "thought": True},
                {"text": "Aha", "thought": True, "thoughtSignature": "c2ln"},
                {"text": "Deep.", "thoughtSignature": "c2lu"},
                {"text": "", "thoughtSignature": "c2lv"},
            ),
        ]
    },
    "calls without ids": {
        "contents": [
            *HELLO,
            model(CALL | {"thoughtSignature": "c2ln"}, CALL, {"functionCall": {"name": "tide"}}),
            user(RESULT, RESULT, {"functionResponse": {"name": "tide", "response": {"state": "ebb"}}}),
            user({"functionResponse": {"name": "lost", "response": {}}}),
        ]
    },
    "calls with ids": {
        "contents": [
            *HELLO,
            model({"functionCall": {"id": "c1", "name": "depth", "args": {}}}),
            user({"functionResponse": {"id": "c1", "name": "depth", "response": {"error": "dry"}}}),
            user({"functionResponse": {"id": "c9", "name": "depth", "response": {"output": '{"a":1}'}}}),
        ]
    },
    "old role": {"contents": [model(CALL), {"role": "function", "parts": [RESULT]}]},
    "response extras": {
        "contents": [
            model({"functionCall": {"id": "c", "name": "f", "args": {}, "x": 1}, "partMetadata": {"a": 1}}),
            user({"functionResponse": {"id": "c", "name": "f", "response": {"output": 1}, "scheduling": "SILENT"}}),
        ]
    },
    "files": {
        "contents": [
            user(
                {"inlineData": {"mimeType": "image/png", "data": PNG, "displayName": "p"}, "mediaResolution": {"l": 1}},
                {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
                {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0=", "x": 1}},
                {"fileData": {"mimeType": "video/mp4", "fileUri": "https://youtu.be/x"}, "videoMetadata": {"fps": 1}},
                {"fileData": {"fileUri": "gs://bucket/a.pdf", "mimeType": "application/pdf", "displayName": "a"}},
                {"fileData": {"fileUri": "https://river.example/a.png", "mimeType": "image/png"}},
                {"fileData": {"fileUri": "https://river.example/a"}},
                {"fileData": {"fileUri": "files/abc"}},
            )
        ]
    },
    "files of tools": {
        "contents": [
            model(CALL),
            user(
                {
                    "functionResponse": {
                        "name": "depth",
                        "response": {"output": "see"},
                        "parts": [
                            {"inlineData": {"mimeType": "image/png", "data": PNG}},
                            {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/p.png"}},
                            {"holo": {"a": 1}},
                            {},
                        ],
                    }
                }
            ),
        ]
    },
    "server tools": {
        "contents": [
            model(
                {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "c2ln"},
                {"codeExecutionResult": {"outcome": "OUTCOME_OK"}},
                {"toolCall": {"id": "t"}},
                {"newThing": {"a": [1]}},
                {},
            )
        ]
    },
    "tools": {
        "contents": HELLO,
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "a.b", "description": "d", "parametersJsonSchema": {"type": "object"}},
                    {"name": "c", "description": "", "behavior": "BLOCKING", "responseJsonSchema": {}},
                ]
            },
            {"googleSearch": {}},
            {"codeExecution": {}},
            {"urlContext": {}},
            {"fileSearch": {"fileSearchStoreNames": ["s"]}},
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}, "retrievalConfig": {"latLng": {"latitude": 1}}},
    },
    "all settings": {
        "contents": HELLO,
        "generationConfig": {
            "temperature": 0.5,
            "topP": 0.25,
            "topK": 40,
            "candidateCount": 2,
            "maxOutputTokens": 99,
            "stopSequences": ["a", "b"],
            "seed": -7,
            "presencePenalty": -0.5,
            "frequencyPenalty": 0.5,
            "responseLogprobs": True,
            "logprobs": 3,
            "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object"},
            "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True, "x": 1},
            "mediaResolution": "MEDIA_RESOLUTION_LOW",
            "speechConfig": {"voiceConfig": {}},
            "imageConfig": {"aspectRatio": "1:1"},
            "responseModalities": ["TEXT", "IMAGE"],
        },
        "safetySettings": [{"category": "c", "threshold": "t"}],
        "cachedContent": "cachedContents/x",
        "serviceTier": "flex",
        "labels": {"a": "b"},
    },
    "text": {"contents": HELLO, "generationConfig": {"responseModalities": ["TEXT"]}},
    "plain text": {"contents": HELLO, "generationConfig": {"responseMimeType": "text/plain"}},
    "json": {"contents": HELLO, "generationConfig": {"responseMimeType": "application/json"}},
    "no thinking": {"contents": HELLO, "generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}},
    "dynamic": {"contents": HELLO, "generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}},
    "budget": {
        "contents": HELLO,
        "generationConfig": {"thinkingConfig": {"thinkingBudget": 77, "includeThoughts": False}},
    },
    "only config": {"toolConfig": {"includeServerSideToolInvocations": True}},
}
for _name, _calling in {
    "auto": {"mode": "AUTO"},
    "none": {"mode": "NONE"},
    "named": {"mode": "ANY", "allowedFunctionNames": ["a"]},
    "allowed": {"mode": "ANY", "allowedFunctionNames": ["a", "b"]},
    "validated": {"mode": "VALIDATED"},
    "validated extras": {"mode": "VALIDATED", "x": 1},
    "validated names": {"mode": "VALIDATED", "allowedFunctionNames": ["a"]},
    "calling extras": {"mode": "ANY", "streamFunctionCallArguments": True},
}.items():
    IDENTITY[f"choice {_name}"] = {"contents": HELLO, "toolConfig": {"functionCallingConfig": _calling}}


def read(body: Any) -> Request:
    return read_request(json.dumps(body).encode(), model="river-1")


def say(*parts: Part, role: Role = "user", abilities: Abilities = MODEL, **settings: Any) -> tuple[Any, Written]:
    """Return what a foreign request becomes: its document, and all that was written."""
    turns = settings.pop("turns", (Turn(role, parts, at="messages[0]"),))
    written = write_request(Request(dialect="chat", model="m", turns=turns, **settings), abilities)
    return json.loads(written.body), written


def codes(written: Written) -> list[str]:
    return [loss.code for loss in written.losses]


@pytest.mark.parametrize("name", IDENTITY)
def test_a_request_is_written_as_it_was_read(name: str) -> None:
    """Every documented member comes back with its value, unknown ones included, and nothing is lost."""
    body = IDENTITY[name]
    request = read(body)
    written = write_request(request, MODEL)
    assert written.losses == ()
    assert written.renames == {}
    assert normal_request(json.loads(written.body)) == normal_request(_without_empty(body))
    assert read_request(written.body, model="river-1") == request


def _without_empty(body: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(body).replace(', "parts": []', "").replace('"parts": [], ', '"parts": [], ')
    return dict(json.loads(text))


NORMALISED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "snake case": (
        {
            "system_instruction": {"parts": {"text": "a"}},
            "contents": {"parts": {"inline_data": {"mime_type": "image/png", "data": PNG}}},
            "generation_config": {"top_p": 1, "thinking_config": {"thinking_budget": 5}, "max_output_tokens": 3.0},
            "tool_config": {"function_calling_config": {"mode": "any", "allowed_function_names": ["a"]}},
            "tools": {"function_declarations": {"name": "a", "parameters_json_schema": {}}},
        },
        {
            "systemInstruction": {"parts": [{"text": "a"}]},
            "contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}],
            "generationConfig": {"topP": 1, "thinkingConfig": {"thinkingBudget": 5}, "maxOutputTokens": 3},
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["a"]}},
            "tools": [{"functionDeclarations": [{"name": "a", "description": "", "parametersJsonSchema": {}}]}],
        },
    ),
    "both cases": ({"topK": 1, "top_k": 2, "contents": HELLO}, {"topK": 1, "top_k": 2, "contents": HELLO}),
    "system text": (
        {"systemInstruction": "a", "contents": HELLO},
        {"systemInstruction": {"parts": [{"text": "a"}]}, "contents": HELLO},
    ),
    "nulls": (
        {"contents": HELLO, "tools": None, "toolConfig": None, "systemInstruction": None, "safetySettings": None},
        {"contents": HELLO},
    ),
    "null settings": (
        {"contents": HELLO, "generationConfig": {"thinkingConfig": {}, "stopSequences": [], "temperature": None}},
        {"contents": HELLO},
    ),
    "OpenAPI schema": (
        {
            "contents": HELLO,
            "tools": [{"functionDeclarations": [{"name": "a", "description": "d", "parameters": {"type": "OBJECT"}}]}],
            "generationConfig": {"responseMimeType": "application/json", "responseSchema": {"type": "STRING"}},
        },
        {
            "contents": HELLO,
            "tools": [
                {
                    "functionDeclarations": [
                        {"name": "a", "description": "d", "parametersJsonSchema": {"type": "object"}}
                    ]
                }
            ],
            "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": {"type": "string"}},
        },
    ),
    "unspecified": (
        {
            "contents": HELLO,
            "toolConfig": {"functionCallingConfig": {"mode": "MODE_UNSPECIFIED"}},
            "generationConfig": {"thinkingConfig": {"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}},
        },
        {"contents": HELLO, "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}},
    ),
    "no signature's text": (
        {"contents": [model({"thoughtSignature": "c2ln"})]},
        {"contents": [model({"text": "", "thoughtSignature": "c2ln"})]},
    ),
    "no response": (
        {"contents": [user({"functionResponse": {"name": "f"}})]},
        {"contents": [user({"functionResponse": {"name": "f", "response": {}}})]},
    ),
}


@pytest.mark.parametrize("name", NORMALISED)
def test_what_means_the_same_is_written_one_way(name: str) -> None:
    """These spellings, and only these, are not kept."""
    body, expected = NORMALISED[name]
    written = write_request(read(body), MODEL)
    assert written.losses == ()
    assert json.loads(written.body) == expected


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"[]", ""),
        (b'{"contents":3}', "contents"),
        (b'{"contents":[3]}', "contents[0]"),
        (b'{"contents":[{"role":"system","parts":[]}]}', "contents[0].role"),
        (b'{"contents":[{"parts":[{"text":1}]}]}', "contents[0].parts[0].text"),
        (
            b'{"contents":[{"parts":[{"functionCall":{"name":"f","args":[]}}]}]}',
            "contents[0].parts[0].functionCall.args",
        ),
        (
            b'{"contents":[{"parts":[{"functionCall":{"args":{"a":"\xff"}}}]}]}',
            "contents[0].parts[0].functionCall.args",
        ),
        (b'{"toolConfig":{"functionCallingConfig":{"mode":"MAYBE"}}}', "toolConfig.functionCallingConfig.mode"),
        (b'{"generationConfig":{"topK":1.5}}', "generationConfig.topK"),
        (b'{"generationConfig":{"responseSchema":{}}}', "generationConfig.responseSchema"),
        (b'{"generationConfig":{"responseJsonSchema":{}}}', "generationConfig.responseJsonSchema"),
        (
            b'{"generationConfig":{"thinkingConfig":{"thinkingLevel":"VAST"}}}',
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
        (b'{"tools":[{"functionDeclarations":[{}]}]}', "tools[0].functionDeclarations[0].name"),
    ],
)
def test_what_is_no_request_is_told_with_its_path(body: bytes, path: str) -> None:
    """A client learns which member is wrong."""
    with pytest.raises(ReadError) as caught:
        read_request(body)
    assert caught.value.path == path


def test_places_and_names_are_known() -> None:
    """Parts and turns bear their paths; model and stream come from the path of the URL, or the body's own name."""
    request = read_request(json.dumps({"model": "models/tide", "contents": HELLO}).encode(), stream=True)
    assert (request.model, request.stream, request.dialect) == ("tide", True, "gemini")
    assert request.turns[0].at == "contents[0]"
    assert request.turns[0].parts[0].at == "contents[0].parts[0]"
    media = read(IDENTITY["files of tools"]).turns[1].parts[0]
    assert isinstance(media, ToolResult)
    assert [part.at for part in media.parts][1] == "contents[1].parts[0].functionResponse.parts[0]"


def test_results_find_their_calls() -> None:
    """By id, else the oldest open call of that name; ids that were made up repeat nowhere in the request."""
    body = {
        "contents": [
            model(CALL, CALL, {"functionCall": {"id": "x", "name": "depth"}}),
            user({"functionResponse": {"id": "x", "name": "depth", "response": {}}}, RESULT, RESULT),
            model(CALL),
            user(RESULT, RESULT),
        ]
    }
    turns = read(body).turns
    ids = [[part.id for part in turn.parts if isinstance(part, ToolCall)] for turn in turns]
    answered = [[part.call_id for part in turn.parts if isinstance(part, ToolResult)] for turn in turns]
    assert ids == [["call_0", "call_1", "x"], [], ["call_3"], []]
    assert answered == [[], ["x", "call_0", "call_1"], [], ["call_3", "call_of_depth"]]


def test_vital_members_are_known() -> None:
    """Sound and pictures in the answer, and a cached beginning, are no hints."""
    extras = read(IDENTITY["all settings"]).extras
    assert extras is not None
    assert set(extras.vital) == {
        "cachedContent",
        "generationConfig.speechConfig",
        "generationConfig.responseModalities",
    }
    wrapped = read(IDENTITY["text"])
    assert wrapped.output == Output("text")
    assert wrapped.extras is None


def test_state_of_other_providers_passes_through_a_client() -> None:
    """Wrapped state comes back as what it was, in either base64, and is not sent to Gemini."""
    sealed = base64.urlsafe_b64encode("fg1.messages.s.sig/+?~\u00ff".encode()).decode().rstrip("=")
    redacted = base64.b64encode(b"fg1.messages.r.data").decode()
    body = {
        "contents": [
            model(
                {"text": "Hm", "thought": True, "thoughtSignature": sealed},
                {"text": "", "thoughtSignature": redacted},
                CALL | {"thoughtSignature": sealed},
                {"text": "Hm", "thought": True, "thoughtSignature": "ZmcxL%"},
            )
        ]
    }
    request = read(body)
    parts = request.turns[0].parts
    assert parts[0] == Thinking(("Hm",), "sig/+?~\u00ff", "messages", at="contents[0].parts[0]")
    assert parts[1] == Thinking((), "data", "messages", True, at="contents[0].parts[1]")
    assert isinstance(parts[2], ToolCall)
    assert parts[2].origin == "messages"
    assert isinstance(parts[3], Thinking)
    assert parts[3].origin == "gemini"
    written = write_request(request, MODEL)
    assert codes(written) == ["dropped:reasoning"]
    assert json.loads(written.body)["contents"][0]["parts"][0] == CALL


def test_a_conversation_of_another_dialect() -> None:
    """System first, results of a step in one content, notes in place, names looked up, empty turns left out."""
    turns = (
        Turn("system", (Text("Be brief."),), plain=True, at="messages[0]"),
        Turn("developer", (Text("Be kind."),), at="messages[1]", name="ann"),
        Turn("user", (Text("Hi"), Text("")), at="messages[2]"),
        Turn("assistant", (Text(""),), at="messages[3]"),
        Turn("assistant", (ToolCall("a", "depth", '{"at": "weir"}'), ToolCall("b", "tide")), at="messages[4]"),
        Turn("tool", (ToolResult("b", (Text("ebb"),)),), at="messages[5]"),
        Turn("tool", (ToolResult("a", (Text('{"m":2}'),), is_error=True),), at="messages[6]"),
        Turn("system", (Text("Now."), Media("image", data=PNG)), at="messages[7]"),
        Turn("assistant", (Refusal("No.", at="messages[8].refusal"),), at="messages[8]"),
    )
    body, written = say(turns=turns)
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}
    assert body["contents"] == [
        user({"text": "Hi"}),
        model(
            {"functionCall": {"id": "a", "name": "depth", "args": {"at": "weir"}}},
            {"functionCall": {"id": "b", "name": "tide"}},
        ),
        user(
            {"functionResponse": {"id": "b", "name": "tide", "response": {"output": "ebb"}}},
            {"functionResponse": {"id": "a", "name": "depth", "response": {"error": {"m": 2}}}},
            {"text": "[system] Now."},
            {"inlineData": {"mimeType": "image/png", "data": PNG}},
        ),
        model({"text": "No."}),
    ]
    assert codes(written) == ["dropped:messages.name", "approximated:messages", "approximated:messages.refusal"]
    refusing = msgspec.structs.replace(MODEL, prefill=False)
    assert "refused:messages" in codes(say(turns=turns, abilities=refusing)[1])


@pytest.mark.parametrize(
    ("part", "expected", "loss"),
    [
        (Media("image", "image/webp", data="UklGR"), {"inlineData": {"mimeType": "image/webp", "data": "UklGR"}}, []),
        (Media("file", data="JVBERi0x"), {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0x"}}, []),
        (Media("file", data="AAAA"), None, ["refused:p"]),
        (Media("file", text="abc"), {"inlineData": {"mimeType": "text/plain", "data": "YWJj"}}, []),
        (Media("file", file_id="f", dialect="chat"), None, ["refused:p"]),
        (
            Media("image", url="https://river.example/a.JPG?x=.png", detail="auto"),
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://river.example/a.JPG?x=.png"}},
            [],
        ),
        (
            Media("image", url="https://river.example/a.xyz", detail="low", filename="a"),
            {"fileData": {"fileUri": "https://river.example/a.xyz"}},
            ["dropped:p.filename", "dropped:p.detail"],
        ),
        (ToolCall("c", "f", "{oops"), None, ["refused:p"]),
        (ToolCall("c", "f", "[1]"), None, ["refused:p"]),
        (ToolCall("c", "f", " "), {"functionCall": {"id": "c", "name": "f", "args": {}}}, []),
        (
            ToolCall("c", "f", "a\nb", kind="custom"),
            {"functionCall": {"id": "c", "name": "f", "args": {"input": "a\nb"}}},
            [],
        ),
        (ToolCall("c", "f", namespace="n"), {"functionCall": {"id": "c", "name": "n__f"}}, []),
        (ToolResult("lost", (Text("a"),)), None, ["refused:p"]),
        (Thinking(("Hm",)), None, ["dropped:reasoning"]),
        (
            Thinking(("Hm", "Aha"), "sig", "gemini"),
            {"text": "Hm\n\nAha", "thought": True, "thoughtSignature": "sig"},
            [],
        ),
        (Text("a", (Citation("u"),), cache=CacheMark()), {"text": "a"}, ["dropped:p.citations", "dropped:cache"]),
        (Opaque("messages", "x", b"{}"), None, ["refused:p"]),
        (Opaque("messages", "x", b"{}", vital=False), None, ["dropped:p"]),
        (Text("a", extras=Extras("chat", {"x": msgspec.Raw(b"1")})), {"text": "a"}, ["dropped:p.x"]),
        (
            Media("image", "image/png", data=PNG, cache=CacheMark()),
            {"inlineData": {"mimeType": "image/png", "data": PNG}},
            ["dropped:cache"],
        ),
    ],
)
def test_parts_of_other_dialects(part: Part, expected: Any, loss: list[str]) -> None:
    """What Gemini cannot be told is refused or reported, never left out in silence."""
    body, written = say(msgspec.structs.replace(part, at="p"), role="assistant")
    assert body["contents"] == ([model(expected)] if expected else [])
    assert codes(written) == loss


def test_what_a_model_cannot_take_is_refused() -> None:
    """Abilities decide, not names."""
    blind = Abilities("m", images=False, files=False, audio=False, tools=False)
    parts = [Media("image", data=PNG), Media("audio", "audio/wav", data="U"), Media("file", text="a")]
    _, written = say(*parts, abilities=blind, tools=(Tool("f"),))
    assert codes(written) == ["refused:tools", "refused:", "refused:", "refused:"]


def test_results_hold_text_and_files() -> None:
    """Files stay in the result; models of the older family get them behind it."""
    result = ToolResult(
        "a",
        (
            Text("one", extras=Extras("chat", {"x": msgspec.Raw(b"1")}), cache=CacheMark(), at="r"),
            Media("image", "image/png", data=PNG, at="r"),
            Text("two"),
            Media("file", data="AAAA", at="r"),
            Opaque("messages", "x", b"{}", at="r"),
            Thinking(at="r"),
        ),
        at="m",
    )
    turns = (Turn("assistant", (ToolCall("a", "f"),)), Turn("tool", (result,)))
    body, written = say(turns=turns)
    assert body["contents"][1]["parts"] == [
        {
            "functionResponse": {
                "id": "a",
                "name": "f",
                "response": {"output": "one\ntwo"},
                "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
            }
        }
    ]
    assert codes(written) == ["dropped:r.x", "refused:r", "refused:r", "refused:r", "dropped:cache"]
    older, written = say(turns=turns, abilities=Abilities("m", adaptive_thinking=False))
    assert older["contents"][1]["parts"][1:] == [{"inlineData": {"mimeType": "image/png", "data": PNG}}]
    assert "approximated:r" in codes(written)


def test_missing_signatures_of_the_current_turn_are_bypassed() -> None:
    """Of each step's calls the first bears one, and only behind the user's last word; only where the model checks."""
    turns = (
        Turn("user", (Text("a"),)),
        Turn("assistant", (ToolCall("1", "f"),)),
        Turn("tool", (ToolResult("1", (Text("x"),)),)),
        Turn("user", (Text("b"),)),
        Turn("assistant", (Text("c"),)),
        Turn("user", (Text("d"),)),
        Turn("assistant", (Text("e"), ToolCall("2", "f"), ToolCall("3", "f"))),
        Turn("tool", (ToolResult("2", (Text("x"),)), ToolResult("3", (Text("y"),)))),
        Turn("assistant", (ToolCall("4", "f", signature="own", origin="gemini"), ToolCall("5", "f"))),
    )
    body, written = say(turns=turns, abilities=Abilities("m", adaptive_thinking=True))
    signatures = {
        part["functionCall"]["id"]: part.get("thoughtSignature")
        for content in body["contents"]
        for part in content["parts"]
        if "functionCall" in part
    }
    assert signatures == {"1": None, "2": BYPASS, "3": None, "4": "own", "5": None}
    assert codes(written) == ["invented:reasoning"]
    assert codes(say(turns=turns)[1]) == []
    alone, _ = say(turns=turns[1:2], abilities=Abilities("m", adaptive_thinking=True))
    assert alone["contents"][0]["parts"][0]["thoughtSignature"] == BYPASS


def test_tools_of_other_dialects() -> None:
    """Names are flattened and made legal, and undone in the answer; custom tools become functions."""
    tools = (
        Tool("depth", description="d", parameters=b'{"type":"object"}', strict=True, cache=CacheMark()),
        Tool("find", namespace="river"),
        Tool("9 lives"),
        Tool("patch", kind="custom", format=b'{"type":"text"}'),
        Tool("odd", kind="custom", format=b'{"type":"grammar","syntax":"lark"}', at="tools[9]"),
        Tool("web_search", "hosted", dialect="responses"),
    )
    body, written = say(tools=tools, tool_choice=ToolChoice("named", ("9 lives",)))
    functions = body["tools"][0]["functionDeclarations"]
    lives = functions[2]["name"]
    assert [function["name"] for function in functions] == ["depth", "river__find", lives, "patch", "odd"]
    assert lives.startswith("_9_lives")
    assert written.renames == {
        "river__find": Rename("find", "river"),
        lives: Rename("9 lives"),
        "patch": Rename("patch", kind="custom"),
        "odd": Rename("odd", kind="custom"),
    }
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [lives]}}
    found = codes(written)
    assert [code for code in found if code not in ("approximated:tools", "approximated:tools.format")] == [
        "dropped:tools.strict",
        "dropped:tools",
        "dropped:cache",
    ]
    assert "tools[9].format" in [loss.path for loss in written.losses]
    assert codes(say(tools=tools[-1:])[1]) == ["dropped:tools"]
    assert "refused:tools" in codes(say(tools=tools[-1:], tool_choice=ToolChoice("required"))[1])


@pytest.mark.parametrize(
    ("choice", "expected", "loss"),
    [
        (ToolChoice("none"), {"mode": "NONE"}, []),
        (ToolChoice("auto"), {"mode": "AUTO"}, []),
        (ToolChoice("required"), {"mode": "ANY"}, []),
        (ToolChoice("allowed", ("f",)), {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}, []),
        (ToolChoice("allowed", ("g", "f"), required=True), {"mode": "ANY", "allowedFunctionNames": ["g", "f"]}, []),
        (ToolChoice("named", ("web",), kind="hosted"), None, ["refused:tool_choice"]),
        (
            ToolChoice("auto", extras=Extras("chat", {"x": msgspec.Raw(b"1")})),
            {"mode": "AUTO"},
            ["dropped:tool_choice.x"],
        ),
    ],
)
def test_tool_choices_of_other_dialects(choice: ToolChoice, expected: Any, loss: list[str]) -> None:
    """All of them can be said, but for tools that run elsewhere."""
    body, written = say(tools=(Tool("f"),), tool_choice=choice)
    assert body.get("toolConfig") == (None if expected is None else {"functionCallingConfig": expected})
    assert codes(written) == loss


def test_a_choice_without_tools() -> None:
    """One that demands a call is refused, the others mean nothing."""
    assert codes(say(tool_choice=ToolChoice("required"))[1]) == ["refused:tool_choice"]
    body, written = say(tool_choice=ToolChoice("auto"))
    assert "toolConfig" not in body
    assert written.losses == ()


def test_older_models_get_cleaned_schemas() -> None:
    """Without JSON Schema the subset is sent, and what it cannot say is reported."""
    schema = (
        b'{"$schema":"x","type":"object","properties":{"a":{"type":["string","null"]}},"additionalProperties":false}'
    )
    old = Abilities("m", json_schema=False)
    tools = (Tool("f", parameters=schema), Tool("g", parameters=b'{"type":"object"}'))
    body, written = say(tools=tools, output=Output("schema", "n", schema, description="d"), abilities=old)
    cleaned = {"type": "object", "properties": {"a": {"type": "string", "nullable": True}}}
    assert body["tools"][0]["functionDeclarations"][0]["parameters"] == cleaned
    assert body["generationConfig"] == {"responseMimeType": "application/json", "responseSchema": cleaned}
    assert codes(written) == [
        "approximated:tools.parameters",
        "dropped:output.description",
        "approximated:output.schema",
    ]
    plain, written = say(output=Output("schema", "n", b'{"type":"object"}'), abilities=old)
    assert plain["generationConfig"]["responseSchema"] == {"type": "object"}
    assert written.losses == ()
    assert say(output=Output("text"))[0] == {"contents": []}


def test_settings_that_gemini_does_not_know_are_reported() -> None:
    """Every neutral setting is said or named as a loss."""
    body, written = say(
        verbosity="low",
        min_p=0.1,
        repeat_penalty=1.1,
        logit_bias=b"{}",
        user="u",
        metadata=b"{}",
        cache_key="k",
        store=False,
        parallel_tool_calls=False,
        cache=CacheMark(),
        service_tier="turbo",
        stop=("1", "2", "3", "4", "5", "6"),
        max_output_tokens=100,
        temperature=1.5,
        top_p=0.5,
        top_k=5,
        extras=Extras("chat", {"x": msgspec.Raw(b"1")}),
        abilities=Abilities("m", max_output_tokens=50, temperature_and_top_p=False),
    )
    assert body["generationConfig"] == {
        "temperature": 1.5,
        "topK": 5,
        "maxOutputTokens": 50,
        "stopSequences": ["1", "2", "3", "4", "5"],
    }
    names = "verbosity min_p repeat_penalty logit_bias user metadata cache_key store parallel_tool_calls cache"
    assert set(codes(written)) == {
        "dropped:top_p",
        "approximated:max_output_tokens",
        "dropped:stop",
        "dropped:service_tier",
        "dropped:x",
        *(f"dropped:{name}" for name in names.split()),
    }
    _, written = say(temperature=1.0, top_k=1, abilities=Abilities("m", sampling=False))
    assert codes(written) == ["dropped:temperature", "dropped:top_k"]
    assert say(service_tier="default")[0]["serviceTier"] == "standard"
    assert say(service_tier="auto") == ({"contents": []}, Written(b'{"contents":[]}'))


LEVELS = Abilities("m", efforts=("low", "high"), thinking_budget=False)
BUDGET = Abilities("m", thinking_budget=True, efforts=())


@pytest.mark.parametrize(
    ("reasoning", "abilities", "expected", "loss"),
    [
        (Reasoning("high"), LEVELS, {"thinkingLevel": "HIGH", "includeThoughts": True}, []),
        (
            Reasoning("medium"),
            LEVELS,
            {"thinkingLevel": "LOW", "includeThoughts": True},
            ["approximated:reasoning.effort"],
        ),
        (
            Reasoning("max"),
            MODEL,
            {"thinkingLevel": "HIGH", "includeThoughts": True},
            ["approximated:reasoning.effort"],
        ),
        (Reasoning("none"), LEVELS, {"thinkingLevel": "LOW"}, ["approximated:reasoning.effort"]),
        (Reasoning("none"), BUDGET, {"thinkingBudget": 0}, []),
        (Reasoning(enabled=False), MODEL, {"thinkingBudget": 0}, []),
        (Reasoning("medium", visible=False), BUDGET, {"thinkingBudget": 8192, "includeThoughts": False}, []),
        (Reasoning("low"), BUDGET, {"thinkingBudget": 1024, "includeThoughts": True}, []),
        (
            Reasoning("xhigh"),
            BUDGET,
            {"thinkingBudget": 24576, "includeThoughts": True},
            ["approximated:reasoning.effort"],
        ),
        (Reasoning(budget_tokens=5), BUDGET, {"thinkingBudget": 5, "includeThoughts": True}, []),
        (
            Reasoning(budget_tokens=2048),
            LEVELS,
            {"thinkingLevel": "LOW", "includeThoughts": True},
            ["approximated:reasoning.budget_tokens"],
        ),
        (
            Reasoning(budget_tokens=9000),
            LEVELS,
            {"thinkingLevel": "HIGH", "includeThoughts": True},
            ["approximated:reasoning.budget_tokens"],
        ),
        (
            Reasoning(budget_tokens=8000),
            Abilities("m", efforts=("medium",)),
            {"thinkingLevel": "MEDIUM", "includeThoughts": True},
            ["approximated:reasoning.budget_tokens"],
        ),
        (Reasoning("high", 5), LEVELS, {"thinkingLevel": "HIGH", "includeThoughts": True}, []),
        (Reasoning(enabled=True), MODEL, {"thinkingBudget": -1, "includeThoughts": True}, []),
        (Reasoning(enabled=True), LEVELS, {"includeThoughts": True}, []),
        (Reasoning(summary="concise"), MODEL, None, ["dropped:reasoning.summary"]),
        (Reasoning("high"), Abilities("m", efforts=()), None, ["dropped:reasoning.effort"]),
        (Reasoning("none"), Abilities("m", efforts=()), None, []),
        (
            Reasoning("high"),
            Abilities("m", efforts=("ultra",)),
            {"includeThoughts": True},
            ["dropped:reasoning.effort"],
        ),
        (
            Reasoning(visible=True, extras=Extras("chat", {"x": msgspec.Raw(b"1")})),
            MODEL,
            {"includeThoughts": True},
            ["dropped:reasoning.x"],
        ),
    ],
)  # fmt: skip - one line a row
def test_thinking_is_asked_for_as_the_model_takes_it(
    reasoning: Reasoning, abilities: Abilities, expected: Any, loss: list[str]
) -> None:
    """Level or budget by abilities, never both; thoughts are shown to who asked for reasoning."""
    body, written = say(reasoning=reasoning, abilities=abilities)
    assert body.get("generationConfig", {}).get("thinkingConfig") == expected
    assert codes(written) == loss


def test_counting_asks_with_the_whole_request() -> None:
    """Bare and wrapped questions are read; ours is wrapped, under the provider's name of the model."""
    bare = read_count_request(b'{"contents":[{"parts":[{"text":"a"}]}]}', model="m")
    written = write_count_request(bare, Abilities("tide"))
    wrapped = json.loads(written.body)
    assert wrapped["generateContentRequest"]["model"] == "models/tide"
    again = read_count_request(written.body)
    assert again.model == "tide"
    assert again.turns[0].parts[0] == Text("a", at="generateContentRequest.contents[0].parts[0]")
    empty = write_count_request(read_count_request(b"{}"), Abilities("tunedModels/t")).body
    assert json.loads(empty) == {"generateContentRequest": {"model": "tunedModels/t"}}


def test_a_count_is_one_number() -> None:
    """Written and read; an answer without it is none."""
    assert read_count_answer(write_count_answer(7)) == 7
    with pytest.raises(ReadError):
        read_count_answer(b"{}")


def test_an_empty_stop_sequence_is_left_out() -> None:
    """It would end every answer at once, or be refused."""
    body, written = say(stop=("", "a"))
    assert body["generationConfig"]["stopSequences"] == ["a"]
    assert codes(written) == ["dropped:stop"]
