from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.ollama.chat.write_answer import write_answer
from flumegate.ir.answer import Answer, Choice, Finish, FinishReason
from flumegate.ir.parts import (
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
from flumegate.ir.usage import Usage
from rig.ollama_cases import STAMP, asked

ODD = Extras("chat", {"x": msgspec.Raw(b"1")})
CALL = ToolCall("c1", "tide", '{"a":1}')
WIRE_CALL = {"id": "c1", "function": {"name": "tide", "arguments": {"a": 1}}}


def write(answer: Answer) -> tuple[dict[str, Any], list[str]]:
    body, losses = write_answer(answer, asked())
    return json.loads(body), [loss.code for loss in losses]


def test_the_shape() -> None:
    """The client's name of the model, a time, every member that clients of the API read."""
    answer = Answer("id", "other-1", 0, (Choice((Text("Hi"),), Finish("stop", "end_turn")),), Usage(3, 2))
    assert write(answer) == (
        {
            "model": "heron",
            "created_at": STAMP,
            "message": {"role": "assistant", "content": "Hi"},
            "done": True,
            "done_reason": "stop",
            "total_duration": 0,
            "load_duration": 0,
            "prompt_eval_count": 3,
            "prompt_eval_duration": 0,
            "eval_count": 2,
            "eval_duration": 0,
        },
        [],
    )


PARTS: dict[str, tuple[tuple[Part, ...], dict[str, Any], list[str]]] = {
    "nothing": ((), {"content": ""}, []),
    "texts": ((Text("a"), Text("b")), {"content": "ab"}, []),
    "thinking": ((Thinking(("a", "", "b")), Text("c")), {"content": "c", "thinking": "a\n\nb"}, []),
    "state, once": (
        (Thinking(("a",), "sig", "messages"), Thinking((), "data", "messages", redacted=True)),
        {"content": "", "thinking": "a"},
        ["dropped:reasoning"],
    ),
    "calls": (
        (CALL, ToolCall("c2", "moon")),
        {"content": "", "tool_calls": [WIRE_CALL, {"id": "c2", "function": {"name": "moon", "arguments": {}}}]},
        [],
    ),
    "a call with state": (
        (ToolCall("c1", "tide", '{"a":1}', signature="s", origin="gemini"),),
        {"content": "", "tool_calls": [WIRE_CALL]},
        ["dropped:reasoning"],
    ),
    "a broken call": ((ToolCall("c1", "tide", '{"a":'),), {"content": ""}, ["refused:tool_calls"]),
    "a refusal": ((Refusal("No."), Refusal(" Never.")), {"content": "No. Never."}, ["approximated:content"]),
    "sources, once": (
        (Text("a", citations=(Citation("u"),)), Text("b", citations=(Citation("v"),))),
        {"content": "ab"},
        ["dropped:citations"],
    ),
    "an image": ((Media("image", data="AAAA"),), {"content": "", "images": ["AAAA"]}, []),
    "an image elsewhere": ((Media("image", url="https://x.test"),), {"content": ""}, ["refused:image"]),
    "a sound": ((Media("audio", data="AAAA"),), {"content": ""}, ["refused:audio"]),
    "members of others": (
        (Text("a", extras=ODD), Thinking(("b",), extras=ODD), CALL),
        {"content": "a", "thinking": "b", "tool_calls": [WIRE_CALL]},
        ["dropped:content.x", "dropped:content.x"],
    ),
    "a trace": (
        (Opaque("messages", "server_tool_use", b"{}", vital=False),),
        {"content": ""},
        ["dropped:content"],
    ),
    "a block that matters": ((Opaque("messages", "odd", b"{}"),), {"content": ""}, ["refused:content"]),
    "a result": ((ToolResult("c"),), {"content": ""}, ["dropped:tool_results"]),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts(name: str) -> None:
    """Each part is said, or its loss is."""
    parts, message, lost = PARTS[name]
    body, codes = write(Answer(choices=(Choice(parts),)))
    assert (body["message"], codes) == ({"role": "assistant"} | message, lost)


@pytest.mark.parametrize(
    ("reason", "expected", "lost"),
    [
        ("stop", "stop", []),
        ("stop_sequence", "stop", []),
        ("tool", "stop", []),
        ("length", "length", []),
        ("context_full", "length", []),
        ("filter", "stop", ["approximated:finish_reason"]),
        ("refusal", "stop", ["approximated:finish_reason"]),
        ("pause", "stop", ["approximated:finish_reason"]),
    ],
)
def test_finish(reason: FinishReason, expected: str, lost: list[str]) -> None:
    """Ollama's two words for all ends."""
    body, codes = write(Answer(choices=(Choice((), Finish(reason)),)))
    assert (body["done_reason"], codes) == (expected, lost)


@pytest.mark.parametrize("reason", ["length", "context_full"])
def test_a_call_cut_by_the_limit_is_left_out(reason: FinishReason) -> None:
    """Its arguments can be no object; the reason tells why."""
    body, codes = write(Answer(choices=(Choice((ToolCall("c", "f", '{"a'), CALL), Finish(reason)),)))
    assert (body["message"]["tool_calls"], body["done_reason"]) == ([WIRE_CALL], "length")
    assert codes == ["dropped:tool_calls"]


def test_usage() -> None:
    """Two counts; finer ones are missed by nobody, and what nobody knows is left out."""
    body, codes = write(Answer(usage=Usage(9, None, cached_tokens=4)))
    assert (body["prompt_eval_count"], "eval_count" in body, codes) == (9, False, [])
    body, codes = write(Answer(usage=Usage(None, 5, cached_tokens=0)))
    assert ("prompt_eval_count" in body, body["eval_count"], codes) == (False, 5, [])


def test_one_alternative() -> None:
    """There is room for one."""
    body, codes = write(Answer(choices=(Choice((Text("a"),)), Choice((Text("b"),)))))
    assert (body["message"]["content"], codes) == ("a", ["dropped:choices"])


def test_members_of_others() -> None:
    """Of the answer and of the choice."""
    assert write(Answer(choices=(Choice((), extras=ODD),), extras=Extras("chat", {"y": msgspec.Raw(b"1")})))[1] == [
        "dropped:y",
        "dropped:x",
    ]


def test_the_providers_own_time_comes_first() -> None:
    """Else it is that of the question."""
    assert write(Answer(created=1))[0]["created_at"] == "1970-01-01T00:00:01Z"


def test_log_probabilities_of_all_texts() -> None:
    """In one list beside the message."""
    parts = (Text("a", logprobs=b'[{"token":"a"}]'), Text("b", logprobs=b' [{"token":"b"}] '))
    assert write(Answer(choices=(Choice(parts),)))[0]["logprobs"] == [{"token": "a"}, {"token": "b"}]
