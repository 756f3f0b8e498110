"""Streams: read_stream with read_stream_items, write_stream with write_stream_items."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.dialects.openai.responses.read_answer import read_answer
from flumegate.dialects.openai.responses.read_stream import ResponsesStreamReader
from flumegate.dialects.openai.responses.write_answer import write_answer
from flumegate.dialects.openai.responses.write_stream import ResponsesStreamWriter
from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Asked, Choice, Finish
from flumegate.ir.failure import Failure
from flumegate.ir.fold import fold, unfold
from flumegate.ir.grammar import Grammar
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
from flumegate.wire import sse
from rig import cuts

ASKED = Asked(Request(dialect="responses", model="m"), "seed1", 5)
USAGE = {"input_tokens": 3, "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 1}}


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


def response(status: str = "in_progress", **members: Any) -> dict[str, Any]:
    return {"id": "r1", "object": "response", "created_at": 5, "status": status, "model": "m", "output": [], **members}


START = event("response.created", response=response()) + event("response.in_progress", response=response())
COMPLETED = event("response.completed", response=response("completed", usage=USAGE))


def added(number: int, **item: Any) -> bytes:
    return event("response.output_item.added", output_index=number, item=item)


def done(number: int, **item: Any) -> bytes:
    return event("response.output_item.done", output_index=number, item=item)


def at(number: int, kind: str, place: int = 0, **members: Any) -> bytes:
    return event(f"response.{kind}", output_index=number, content_index=place, **members)


def thought(number: int, kind: str, place: int = 0, **members: Any) -> bytes:
    return event(f"response.{kind}", output_index=number, summary_index=place, **members)


def streamed(*pieces: bytes) -> list[e.Event]:
    reader = ResponsesStreamReader()
    found = [one for piece in pieces for one in reader.feed(piece)]
    found += reader.close()
    grammar = Grammar()
    for one in found:
        grammar.check(one)
    assert grammar.ended
    return found


def parts_of(stream: bytes) -> tuple[Part, ...]:
    return fold(streamed(stream)).choices[0].parts


def bare(part: Part) -> Part:
    return part if isinstance(part, Opaque | Media) else msgspec.structs.replace(part, extras=None)


CITED = {"type": "url_citation", "start_index": 0, "end_index": 2, "url": "https://a", "title": "A"}
FULL_OUTPUT: list[dict[str, Any]] = [
    {
        "id": "rs",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "ab"}, {"type": "summary_text", "text": ""}],
        "encrypted_content": "gA",
    },
    {"id": "ws", "type": "web_search_call", "status": "completed"},
    {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "phase": "final_answer",
        "content": [
            {"type": "output_text", "text": "Hé\u2028llo", "annotations": [CITED], "logprobs": [{"token": "H"}]},
            {"type": "refusal", "refusal": "no"},
            {"type": "hologram", "x": 1},
        ],
    },
    {"id": "fc", "type": "function_call", "status": "completed", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
    {"id": "ctc", "type": "custom_tool_call", "status": "completed", "call_id": "c2", "name": "g", "input": "xy"},
]
MESSAGE = FULL_OUTPUT[2]
FULL = (
    START
    + added(0, id="rs", type="reasoning", summary=[], encrypted_content="early")
    + thought(0, "reasoning_summary_part.added", part={"type": "summary_text", "text": ""})
    + thought(0, "reasoning_summary_text.delta", delta="a")
    + thought(0, "reasoning_summary_text.delta", delta="b")
    + thought(0, "reasoning_summary_text.done", text="ab")
    + thought(0, "reasoning_summary_part.added", 1, part={"type": "summary_text", "text": ""})
    + done(0, **FULL_OUTPUT[0])
    + added(1, id="ws", type="web_search_call", status="in_progress")
    + event("response.web_search_call.searching", output_index=1)
    + done(1, **FULL_OUTPUT[1])
    + added(2, **{**MESSAGE, "status": "in_progress", "content": []})
    + at(2, "content_part.added", part={"type": "output_text", "text": "", "annotations": []})
    + at(2, "output_text.delta", delta="Hé", logprobs=[{"token": "H"}], obfuscation="xx")
    + at(2, "output_text.delta", delta="\u2028llo", logprobs=[])
    + at(2, "output_text.annotation.added", annotation=CITED, annotation_index=0)
    + at(2, "output_text.done", text="Hé\u2028llo")
    + at(2, "content_part.done", part=MESSAGE["content"][0])
    + at(2, "content_part.added", 1, part={"type": "refusal", "refusal": ""})
    + at(2, "refusal.delta", 1, delta="n")
    + at(2, "refusal.done", 1, refusal="no")
    + at(2, "content_part.done", 1, part=MESSAGE["content"][1])
    + at(2, "content_part.added", 2, part=MESSAGE["content"][2])
    + at(2, "content_part.done", 2, part=MESSAGE["content"][2])
    + done(2, **MESSAGE)
    + added(3, **{**FULL_OUTPUT[3], "status": "in_progress", "arguments": ""})
    + added(4, **{**FULL_OUTPUT[4], "status": "in_progress", "input": ""})
    + event("response.function_call_arguments.delta", output_index=3, delta='{"a"')
    + event("response.custom_tool_call_input.delta", output_index=4, delta="x")
    + event("response.function_call_arguments.done", output_index=3, arguments='{"a":1}')
    + event("response.custom_tool_call_input.done", output_index=4, input="xy")
    + done(4, **FULL_OUTPUT[4])
    + done(3, **FULL_OUTPUT[3])
    + event("response.completed", response=response("completed", output=FULL_OUTPUT, usage=USAGE))
)


def test_a_folded_stream_is_the_whole_answer() -> None:
    """Every kind of item, with missing tails, two calls open at once and parts of unknown kinds."""
    whole = read_answer(json.dumps(response("completed", output=FULL_OUTPUT, usage=USAGE)).encode())
    folded = fold(streamed(FULL))

    def raw(answer: Answer) -> list[Any]:
        return [json.loads(part.raw) if isinstance(part, Opaque) else bare(part) for part in answer.choices[0].parts]

    assert raw(folded) == raw(whole)
    assert (folded.id, folded.model, folded.created, folded.usage) == ("r1", "m", 5, Usage(3, 2, None, None, 1))
    assert folded.choices[0].finish == whole.choices[0].finish == Finish("tool", "completed")


@cuts.short_law
@given(st.lists(st.integers(1, len(FULL)), max_size=30))
def test_any_split_tells_the_same(positions: list[int]) -> None:
    assert streamed(*cuts.at(FULL, positions)) == streamed(FULL)


def test_byte_by_byte_and_with_other_line_ends() -> None:
    assert streamed(*cuts.bytewise(FULL)) == streamed(FULL)
    assert streamed(*cuts.bytewise(FULL.replace(b"\n", b"\r\n"))) == streamed(FULL)
    assert streamed(FULL.replace(b"event:", b":")) == streamed(FULL)
    assert streamed(FULL.removesuffix(b"\n\n")) == streamed(FULL)
    assert streamed(FULL + b"data: [DONE]\n\n" + START) == streamed(FULL)


@cuts.short_law
@given(st.permutations(sse.split(FULL)), st.integers(0, 40))
def test_any_nonsense_is_told_in_a_legal_order(blocks: list[bytes], count: int) -> None:
    """Events in any order, missing or twice: the grammar holds, and there is one end."""
    streamed(*blocks[:count], *blocks[: count // 2])


CALL = {"type": "function_call", "call_id": "c", "name": "f"}
CARELESS: list[tuple[str, bytes, list[Part]]] = [
    ("no announcements", at(0, "output_text.delta", delta="a") + at(0, "output_text.delta", delta="b"), [Text("ab")]),
    ("only an end", event("response.completed", response=response("completed", output=FULL_OUTPUT[3:4])), []),
    ("no index", event("response.output_text.delta", delta="a"), [Text("a")]),
    ("only done events", done(0, **CALL, arguments="{}"), [ToolCall("c", "f", "{}")]),
    ("announced twice", added(0, **CALL) * 2 + done(0, **CALL, arguments="1"), [ToolCall("c", "f", "1")]),
    ("done twice", (added(0, **CALL) + done(0, **CALL)) * 2, [ToolCall("c", "f")]),
    ("never done", added(0, **CALL) + at(0, "function_call_arguments.delta", delta="{}"), [ToolCall("c", "f", "{}")]),
    ("late delta", done(0, **MESSAGE) + at(0, "output_text.delta", delta="x"), [Text("Hé\u2028llo")]),
    ("arguments of nobody", event("response.function_call_arguments.delta", output_index=7, delta="x"), []),
    ("an item that is none", event("response.output_item.added", output_index=0), []),
    ("an end of nothing", event("response.output_item.done", output_index=0), []),
    ("a part without a part", at(0, "content_part.added") + at(0, "output_text.delta", delta="a"), [Text("a")]),
    ("nulls", at(0, "output_text.delta", delta=None) + at(0, "refusal.delta", delta=None), [Text("")]),
    ("empty ends", at(0, "output_text.done") + at(0, "refusal.done"), [Text("")]),
    ("unknown events", event("response.new.thing", delta={"a": 1}) + event("x") + b"data: 5\n\n", []),
    (
        "raw reasoning, cut",
        added(0, type="reasoning") + at(0, "reasoning_text.delta", delta="a"),
        [Thinking(("a",))],
    ),
    (
        "raw reasoning beside a summary",
        added(0, type="reasoning")
        + thought(0, "reasoning_summary_text.delta", delta="s")
        + at(0, "reasoning_text.delta", delta="a"),
        [Thinking(("s",))],
    ),
    (
        "reasoning that another item follows",
        added(0, type="reasoning") + added(1, **CALL) + thought(0, "reasoning_summary_text.done", text="s"),
        [Thinking(("s",)), ToolCall("c", "f")],
    ),
    (
        "summary only at the end",
        added(0, type="reasoning") + done(0, **FULL_OUTPUT[0]),
        [Thinking(("ab", ""), "gA", "responses")],
    ),
    (
        "raw reasoning under its other name",
        added(0, type="reasoning", content=[])
        + at(0, "reasoning.delta", delta="a")
        + done(0, type="reasoning", status="completed", content=[{"type": "reasoning_text", "text": "ab"}]),
        [Thinking(("ab",))],
    ),
    (
        "events of another kind of item",
        added(0, **CALL)
        + event("response.function_call_arguments.done", output_index=0)
        + thought(0, "reasoning_summary_text.delta", delta="x")
        + added(1, type="web_search_call"),
        [ToolCall("c", "f")],
    ),
    ("a message of one unknown part", at(0, "content_part.added", part={"type": "hologram"}), []),
]


@pytest.mark.parametrize(("name", "stream", "parts"), CARELESS, ids=[name for name, _, _ in CARELESS])
def test_careless_servers_lose_nothing(name: str, stream: bytes, parts: list[Part]) -> None:
    found = [bare(part) for part in parts_of(START + stream + COMPLETED)]
    if name == "late delta":
        found = [bare(part) for part in found[:1]]
        found = [msgspec.structs.replace(found[0], citations=(), logprobs=b"")]
    assert found == (parts if name != "only an end" else [ToolCall("c1", "f", '{"a":1}')])


def test_a_message_that_nobody_understands_stays_whole() -> None:
    item = {"type": "message", "id": "m", "content": [{"type": "hologram"}]}
    unknown = at(0, "content_part.added", part={"type": "hologram"}) + at(0, "output_text.delta", delta="x")
    (part,) = parts_of(START + added(0, **{**item, "content": []}) + unknown + done(0, **item) + COMPLETED)
    assert isinstance(part, Opaque)
    assert (json.loads(part.raw), part.kind, part.vital) == (item, "message", False)


@pytest.mark.parametrize(
    ("stream", "finish"),
    [
        (event("response.completed"), Finish("stop", "completed")),
        (
            event("response.incomplete", response=response(incomplete_details={"reason": "max_output_tokens"})),
            Finish("length", "max_output_tokens"),
        ),
        (event("response.incomplete"), Finish("pause", "incomplete")),
    ],
)
def test_every_end_has_a_reason(stream: bytes, finish: Finish) -> None:
    assert fold(streamed(stream)).choices[0].finish == finish


FAILURES: list[tuple[bytes, Failure]] = [
    (b"", Failure("cut", "The stream ended before the response was complete.")),
    (START + b"data: [DONE]\n\n", Failure("cut", "The stream ended before the response was complete.")),
    (
        event("error", code="rate_limit_exceeded", message="m", param=None),
        Failure("rate_limited", "m", "rate_limit_exceeded"),
    ),
    (event("error", error={"message": "m", "code": "server_error"}), Failure("internal", "m", "server_error")),
    (b'data: {"error":"Broken."}\n\n', Failure("internal", "Broken.")),
    (
        event("response.failed", response=response("failed", error={"code": "server_error", "message": "m"})),
        Failure("internal", "m", "server_error"),
    ),
    (event("response.failed", response=response("failed")), Failure("internal", "The response failed.")),
]


@pytest.mark.parametrize(("stream", "failure"), FAILURES)
def test_a_failure_is_never_a_clean_end(stream: bytes, failure: Failure) -> None:
    assert streamed(stream + b"")[-1] == e.Failed(failure)
    assert streamed(stream, b"\n\n" + COMPLETED if not stream else b"")[-1] != e.Started()


@pytest.mark.parametrize(
    "stream",
    [
        b"data: {\n\n",
        event("response.output_text.delta", delta=5),
        event("response.completed", response=5),
        added(0, type="function_call", name="f"),
        at(0, "output_text.annotation.added", annotation=5),
    ],
)
def test_what_cannot_be_read_is_garbage(stream: bytes) -> None:
    last = streamed(START + stream)[-1]
    assert isinstance(last, e.Failed)
    assert last.failure.reason == "garbage"


def test_an_event_without_end_is_garbage() -> None:
    reader = ResponsesStreamReader()
    reader._events = sse.Reader(max_bytes=10)
    (last,) = reader.feed(b"data: " + b"x" * 20)
    assert isinstance(last, e.Failed)
    assert reader.feed(b"x") == reader.close() == []


def written(events: Iterable[e.Event], asked: Asked = ASKED) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the events as clients see them, after the checks that hold for all streams."""
    writer = ResponsesStreamWriter(asked)
    blocks = [writer.write(one) for one in events]
    stream = b"".join(blocks)
    assert stream.endswith(b"data: [DONE]\n\n")
    found: list[dict[str, Any]] = []
    for one in sse.read(stream.removesuffix(b"data: [DONE]\n\n")):
        data = json.loads(one.data)
        assert one.name.decode() == data["type"]
        assert data["sequence_number"] == len(found)
        found.append(data)
    assert [one["type"] for one in found[:2]] == ["response.created", "response.in_progress"]
    opened = [one["output_index"] for one in found if one["type"] == "response.output_item.added"]
    assert opened == list(range(len(opened)))
    ends = [one for one in found if one["type"] in ("response.completed", "response.incomplete", "response.failed")]
    assert ends == found[-1:]
    if ends[0]["type"] != "response.failed":
        closed = {one["output_index"]: one["item"] for one in found if one["type"] == "response.output_item.done"}
        assert [closed[number] for number in opened] == ends[0]["response"]["output"]
    return found, [loss.code for loss in writer.losses.found]


