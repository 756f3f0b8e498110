from __future__ import annotations

import json

import msgspec

from flumegate.dialects.ollama.generate.write_answer import write_answer
from flumegate.ir.answer import Answer, Choice, Finish
from flumegate.ir.parts import Extras, Media, Text, Thinking, ToolCall
from flumegate.ir.usage import Usage
from rig.ollama_cases import STAMP, asked


def test_the_shape() -> None:
    """Text and thinking stand at the top."""
    parts = (Thinking(("hm",)), Text("Hi", logprobs=b'[{"token":"Hi"}]'), Text(" you"))
    body, losses = write_answer(Answer(choices=(Choice(parts, Finish("length")),), usage=Usage(3, 2)), asked())
    assert json.loads(body) == {
        "model": "heron",
        "created_at": STAMP,
        "response": "Hi you",
        "thinking": "hm",
        "logprobs": [{"token": "Hi"}],
        "done": True,
        "done_reason": "length",
        "total_duration": 0,
        "load_duration": 0,
        "prompt_eval_count": 3,
        "prompt_eval_duration": 0,
        "eval_count": 2,
        "eval_duration": 0,
    }
    assert losses == ()


def test_the_least() -> None:
    """An answer that says nothing is one."""
    body = json.loads(write_answer(Answer(), asked())[0])
    assert (body["response"], body["done_reason"]) == ("", "stop")
    assert not {"thinking", "logprobs", "eval_count"} & set(body)


def test_durations_of_a_server_of_the_family() -> None:
    """They are given back; what was left over in a message has no place."""
    fields = {"eval_duration": msgspec.Raw(b"7"), "message": msgspec.Raw(b'{"x":1}')}
    extras = Extras("ollama_chat", fields)
    body = json.loads(write_answer(Answer(choices=(Choice((), extras=extras),)), asked())[0])
    assert body["eval_duration"] == 7
    assert "message" not in body


def test_what_has_no_place() -> None:
    """Calls and images are refused, never passed over."""
    parts = (Media("image", data="AAAA"), ToolCall("c", "f", "{}"))
    _, losses = write_answer(Answer(choices=(Choice(parts),)), asked())
    assert [loss.code for loss in losses] == ["refused:image", "refused:tool_calls"]
