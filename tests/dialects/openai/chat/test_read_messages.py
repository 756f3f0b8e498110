from __future__ import annotations

from typing import Any

import pytest

from flumegate.ir.parts import CacheMark, Media, Opaque, Refusal, Text, Thinking, ToolCall, ToolResult
from rig.chat_codec import USER, read, written

PIXEL = "iVBORw0KGgo="
PARTS: list[tuple[dict[str, Any], Any]] = [
    ({"type": "text", "text": "a"}, Text("a", at="messages[0].content[0]")),
    (
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
        Media("image", "image/png", PIXEL, detail="low", at="messages[0].content[0]"),
    ),
    (
        {"type": "image_url", "image_url": {"url": "https://pictures.test/a.png"}},
        Media("image", url="https://pictures.test/a.png", at="messages[0].content[0]"),
    ),
    (
        {"type": "image_url", "image_url": {"url": "data:text/plain,plain"}},
        Media("image", url="data:text/plain,plain", at="messages[0].content[0]"),
    ),
    (
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "mp3"}},
        Media("audio", "audio/mpeg", "UklG", at="messages[0].content[0]"),
    ),
    (
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "flac"}},
        Media("audio", "audio/flac", "UklG", at="messages[0].content[0]"),
    ),
    (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
        Media("file", "application/pdf", "JVBE", filename="a.pdf", at="messages[0].content[0]"),
    ),
    (
        {"type": "file", "file": {"filename": "a.bin", "file_data": "JVBE"}},
        Media("file", "", "JVBE", filename="a.bin", at="messages[0].content[0]"),
    ),
    (
        {"type": "file", "file": {"file_id": "file-1"}},
        Media("file", file_id="file-1", dialect="chat", at="messages[0].content[0]"),
    ),
]


@pytest.mark.parametrize(("wire", "part"), PARTS, ids=[str(index) for index in range(len(PARTS))])
def test_a_part_is_read_and_comes_back(wire: dict[str, Any], part: Any) -> None:
    """Each documented part has a neutral form that says all of it."""
    message = {"role": "user", "content": [wire]}
    request = read(message)
    assert request.turns[0].parts == (part,)
    assert written(request) == ({"model": "m-1", "messages": [message]}, [])


def test_unknown_parts_and_members_are_kept_whole() -> None:
    """Nothing that we do not know is dropped."""
    message = {
        "role": "user",
        "name": "ann",
        "x": 1,
        "content": [
            {"type": "video_url", "video_url": {"url": "u"}},
            {"type": "text", "text": "a", "x": 2},
            {"type": "image_url", "image_url": {"url": "u", "y": 3}, "x": 2},
            {"type": "input_audio", "input_audio": {"data": "a", "format": "wav", "y": 3}},
            {"type": "file", "file": {"file_id": "f", "y": 3}},
        ],
    }
    request = read(message)
    assert isinstance(request.turns[0].parts[0], Opaque)
    assert written(request) == ({"model": "m-1", "messages": [message]}, [])


def test_sloppy_parts_are_understood() -> None:
    """Bare strings among parts, an image's URL without its object, a file by URL."""
    content = [
        "a",
        {"type": "image_url", "image_url": "u"},
        {"type": "file", "file": {"file_data": "https://f.test/a"}},
    ]
    text, image, file = read({"role": "user", "content": content}).turns[0].parts
    assert text == Text("a", at="messages[0].content[0]")
    assert isinstance(image, Media)
    assert image.url == "u"
    assert isinstance(file, Media)
    assert file.url == "https://f.test/a"


def test_cache_breakpoints_of_both_kinds_are_read() -> None:
    """OpenAI's breakpoint and Anthropic's, as OpenRouter takes it."""
    content = [
        {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
        {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}},
    ]
    first, second = read({"role": "system", "content": content}).turns[0].parts
    assert isinstance(first, Text)
    assert isinstance(second, Text)
    assert (first.cache, second.cache) == (CacheMark("30m"), CacheMark())