SPOKEN = Answer(
    "msg_1",
    "provider-model",
    5,
    (
        Choice(
            (
                Thinking(("one", "two"), "sig", "messages"),
                Text("Hello", (Citation("https://b", "B", 1, 3), Citation("https://a", "A")), b'[{"token":"H"}]'),
                Refusal("no"),
                ToolCall("c1", "f", '{"a":1}', namespace="n"),
                ToolCall("c2", "g", "xy", "custom"),
                ToolCall("c3", "h"),
                Text("bye"),
            ),
            Finish("tool", "completed"),
        ),
    ),
    Usage(3, 2, 0, 0, 0),
)


def test_a_streams_end_is_the_answer_in_one_piece() -> None:
    """Whether it is streamed or not, a client gets the same object."""
    found, losses = written(unfold(SPOKEN))
    assert losses == []
    whole, _ = write_answer(SPOKEN, ASKED)
    assert found[-1]["response"] == json.loads(whole)


def test_what_is_written_reads_the_same() -> None:
    writer = ResponsesStreamWriter(ASKED)
    again = fold(streamed(*(writer.write(one) for one in unfold(SPOKEN))))
    expected = list(SPOKEN.choices[0].parts)
    expected[0] = Thinking(("one", "two"), seal("sig", "messages", own="responses"), "responses")
    text = expected[1]
    assert isinstance(text, Text)
    placed, unplaced = text.citations
    placed_first = (placed, msgspec.structs.replace(unplaced, start=0, end=5))
    expected[1] = msgspec.structs.replace(text, citations=placed_first)
    expected[5] = ToolCall("c3", "h", "{}")
    assert [bare(part) for part in again.choices[0].parts] == expected
    assert (again.choices[0].finish, again.usage) == (SPOKEN.choices[0].finish, SPOKEN.usage)


