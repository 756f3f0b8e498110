from __future__ import annotations

from typing import Any

import msgspec
import pytest

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
from flumegate.ir.request import Turn
from rig.chat_codec import USER, foreign, read, written

CALL = Turn("assistant", (ToolCall("c1", "find", at="m[1].c[0]"), ToolCall("c2", "find", at="m[1].c[1]")), at="m[1]")
PICTURE = Media("image", "image/png", "AAAA", at="m[2].c[1]")


def messages(*turns: Turn, server: str = "", **abilities: Any) -> tuple[list[Any], list[str]]:
    body, losses = written(foreign(*turns), server, **abilities)
    return body["messages"], losses


def test_results_come_first_and_their_pictures_follow() -> None:
    """Text stays in the tool's message, media go into a user message behind all results that names the call."""
    results = Turn(
        "user",
        (
            ToolResult("c1", (Text("a"), PICTURE), at="m[2].c[0]"),
            ToolResult("c2", (Text("boom"),), is_error=True, at="m[2].c[1]"),
            Text("And now?"),
        ),
        at="m[2]",
    )
    found, losses = messages(CALL, results)
    assert found[0]["content"] is None
    assert found[1:] == [
        {"role": "tool", "tool_call_id": "c1", "content": "a"},
        {"role": "tool", "tool_call_id": "c2", "content": "[error] boom"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Given by the tool call c1:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ],
        },
        {"role": "user", "content": "And now?"},
    ]
    assert losses == ["approximated:m.c.is_error", "approximated:m.c"]


def test_nothing_stands_between_calls_and_results() -> None:
    """A system note in between is moved behind them, and so is what a user says too early."""
    note = Turn("system", (Text("Note."),), at="m[2]")
    result = Turn("tool", (ToolResult("c1"), ToolResult("c2")))
    found, losses = messages(Turn("user", (Text("hi"),)), CALL, note, result, Turn("assistant", (Text("ok"),)))
    assert [message["role"] for message in found] == ["user", "assistant", "tool", "tool", "system", "assistant"]
    assert losses == ["approximated:m"]


def test_a_missing_result_is_refused_where_the_server_would() -> None:
    """The message names the call; other servers take the conversation as it is."""
    talk = (CALL, Turn("user", (ToolResult("c1"),)), Turn("assistant", (Text("ok"),)))
    assert messages(*talk, server="openai")[1] == ["refused:m.c"]
    assert messages(*talk, server="vllm")[1] == []


def test_ids_that_the_server_refuses_are_rewritten_alike() -> None:
    """A call and its result keep belonging together: too long for OpenAI, of the wrong form for Mistral."""
    long = "toolu_" + "x" * 70
    talk = (
        Turn("assistant", (ToolCall(long, "find"), ToolCall("abcDEF123", "find"))),
        Turn("user", (ToolResult(long), ToolResult("abcDEF123"))),
    )
    for server, most in (("openai", 40), ("vllm", 64), ("mistral", 9)):
        found, losses = messages(*talk, server=server)
        calls = [call["id"] for call in found[0]["tool_calls"]]
        assert [message["tool_call_id"] for message in found[1:]] == calls
        assert len(calls[0]) == most
        assert calls[1] == "abcDEF123"
        assert losses == []


def test_reasoning_goes_back_only_where_it_is_understood() -> None:
    """Foreign state is dropped, once; bare text goes into the field that the server wants."""
    turn = Turn(
        "assistant",
        (
            Thinking(("own",)),
            Thinking(("theirs",), "sig", "messages"),
            Text("a"),
            ToolCall("c1", "find", signature="s", origin="gemini"),
        ),
    )
    found, losses = messages(turn, Turn("user", (ToolResult("c1"),)), server="vllm", reasoning_field="reasoning")
    assert found[0]["reasoning"] == "own"
    assert losses == ["dropped:reasoning"]
    silent, losses = messages(turn, server="vllm")
    assert "reasoning" not in silent[0]
    assert losses == ["dropped:reasoning"]


