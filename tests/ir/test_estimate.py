from __future__ import annotations

import pytest

from flumegate.ir.answer import Answer, Choice
from flumegate.ir.estimate import (
    IMAGE_TOKENS,
    TURN_TOKENS,
    document_tokens,
    input_tokens,
    output_tokens,
    said_bytes,
    text_bytes,
)
from flumegate.ir.parts import Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Output, Request, Tool, Turn


def estimated(*parts: Part) -> int:
    return input_tokens(Request(dialect="chat", model="m", turns=(Turn("user", parts),)))


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        (Text("x" * 40), 10),
        (Text("x" * 41), 11),
        (Text("é" * 20), 10),
        (Text("\ud800"), 1),
        (Refusal("x" * 40), 10),
        (Thinking(("x" * 20, "x" * 20)), 10),
        (ToolCall("c", "four", "x" * 36), 10),
        (ToolResult("c", (Text("x" * 40), Media("image", data="eA=="))), 10 + IMAGE_TOKENS),
        (Media("image", data="eA=="), IMAGE_TOKENS),
        (Media("file", text="x" * 40), 10),
        (Opaque("messages", "x", b"x" * 40), 10),
    ],
)
def test_every_part_weighs(part: Part, tokens: int) -> None:
    """About four bytes a token, a picture at a flat rate, and a little for the turn itself."""
    assert estimated(part) == TURN_TOKENS + tokens


def test_tools_and_schemas_weigh_too() -> None:
    """What the client's tools say is read by the model as well."""
    tool = Tool("four", description="x" * 16, parameters=b"x" * 16, format=b"x" * 4)
    assert input_tokens(Request(dialect="chat", model="m", tools=(tool,))) == 10
    assert input_tokens(Request(dialect="chat", model="m", output=Output("schema", schema=b"x" * 40))) == 10


def test_no_request_is_for_nothing() -> None:
    """Clients divide by this number."""
    assert input_tokens(Request(dialect="chat", model="m")) == 1


def test_what_was_said_is_weighed_in_bytes() -> None:
    """Four bytes a token, rounded up."""
    answer = Answer("id", "m", 0, (Choice((Text("abc"), Text("日"))), Choice((Text("x"),))), None)
    assert said_bytes(answer) == 7
    assert [output_tokens(size) for size in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_a_document_is_weighed_without_being_read() -> None:
    """Four bytes a token, rounded up; a picture in it at its flat rate, a long text as what it is."""
    assert [document_tokens(b"x" * size) for size in (0, 1, 4, 5)] == [1, 1, 1, 2]
    frame = b'{"text":"","url":""}'
    with_picture = b'{"text":"","url":"data:image/png;base64,%b"}' % (b"iVBO" * 2000)
    with_text = b'{"text":"%b","url":""}' % (b"word word " * 1000)
    assert document_tokens(with_picture) == IMAGE_TOKENS + len(frame) // 4
    assert document_tokens(with_text) == (len(frame) + 10_000) // 4


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("words", 5),
        ("日本", 6),
        ("日" * 2_000, 6_000),
        ("\ud800", 3),
        ("", 0),
        (None, 0),
        (7, 0),
        (["a", {"b": "cd", "e": [["f"]]}], 4),
        ("word " * 1_000, 5_000),
        ("iVBO" * 1_025, 0),
    ],
)
def test_texts_are_weighed_wherever_they_stand(value: object, size: int) -> None:
    """In bytes; names of members are not said, and neither is a picture."""
    assert text_bytes(value) == size


def test_depth_is_no_matter() -> None:
    """Whoever writes such a thing."""
    value: object = "deep"
    for _ in range(100_000):
        value = [value]
    assert text_bytes(value) == 4