def test_the_events_of_a_text() -> None:
    found, _ = written(unfold(Answer(choices=(Choice((Text("Hi"),)),))))
    assert [one["type"].removeprefix("response.") for one in found] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert found[2]["item"] == {
        "id": "msg_seed1_0",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    assert found[4] == {
        "type": "response.output_text.delta",
        "sequence_number": 4,
        "item_id": "msg_seed1_0",
        "output_index": 0,
        "content_index": 0,
        "delta": "Hi",
        "logprobs": [],
    }
    assert found[-1]["response"]["usage"] is None


@pytest.mark.parametrize(
    "part", [Text(""), ToolCall("c", "f"), ToolCall("c", "g", kind="custom")], ids=["text", "function", "custom"]
)
def test_only_the_last_item_of_a_cut_answer_is_incomplete(part: Part) -> None:
    stream = unfold(Answer(choices=(Choice((ToolCall("a", "f"), part), Finish("length")),)))
    response_ = written(stream)[0][-1]["response"]
    assert [item["status"] for item in response_["output"]] == ["completed", "incomplete"]
    assert response_["incomplete_details"] == {"reason": "max_output_tokens"}


def test_blocks_may_interleave() -> None:
    """A message whose text goes on beside a call ends when its text does; calls end on their own."""
    found, _ = written(
        [
            e.Started(),
            e.Opened(0, Text("")),
            e.Opened(1, ToolCall("a", "f")),
            e.Opened(2, ToolCall("b", "f")),
            e.Grew(1, "{}"),
            e.Grew(0, "x"),
            e.Grew(2, "{}"),
            e.Closed(2),
            e.Closed(0),
            e.Closed(1),
            e.Opened(3, Text("")),
            e.Closed(3),
            e.Finished(Finish("tool")),
            e.Ended(),
        ]
    )
    ended = [one["output_index"] for one in found if one["type"] == "response.output_item.done"]
    assert ended == [2, 0, 1, 3]


def test_an_explained_refusal_becomes_a_refusal() -> None:
    found, _ = written(unfold(Answer(choices=(Choice((Text("So"),), Finish("refusal", detail="Not that.")),))))
    (message,) = found[-1]["response"]["output"]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert found[-1]["response"]["status"] == "completed"


def test_state_at_the_end_of_thinking_is_sealed() -> None:
    events: list[e.Event] = [e.Started(), e.Opened(0, Thinking()), e.Closed(0, "sig", "messages")]
    found, losses = written([*events, e.Finished(Finish("stop")), e.Ended()])
    (item,) = found[-1]["response"]["output"]
    assert item == {
        "id": "rs_seed1_0",
        "type": "reasoning",
        "summary": [],
        "encrypted_content": seal("sig", "messages", own="responses"),
    }
    assert losses == []


def test_state_of_a_call_goes_before_it_or_not_at_all() -> None:
    events: list[e.Event] = [
        e.Started(),
        e.Opened(0, ToolCall("a", "f", signature="s", origin="gemini")),
        e.Closed(0),
        e.Opened(1, ToolCall("b", "f")),
        e.Closed(1, "t", "gemini"),
    ]
    found, losses = written([*events, e.Finished(Finish("tool")), e.Ended()])
    types = [item["type"] for item in found[-1]["response"]["output"]]
    assert types == ["reasoning", "function_call", "function_call"]
    assert losses == ["dropped:reasoning"]


@pytest.mark.parametrize("before", [[], [e.Started()], [e.Started(), e.Opened(0, Text("")), e.Grew(0, "x")]])
def test_a_broken_stream_ends_in_an_error(before: list[e.Event]) -> None:
    """The error is nested, so that SDKs raise; the response says it once more, in its own two members."""
    found, _ = written([*before, e.Failed(Failure("overloaded", "Busy."))])
    assert found[-2]["type"] == "error"
    assert found[-2]["error"] == {"type": "server_error", "code": "overloaded", "message": "Busy.", "param": None}
    assert found[-1]["response"]["error"] == {"code": "overloaded", "message": "Busy."}
    assert found[-1]["response"]["status"] == "failed"


FOREIGN = Extras("chat", {"x": msgspec.Raw(b"1")})
LOST: list[tuple[Part, list[str], list[str]]] = [
    (Media("image", "image/png", "AA"), ["approximated:content"], ["image_generation_call"]),
    (Media("audio", "audio/wav", "AA"), ["dropped:content"], []),
    (Opaque("messages", "server_tool_use", b"{}", vital=False), ["dropped:content"], []),
    (ToolResult("c"), ["dropped:content"], []),
    (Text("", (), extras=FOREIGN), ["dropped:content.x"], ["message"]),
    (Opaque("responses", "h", b'{"type":"h"}', at="output[0].content[1]"), [], ["h"]),
]


@pytest.mark.parametrize(("part", "losses", "kinds"), LOST)
def test_what_cannot_be_said_is_reported(part: Part, losses: list[str], kinds: list[str]) -> None:
    stream: list[e.Event] = [e.Started(), e.Opened(0, part), e.Closed(0), e.Finished(Finish("stop")), e.Ended()]
    found, lost = written(stream)
    assert lost == losses
    assert [item["type"] for item in found[-1]["response"]["output"]] == kinds


def test_a_client_gets_one_of_several_answers() -> None:
    two = Answer(choices=(Choice((Text("a"),)), Choice((Text("b", (Citation("u"),)), Text("c")))))
    found, losses = written(unfold(two))
    assert losses == ["dropped:choices"]
    assert len(found[-1]["response"]["output"]) == 1


def test_sources_without_address_are_reported() -> None:
    assert written(unfold(Answer(choices=(Choice((Text("a", (Citation(title="T"),)),)),))))[1] == ["dropped:citations"]


def test_parts_of_this_dialect_alone_stay_in_their_message() -> None:
    """A provider's own message comes out as it went in, unknown parts and ids included."""
    body = response("completed", output=FULL_OUTPUT, usage=USAGE)
    found, losses = written(unfold(read_answer(json.dumps(body).encode())))
    assert losses == []
    again = [{name: one for name, one in item.items() if one != []} for item in found[-1]["response"]["output"]]
    assert again[:2] + again[3:] == FULL_OUTPUT[:2] + FULL_OUTPUT[3:]
    assert again[2]["id"] == "m1"
    assert [part["type"] for part in again[2]["content"]] == ["output_text", "refusal", "hologram"]
    assert found[-1]["response"]["id"] == "r1"


def test_an_incomplete_answer_of_this_dialect_keeps_its_details() -> None:
    details = {"reason": "new"}
    body = response("incomplete", incomplete_details=details)
    found, _ = written(unfold(read_answer(json.dumps(body).encode())))
    assert found[-1]["response"]["incomplete_details"] == details


def test_sources_of_what_is_no_text_are_passed_over() -> None:
    events: list[e.Event] = [e.Started(), e.Opened(0, Thinking()), e.Cited(0, Citation("u")), e.Closed(0)]
    assert written([*events, e.Finished(Finish("stop")), e.Ended()])[1] == []


def test_pieces_of_thinking_are_parts_of_its_summary() -> None:
    pieces: list[e.Event] = [e.Grew(0, "a"), e.Grew(0, "b"), e.Grew(0, "c", 1)]
    events: list[e.Event] = [e.Started(), e.Opened(0, Thinking()), *pieces, e.Closed(0)]
    found, _ = written([*events, e.Finished(Finish("stop")), e.Ended()])
    (item,) = found[-1]["response"]["output"]
    assert [part["text"] for part in item["summary"]] == ["ab", "c"]
    indices = [one["summary_index"] for one in found if one["type"].startswith("response.reasoning_summary_part")]
    assert indices == [0, 0, 1, 1]
