from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.dialects.anthropic.messages.read_stream import MessagesStreamReader
from flumegate.dialects.anthropic.messages.write_stream import MessagesStreamWriter
from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Asked, Choice, Finish
from flumegate.ir.failure import Failure
from flumegate.ir.fold import fold, unfold
from flumegate.ir.parts import Citation, Extras, Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Request
from flumegate.ir.usage import Usage
from flumegate.wire import sse
from rig import cuts

ASKED = Asked(Request(dialect="messages", model="tern-1"), "seed0", 1)
BEGIN = (e.Started("chatcmpl-1", "other"),)
END = (e.Finished(Finish("stop")), e.Counted(Usage(10, 7, 3, 2)), e.Ended())


def write(*stream: e.Event) -> tuple[list[Any], list[str]]:
    """Return the data of the events that a client sees, each held to its name, and what was lost."""
    writer = MessagesStreamWriter(ASKED)
    found = []
    for event in stream:
        piece = writer.write(event)
        assert not piece or piece.endswith(b"\n\n")
        for one in sse.read(piece):
            data = json.loads(one.data)
            assert data["type"] == one.name.decode()
            found.append(data)
    return found, [loss.code for loss in writer.losses.found]


def body(*stream: e.Event) -> tuple[list[Any], list[str]]:
    """Return the events between the start and the end of the message."""
    found, lost = write(*BEGIN, *stream, *END)
    assert [event["type"] for event in (found[0], *found[-2:])] == ["message_start", "message_delta", "message_stop"]
    return found[1:-2], lost


def begun(index: int, **block: Any) -> Any:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, **members: Any) -> Any:
    return {"type": "content_block_delta", "index": index, "delta": members}


def closed(index: int) -> Any:
    return {"type": "content_block_stop", "index": index}


def test_the_envelope() -> None:
    """The start at once, an id of the client's form, its own name of the model; all counters at the end."""
    found, lost = write(*BEGIN, *END)
    assert found == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_seed0",
                "type": "message",
                "role": "assistant",
                "model": "tern-1",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {
                    "input_tokens": 0,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "output_tokens": 0,
                },
            },
        },
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 5,
                "cache_creation_input_tokens": 2,
                "cache_read_input_tokens": 3,
                "output_tokens": 7,
            },
        },
        {"type": "message_stop"},
    ]
    assert lost == []


def test_each_growth_is_one_delta_at_once() -> None:
    """Nothing waits, and an empty text says nothing."""
    found, lost = body(e.Opened(0, Text("")), e.Grew(0, "ü\u2028"), e.Grew(0, ""), e.Grew(0, "b"), e.Closed(0))
    assert found == [
        begun(0, type="text", text=""),
        delta(0, type="text_delta", text="ü\u2028"),
        delta(0, type="text_delta", text="b"),
        closed(0),
    ]
    assert lost == []
    writer = MessagesStreamWriter(ASKED)
    for event in (*BEGIN, e.Opened(0, Text(""))):
        writer.write(event)
    assert writer.write(e.Grew(0, "a")).count(b"\n\n") == 2
    assert writer.write(e.Grew(0, "b")).count(b"\n\n") == 1


def test_a_text_that_stays_empty_is_no_block() -> None:
    """Clients would send it back, and Anthropic refuses empty texts; indices have no gap."""
    found, _ = body(
        e.Opened(0, Text("")), e.Closed(0), e.Opened(1, ToolCall("c", "f")), e.Closed(1)
    )  # fmt: skip
    assert found == [begun(0, type="tool_use", id="c", name="f", input={}), closed(0)]


