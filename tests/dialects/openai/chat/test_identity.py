"""Own documents come back as they were, leftovers at every depth included."""

from __future__ import annotations

import msgspec
import pytest

from flumegate.dialects.openai.chat.read_answer import read_answer
from flumegate.ir.parts import Media, Opaque, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Turn
from rig.chat_codec import USER, answered, asked, foreign, read, written

ANSWER = {
    "id": "c-1",
    "object": "chat.completion",
    "created": 5,
    "model": "mine",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "a",
                "refusal": None,
                "reasoning_content": "hm",
                "reasoning": "hm",
                "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
                "annotations": [
                    {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "x": 1}, "y": 2},
                    {"type": "file"},
                ],
                "channel": "final",
            },
            "logprobs": {"content": [{"token": "a"}], "refusal": None},
            "finish_reason": "stop",
            "content_filter_results": {"hate": {"filtered": False}},
        }
    ],
    "usage": {
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 1, "accepted_prediction_tokens": 4},
        "cost": 0.5,
    },
    "system_fingerprint": "fp",
}


def test_an_answer_comes_back() -> None:
    """With what stands beside known members in usage, message, choice and citations."""
    body, losses = answered(read_answer(msgspec.json.encode(ANSWER)), asked())
    assert losses == []
    assert body == ANSWER


def test_thinking_that_stands_only_in_details_is_read() -> None:
    """OpenRouter's list may come without the bare text."""
    message = {"content": "a", "reasoning_details": [{"summary": "hm"}]}
    parts = read_answer(msgspec.json.encode({"choices": [{"message": message}]})).choices[0].parts
    assert parts == (Thinking(("hm",)), Text("a"))


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 1, "logprobs": True, "top_logprobs": 2, "n": 2, "logit_bias": {"7": 1}, "user": "u"},
        {"response_format": {"type": "text"}},
        {"tools": [{"type": "custom", "custom": {"name": "n", "format": {"type": "text"}}}]},
    ],
    ids=str,
)
def test_settings_come_back(settings: dict[str, object]) -> None:
    """As JSON values."""
    assert written(read(**settings)) == ({"model": "m-1", "messages": [USER]} | settings, [])


def test_custom_calls_come_back() -> None:
    """In the history of a server that knows them."""
    call = {"id": "1", "type": "custom", "custom": {"name": "n", "input": "x"}}
    talk = (
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": ""},
    )
    body, losses = written(read(*talk))
    assert losses == []
    assert body["messages"][0]["tool_calls"] == [call]


def test_pictures_of_tools_that_the_model_cannot_see_are_refused() -> None:
    """No user message is made of nothing; nor is an unknown block of the assistant's written."""
    picture = Media("image", url="u", at="p")
    talk = (
        Turn("assistant", (ToolCall("1", "f"), Text("a"), Opaque("messages", "o", b"{}", at="o"))),
        Turn("user", (ToolResult("1", (picture, Opaque("messages", "o", b"{}", at="o2"))),)),
    )
    body, losses = written(foreign(*talk), images=False)
    assert [message["role"] for message in body["messages"]] == ["assistant", "tool"]
    assert losses == ["refused:o", "refused:o2", "refused:p"]
