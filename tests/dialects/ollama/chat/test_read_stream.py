from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.dialects.ollama.chat.read_answer import read_answer
from flumegate.dialects.ollama.chat.read_stream import ChatStreamReader
from flumegate.dialects.ollama.chat.write_answer import write_answer
from flumegate.ir import events as e
from flumegate.ir.answer import Finish
from flumegate.ir.failure import Failure
from flumegate.ir.fold import fold
from flumegate.ir.parts import Text, Thinking, ToolCall
from flumegate.ir.usage import Usage
from rig import cuts
from rig.ollama_cases import CALL, ENDING, SECONDS, STREAMS, asked, line, packed, read, streamed, whole


@pytest.mark.parametrize("name", STREAMS)
def test_fold(name: str) -> None:
    """A stream amounts to the same answer in one piece."""
    assert fold(read([streamed(STREAMS[name])])) == read_answer(packed(whole(STREAMS[name])))


@pytest.mark.parametrize("name", STREAMS)
def test_byte_by_byte(name: str) -> None:
    """No cut changes an event, not even one within a character."""
    data = streamed(STREAMS[name])
    assert read(cuts.bytewise(data)) == read([data])


@cuts.short_law
@given(st.sampled_from(sorted(STREAMS)), cuts.POSITIONS)
def test_any_cut(name: str, positions: list[int]) -> None:
    """Any pieces give the same events."""
    data = streamed(STREAMS[name])
    assert read(cuts.at(data, positions)) == read([data])


def test_the_events() -> None:
    """One block at a time, calls whole, the counts at the end."""
    events = read([streamed(STREAMS["thinking, text, calls"])])
    first, second = (event.part for event in events if isinstance(event, e.Opened) and isinstance(event.part, ToolCall))
    assert isinstance(first, ToolCall)
    assert isinstance(events[-3], e.Finished)
    extras = events[-3].extras
    assert events == [
        e.Started("", "heron:8b", SECONDS),
        e.Opened(0, Thinking()),
        e.Grew(0, "let me"),
        e.Grew(0, " see"),
        e.Closed(0),
        e.Opened(1, Text("")),
        e.Grew(1, "So"),
        e.Closed(1),
        e.Opened(2, first),
        e.Grew(2, '{"port":"Husum","days":2}'),
        e.Closed(2),
        e.Opened(3, second),
        e.Grew(3, "{}"),
        e.Closed(3),
        e.Finished(Finish("tool", "stop"), extras=extras),
        e.Counted(Usage(21, 13)),
        e.Ended(),
    ]
    assert extras is not None
    assert set(extras.fields) == {name for name in ENDING if name.endswith("duration")}


def test_a_repeated_call_is_one() -> None:
    """Some servers repeat calls in the last line."""
    with_id = CALL | {"id": "k"}
    events = read([streamed([line(tool_calls=[with_id]), line(True, tool_calls=[with_id])])])
    assert [event.part for event in events if isinstance(event, e.Opened)] == [ToolCall("k", "tide")]


def test_a_call_without_arguments_does_not_grow() -> None:
    """Nothing is made up for it."""
    events = read([streamed([line(tool_calls=[{"function": {"name": "f"}}]), line(True)])])
    assert not any(isinstance(event, e.Grew) for event in events)


def test_kinds_that_alternate_say_the_same_in_sum() -> None:
    """Each change opens a block; put together per kind, it is the answer in one piece."""
    lines = [
        line(content="a"),
        line(thinking="x"),
        line(tool_calls=[CALL]),
        line(content="b"),
        line(thinking="y", content="c"),
        line(True),
    ]
    answer = fold(read([streamed(lines)]))
    body = json.loads(write_answer(answer, asked())[0])
    assert body["message"]["content"] == "abc"
    assert body["message"]["thinking"] == "x\n\ny"
    assert len(body["message"]["tool_calls"]) == 1