def test_thought_signatures_go_back_to_google() -> None:
    """Beside what else stood in `extra_content`."""
    extras = Extras("chat", {"extra_content": msgspec.Raw(b'{"x":1}')})
    call = ToolCall("c1", "find", signature="s", origin="gemini", extras=extras)
    found, losses = messages(
        Turn("assistant", (call, ToolCall("c2", "find", signature="t", origin="gemini"))), server="gemini"
    )
    first, second = found[0]["tool_calls"]
    assert first["extra_content"] == {"x": 1, "google": {"thought_signature": "s"}}
    assert second["extra_content"] == {"google": {"thought_signature": "t"}}
    assert losses == []


def test_an_assistant_of_another_dialect() -> None:
    """Texts are joined, refusals kept, pictures refused, unknown blocks and citations told."""
    turn = Turn(
        "assistant",
        (
            Text("a", (Citation("u"),), at="m[0].c[0]"),
            Text("b"),
            Refusal("no"),
            PICTURE,
            Opaque("messages", "trace", b"{}", vital=False, at="m[0].c[3]"),
            ToolResult("c9"),
        ),
        at="m[0]",
    )
    found, losses = messages(turn, server="vllm")
    assert found == [
        {"role": "tool", "tool_call_id": "c9", "content": ""},
        {"role": "assistant", "content": "ab", "refusal": "no"},
    ]
    assert losses == ["dropped:m.c.citations", "refused:m.c", "dropped:m.c"]


def test_text_of_an_assistant_is_joined() -> None:
    """Chat has one slot for it; citations have none."""
    turn = Turn("assistant", (Text("a", (Citation("u"),), at="p"), Text("b"), Refusal("no")), at="m[0]")
    found, losses = messages(turn)
    assert found == [{"role": "assistant", "content": "ab", "refusal": "no"}]
    assert losses == ["dropped:p.citations"]


def test_what_an_assistant_cannot_say() -> None:
    """Pictures change the meaning and are refused; a block that is only a trace is dropped."""
    turn = Turn("assistant", (PICTURE, Opaque("messages", "trace", b"{}", vital=False, at="o")), at="m[0]")
    found, losses = messages(turn)
    assert found == []
    assert losses == ["refused:m.c", "dropped:o"]


def test_an_emptied_message_disappears() -> None:
    """Only thinking was in it; one that was empty from the start stays."""
    assert messages(Turn("assistant", (Thinking(("x",), "s", "messages"),)), USER_TURN)[0] == [USER]
    assert messages(Turn("assistant"), USER_TURN)[0][0] == {"role": "assistant", "content": None}
    assert messages(Turn("assistant", (Text(""),)), USER_TURN)[0][0] == {"role": "assistant", "content": ""}


USER_TURN = Turn("user", (Text(USER["content"]),), plain=True)


@pytest.mark.parametrize(
    ("abilities", "server", "expected", "losses"),
    [
        ({}, "", ["developer", "user", "developer"], []),
        ({"developer_role": False}, "", ["system", "user", "system"], []),
        ({"system_anywhere": False}, "", ["developer", "user", "user"], ["approximated:late"]),
    ],
)
def test_roles_follow_the_model(abilities: dict[str, Any], server: str, expected: list[str], losses: list[str]) -> None:
    """A later system message stays in its place, whatever its role becomes."""
    talk = (Turn("developer", (Text("a"), Text("b"))), USER_TURN, Turn("developer", (Text("c"),), at="late"))
    found, lost = messages(*talk, server=server, **abilities)
    assert [message["role"] for message in found] == expected
    assert found[0]["content"] == "a\n\nb"
    assert lost == losses


def test_prefill_is_refused_where_the_model_does_not_go_on() -> None:
    """Unknown: it is sent."""
    talk = (USER_TURN, Turn("assistant", (Text("So"),), at="last"))
    assert messages(*talk, prefill=False)[1] == ["refused:last"]
    assert messages(*talk)[1] == []


