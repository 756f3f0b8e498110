from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.dialects.node import ReadError
from flumegate.dialects.ollama.chat import CODEC
from flumegate.dialects.ollama.chat.read_request import read_request
from flumegate.dialects.ollama.chat.write_request import write_request
from flumegate.ir.parts import Media, Opaque, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Output, Reasoning, Request
from flumegate.ir.written import Abilities
from rig.ollama_cases import CALL, PNG, REQUESTS, SCHEMA, packed


def read(**members: Any) -> Request:
    return read_request(packed({"model": "heron", **members}))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", REQUESTS)
def test_identity(name: str, stream: bool) -> None:
    """What a client of the dialect asks is asked in the same words, and nothing is lost.

    `stream` is always written out, empty lists and objects are not.
    """
    document = {"model": "heron", "stream": stream, **REQUESTS[name]}
    written = write_request(read_request(packed(document)), Abilities("heron"))
    assert json.loads(written.body) == document
    assert (written.losses, written.renames) == ((), {})


NORMALISED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "streaming is the default": ({"messages": []}, {"messages": [], "stream": True}),
    "null is the default too": ({"messages": None, "stream": None}, {"messages": [], "stream": True}),
    "a role in capitals": (
        {"messages": [{"role": "User", "content": "a"}]},
        {"messages": [{"role": "user", "content": "a"}], "stream": True},
    ),
    "empty members": (
        {"messages": [], "options": {}, "tools": [], "format": "", "think": ""},
        {"messages": [], "stream": True},
    ),
    "a tool without a type": (
        {"messages": [], "tools": [{"function": {"name": "f", "parameters": SCHEMA}}]},
        {
            "messages": [],
            "stream": True,
            "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
        },
    ),
    "a result gets the id of its call": (
        {
            "messages": [
                {"role": "assistant", "tool_calls": [CALL | {"id": "k"}]},
                {"role": "tool", "tool_name": "tide"},
            ]
        },
        {
            "messages": [
                {"role": "assistant", "tool_calls": [CALL | {"id": "k"}]},
                {"role": "tool", "tool_name": "tide", "tool_call_id": "k"},
            ],
            "stream": True,
        },
    ),
    "a call's index says what its place says": (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"index": 0, "name": "f", "arguments": {}}}]}]},
        {
            "messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}],
            "stream": True,
        },
    ),
    "whole numbers with a point": (
        {"messages": [], "options": {"top_k": 40.0, "num_predict": 8.0}},
        {"messages": [], "stream": True, "options": {"top_k": 40, "num_predict": 8}},
    ),
}


@pytest.mark.parametrize("name", NORMALISED)
def test_what_means_the_same_is_written_in_one_way(name: str) -> None:
    """The few changes on the way through, and no other."""
    given, expected = NORMALISED[name]
    written = write_request(read_request(packed({"model": "heron", **given})), Abilities("heron"))
    assert json.loads(written.body) == {"model": "heron", **expected}
    assert not written.losses


def test_the_model_may_stand_in_the_path() -> None:
    """The body's name comes first."""
    assert read_request(b'{"messages":[]}', model="heron").model == "heron"
    assert read_request(b'{"model":"body","messages":[]}', model="heron").model == "body"


def test_parts_know_where_they_stand() -> None:
    """Messages to the client can name the member."""
    request = read(
        messages=[
            {"role": "user", "content": "a", "images": [PNG]},
            {"role": "assistant", "thinking": "t", "content": "b", "tool_calls": [CALL]},
            {"role": "tool", "tool_name": "tide", "content": "c"},
        ],
        tools=[{"function": {"name": "tide"}}],
    )
    places = [part.at for turn in request.turns for part in turn.parts]
    assert places == [
        "messages[0].content",
        "messages[0].images[0]",
        "messages[1].thinking",
        "messages[1].content",
        "messages[1].tool_calls[0]",
        "messages[2]",
    ]
    assert [turn.at for turn in request.turns] == ["messages[0]", "messages[1]", "messages[2]"]
    assert request.tools[0].at == "tools[0]"


def test_a_bare_text_is_known_as_one() -> None:
    """Whoever writes it for others may write a string."""
    request = read(messages=[{"role": "user", "content": "a"}, {"role": "user", "content": "a", "images": [PNG]}])
    assert [turn.plain for turn in request.turns] == [True, False]
    assert request.turns[1].parts == (
        Text("a", at="messages[1].content"),
        Media("image", "image/png", data=PNG, at="messages[1].images[0]"),
    )


def test_results_find_their_calls() -> None:
    """By id, by name in the order of the calls, or by order alone; those of another message wait for nobody."""
    request = read(
        messages=[
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "assistant", "tool_calls": [CALL, {"id": "m", "function": {"name": "moon", "arguments": {}}}]},
            {"role": "tool", "tool_name": "moon", "content": "1"},
            {"role": "tool", "content": "2"},
            {"role": "tool", "tool_name": "tide", "content": "3"},
        ]
    )
    calls = [part for turn in request.turns for part in turn.parts if isinstance(part, ToolCall)]
    results = [part for turn in request.turns for part in turn.parts if isinstance(part, ToolResult)]
    assert len({call.id for call in calls}) == 3
    assert [result.call_id for result in results] == ["m", calls[1].id, ""]
    assert read_request(packed({"model": "m", "messages": REQUESTS["calls without ids"]["messages"]})) == read_request(
        packed({"model": "m", "messages": REQUESTS["calls without ids"]["messages"]})
    ), "made-up ids are the same every time"


