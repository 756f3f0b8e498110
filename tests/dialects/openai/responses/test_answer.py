"""Answers in one piece: read_answer, and write_answer with output_items, response_object, write_parts and names."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.node import ReadError
from flumegate.dialects.openai.responses import CODEC
from flumegate.dialects.openai.responses.read_answer import read_answer
from flumegate.dialects.openai.responses.read_request import read_request
from flumegate.dialects.openai.responses.write_answer import write_answer
from flumegate.ir.answer import Answer, Asked, Choice, Finish
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
from flumegate.ir.request import Request
from flumegate.ir.seal import seal
from flumegate.ir.usage import Usage

ALWAYS = [
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "incomplete_details",
    "model",
    "previous_response_id",
    "instructions",
    "output",
    "error",
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
]
USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 2, "image_tokens": 1},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 27,
    "cost": 3,
}
OUTPUT: list[dict[str, Any]] = [
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "a"}], "encrypted_content": "gA"},
    {"type": "reasoning", "id": "rs_2", "status": "completed", "content": [{"type": "reasoning_text", "text": "r"}]},
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "phase": "commentary",
        "content": [
            {
                "type": "output_text",
                "text": "One.",
                "annotations": [
                    {"type": "url_citation", "start_index": 0, "end_index": 3, "url": "https://a", "title": "A"},
                    {"type": "file_citation", "file_id": "f", "filename": "a", "index": 1},
                    {"type": "url_citation", "start_index": 0, "end_index": 3, "url": "https://b", "title": "", "x": 1},
                ],
                "logprobs": [{"token": "One", "logprob": -0.25, "bytes": [79], "top_logprobs": []}],
                "future": 1,
            },
            {"type": "refusal", "refusal": "No."},
            {"type": "output_hologram", "x": 1},
        ],
    },
    {
        "type": "message",
        "id": "msg_2",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Two."}],
    },
    {"type": "message", "id": "msg_3", "role": "assistant", "status": "completed", "content": []},
    {
        "type": "message",
        "id": "msg_4",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "refusal", "refusal": "No.", "future": 1}],
    },
    {
        "type": "function_call",
        "id": "fc_1",
        "status": "completed",
        "call_id": "c1",
        "name": "f",
        "namespace": "n",
        "arguments": "{}",
    },
    {"type": "function_call", "id": "fc_2", "status": "odd", "call_id": "c2", "name": "f", "arguments": '{"a":1}'},
    {"type": "custom_tool_call", "id": "ctc_1", "status": "completed", "call_id": "c3", "name": "g", "input": ""},
]


def pruned(value: Any) -> Any:
    """Nulls and empty lists aside."""
    if isinstance(value, dict):
        return {key: pruned(one) for key, one in value.items() if one is not None and one != []}
    return [pruned(one) for one in value] if isinstance(value, list) else value


def response(**members: Any) -> dict[str, Any]:
    return {"id": "r1", "object": "response", "created_at": 5, "status": "completed", "model": "m", **members}


def asked(**members: Any) -> Asked:
    body = json.dumps({"model": "m", "input": "Hi", **members}).encode()
    return Asked(read_request(body), "seed1", 1_700_000_000)


def written(answer: Answer, **members: Any) -> tuple[dict[str, Any], list[str]]:
    body, losses = write_answer(answer, asked(**members))
    return json.loads(body), [loss.code for loss in losses]


def of(*parts: Part, finish: Finish | None = None, **members: Any) -> Answer:
    return Answer("chatcmpl-1", "provider-model", 0, (Choice(parts, finish or Finish("stop")),), **members)


BODIES = [
    response(output=OUTPUT, usage=USAGE, store=True, tools=[{"type": "web_search"}], temperature=0.5, completed_at=9),
    response(output=OUTPUT[:1], usage=None, status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
    response(output=[], status="incomplete", incomplete_details={"reason": "content_filter"}),
    response(output=[], status="incomplete", incomplete_details={"reason": "steered"}),
    response(output=[], status="incomplete", incomplete_details={"reason": "new", "more": 1}),
    response(output=[], status="incomplete"),
    response(output=[], status="queued", background=True),
    response(output=[], status="cancelled"),
    response(
        output=[{**OUTPUT[4], "status": "incomplete"}],
        status="incomplete",
        incomplete_details={"reason": "max_output_tokens"},
    ),
    response(output=[{**OUTPUT[4], "status": "paused"}]),
    response(output=[{"type": "message", "id": "m", "content": [{"type": "output_hologram"}]}]),
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: f"{body['status']}-{len(body['output'])}")
def test_an_answer_stays_what_it_was(body: dict[str, Any]) -> None:
    """Every member of a provider's answer comes back; what we add are members that were not there."""
    again, losses = written(read_answer(json.dumps(body).encode()))
    assert losses == []
    assert {name: value for name, value in pruned(again).items() if name in body} == pruned(body)
    assert set(ALWAYS) <= set(again)


