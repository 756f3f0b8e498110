"""Whole answers, both ways: read_answer, write_answer, and answer_blocks, citations, stops and usage below them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.anthropic.messages.read_answer import read_answer
from flumegate.dialects.anthropic.messages.write_answer import write_answer
from flumegate.dialects.node import ReadError
from flumegate.ir.answer import Answer, Asked, Choice, Finish, FinishReason
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
from flumegate.ir.usage import Usage

USAGE = {"input_tokens": 5, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3, "output_tokens": 7}
ASKED = Asked(Request(dialect="messages", model="tern-1"), "seed0", 1)
ODD = Extras("gemini", {"odd": msgspec.Raw(b"1")})


def message(*content: Any, **members: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "tern-1",
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
    } | members


def read(document: dict[str, Any]) -> Answer:
    return read_answer(json.dumps(document).encode())


def write(*parts: Part, reason: FinishReason = "stop", **fields: Any) -> tuple[Any, list[str]]:
    answer = Answer("chatcmpl-1", "other", 5, (Choice(parts, Finish(reason)),), Usage(10, 7, 3, 2))
    body, losses = write_answer(msgspec.structs.replace(answer, **fields), ASKED)
    return json.loads(body), [loss.code for loss in losses]


def content(*parts: Part, reason: FinishReason = "stop") -> tuple[Any, list[str]]:
    body, codes = write(*parts, reason=reason)
    return body["content"], codes


DOCUMENTS: dict[str, dict[str, Any]] = {
    "text": message({"type": "text", "text": "Hi", "x_more": 1}),
    "nothing": message(),
    "thinking": message(
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "thinking", "thinking": "", "signature": "sig"},
        {"type": "redacted_thinking", "data": "data", "x": 1},
    ),
    "call": message(
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1.0}, "caller": {"type": "direct"}},
        {"type": "tool_use", "id": "t2", "name": "look", "input": {}},
        stop_reason="tool_use",
    ),
    "server tools": message(
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": 1}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"type": "web_search_result"}]},
        container={"id": "c"},
    ),
    "citations": message(
        {
            "type": "text",
            "text": "It is so.",
            "citations": [
                {"type": "web_search_result_location", "url": "https://a.example", "title": "A", "cited_text": "so",
                 "encrypted_index": "e"},
                {"type": "page_location", "document_title": "D", "cited_text": "is", "document_index": 0,
                 "start_page_number": 1, "end_page_number": 2},
            ],
        }
    ),
    "stop sequence": message({"type": "text", "text": "x"}, stop_reason="stop_sequence", stop_sequence="END"),
    "refusal": message(
        stop_reason="refusal",
        stop_details={"type": "refusal", "category": "c", "explanation": "No.", "recommended_model": "tern-2"},
    ),
    "compaction": message({"type": "compaction", "content": "short"}, stop_reason="compaction"),
    "an end to come": message(stop_reason="bored"),
    "usage": message(
        usage=USAGE
        | {
            "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 0},
            "output_tokens_details": {"thinking_tokens": 4, "x_tokens": 1},
            "server_tool_use": {"web_search_requests": 1},
            "service_tier": "standard",
        },
        context_management={"applied_edits": [{"type": "x"}]},
    ),
    "usage with unknown details alone": message(usage=USAGE | {"output_tokens_details": {"x_tokens": 1}}),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_identity(name: str) -> None:
    """Read and written again an answer is the same, and nothing is lost."""
    body, losses = write_answer(read(DOCUMENTS[name]), ASKED)
    given = {key: value for key, value in DOCUMENTS[name].items() if value is not None}
    assert {key: value for key, value in json.loads(body).items() if value is not None} == given
    assert losses == ()


@pytest.mark.parametrize(
    ("creation", "lasting"),
    [({"ephemeral_1h_input_tokens": 3}, 3), ({}, None), (None, None), ({"ephemeral_1h_input_tokens": "3"}, None)],
)
def test_how_long_the_cache_is_kept_is_read_and_still_said(creation: Any, lasting: int | None) -> None:
    """It is billed by; whoever speaks the same dialect gets it as it came."""
    document = message({"type": "text", "text": "x"}, usage=USAGE | {"cache_creation": creation})
    answer = read(document)
    assert answer.usage is not None
    assert answer.usage.cache_write_1h_tokens == lasting
    assert json.loads(write_answer(answer, ASKED)[0])["usage"].get("cache_creation") == creation


def test_documented_normalisations() -> None:
    """Cache counts that are not told are zero; a missing model is the one that was asked for."""
    document = {"content": [], "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 2}}
    body = json.loads(write_answer(read(document), ASKED)[0])
    assert body == {
        "id": "msg_seed0",
        "type": "message",
        "role": "assistant",
        "model": "tern-1",
        "content": [],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 1,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 2,
        },
    }


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop_sequence"),
        ("tool_use", "tool"),
        ("pause_turn", "pause"),
        ("refusal", "refusal"),
        ("model_context_window_exceeded", "context_full"),
        ("compaction", "pause"),
        ("bored", "stop"),
    ],
)
def test_reasons_to_stop(raw: str, reason: FinishReason) -> None:
    """One word for all dialects, the raw one beside it (dialects: §15.1)."""
    finish = read(message(stop_reason=raw)).choices[0].finish
    assert (finish.reason, finish.raw) == (reason, raw)


def test_a_call_outweighs_a_plain_stop() -> None:
    """Servers that say `end_turn` although a tool is called; and one that says nothing at all."""
    call = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
    assert read(message(call)).choices[0].finish == Finish("tool", "end_turn")
    assert read(message(call, stop_reason="max_tokens")).choices[0].finish == Finish("length", "max_tokens")
    assert read(message(call, stop_reason=None)).choices[0].finish == Finish("tool")


def test_usage_counts_the_cache_inside() -> None:
    """Case 23: exclusive on the wire, inclusive here; what is not told is not zero."""
    usage = USAGE | {"output_tokens_details": {"thinking_tokens": 4}}
    assert read(message(usage=usage)).usage == Usage(10, 7, 3, 2, 4)
    assert read(message(usage={"output_tokens": 1})).usage == Usage(None, 1)
    assert read(message(usage=None)).usage is None


def test_a_block_that_nobody_knows_does_not_withhold_the_answer() -> None:
    """Of an answer it may be left out; of a request it is content."""
    assert read(message({"type": "new"})).choices[0].parts == (
        Opaque("messages", "new", b'{"type": "new"}', vital=False),
    )


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"<html>", ""),
        (b'{"type":"error"}', "type"),
        (b'{"content":"x"}', "content"),
        (b'{"content":[{"type":"text"}]}', "content[0].text"),
        (b'{"usage":{"input_tokens":"many"}}', "usage.input_tokens"),
    ],
)
def test_what_is_no_message(body: bytes, path: str) -> None:
    """The place of the fault is told."""
    with pytest.raises(ReadError) as caught:
        read_answer(body)
    assert caught.value.path == path


def test_the_envelope_is_the_clients() -> None:
    """An id of the form that clients know, the model that they asked for, counts with the cache beside the input."""
    body, codes = write(Text("Hi"))
    assert body == message({"type": "text", "text": "Hi"}, id="msg_seed0")
    assert codes == []


@pytest.mark.parametrize(
    ("usage", "told", "codes"),
    [
        (Usage(2, 1, 3, None), {"input_tokens": 0, "cache_read_input_tokens": 3}, []),
        (Usage(), {"input_tokens": 0, "output_tokens": 0}, []),
        (Usage(5, 4, reasoning_tokens=2), {"input_tokens": 5, "output_tokens_details": {"thinking_tokens": 2}}, []),
        (None, {"input_tokens": 0, "output_tokens": 0}, ["invented:usage"]),
    ],
)
def test_usage_for_a_client(usage: Usage | None, told: dict[str, Any], codes: list[str]) -> None:
    """Never below zero, and always there."""
    body, lost = write(usage=usage)
    assert told.items() <= body["usage"].items()
    assert lost == codes


@pytest.mark.parametrize(
    ("part", "block", "codes"),
    [
        (Text(""), None, []),
        (Text("x", logprobs=b"[]", extras=ODD), {"type": "text", "text": "x"},
         ["dropped:logprobs", "dropped:content.odd"]),
        (
            Text("So it is.", (Citation("https://a.example", start=0, end=2),)),
            {
                "type": "text",
                "text": "So it is.",
                "citations": [
                    {
                        "type": "web_search_result_location",
                        "url": "https://a.example",
                        "title": None,
                        "cited_text": "So",
                        "encrypted_index": "",
                    }
                ],
            },
            [],
        ),
        (Text("x", (Citation(title="A file"),)), {"type": "text", "text": "x"}, ["dropped:content.citations"]),
        (Refusal("No.", extras=ODD), {"type": "text", "text": "No."}, ["approximated:content", "dropped:content.odd"]),
        (Refusal(""), None, ["approximated:content"]),
        (Media("image", url="u"), None, ["dropped:content"]),
        (ToolResult("c"), None, ["dropped:content"]),
        (Opaque("responses", "x", b"{}", vital=False), None, ["dropped:content"]),
        (Thinking(("a", "b"), "blob", "responses"),
         {"type": "thinking", "thinking": "a\n\nb", "signature": "fg1.responses.s.blob"}, []),
        (Thinking(("a",)), {"type": "thinking", "thinking": "a", "signature": ""}, []),
        (Thinking((), "blob", "gemini", redacted=True),
         {"type": "redacted_thinking", "data": "fg1.gemini.r.blob"}, []),
        (ToolCall("call:1", "f", "", extras=ODD), {"type": "tool_use", "id": "changed", "name": "f",
                                                   "input": {}}, ["dropped:content.odd"]),
        (ToolCall("", "f", '{"a":1}', namespace="ns"), {"type": "tool_use", "id": "toolu_seed00", "name": "ns__f",
                                                        "input": {"a": 1}}, []),
        (ToolCall("c", "f", "free", kind="custom"), {"type": "tool_use", "id": "c", "name": "f",
                                                     "input": {"input": "free"}}, []),
        (ToolCall("c", "f", '{"a":'), None, ["refused:content"]),
        (ToolCall("c", "f", "[]"), None, ["refused:content"]),
    ],
    ids=str,
)  # fmt: skip
def test_parts(part: Part, block: Any, codes: list[str]) -> None:
    """Each part is a block, or a loss names it; a call that cannot be parsed is never one with other arguments."""
    written, lost = content(part)
    if isinstance(part, ToolCall) and ":" in part.id:
        assert written[0].pop("id") != part.id
        block.pop("id")
    assert written == ([] if block is None else [block])
    assert lost == codes


def test_the_state_of_a_call_stands_before_it() -> None:
    """Gemini wants it back, and clients give back thinking blocks unchanged; a call that is left out needs none."""
    signed = ToolCall("c", "f", signature="s", origin="gemini")
    assert content(Text("x"), signed) == (
        [
            {"type": "text", "text": "x"},
            {"type": "thinking", "thinking": "", "signature": "fg1.gemini.s.s"},
            {"type": "tool_use", "id": "c", "name": "f", "input": {}},
        ],
        [],
    )
    assert content(msgspec.structs.replace(signed, arguments="["))[0] == []


@pytest.mark.parametrize("reason", ["length", "context_full"])
def test_a_call_that_was_cut_short_is_left_out(reason: FinishReason) -> None:
    """Case 6: the client learns by the reason that the answer is not whole."""
    assert content(Text("x"), ToolCall("c", "f", '{"a":'), reason=reason) == (
        [{"type": "text", "text": "x"}],
        ["dropped:content"],
    )


@pytest.mark.parametrize(
    ("finish", "members", "codes"),
    [
        (Finish("filter", "content_filter"), {"stop_reason": "refusal"}, []),
        (Finish("refusal", detail="No."), {"stop_details": {"type": "refusal", "explanation": "No."}}, []),
        (Finish("stop", "STOP", detail="Fine."), {"stop_reason": "end_turn"}, ["dropped:finish.detail"]),
        (Finish("tool", "end_turn"), {"stop_reason": "tool_use"}, []),
        (Finish("stop_sequence", stop_sequence="END"), {"stop_reason": "stop_sequence", "stop_sequence": "END"}, []),
        (Finish("context_full", "length"), {"stop_reason": "model_context_window_exceeded"}, []),
    ],
)
def test_ends(finish: Finish, members: dict[str, Any], codes: list[str]) -> None:
    """The reason in Anthropic's word."""
    body, lost = write(choices=(Choice((), finish),))
    assert members.items() <= body.items()
    assert lost == codes


def test_one_answer_at_a_time() -> None:
    """Others are named; none at all is an empty message; foreign members are reported, own ones given back."""
    body, codes = write(choices=(Choice((Text("a"),), extras=ODD), Choice((Text("b"),))), extras=ODD)
    assert [block["text"] for block in body["content"]] == ["a"]
    assert codes == ["dropped:odd", "dropped:choices"]
    own = Extras("messages", {"container": msgspec.Raw(b'{"id":"c"}')})
    body, codes = write(choices=(), extras=own)
    assert (body["content"], body["container"], codes) == ([], {"id": "c"}, [])
