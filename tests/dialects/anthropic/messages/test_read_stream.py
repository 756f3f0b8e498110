"""Streams read. The goldens are our own; some name the recording that they are modelled on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.dialects.anthropic.messages.read_answer import read_answer
from flumegate.dialects.anthropic.messages.read_stream import MessagesStreamReader
from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Choice, Finish
from flumegate.ir.failure import Failure
from flumegate.ir.fold import fold
from flumegate.ir.grammar import Grammar
from flumegate.ir.parts import Opaque, Text, Thinking, ToolCall
from flumegate.ir.usage import Usage
from rig import cuts


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode()


def start(**members: Any) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "tern-1", "content": []}
    return event("message_start", message=message | {"stop_reason": None, "usage": {"input_tokens": 3}} | members)


def opened(index: int, **block: Any) -> bytes:
    return event("content_block_start", index=index, content_block=block)


def delta(index: int, **members: Any) -> bytes:
    return event("content_block_delta", index=index, delta=members)


def closed(index: int) -> bytes:
    return event("content_block_stop", index=index)


def ending(reason: str = "end_turn", **members: Any) -> bytes:
    said = {"stop_reason": reason, "stop_sequence": None}
    return event("message_delta", delta=said | members, usage={"output_tokens": 7}) + event("message_stop")


def text(index: int, *pieces: str) -> bytes:
    deltas = b"".join(delta(index, type="text_delta", text=piece) for piece in pieces)
    return opened(index, type="text", text="") + deltas + closed(index)


def read(*pieces: bytes) -> list[e.Event]:
    """Read a stream and hold it to the grammar."""
    reader = MessagesStreamReader()
    stream = [found for piece in pieces for found in reader.feed(piece)] + reader.close()
    grammar = Grammar()
    for one in stream:
        grammar.check(one)
    assert grammar.ended
    assert reader.feed(b"more") == reader.close() == []
    return stream


def parts(*pieces: bytes) -> tuple[Any, ...]:
    return fold(read(start(), *pieces, ending())).choices[0].parts


FULL = (
    start(usage={"input_tokens": 3, "cache_read_input_tokens": 4, "service_tier": "standard"})
    + opened(0, type="thinking", thinking="", signature="")
    + event("ping")
    + delta(0, type="thinking_delta", thinking="Hm ")
    + delta(0, type="thinking_delta", thinking="ü\u2028.")
    + delta(0, type="signature_delta", signature="sig")
    + closed(0)
    + opened(1, type="redacted_thinking", data="data")
    + closed(1)
    + text(2, "So ", "", "it is.")
    + opened(3, type="server_tool_use", id="s", name="web_search", input={})
    + delta(3, type="input_json_delta", partial_json="")
    + delta(3, type="input_json_delta", partial_json='{"q": ')
    + delta(3, type="input_json_delta", partial_json='"x"}')
    + closed(3)
    + opened(4, type="web_search_tool_result", tool_use_id="s", content=[{"type": "web_search_result"}])
    + closed(4)
    + opened(5, type="text", text="", citations=[])
    + delta(5, type="citations_delta", citation={"type": "web_search_result_location", "url": "u", "cited_text": "c"})
    + delta(5, type="text_delta", text="Yes.")
    + closed(5)
    + opened(6, type="tool_use", id="t1", name="look", input={}, caller={"type": "direct"})
    + delta(6, type="input_json_delta", partial_json='{"at": "\\ud83d')
    + delta(6, type="input_json_delta", partial_json='\\ude00"}')
    + closed(6)
    + opened(7, type="tool_use", id="t2", name="look", input={})
    + closed(7)
    + event(
        "message_delta",
        delta={"stop_reason": "tool_use", "stop_sequence": None, "container": {"id": "c"}},
        usage={"output_tokens": 7, "input_tokens": None, "output_tokens_details": {"thinking_tokens": 2}},
        context_management={"applied_edits": [{"type": "x"}]},
    )
    + event("message_stop")
    + event("ping")
)
WHOLE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "tern-1",
    "content": [
        {"type": "thinking", "thinking": "Hm ü\u2028.", "signature": "sig"},
        {"type": "redacted_thinking", "data": "data"},
        {"type": "text", "text": "So it is."},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result"}]},
        {
            "type": "text",
            "text": "Yes.",
            "citations": [{"type": "web_search_result_location", "url": "u", "cited_text": "c"}],
        },
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "\U0001f600"}, "caller": {"type": "direct"}},
        {"type": "tool_use", "id": "t2", "name": "look", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "container": {"id": "c"},
    "context_management": {"applied_edits": [{"type": "x"}]},
    "usage": {
        "input_tokens": 3,
        "cache_read_input_tokens": 4,
        "service_tier": "standard",
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 2},
    },
}


def told(answer: Answer) -> Any:
    """Return an answer with JSON texts parsed: how they were spaced says nothing."""
    found: list[Any] = []
    for part in answer.choices[0].parts:
        if isinstance(part, ToolCall):
            found.append((part.id, part.name, json.loads(part.arguments or "{}"), extras(part.extras)))
        elif isinstance(part, Opaque):
            found.append((part.kind, json.loads(part.raw), part.vital))
        elif isinstance(part, Text):
            found.append((part.text, [(one.url, one.quote, extras(one.extras)) for one in part.citations]))
        else:
            found.append(part)
    choice = answer.choices[0]
    return answer.id, answer.model, found, choice.finish, extras(choice.extras), answer.usage, answer.extras


def extras(given: Any) -> Any:
    return None if given is None else {name: json.loads(bytes(raw)) for name, raw in given.fields.items()}


def test_fold() -> None:
    """A stream amounts to the answer in one piece: every kind of block, usage, and what only Anthropic says."""
    answer = fold(read(FULL))
    assert told(answer) == told(read_answer(json.dumps(WHOLE).encode()))
    assert answer.usage == Usage(7, 7, 4, None, 2)


@cuts.short_law
@given(cuts.POSITIONS, st.booleans())
def test_chunking(positions: list[int], carriage_returns: bool) -> None:
    """However the bytes are cut, and whatever ends the lines, the events are the same."""
    stream = FULL.replace(b"\n", b"\r\n") if carriage_returns else FULL
    assert read(*cuts.at(stream, [position * 13 for position in positions])) == read(FULL)


def test_chunking_byte_by_byte() -> None:
    """Case 7: the finest cut, through characters, escapes and line ends."""
    assert read(*cuts.bytewise(FULL)) == read(FULL)


def test_what_streams_streams() -> None:
    """Each delta is an event at once; usage comes with the start and again at the end."""
    reader = MessagesStreamReader()
    assert reader.feed(start()) == [e.Started("msg_1", "tern-1"), e.Counted(Usage(3))]
    assert reader.feed(opened(0, type="text", text="")) == [e.Opened(0, Text(""))]
    assert reader.feed(delta(0, type="text_delta", text="a")) == [e.Grew(0, "a")]
    assert reader.feed(closed(0)) == [e.Closed(0)]
    assert reader.feed(ending()) == [e.Counted(Usage(3, 7)), e.Finished(Finish("stop", "end_turn")), e.Ended()]


def test_a_signature_comes_at_the_end() -> None:
    """Case 15: unchanged, with its origin; also without any text."""
    block = opened(0, type="thinking", thinking="", signature="")
    signed = delta(0, type="signature_delta", signature="sig")
    assert parts(block, signed, closed(0)) == (Thinking((), "sig", "messages"),)
    assert parts(block, delta(0, type="thinking_delta", thinking="a"), closed(0)) == (Thinking(("a",)),)
    whole = opened(0, type="thinking", thinking="a", signature="sig")
    assert parts(whole, closed(0)) == (Thinking(("a",), "sig", "messages"),)


def test_arguments_at_the_start_of_a_call() -> None:
    """Case 4: they count where no others follow; the placeholder is no argument; pieces are never parsed."""
    block = opened(0, type="tool_use", id="t", name="f", input={"a": 1})
    assert parts(block, closed(0)) == (ToolCall("t", "f", '{"a": 1}'),)
    piece = delta(0, type="input_json_delta", partial_json='{"b')
    assert parts(block, piece, closed(0)) == (ToolCall("t", "f", '{"b'),)


def test_text_and_sources_at_the_start_of_a_block() -> None:
    """Some servers send the first piece with the start."""
    block = opened(0, type="text", text="a", citations=[{"type": "x"}])
    (part,) = parts(block, delta(0, type="text_delta", text="b"), closed(0))
    assert part.text == "ab"
    assert [citation.url for citation in part.citations] == [""]


def test_a_block_that_nobody_knows_is_gathered() -> None:
    """Modelled on anthropic-sdk-compaction: its deltas become members; texts go on, others replace."""
    (part,) = parts(
        opened(0, type="compaction", content=None, count=1),
        delta(0, type="compaction_delta", content="a", count=2, gone=None),
        delta(0, type="compaction_delta", content="b"),
        closed(0),
    )
    assert (part.kind, part.vital) == ("compaction", False)
    assert json.loads(part.raw) == {"type": "compaction", "content": "ab", "count": 2}
    (cut,) = parts(
        opened(0, type="mcp_tool_use", id="m", input={}),
        delta(0, type="input_json_delta", partial_json='{"a'),
        closed(0),
    )
    assert json.loads(cut.raw)["input"] == '{"a'


def test_a_message_that_starts_with_content() -> None:
    """Modelled on anthropic-programmatic-tool-calling-1-stream: blocks may stand in `message_start`."""
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    answer = fold(read(start(content=[block], stop_reason="tool_use", container={"id": "c"}), event("message_stop")))
    assert answer.choices[0].parts == (ToolCall("t", "f", '{"a": 1}'),)
    assert answer.choices[0].finish == Finish("tool", "tool_use")
    assert extras(answer.choices[0].extras) == {"container": {"id": "c"}}


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (start() + start() + text(0, "a") + ending(), (Text("a"),)),
        (start() + opened(0, type="text", text="") + delta(0, text="a") + ending("max_tokens"), (Text("a"),)),
        (start() + opened(0, type="text", text="") + text(0, "a") + ending(), (Text(""), Text("a"))),
        (start() + delta(4, type="text_delta", text="a") + ending(), (Text("a"),)),
        (start() + delta(4, type="thinking_delta", thinking="a") + ending(), (Thinking(("a",)),)),
        (start() + delta(4, type="input_json_delta", partial_json="{}") + ending(), ()),
        (start() + closed(3) + event("future_event", usage={}) + text(0, "a") + ending(), (Text("a"),)),
        (start() + opened(0, type="text", text="") + delta(0, thinking="x") + ending(), (Text(""),)),
        (text(0, "a") + ending(), (Text("a"),)),
        (opened(0, type="x") + ending(), (Opaque("messages", "x", b'{"type":"x"}', vital=False),)),
        (opened(0, type="redacted_thinking", data="d") + ending(), (Thinking((), "d", "messages", redacted=True),)),
        (event("message_start") + ending(), ()),
        (event("content_block_start", index=0) + ending(), ()),
        (event("content_block_delta", index=0) + start() + ending(), ()),
        (start() + b"data: [DONE]\n\n" + ending(), ()),
        (start() + event("message_stop"), ()),
        (start() + event("message_delta") + event("message_stop"), ()),
        (
            start() + opened(0, type="text", text="") + delta(0, type="citations_delta") + ending(),
            (Text(""),),
        ),
        (
            start()
            + opened(0, type="tool_use", id="t", name="f")
            + delta(0, type="citations_delta", citation={"type": "x"})
            + ending(),
            (ToolCall("t", "f"),),
        ),
        (start() + b'data: {"type":"message_stop","error":{}}', ()),
    ],
    ids=range(20),
)  # fmt: skip
def test_odd_orders_are_no_failures(stream: bytes, found: tuple[Any, ...]) -> None:
    """What can be understood is understood: repeats, blocks without end or start, unknown events, no start at all."""
    assert fold(read(stream)).choices[0].parts == found


def test_a_refusal_in_the_middle_of_the_stream() -> None:
    """Partial text stays, the explanation is told."""
    details = {"type": "refusal", "explanation": "No.", "category": "c"}
    choice = fold(read(start(), text(0, "So"), ending("refusal", stop_details=details))).choices[0]
    assert choice.parts == (Text("So"),)
    assert choice.finish == Finish("refusal", "refusal", detail="No.")
    assert extras(choice.extras) == {"stop_details.type": "refusal", "stop_details.category": "c"}


@pytest.mark.parametrize(
    ("stream", "failure"),
    [
        (
            start() + event("error", error={"type": "overloaded_error", "message": "Full."}) + ending(),
            Failure("overloaded", "Full.", "overloaded_error"),
        ),
        (b'data: {"error":{"message":"Odd."}}\n\n', Failure("internal", "Odd.")),
        (b'data: {"error":"Odd."}\n\n', Failure("internal", "Odd.")),
        (b'data: {"type":"error"}\n\n', Failure("internal")),
        (start() + text(0, "a"), Failure("cut", "The stream ended without message_stop.")),
        (b"", Failure("cut", "The stream ended without message_stop.")),
    ],
)
def test_failures(stream: bytes, failure: Failure) -> None:
    """Case 13: an error inside the stream, and a stream without its end, are never a clean end."""
    last = read(stream)[-1]
    assert last == e.Failed(failure)


@pytest.mark.parametrize(
    "stream",
    [
        b"data: {\n\n",
        b"data: <html>\n\n",
        b'data: {"type":5}\n\n',
        event("content_block_start", index=0, content_block={}),
        event("message_delta", usage={"output_tokens": "x"}),
        event("message_start", message=[]),
        opened(0, type="x") + event("content_block_delta", index=0, delta={"type": "x", "text": 5}),
        b"data: \xff\n\n",
    ],
)
def test_garbage(stream: bytes) -> None:
    """What cannot be read fails, once, and nothing follows."""
    last = read(stream + ending())[-1]
    assert isinstance(last, e.Failed)
    assert last.failure.reason == "garbage"


def test_an_event_without_end_is_a_failure() -> None:
    """Memory is bounded."""
    reader = MessagesStreamReader()
    reader._source._max_bytes = 10
    (failed,) = reader.feed(b"data: " + b"x" * 20)
    assert isinstance(failed, e.Failed)
    assert failed.failure.reason == "garbage"


PIECES = [
    start(), opened(0, type="text", text=""), opened(1, type="tool_use", id="t", name="f", input={}),
    opened(1, type="x"), opened(0, type="thinking", thinking="a", signature="s"), delta(0, type="text_delta", text="a"),
    delta(1, type="input_json_delta", partial_json="{"), delta(0, type="signature_delta", signature="s"), closed(0),
    closed(1), event("ping"), ending(), event("message_stop"), event("error", error={"type": "api_error"}),
    event("message_delta", delta={"stop_reason": "end_turn"}), b"data: {}\n\n", b"data: 5\n\n", b": c\n\n",
]  # fmt: skip


@cuts.short_law
@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_grammar(pieces: list[bytes]) -> None:
    """Whatever nonsense arrives, the events are legal and end in exactly one way."""
    read(*pieces)


def test_choices_are_one() -> None:
    """An empty answer is one choice that says nothing."""
    assert fold(read(start(), ending())).choices == (Choice((), Finish("stop", "end_turn")),)


def test_an_end_before_any_beginning_is_no_answer() -> None:
    """An empty answer is one that began: events that only close something say nothing."""
    reader = MessagesStreamReader()
    data = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    found = [*reader.feed(data + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'), *reader.close()]
    (failed,) = found
    assert isinstance(failed, e.Failed)
    assert failed.failure.reason == "garbage"