def test_what_the_neutral_form_says_of_an_answer() -> None:
    answer = read_answer(json.dumps(BODIES[0]).encode())
    assert (answer.id, answer.model, answer.created) == ("r1", "m", 5)
    assert answer.usage == Usage(20, 7, 8, 2, 5)
    assert answer.choices[0].finish == Finish("tool", "completed")
    kinds = [type(part).__name__ for part in answer.choices[0].parts]
    assert kinds == (
        [
            "Thinking",
            "Thinking",
            "Opaque",
            "Text",
            "Refusal",
            "Opaque",
            "Text",
            "Opaque",
            "Refusal",
            "ToolCall",
            "ToolCall",
            "ToolCall",
        ]
    )
    first, raw = answer.choices[0].parts[:2]
    assert isinstance(first, Thinking)
    assert isinstance(raw, Thinking)
    assert (first.texts, first.signature, first.origin) == (("a",), "gA", "responses")
    assert (raw.texts, raw.origin) == (("r",), "")
    assert all(not part.vital for part in answer.choices[0].parts[2:8:5] if isinstance(part, Opaque))


@pytest.mark.parametrize(
    ("members", "finish"),
    [
        ({}, Finish("stop", "completed")),
        ({"status": "complete"}, Finish("stop", "completed")),
        (
            {"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "n"}]}]},
            Finish("refusal", "completed"),
        ),
        ({"status": "incomplete"}, Finish("pause", "incomplete")),
        ({"status": "in_progress"}, Finish("pause", "in_progress")),
    ],
)
def test_why_it_ended(members: dict[str, Any], finish: Finish) -> None:
    assert read_answer(json.dumps(response(**{"output": []} | members)).encode()).choices[0].finish == finish


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"[]", "It must be a JSON object"),
        (b"{}", "It is required."),
        (
            json.dumps(response(status="failed", error={"code": "server_error", "message": "Broken."})).encode(),
            "Broken.",
        ),
        (json.dumps(response(status="failed")).encode(), "The response failed."),
        (json.dumps(response(output=[{"type": "function_call", "name": "f"}])).encode(), "It is required."),
    ],
)
def test_what_is_no_answer(body: bytes, detail: str) -> None:
    with pytest.raises(ReadError) as caught:
        read_answer(body)
    assert caught.value.detail.startswith(detail)


@pytest.mark.parametrize("usage", [{"input_tokens": "many"}, {"input_tokens": 1, "input_tokens_details": None}])
def test_strange_usage_is_kept(usage: dict[str, Any]) -> None:
    answer = read_answer(json.dumps(response(output=[], usage=usage)).encode())
    assert (answer.usage is None) == (usage["input_tokens"] == "many")