def test_cache_breakpoints_travel_where_there_are_some() -> None:
    """OpenAI's, OpenRouter's, or one collective loss."""
    turn = Turn("user", (Text("a", cache=CacheMark("5m")), Text("b", cache=CacheMark("30m"))))
    openai, losses = messages(turn)
    assert losses == []
    assert [part["prompt_cache_breakpoint"] for part in openai[0]["content"]] == [
        {"mode": "explicit"},
        {"mode": "explicit", "ttl": "30m"},
    ]
    router, _ = messages(turn, server="openrouter")
    assert router[0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "5m"}
    marked = Turn("user", (ToolResult("c", (Text("x", cache=CacheMark()),), cache=CacheMark()),))
    assert messages(turn, marked, server="groq")[1] == ["dropped:cache"]


MEDIA: list[tuple[Media, str, dict[str, Any], list[str]]] = [
    (Media("image", file_id="f", dialect="messages", at="p"), "", {}, ["refused:p"]),
    (Media("image", url="u", at="p"), "images", {}, ["refused:p"]),
    (Media("audio", url="u", at="p"), "", {}, ["refused:p"]),
    (Media("audio", "audio/x-wav", "A", at="p"), "", {"input_audio": {"data": "A", "format": "wav"}}, []),
    (Media("file", file_id="f", dialect="messages", at="p"), "", {}, ["refused:p"]),
    (Media("file", file_id="f", dialect="responses", at="p"), "", {"file": {"file_id": "f"}}, []),
    (Media("file", url="u", at="p"), "", {}, ["refused:p"]),
    (
        Media("file", "application/pdf", "A", at="p"),
        "",
        {"file": {"file_data": "data:application/pdf;base64,A", "filename": "document.pdf"}},
        ["invented:p.filename"],
    ),
    (Media("file", "text/plain", text="words", at="p"), "", {"text": "words"}, ["approximated:p"]),
]


@pytest.mark.parametrize(("part", "unable", "members", "losses"), MEDIA, ids=str)
def test_media_of_other_dialects(part: Media, unable: str, members: dict[str, Any], losses: list[str]) -> None:
    """Said where chat has a place, refused where not: without it the question is another one."""
    abilities: dict[str, Any] = {unable: False} if unable else {}
    found, lost = messages(Turn("user", (Text("see"), part)), **abilities)
    said = found[0]["content"][1:]
    assert lost == losses
    assert [{name: value for name, value in one.items() if name != "type"} for one in said] == (
        [members] if members else []
    )


def test_files_by_url_go_to_openrouter() -> None:
    """It takes them as `file_data`."""
    found, losses = messages(Turn("user", (Media("file", url="u"),)), server="openrouter")
    assert found[0]["content"] == [{"type": "file", "file": {"file_data": "u"}}]
    assert losses == []


def test_everything_else_is_told() -> None:
    """Names, leftovers, parts in the wrong place: each has its loss."""
    theirs = Extras("messages", {"x": msgspec.Raw(b"1")})
    talk = (
        Turn("system", (Text("a"), PICTURE), at="s"),
        Turn("user", (Text("a", at="t", extras=theirs),), name="ann", at="u", extras=theirs),
        Turn("user", (ToolCall("c", "f", at="odd"), Thinking(("x",)), Opaque("messages", "o", b"{}", at="op")), at="v"),
        Turn(
            "user",
            (ToolResult("c", (Text("r", at="rt", extras=theirs), Thinking(), Media("file", text="doc", at="d"))),),
            at="w",
            extras=theirs,
        ),
    )
    found, losses = messages(*talk, server="groq")
    assert [message["role"] for message in found] == ["system", "user", "tool"]
    assert found[2]["content"] == "r\ndoc"
    assert losses == [
        "refused:m.c",
        "dropped:t.x",
        "dropped:u.name",
        "dropped:u.x",
        "refused:odd",
        "dropped:reasoning",
        "refused:op",
        "dropped:rt.x",
        "dropped:w.x",
    ]


def test_own_results_keep_their_parts() -> None:
    """Lists stay lists, opaque parts stay whole."""
    result = {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "a"}, {"type": "odd"}], "x": 1}
    body, losses = written(read(result), "vllm")
    assert body["messages"] == [result]
    assert losses == []
    refused = {"role": "user", "content": [{"type": "refusal", "refusal": "no"}, {"type": "text", "text": "b"}]}
    assert written(read(refused))[0]["messages"][0]["content"][0] == {"type": "text", "text": "no"}