HARMLESS = {
    "no message": packed({"model": "m"}),
    "nulls": packed(
        {"model": None, "created_at": None, "done": None, "error": None, "logprobs": None}
        | {"message": {"role": "assistant", "content": None, "thinking": None, "tool_calls": None, "images": None}}
    ),
    "empty": packed({"error": "", "message": {"tool_calls": [], "images": []}, "logprobs": []}),
    "unknown members": packed({"x_new": [1], "message": {"x_new": {}}}),
    "empty lines": b"\n \r\n",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_says_nothing(name: str) -> None:
    """Lines without a word pass, whatever else they hold."""
    events = read([HARMLESS[name] + b"\n" + streamed([line(content="a"), line(True) | ENDING])])
    assert [event.text for event in events if isinstance(event, e.Grew)] == ["a"]
    assert isinstance(events[-1], e.Ended)


def failure(events: list[e.Event]) -> Failure:
    assert isinstance(events[-1], e.Failed)
    return events[-1].failure


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("model runner stopped", Failure("internal", "model runner stopped")),
        ({"message": "gone"}, Failure("internal", "gone")),
        ("prompt exceeds the context length", Failure("context_length", "prompt exceeds the context length")),
    ],
)
def test_an_error_in_the_stream(error: object, expected: Failure) -> None:
    """First or in the middle, it is the end; nothing behind it counts."""
    broken = packed({"error": error}) + b"\n"
    events = read([broken + streamed([line(True)])])
    assert events == [e.Failed(expected)]
    events = read([streamed([line(content="a")]) + broken + streamed([line(content="b"), line(True)])])
    assert failure(events) == expected
    assert [event.text for event in events if isinstance(event, e.Grew)] == ["a"]


def test_a_stream_without_its_end() -> None:
    """It is a failure, whatever came before, and also when nothing did."""
    whole_line = streamed([line(content="a")])
    for data in (b"", whole_line, whole_line[:-1], whole_line[:-9], whole_line + whole_line[:9]):
        assert failure(read([data])).reason == "cut"


def test_an_end_without_a_message() -> None:
    """The word that it is done is enough."""
    assert read([b'{"done":true}\n']) == [e.Started(), e.Finished(Finish("stop")), e.Ended()]


def test_a_last_line_that_lacks_its_end() -> None:
    """What parses is taken."""
    assert isinstance(read([streamed([line(content="a"), line(True)]).rstrip()])[-1], e.Ended)


NONSENSE = [
    b"<html>",
    b"[]",
    b"{",
    b"\xff\xfe",
    b'{"message":"a"}',
    b'{"message":{"content":["a"]}}',
    b'{"message":{"tool_calls":{}}}',
    b'{"message":{"tool_calls":[1]}}',
    b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":7}}]}}',
    b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":"\\ud800"}}]}}',
    b'{"done":true,"eval_count":"many"}',
    b'{"done":true,"done_reason":3}',
    b'{"done":"yes"}',
    b'{"created_at":7}',
    b'{"error":' + b"[" * 9999,
]


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense(nonsense: bytes) -> None:
    """It breaks the answer off, and the events stay in order."""
    assert failure(read([nonsense + b"\n" + streamed([line(True)])])).reason == "garbage"
    assert failure(read([streamed([line(content="a")]) + nonsense])).reason in ("garbage", "cut")


LINES = st.sampled_from(
    [packed(one) for lines in STREAMS.values() for one in lines] + NONSENSE + list(HARMLESS.values())
)


@cuts.short_law
@given(st.lists(LINES, max_size=8))
def test_any_lines_in_any_order(lines: list[bytes]) -> None:
    """The grammar holds, and there is exactly one end."""
    read([b"".join(one + b"\n" for one in lines)])


def test_a_line_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be held is garbage."""
    reader = ChatStreamReader()
    monkeypatch.setattr(reader._lines, "_max_bytes", 10)
    assert failure(reader.feed(b"x" * 11)).reason == "garbage"
    assert reader.close() == []