def test_a_client_gets_the_whole_object() -> None:
    """All keys, numbers as numbers, the request's settings, and nothing of what the provider calls itself."""
    members, losses = written(
        of(
            Thinking(("hm",), "sig", "messages"),
            Text("Hello", (Citation("https://a", "A"), Citation("https://b", "B", 1, 3))),
            Refusal("but no"),
            ToolCall("c1", "f", signature="ts", origin="gemini"),
            ToolCall("", "g", "text", "custom"),
            Text("bye"),
            usage=Usage(10, 5),
        ),
        instructions="Be brief.",
        tools=[{"type": "function", "name": "f"}],
        temperature=0.5,
        truncation="auto",
        text={"verbosity": "low"},
        reasoning={"effort": "low"},
        metadata={"a": "b"},
    )
    assert losses == []
    assert sorted(ALWAYS) == sorted(members)
    assert (members["id"], members["model"], members["created_at"]) == ("resp_seed1", "m", 1_700_000_000)
    assert members["instructions"] == "Be brief."
    assert members["tools"] == [
        {"type": "function", "name": "f", "description": None, "parameters": None, "strict": None}
    ]
    assert members["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert members["reasoning"] == {"effort": "low", "summary": None}
    assert (members["temperature"], members["top_p"], members["truncation"]) == (0.5, 1.0, "auto")
    assert (members["store"], members["metadata"]) == (False, {"a": "b"})
    assert members["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    }
    thinking, message, state, call, custom, last = members["output"]
    assert thinking == {
        "id": "rs_seed1_0",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": seal("sig", "messages", own="responses"),
    }
    assert message["id"] == "msg_seed1_1"
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert [(one["start_index"], one["end_index"]) for one in message["content"][0]["annotations"]] == [(0, 5), (1, 3)]
    assert state["encrypted_content"] == seal("ts", "gemini", own="responses")
    assert (call["id"], call["call_id"], call["arguments"]) == ("fc_seed1_3", "c1", "{}")
    assert (custom["id"], custom["call_id"], custom["input"]) == ("ctc_seed1_4", "call_seed1_4", "text")
    assert last["id"] == "msg_seed1_5"


ENDS: list[tuple[Finish, tuple[Part, ...], str, str | None]] = [
    (Finish("stop_sequence", stop_sequence="x"), (), "completed", None),
    (Finish("tool"), (), "completed", None),
    (Finish("length"), (Text("a"),), "incomplete", "max_output_tokens"),
    (Finish("context_full"), (), "incomplete", "max_output_tokens"),
    (Finish("filter"), (Refusal("n"),), "incomplete", "content_filter"),
    (Finish("refusal"), (), "incomplete", "content_filter"),
    (Finish("refusal"), (Refusal("n"),), "completed", None),
    (Finish("refusal", detail="Why."), (), "completed", None),
    (Finish("pause", "pause_turn"), (), "incomplete", "max_messages"),
]


@pytest.mark.parametrize(("finish", "parts", "status", "reason"), ENDS)
def test_every_end_has_a_status(finish: Finish, parts: tuple[Part, ...], status: str, reason: str | None) -> None:
    members, _ = written(of(*parts, finish=finish))
    assert members["status"] == status
    assert (members["incomplete_details"] or {}).get("reason") == reason
    assert all(item["status"] == status for item in members["output"])
    if finish.detail:
        assert members["output"][0]["content"] == [{"type": "refusal", "refusal": "Why."}]


FOREIGN = Extras("chat", {"x": msgspec.Raw(b"1")})
LOST: list[tuple[Answer, list[str], list[str]]] = [
    (of(Media("image", "image/png", "AA")), ["approximated:content"], ["image_generation_call"]),
    (of(Media("audio", "audio/wav", "AA")), ["dropped:content"], []),
    (of(Opaque("messages", "server_tool_use", b"{}", vital=False)), ["dropped:content"], []),
    (of(ToolResult("c")), ["dropped:content"], []),
    (of(Text("x", (Citation(quote="q"),))), ["dropped:citations"], ["message"]),
    (of(Text("x", extras=FOREIGN), extras=FOREIGN), ["dropped:x", "dropped:content.x"], ["message"]),
    (Answer(), [], []),
    (Answer(choices=(Choice(), Choice())), ["dropped:choices"], []),
    (of(Opaque("responses", "output_hologram", b'{"type":"h"}', at="output[0].content[1]")), [], ["h"]),
]


@pytest.mark.parametrize(("answer", "losses", "kinds"), LOST)
def test_what_cannot_be_said_is_reported(answer: Answer, losses: list[str], kinds: list[str]) -> None:
    members, found = written(answer)
    assert found == losses
    assert [item["type"] for item in members["output"]] == kinds


def test_an_answer_to_another_dialects_question_repeats_what_it_can() -> None:
    body, _ = write_answer(of(Text("x")), Asked(Request(dialect="chat", model="m"), "s", 1))
    assert json.loads(body)["tools"] == []


def test_the_codec_is_complete() -> None:
    assert CODEC.name == "responses"
    assert all(member is not None for member in CODEC)
