from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.ollama.chat.write_request import write_request
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
from flumegate.ir.request import Request, Role, Turn
from flumegate.ir.written import Abilities

MARK = CacheMark()
ODD = Extras("chat", {"x": msgspec.Raw(b"1")})


def write(*turns: Turn, abilities: Abilities | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the messages on the wire, and the codes of the losses."""
    request = Request(dialect="chat", model="heron", turns=turns)
    written = write_request(request, abilities or Abilities("heron:8b"))
    return json.loads(written.body)["messages"], [loss.code for loss in written.losses]


def turn(role: Role, *parts: Part, **more: Any) -> Turn:
    return Turn(role, parts, at="messages[0]", **more)


def call(**more: Any) -> ToolCall:
    return ToolCall(**{"id": "c1", "name": "tide", "arguments": '{"port":"Husum"}', "at": "messages[0].c"} | more)


def message(role: str, content: str = "", **more: Any) -> list[dict[str, Any]]:
    return [{"role": role, "content": content, **more}]


WIRE_CALL = {"id": "c1", "function": {"name": "tide", "arguments": {"port": "Husum"}}}
PICTURE = Media("image", "image/png", data="AAAA", at="messages[0].content[0]")
CASES: dict[str, tuple[Turn, list[dict[str, Any]], list[str]]] = {
    "texts are lines": (turn("user", Text("a"), Text("b")), message("user", "a\nb"), []),
    "system texts are paragraphs": (turn("system", Text("a"), Text("b")), message("system", "a\n\nb"), []),
    "the assistant's go on": (turn("assistant", Text("a"), Text("b")), message("assistant", "ab"), []),
    "developers are the system": (turn("developer", Text("a")), message("system", "a"), []),
    "an empty text is one": (turn("user", Text("")), message("user"), []),
    "an empty message": (turn("user"), [], ["dropped:messages"]),
    "a tool's turn without a result": (turn("tool", Text("a")), message("user", "a"), []),
    "a name": (turn("user", Text("a"), name="Ina"), message("user", "a"), ["dropped:messages.name"]),
    "text and image": (turn("user", Text("a"), PICTURE), message("user", "a", images=["AAAA"]), []),
    "image and text": (turn("user", PICTURE, Text("a")), message("user", "a", images=["AAAA"]), []),
    "text around an image": (
        turn("user", Text("a"), PICTURE, Text("b")),
        message("user", "a\nb", images=["AAAA"]),
        ["approximated:messages"],
    ),
    "an image that must be fetched": (
        turn("user", Media("image", url="https://x.test/a.png", at="messages[0].content[0]")),
        [],
        ["refused:messages.content"],
    ),
    "an uploaded image": (turn("user", Media("image", file_id="f", at="p")), [], ["refused:p"]),
    "a sound": (turn("user", Media("audio", data="AAAA", at="p")), [], ["refused:p"]),
    "a document": (turn("user", Media("file", data="AAAA", at="p")), [], ["refused:p"]),
    "a document of text": (
        turn("user", Media("file", text="long", at="p"), Text("a")),
        message("user", "long\na"),
        ["approximated:p"],
    ),
    "detail": (
        turn("user", Media("image", data="AAAA", detail="low", at="p")),
        message("user", images=["AAAA"]),
        ["dropped:p.detail"],
    ),
    "cache marks, once": (
        turn("user", Text("a", cache=MARK), Media("image", data="AAAA", cache=MARK)),
        message("user", "a", images=["AAAA"]),
        ["dropped:cache"],
    ),
    "members of others": (
        turn("user", Text("a", at="p", extras=ODD), extras=ODD),
        message("user", "a"),
        ["dropped:p.x", "dropped:messages.x"],
    ),
    "sources": (
        turn("assistant", Text("a", citations=(Citation("u"),), at="p")),
        message("assistant", "a"),
        ["dropped:p.citations"],
    ),
    "a refusal": (turn("assistant", Refusal("No.", at="p")), message("assistant", "No."), ["approximated:p"]),
    "thinking": (
        turn("assistant", Thinking(("a", "", "b")), Text("c")),
        message("assistant", "c", thinking="a\n\nb"),
        [],
    ),
    "foreign state, once": (
        turn("assistant", Thinking(("a",), "sig", "messages"), call(signature="s", origin="gemini")),
        message("assistant", thinking="a", tool_calls=[WIRE_CALL]),
        ["dropped:reasoning"],
    ),
    "hidden thinking": (
        turn("assistant", Thinking((), "data", "messages", redacted=True)),
        [],
        ["dropped:reasoning"],
    ),
    "a call": (turn("assistant", call()), message("assistant", tool_calls=[WIRE_CALL]), []),
    "a call without arguments": (
        turn("assistant", call(arguments="")),
        message("assistant", tool_calls=[{"id": "c1", "function": {"name": "tide", "arguments": {}}}]),
        [],
    ),
    "a call in pieces": (turn("assistant", call(arguments='{"a":')), [], ["refused:messages.c"]),
    "a call of a list": (turn("assistant", call(arguments="[1]")), [], ["refused:messages.c"]),
    "a custom call": (
        turn("assistant", call(arguments='say "hi"', kind="custom")),
        message(
            "assistant", tool_calls=[{"id": "c1", "function": {"name": "tide", "arguments": {"input": 'say "hi"'}}}]
        ),
        [],
    ),
    "a call in a namespace": (
        turn("assistant", call(namespace="sea", arguments="{}", extras=ODD)),
        message("assistant", tool_calls=[{"id": "c1", "function": {"name": "sea__tide", "arguments": {}}}]),
        ["dropped:messages.c.x"],
    ),
    "a result": (
        turn("tool", ToolResult("c9", (Text("2 m"),), plain=True)),
        message("tool", "2 m", tool_call_id="c9"),
        [],
    ),
    "a result with its name": (
        turn("tool", ToolResult("", (), name="tide")),
        message("tool", tool_name="tide"),
        [],
    ),
    "a failed result": (
        turn("tool", ToolResult("c9", (Text("no port"),), is_error=True, at="p")),
        message("tool", "Error:\nno port", tool_call_id="c9"),
        ["approximated:p.is_error"],
    ),
    "a successful result": (
        turn("tool", ToolResult("c9", (Text("a"),), is_error=False, cache=MARK)),
        message("tool", "a", tool_call_id="c9"),
        ["dropped:cache"],
    ),
    "a picture as a result": (
        turn("tool", ToolResult("c9", (Text("see"), PICTURE))),
        message("tool", "see", images=["AAAA"], tool_call_id="c9"),
        [],
    ),
    "a call as a result": (
        turn("tool", ToolResult("c9", (call(),), at="p")),
        message("tool", tool_call_id="c9"),
        ["refused:messages.c"],
    ),
    "results come first": (
        turn("user", Text("and now?"), ToolResult("c1", (Text("1"),)), ToolResult("c2", (Text("2"),))),
        [
            *message("tool", "1", tool_call_id="c1"),
            *message("tool", "2", tool_call_id="c2"),
            *message("user", "and now?"),
        ],
        [],
    ),
    "a block of others": (
        turn("assistant", Text("a"), Opaque("messages", "server_tool_use", b"{}", vital=False, at="p")),
        message("assistant", "a"),
        ["dropped:p"],
    ),
    "a vital block of others": (turn("user", Opaque("messages", "odd", b"{}", at="p")), [], ["refused:p"]),
}


@pytest.mark.parametrize("name", CASES)
def test_fates(name: str) -> None:
    """Each part is said, or its loss is."""
    given, expected, lost = CASES[name]
    assert write(given) == (expected, lost)


def test_a_result_bears_the_name_of_the_tool() -> None:
    """Ollama's templates want it; the call's id leads to it."""
    messages, lost = write(turn("assistant", call()), turn("tool", ToolResult("c1", (Text("2 m"),))))
    assert messages[1] == {"role": "tool", "content": "2 m", "tool_name": "tide", "tool_call_id": "c1"}
    assert not lost


LATE = (turn("system", Text("a")), turn("user", Text("b")), Turn("system", (Text("c"),), at="messages[2]"))


def test_later_system_messages_stay_in_their_place() -> None:
    """Hoisting them would change what they mean; a model that cannot have them there hears a user."""
    assert write(*LATE) == (
        [*message("system", "a"), *message("user", "b"), *message("system", "c")],
        [],
    )
    assert write(*LATE, abilities=Abilities("heron:8b", system_anywhere=False)) == (
        [*message("system", "a"), *message("user", "b"), *message("user", "c")],
        ["approximated:messages"],
    )


def test_an_answer_that_was_begun() -> None:
    """Ollama continues it, unless the model is known not to; a call at the end is no beginning."""
    never = Abilities("heron:8b", prefill=False)
    begun = turn("assistant", Text("Once"))
    assert write(begun)[1] == []
    assert write(begun, abilities=never)[1] == ["refused:messages"]
    assert write(begun, turn("user", Text("a")), abilities=never)[1] == []
    assert write(turn("assistant", call()), abilities=never)[1] == []


def test_a_model_without_eyes() -> None:
    """It would answer about nothing."""
    assert write(turn("user", PICTURE, Text("a")), abilities=Abilities("heron:8b", images=False)) == (
        message("user", "a"),
        ["refused:messages.content"],
    )


def test_a_model_that_does_not_think() -> None:
    """Earlier thinking is left out, once; a switch is enough to keep it."""
    thought = turn("assistant", Thinking(("a",)), Thinking(("b",)), Text("c"))
    assert write(thought, abilities=Abilities("heron:8b", efforts=())) == (
        message("assistant", "c"),
        ["dropped:reasoning"],
    )
    able = Abilities("heron:8b", efforts=(), adaptive_thinking=True)
    assert write(thought, abilities=able) == (message("assistant", "c", thinking="a\n\nb"), [])