def test_thinking_and_calls_of_the_assistant() -> None:
    """Thinking comes first, as the model had it; arguments stay the client's text."""
    call = b'{"function":{"name":"f","arguments":{"n": 1.0}}}'
    body = b'{"messages":[{"role":"assistant","thinking":"t","tool_calls":[%b]}]}' % call
    thinking, called = read_request(body).turns[0].parts
    assert isinstance(thinking, Thinking)
    assert thinking.texts == ("t",)
    assert isinstance(called, ToolCall)
    assert called.arguments == '{"n": 1.0}'


def test_a_role_of_ollamas_own_stays_whole() -> None:
    """Its meaning is known to the server's templates alone."""
    part = read(messages=[{"role": "control", "content": "thinking"}]).turns[0].parts[0]
    assert isinstance(part, Opaque)
    assert (part.kind, part.vital, part.at) == ("control", True, "messages[0]")


def test_settings_under_their_neutral_names() -> None:
    """What others have too leaves `options`."""
    request = read(**REQUESTS["every setting"])
    assert (request.max_output_tokens, request.temperature, request.top_p, request.top_k) == (64, 0.5, 0.9, 40)
    assert (request.min_p, request.seed, request.repeat_penalty) == (0.05, 9007199254740993, 1.1)
    assert (request.presence_penalty, request.frequency_penalty, request.stop) == (0.25, -0.25, ("\n\n", ""))
    assert (request.logprobs, request.top_logprobs, request.stream) == (True, 3, True)
    assert request.output is not None
    assert request.output.kind == "schema"
    assert json.loads(request.output.schema) == SCHEMA
    assert request.extras is not None
    own = ("num_ctx", "repeat_last_n", "mirostat", "num_keep", "typical_p", "penalize_newline", "num_gpu", "num_thread")
    left = {"keep_alive", "truncate", "shift", "x_new", "tool_choice"}
    assert set(request.extras.fields) == left | {f"options.{name}" for name in own}


@pytest.mark.parametrize(
    ("think", "expected"),
    [
        (True, Reasoning(enabled=True, visible=True)),
        (False, Reasoning(enabled=False)),
        ("low", Reasoning(effort="low", visible=True)),
        ("max", Reasoning(effort="max", visible=True)),
        (None, None),
    ],
)
def test_think(think: object, expected: Reasoning | None) -> None:
    """A switch or a level; who asks for thinking wants to read it."""
    assert read(messages=[], think=think).reasoning == expected


def test_format() -> None:
    """Any JSON, or a schema."""
    assert read(messages=[], format="json").output == Output("json")
    assert read(messages=[]).output is None


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no role": ({"messages": [{"content": "a"}]}, "messages[0].role"),
    "no message": ({"messages": ["a"]}, "messages[0]"),
    "no list": ({"messages": {}}, "messages"),
    "parts": ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content"),
    "an image with a prefix": (
        {"messages": [{"role": "user", "images": [PNG, "data:image/png;base64,AA"]}]},
        "messages[0].images[1]",
    ),
    "an image elsewhere": ({"messages": [{"role": "user", "images": ["https://x.test/a"]}]}, "messages[0].images[0]"),
    "arguments as a text": (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
        "messages[0].tool_calls[0].function.arguments",
    ),
    "a call of nothing": (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
        "messages[0].tool_calls[0].function.name",
    ),
    "no call": ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function"),
    "a tool without a function": ({"messages": [], "tools": [{"type": "function"}]}, "tools[0].function"),
    "a tool without a name": ({"messages": [], "tools": [{"function": {}}]}, "tools[0].function.name"),
    "format": ({"messages": [], "format": "yaml"}, "format"),
    "think": ({"messages": [], "think": "hard"}, "think"),
    "stream": ({"messages": [], "stream": "yes"}, "stream"),
    "options": ({"messages": [], "options": []}, "options"),
    "temperature": ({"messages": [], "options": {"temperature": "warm"}}, "options.temperature"),
    "half a token": ({"messages": [], "options": {"num_predict": 1.5}}, "options.num_predict"),
    "a seed in words": ({"messages": [], "options": {"seed": "a"}}, "options.seed"),
    "one stop": ({"messages": [], "options": {"stop": "a"}}, "options.stop"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_not_of_the_dialect_is_named(name: str) -> None:
    """The error leads to the member."""
    members, path = FAULTS[name]
    with pytest.raises(ReadError) as caught:
        read(**members)
    assert caught.value.path == path


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"a"', b"\xff", b"[" * 5000])
def test_no_object(body: bytes) -> None:
    """Whatever comes, it is a ReadError."""
    with pytest.raises(ReadError):
        read_request(body)


def test_the_codec_names_every_function() -> None:
    """Asked in it, answered in it."""
    assert CODEC.name == "ollama_chat"
    assert CODEC.family == "ollama"
    assert CODEC.media_type == "application/x-ndjson"
    assert None not in CODEC
    assert CODEC.names["max_output_tokens"] == "options.num_predict"