def test_one_block_at_a_time() -> None:
    """What other blocks say while one is open follows in their order (dialects: §14, §16 case 2)."""
    found, _ = body(
        e.Opened(0, ToolCall("a", "f")),
        e.Opened(1, ToolCall("b", "g")),
        e.Opened(2, Text("")),
        e.Grew(1, '{"y":2}'),
        e.Grew(0, '{"x":1}'),
        e.Grew(2, "t"),
        e.Closed(1),
        e.Closed(0),
        e.Opened(3, Text("")),
        e.Grew(3, "u"),
        e.Grew(2, "v"),
        e.Closed(2),
        e.Closed(3),
    )  # fmt: skip
    assert [(event["type"][14:], event["index"]) for event in found] == [
        ("start", 0), ("delta", 0), ("stop", 0),
        ("start", 1), ("delta", 1), ("stop", 1),
        ("start", 2), ("delta", 2), ("delta", 2), ("stop", 2),
        ("start", 3), ("delta", 3), ("stop", 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("part", "closing", "signature"),
    [
        (Thinking(), e.Closed(0, "blob", "gemini"), "fg1.gemini.s.blob"),
        (Thinking((), "sig", "messages"), e.Closed(0), "sig"),
        (Thinking(), e.Closed(0), None),
    ],
)
def test_thinking_is_signed_at_its_end(part: Thinking, closing: e.Closed, signature: str | None) -> None:
    """Another provider's state travels in its envelope; without any state nothing is invented."""
    found, lost = body(e.Opened(0, part), e.Grew(0, "a"), e.Grew(0, "b", 1), closing)
    signed = [delta(0, type="signature_delta", signature=signature)] if signature else []
    assert found == [
        begun(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="a"),
        delta(0, type="thinking_delta", thinking="\n\nb"),
        *signed,
        closed(0),
    ]
    assert lost == []


def test_hidden_thinking_is_whole() -> None:
    """Whether its data comes with the start or with the end."""
    block = {"type": "redacted_thinking", "data": "fg1.gemini.r.blob"}
    early = body(e.Opened(0, Thinking((), "blob", "gemini", redacted=True)), e.Closed(0))[0]
    late = body(e.Opened(0, Thinking(redacted=True)), e.Closed(0, "blob", "gemini"))[0]
    assert early == late == [begun(0, **block), closed(0)]


@pytest.mark.parametrize(
    ("part", "found", "lost"),
    [
        (Media("image", url="u"), [], ["dropped:content"]),
        (ToolResult("c"), [], ["dropped:content"]),
        (Opaque("gemini", "x", b"{}", vital=False), [], ["dropped:content"]),
        (Opaque("messages", "x", b'{"type":"x"}'), [begun(0, type="x"), closed(0)], []),
        (Text("", extras=Extras("chat", {"odd": msgspec.Raw(b"1")})), [], ["dropped:content.odd"]),
        (
            ToolCall("a:b", "f", namespace="ns", signature="s", origin="gemini"),
            [
                begun(0, type="thinking", thinking="", signature=""),
                delta(0, type="signature_delta", signature="fg1.gemini.s.s"),
                closed(0),
                begun(1, type="tool_use", id="a_b_", name="ns__f", input={}),
                closed(1),
            ],
            [],
        ),
        (ToolCall("", "f"), [begun(0, type="tool_use", id="toolu_seed00", name="f", input={}), closed(0)], []),
    ],
    ids=str,
)
def test_parts(part: Part, found: list[Any], lost: list[str]) -> None:
    """Blocks that come whole, calls with legal ids and names, and what Messages has no block for."""
    told, codes = body(e.Opened(0, part), e.Grew(0, ""), e.Closed(0))
    for event in told:
        block = event.get("content_block", {})
        if block.get("id", "").startswith("a_b_"):
            block["id"] = "a_b_"
    assert told == found
    assert codes == lost


def test_refusals_sources_and_probabilities() -> None:
    """A refusal is text; sources with an address are cited; each loss is told once."""
    found, lost = body(
        e.Opened(0, Refusal("")),
        e.Cited(0, Citation("https://a.example", "A", quote="q")),
        e.Cited(0, Citation(title="no address")),
        e.Cited(7, Citation()),
        e.Grew(0, "No", logprobs=b"[]"),
        e.Grew(0, ".", logprobs=b"[]"),
        e.Closed(0),
        e.Closed(7),
    )
    assert found[1]["delta"]["citation"]["url"] == "https://a.example"
    assert "".join(event["delta"]["text"] for event in found[2:4]) == "No."
    assert lost == ["approximated:content", "dropped:content.citations", "dropped:logprobs"]


def test_a_free_text_is_an_argument_when_it_is_whole() -> None:
    """Pieces of it could not be written as JSON."""
    found, _ = body(
        e.Opened(0, ToolCall("c", "say", kind="custom")), e.Grew(0, 'a "'), e.Grew(0, "b"), e.Closed(0, "s")
    )
    assert found[1:] == [delta(0, type="input_json_delta", partial_json='{"input":"a \\"b"}'), closed(0)]


@pytest.mark.parametrize("arguments", ['{"a":', "[]", "x"])
def test_a_call_that_cannot_be_parsed_is_an_error(arguments: str) -> None:
    """Case 6: the stream fails before its end, and nothing follows; cut short it passes."""
    call = (e.Opened(0, ToolCall("c", "f")), e.Grew(0, arguments), e.Closed(0))
    found, lost = write(*BEGIN, *call, *END)
    assert found[-1]["type"] == "error"
    assert found[-1]["error"]["type"] == "api_error"
    assert lost == ["refused:content"]
    short, lost = write(*BEGIN, *call, e.Finished(Finish("length")), *END[1:])
    assert short[-2]["delta"]["stop_reason"] == "max_tokens"
    assert lost == []


def test_a_failure_is_the_last_word() -> None:
    """No `message_stop`, and nothing behind it (dialects: §2.2)."""
    found, _ = write(*BEGIN, e.Opened(0, Text("")), e.Failed(Failure("overloaded", "Full.")), e.Grew(0, "x"), *END)
    assert found[1:] == [{"type": "error", "error": {"type": "overloaded_error", "message": "Full."}}]


def test_one_answer_at_a_time() -> None:
    """Other choices are named once."""
    found, lost = write(
        *BEGIN,
        e.Opened(0, Text(""), 1),
        e.Grew(0, "b"),
        e.Opened(1, Text(""), 1),
        e.Opened(2, Text("")),
        e.Grew(2, "a"),
        e.Closed(0),
        e.Closed(1),
        e.Closed(2),
        e.Finished(Finish("stop")),
        e.Finished(Finish("length"), 1),
        e.Ended(),
    )
    assert [event["delta"].get("text") for event in found if event["type"] == "content_block_delta"] == ["a"]
    assert found[-2]["delta"]["stop_reason"] == "end_turn"
    assert lost == ["dropped:choices", "invented:usage"]


def test_what_only_anthropic_says_goes_to_its_place() -> None:
    """A container inside the delta, counters inside usage, the rest beside them; foreign members are reported."""
    own = Extras(
        "messages",
        {
            "container": msgspec.Raw(b'{"id":"c"}'),
            "context_management": msgspec.Raw(b"{}"),
            "usage.service_tier": msgspec.Raw(b'"standard"'),
            "stop_details.category": msgspec.Raw(b'"c"'),
        },
    )
    finish = e.Finished(Finish("refusal", detail="No."), 0, own)
    found, lost = write(e.Started("msg_own", extras=own), finish, e.Counted(Usage(1, 2)), e.Ended())
    assert found[0]["message"]["id"] == "msg_own"
    last = found[-2]
    assert last["delta"]["container"] == {"id": "c"}
    assert last["delta"]["stop_details"] == {"type": "refusal", "explanation": "No.", "category": "c"}
    assert last["usage"]["service_tier"] == "standard"
    assert last["usage"]["output_tokens"] == 2
    assert last["context_management"] == {}
    assert lost == []
    foreign = Extras("chat", {"system_fingerprint": msgspec.Raw(b'"f"')})
    assert write(e.Started(extras=foreign), *END)[1] == ["dropped:system_fingerprint"]


TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
OPAQUE = Opaque("messages", "x", b'{"type":"x"}', vital=False)
PARTS = st.one_of(
    TEXTS.filter(bool).map(Text),
    st.builds(lambda text, signature: Thinking((text,), signature, "messages"), TEXTS.filter(bool), st.just("sig")),
    st.just(Thinking((), "data", "gemini", redacted=True)),
    st.just(Thinking((), "sig", "responses")),
    st.just(OPAQUE),
    TEXTS.map(lambda text: ToolCall("c1", "look", json.dumps({"a": text}))),
    st.just(ToolCall("c2", "look")),
)


@cuts.short_law
@given(st.lists(PARTS, max_size=5), st.lists(st.integers(0, 4), max_size=40))
def test_fold(found: list[Part], order: list[int]) -> None:
    """What a client's own reader finds in the stream is what was to be said, however the blocks interleave."""
    finish = Finish("tool" if any(isinstance(part, ToolCall) for part in found) else "stop")
    answer = Answer("msg_1", "tern-1", 0, (Choice(tuple(found), finish),), Usage(10, 7, 3, 2))
    stream = list(unfold(answer))
    mixed = interleaved(stream, order)
    writer = MessagesStreamWriter(ASKED)
    written = b"".join(writer.write(event) for event in mixed)
    assert writer.losses.found == []
    reader = MessagesStreamReader()
    back = fold([*reader.feed(written), *reader.close()])
    assert unsealed(back) == unsealed(answer)


def interleaved(stream: list[e.Event], order: list[int]) -> list[e.Event]:
    """Return a stream whose blocks are all opened first, and then grow and close in another order."""
    opening = [event for event in stream if isinstance(event, e.Opened)]
    queues: dict[int, list[e.Event]] = {event.index: [] for event in opening}
    for event in stream:
        if isinstance(event, e.Grew | e.Cited | e.Closed):
            queues[event.index].append(event)
    mixed: list[e.Event] = [stream[0], *opening]
    wishes = [*order, *sorted(queues) * 4]
    mixed.extend(queues[wish].pop(0) for wish in wishes if queues.get(wish))
    return [*mixed, *[event for event in stream[1:] if isinstance(event, e.Finished | e.Counted | e.Ended)]]


def unsealed(answer: Answer) -> Any:
    """Return what an answer says; state of other providers as it travels, without its raw reason."""
    parts: list[Any] = []
    for part in answer.choices[0].parts:
        if isinstance(part, Thinking):
            parts.append((part.texts, part.signature.rpartition(".")[2], part.redacted))
        else:
            parts.append(part)
    return parts, answer.choices[0].finish.reason, answer.usage


def test_state_that_a_call_gets_at_its_end_is_lost() -> None:
    """The block that would carry it has to stand before the call, which is written already."""
    found, lost = body(e.Opened(0, ToolCall("c", "f")), e.Closed(0, "s", "gemini"))
    assert found == [begun(0, type="tool_use", id="c", name="f", input={}), closed(0)]
    assert lost == ["dropped:reasoning"]