def test_an_assistant_says_all_its_kinds_of_parts() -> None:
    """Thinking, text, refusal, calls of both kinds, a call of a kind that nobody knows."""
    calls = [
        {"id": "1", "type": "function", "function": {"name": "find", "arguments": {"a": 1}}, "index": 0},
        {"id": "2", "function": {"name": "find"}},
        {"id": "3", "type": "custom", "custom": {"name": "note", "input": "x"}},
        {"id": "4", "type": "spell", "spell": {}},
    ]
    turn = read(
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}],
            "reasoning": "hm",
            "refusal": "never",
            "tool_calls": calls,
            "audio": {"id": "x"},
        }
    ).turns[0]
    at = "messages[0]"
    assert turn.parts[:4] == (
        Thinking(("hm",), at=f"{at}.reasoning"),
        Text("a", at=f"{at}.content[0]"),
        Refusal("no", f"{at}.content[1]"),
        Refusal("never", f"{at}.refusal"),
    )
    assert turn.parts[4:7] == (
        ToolCall("1", "find", '{"a": 1}', at=f"{at}.tool_calls[0]"),
        ToolCall("2", "find", at=f"{at}.tool_calls[1]"),
        ToolCall("3", "note", "x", "custom", at=f"{at}.tool_calls[2]"),
    )
    assert isinstance(turn.parts[7], Opaque)
    assert turn.extras is not None
    assert turn.extras.vital == ("audio",)


def test_signed_thinking_is_taken_from_the_block_list() -> None:
    """It has the state, so it outweighs the bare text; sealed state finds its origin again."""
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "thinking", "thinking": "", "signature": "fg1.responses.s.enc"},
        {"type": "redacted_thinking", "data": "dat"},
        {"type": "dreaming", "x": 1},
    ]
    parts = (
        read({"role": "assistant", "content": "a", "reasoning_content": "hm", "thinking_blocks": blocks}).turns[0].parts
    )
    at = "messages[0].thinking_blocks"
    assert parts[:3] == (
        Thinking(("hm",), "sig", "messages", at=f"{at}[0]"),
        Thinking((), "enc", "responses", at=f"{at}[1]"),
        Thinking((), "dat", "messages", redacted=True, at=f"{at}[2]"),
    )
    assert isinstance(parts[3], Opaque)
    assert parts[4:] == (Text("a", at="messages[0].content"),)


def test_mistral_thinks_in_its_content() -> None:
    """Its thinking parts are thinking, as any other."""
    content = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}]
    assert read({"role": "assistant", "content": content}).turns[0].parts[0] == Thinking(
        ("hm",), at="messages[0].content[0]"
    )


@pytest.mark.parametrize(
    ("content", "signature", "origin", "left"),
    [
        ({"google": {"thought_signature": "s"}}, "s", "gemini", None),
        ({"google": {"thought_signature": "fg1.messages.s.q"}}, "q", "messages", None),
        ({"google": {"thought_signature": "s", "x": 1}, "y": 2}, "s", "gemini", b'{"y":2,"google":{"x":1}}'),
        ({"other": 1}, "", "", b'{"other":1}'),
    ],
)
def test_google_signs_calls(content: Any, signature: str, origin: str, left: bytes | None) -> None:
    """The thought signature is taken out of `extra_content`; the rest of it stays."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": content}
    (part,) = read({"role": "assistant", "tool_calls": [call]}).turns[0].parts
    assert isinstance(part, ToolCall)
    assert (part.signature, part.origin) == (signature, origin)
    assert (bytes(part.extras.fields["extra_content"]) if part.extras else None) == left


def test_tool_results_are_turns_of_their_own() -> None:
    """With the id of their call; text parts stay parts."""
    first, second = read(
        {"role": "tool", "tool_call_id": "1", "content": "left"},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "right"}]},
    ).turns
    assert first.parts == (ToolResult("1", (Text("left", at="messages[0].content"),), plain=True, at="messages[0]"),)
    assert second.parts == (ToolResult("2", (Text("right", at="messages[1].content[0]"),), at="messages[1]"),)


@pytest.mark.parametrize("content", [None, [], ""])
def test_content_may_be_empty(content: Any) -> None:
    """Null, no parts and no characters are all read."""
    request = read(USER, {"role": "assistant", "content": content, "refusal": "no"})
    assert written(request)[0]["messages"][1].get("content") in (None, "")
