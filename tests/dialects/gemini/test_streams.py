"""Gemini's streams: read_stream, candidate, partial, write_stream. Goldens name the recordings they are modelled on."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.dialects.gemini import ARRAY_CODEC, CODEC
from flumegate.dialects.gemini.candidate import MAX_CITED_CHARACTERS
from flumegate.dialects.gemini.partial import Arguments, PartialArg
from flumegate.dialects.gemini.read_answer import read_answer
from flumegate.dialects.gemini.read_stream import GeminiStreamReader
from flumegate.dialects.gemini.write_stream import GeminiArrayWriter, GeminiStreamWriter
from flumegate.dialects.node import ReadError
from flumegate.dialects.openai.chat import CODEC as CHAT
from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Choice, Finish
from flumegate.ir.failure import Failure
from flumegate.ir.fold import fold, unfold
from flumegate.ir.parts import Citation, Extras, Media, Opaque, Refusal, Text, Thinking, ToolCall
from flumegate.ir.usage import Usage
from rig import cuts
from rig.gemini_cases import asked, folded, grammatical, merged, plain, read_whole

PNG = "iVBORw0KGgo="


def chunk(*parts: Any, **members: Any) -> dict[str, Any]:
    content = {"parts": list(parts), "role": "model"}
    return {
        "candidates": [{"content": content} | members],
        "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9},
        "modelVersion": "river-1",
        "responseId": "r1",
    }


END = chunk({"text": ""}, finishReason="STOP", index=0)
USED = {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13}}


def call(**members: Any) -> dict[str, Any]:
    return {"functionCall": members}


def partial(path: str, **members: Any) -> dict[str, Any]:
    return {"functionCall": {"partialArgs": [{"jsonPath": path} | members], "willContinue": True}}


GOLDENS: dict[str, list[dict[str, Any]]] = {
    "text": [chunk({"text": "Wat"}), chunk({"text": "er \u2028"}, {"text": ""}), END | USED],  # google-stream
    "thinking": [  # google-stream-no-args-tool-call-stream
        chunk({"text": "Hm ", "thought": True}),
        chunk({"text": "so", "thought": True}),
        chunk({"text": "Aha", "thought": True, "thoughtSignature": "c2ln"}, {"text": "Deep"}),
        END,
    ],
    "whole calls": [  # google-tool-call-gemini3-stream
        chunk(call(name="f", args={"a": 1}) | {"thoughtSignature": "c2ln"}, call(name="g"), call(name="f", id="x")),
        END,
    ],
    "calls in pieces": [  # google-stream-no-args-tool-call-stream
        chunk(call(name="f", willContinue=True)),
        chunk(partial("$.a", stringValue="A", willContinue=True)),
        chunk(partial("$.a", stringValue="B")),
        chunk(call()),
        chunk(call(name="g", willContinue=True)),
        chunk(call()),
        END,
    ],
    "signed text": [chunk({"text": "a"}), chunk({"text": "b", "thoughtSignature": "c2ln"}), chunk({"text": "c"}), END],
    "late signature": [  # google-code-execution-stream
        chunk({"text": "a"}),
        chunk({"text": "", "thoughtSignature": "c2ln"}, finishReason="STOP", safetyRatings=[1]),
    ],
    "code": [  # google-code-execution-stream
        chunk({"executableCode": {"code": "1"}, "thoughtSignature": "c2ln"}),
        chunk({"codeExecutionResult": {"output": "1"}}),
        chunk({"inlineData": {"mimeType": "image/png", "data": PNG}}),
        chunk({"text": "One."}),
        END,
    ],
    "sources": [  # google-web-fetch-tool-stream
        chunk({"text": "w\u00f6"}, groundingMetadata={}),
        chunk(
            {"text": "rd"},
            finishReason="STOP",
            groundingMetadata={
                "groundingChunks": [{"web": {"uri": "https://river.example", "title": "R"}}],
                "groundingSupports": [{"segment": {"endIndex": 3}, "groundingChunkIndices": [0]}],
            },
        ),
    ],
    "log probabilities": [  # google-vertex-vertex-logprobs-structure
        chunk(
            {"text": "a"},
            finishReason="STOP",
            logprobsResult={"chosenCandidates": [{"token": "a", "logProbability": -1.5}]},
        ),
    ],
    "thought extras": [chunk({"text": "a", "thought": True, "partMetadata": {"b": 1}}), END],
    "empty thought": [chunk({"text": "", "thought": True, "thoughtSignature": "c2ln"}), END],
    "length": [chunk({"text": "a"}), chunk(finishReason="MAX_TOKENS", finishMessage="full")],
}


def wire(chunks: list[Any], end: str = "\r\n\r\n") -> bytes:
    return b"".join(f"data: {json.dumps(one)}{end}".encode() for one in chunks)


def ended(*events: Any) -> list[Any]:
    return [type(event) for event in events]


@pytest.mark.parametrize("name", GOLDENS)
@given(positions=cuts.POSITIONS)
@cuts.short_law
def test_any_pieces_say_the_same(name: str, positions: list[int]) -> None:
    """However the bytes are split: the same events, in a legal order."""
    stream = wire(GOLDENS[name])
    expected = read_whole([stream])
    grammatical(expected)
    assert isinstance(expected[-1], e.Ended)
    assert read_whole(cuts.at(stream, positions)) == expected


@pytest.mark.parametrize("name", GOLDENS)
def test_a_stream_folds_into_the_whole_answer(name: str) -> None:
    """It amounts to what the same parts in one piece would be; line ends and a missing last one do not matter."""
    chunks = GOLDENS[name]
    whole = plain(read_answer(json.dumps(merged(chunks)).encode()))
    assert plain(folded([wire(chunks)])) == whole
    assert plain(folded([wire(chunks, "\n\n")])) == whole
    assert plain(folded([b"\xef\xbb\xbf: hello\n\n" + wire(chunks, "\n\n").rstrip() + b""])) == whole
    assert plain(folded([wire(chunks), b"data: [DONE]\n\n"])) == whole


@pytest.mark.parametrize("name", GOLDENS)
def test_what_is_read_is_written_again(name: str) -> None:
    """Our writers' bytes fold into the same answer, as events and as an array."""
    events = read_whole([wire(GOLDENS[name])])
    whole = plain(fold(events))
    writer = GeminiStreamWriter(asked())
    pieces = [writer.write(event) for event in events]
    assert all(piece.count(b"\r\n\r\n") == 1 and piece.startswith(b"data: {") for piece in pieces if piece)
    assert writer.losses.found == []
    assert plain(folded(pieces)) == whole
    array = GeminiArrayWriter(asked())
    items = json.loads(b"".join(map(array.write, events)))
    assert plain(folded([wire(items)])) == whole


def test_calls_get_ids_and_the_count_is_told() -> None:
    """Ids as in the whole answer; usage is told first and last."""
    events = read_whole([wire(GOLDENS["text"])])
    assert [event.usage for event in events if isinstance(event, e.Counted)] == [Usage(9, 0), Usage(9, 4)]
    answer = folded([wire(GOLDENS["whole calls"])])
    assert [part.id for part in answer.choices[0].parts if isinstance(part, ToolCall)] == [
        "call_r1_0",
        "call_r1_1",
        "x",
    ]
    assert answer.choices[0].finish.reason == "tool"


BLOCKED = {"promptFeedback": {"blockReason": "OTHER", "blockReasonMessage": "No."}, "usageMetadata": {"x": 1}}
FAILURES: list[tuple[list[Any], Failure]] = [
    ([], Failure("cut", "The stream ended without a finish reason.")),
    ([chunk({"text": "a"})], Failure("cut", "The stream ended without a finish reason.")),
    ([chunk({"text": "a"}, index=1, finishReason="STOP")], Failure("cut", "The stream ended without a finish reason.")),
    ([chunk(call(name="f", willContinue=True))], Failure("cut", "The stream ended without a finish reason.")),
    (
        [chunk({"text": "a"}), {"error": {"code": 503, "message": "full", "status": "UNAVAILABLE"}}, END],
        Failure("overloaded", "full", "UNAVAILABLE"),
    ),
    ([{"error": {"message": "odd"}}], Failure("internal", "odd")),
    (
        [chunk(finishReason="MALFORMED_FUNCTION_CALL", finishMessage="bad call")],
        Failure("internal", "bad call", "MALFORMED_FUNCTION_CALL"),
    ),
]


@pytest.mark.parametrize(("chunks", "failure"), FAILURES)
def test_a_stream_that_breaks_off_fails(chunks: list[Any], failure: Failure) -> None:
    """Without a finish reason at EOF, at an error, at a broken call; and nothing comes behind it."""
    events = read_whole([wire(chunks)])
    grammatical(events)
    assert events[-1] == e.Failed(failure)


@pytest.mark.parametrize(
    "data",
    [
        b"data: {oops\n\n",
        b"data: 3\n\n",
        b'data: {"candidates":[{"index":-1}]}\n\n',
        b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]},"index":9999}]}\n\n',
        b'data: {"candidates":[{"content":{"parts":[{"text":[]}]}}]}\n\n',
        b'data: {"usageMetadata":{"promptTokenCount":"x"}}\n\n',
        wire([chunk({"functionCall": {"name": "f", "partialArgs": [{"jsonPath": "x"}]}})]),
        b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","partialArgs":[3]}}]}}]}\n\n',
    ],
)
def test_garbage_ends_the_stream(data: bytes) -> None:
    """What cannot be read fails once, and the reader is silent afterwards."""
    reader = GeminiStreamReader()
    events = reader.feed(data)
    grammatical(events)
    assert isinstance(events[-1], e.Failed)
    assert events[-1].failure.reason == "garbage"
    assert reader.feed(wire([END])) == []
    assert reader.close() == []


def test_an_event_without_an_end_is_bounded() -> None:
    """A line that never ends is garbage, not a memory leak."""
    reader = GeminiStreamReader()
    reader._events._max_bytes = 10
    assert reader.feed(b"data: " + b"x" * 20)[-1] == e.Failed(
        Failure("garbage", "An event of the stream is too large.")
    )


def test_a_blocked_prompt_is_an_answer() -> None:
    """A filter's, with nothing in it; also where a candidate had begun."""
    events = read_whole([wire([BLOCKED])])
    grammatical(events)
    assert fold(events).choices == (Choice(finish=Finish("filter", "promptFeedback.OTHER", detail="No.")),)
    writer = GeminiStreamWriter(asked())
    written = b"".join(map(writer.write, events))
    assert json.loads(written[6:])["promptFeedback"] == BLOCKED["promptFeedback"]
    begun = read_whole([wire([chunk({"text": "a"}), BLOCKED])])
    grammatical(begun)
    assert fold(begun).choices[0].finish.raw == "promptFeedback.OTHER"


def test_candidates_stream_side_by_side() -> None:
    """Each has its own blocks and its own end; without an index, they stand in their order."""
    both = chunk({"text": "a"})
    both["candidates"].append({"content": {"parts": [{"text": "b"}]}, "x": 1})
    ends = chunk(finishReason="STOP")
    ends["candidates"].append({"finishReason": "MAX_TOKENS", "index": 1})
    events = read_whole([wire([both, both, ends])])
    grammatical(events)
    answer = fold(events)
    assert [choice.parts for choice in answer.choices] == [(Text("aa"),), (Text("bb"),)]
    assert [choice.finish.reason for choice in answer.choices] == ["stop", "length"]
    writer = GeminiStreamWriter(asked())
    assert plain(folded(map(writer.write, events))) == plain(answer)


def test_nonsense_keeps_the_grammar() -> None:
    """Ends of calls that never began, text behind the finish, a call within a call, a signature at the end of one."""
    events = read_whole(
        [
            wire(
                [
                    chunk(call(), call(willContinue=True)),
                    chunk({"text": "", "thought": True, "thoughtSignature": ""}),
                    chunk(call(name="f", willContinue=True)),
                    chunk(call(name="g", willContinue=True, args={"a": 1})),
                    chunk(call(willContinue=False) | {"thoughtSignature": "c2ln"}),
                    END,
                    chunk({"text": "late"}),
                    chunk({"functionResponse": {"name": "f", "response": {}}}, {"text": None, "fileData": {}}),
                    {"candidates": [{"content": None}]},
                ]
            )
        ]
    )
    grammatical(events)
    parts = fold(events).choices[0].parts
    assert parts[1] == ToolCall("call_r1_1", "g", '{"a": 1}', signature="c2ln", origin="gemini")
    assert parts[2] == Text("late")


@given(
    st.lists(
        st.sampled_from([one for chunks in GOLDENS.values() for one in chunks] + [BLOCKED, {}, {"candidates": []}])
    )
)
@cuts.short_law
def test_any_order_of_events_is_made_legal(chunks: list[Any]) -> None:
    """Whatever the upstream sends, a legal stream comes out."""
    grammatical(read_whole([wire(chunks)]))


def test_arguments_come_value_by_value() -> None:
    """Objects and lists are made on the way; strings go on; the path may be quoted."""
    arguments = Arguments()
    for arg in (
        PartialArg("$.a.b[0].c", stringValue="x"),
        PartialArg("$.a.b[0].c", stringValue="y"),
        PartialArg("$.a.b[1]", numberValue=2),
        PartialArg("$.a.b[1]", numberValue=3.5),
        PartialArg("$['q\\'s']", boolValue=False),
        PartialArg('$["z"]'),
    ):
        arguments.put(arg)
    assert json.loads(arguments.text()) == {"a": {"b": [{"c": "xy"}, 3.5]}, "q's": False, "z": None}
    for path in ("", "$", "a", "$.a.b[7]", "$.a[0]", "$.a.b.c", "$.a.b[0].c.d", "$..a", "$" + ".a" * 65):
        with pytest.raises(ReadError):
            arguments.put(PartialArg(path, stringValue="x"))


FOREIGN = Answer(
    "id1",
    "theirs",
    7,
    (
        Choice(
            (
                Thinking(("one", "two"), "sig", "messages"),
                Thinking((), "data", "messages", True),
                Text("w\u00f6rd", (Citation("https://river.example", "R", 0, 2),)),
                ToolCall("c1", "f", '{"a":1}', signature="s", origin="gemini"),
                Media("image", "image/png", data=PNG),
            ),
            Finish("tool", "tool_calls"),
        ),
    ),
    Usage(5, 7, 1, None, 3),
)


SOURCES = {
    "groundingChunks": [{"web": {"uri": "https://river.example", "title": "R"}}],
    "groundingSupports": [{"segment": {"startIndex": 1, "endIndex": 3}, "groundingChunkIndices": [0]}],
}


def test_sources_of_a_text_too_long_to_be_kept_have_no_place_in_it() -> None:
    """Memory is bounded: they are told all the same, and those of the next text have theirs again."""
    long = [chunk({"text": "w" * 1000}) for _ in range(MAX_CITED_CHARACTERS // 1000 + 1)]
    between, short = chunk({"text": "t", "thought": True}), chunk({"text": "word"})
    told = [chunk(groundingMetadata=SOURCES), between, short, chunk(finishReason="STOP", groundingMetadata=SOURCES)]
    answer = folded([wire([*long, *told])])
    texts = [part for part in answer.choices[0].parts if isinstance(part, Text)]
    assert [text.citations for text in texts] == [
        (Citation("https://river.example", "R"),),
        (Citation("https://river.example", "R", 1, 3),),
    ]


def test_what_is_lost_of_long_texts_sources_is_told() -> None:
    """A client of another dialect learns that there was more to be said of the sources."""
    long = [chunk({"text": "w" * 1000}) for _ in range(MAX_CITED_CHARACTERS // 1000 + 1)]
    reader, writer = GeminiStreamReader(), CHAT.stream_writer(asked("mine"))  # type: ignore[misc] # it has one
    for event in (*reader.feed(wire([*long, chunk(finishReason="STOP", groundingMetadata=SOURCES)])), *reader.close()):
        writer.write(event)
    assert any(loss.path.endswith("groundingMetadata") for loss in writer.losses.found)


@pytest.mark.parametrize("writer_of", [GeminiStreamWriter, GeminiArrayWriter])
def test_a_foreign_answer_survives(writer_of: type[GeminiStreamWriter]) -> None:
    """All that Gemini can say of it is said; several texts of a thought become one."""
    writer = writer_of(asked("mine"))
    written = b"".join(map(writer.write, unfold(FOREIGN)))
    assert writer.losses.found == []
    items = json.loads(written) if writer_of is GeminiArrayWriter else None
    answer = folded([wire(items) if items is not None else written])
    thinking, redacted, text, tool_call, media = answer.choices[0].parts
    assert thinking == Thinking(("one\n\ntwo",), "sig", "messages")
    assert redacted == Thinking((), "data", "messages", True)
    assert isinstance(text, Text)
    assert (text.text, text.citations) == ("w\u00f6rd", FOREIGN.choices[0].parts[2].citations)  # type: ignore[union-attr] # it is the text
    assert plain(tool_call) == plain(FOREIGN.choices[0].parts[3])
    assert media == FOREIGN.choices[0].parts[4]
    assert (answer.model, answer.id, answer.created, answer.usage) == ("mine", "id1", 7, FOREIGN.usage)


def events_of(*middle: Any, finish: Finish | None = None) -> list[Any]:
    return [e.Started(), *middle, e.Finished(finish or Finish("stop")), e.Ended()]


def test_what_cannot_be_streamed_is_reported() -> None:
    """Refusals become text; foreign blocks and leftovers are losses; parts with text in them are said at once."""
    extras = Extras("chat", {"x": msgspec.Raw(b"1")})
    writer = GeminiStreamWriter(asked())
    events: list[e.Event] = [
        e.Started(extras=extras),
        e.Opened(0, Refusal("N")),
        e.Grew(0, "o."),
        e.Closed(0),
        e.Opened(1, Opaque("messages", "x", b"{}")),
        e.Closed(1),
        e.Opened(2, Text("a", extras=extras)),
        e.Grew(2, ""),
        e.Closed(2),
        e.Opened(3, Thinking(("b",))),
        e.Grew(3, "c"),
        e.Closed(3, "sig", "gemini"),
        e.Opened(4, ToolCall("c", "f", "{}")),
        e.Closed(4, "sig", "gemini"),
        e.Opened(5, Text("")),
        e.Grew(5, ""),
        e.Cited(5, Citation("u")),
        e.Closed(5),
        e.Finished(Finish("stop"), extras=extras),
        e.Ended(),
    ]
    written = b"".join(map(writer.write, events))
    assert [loss.code for loss in writer.losses.found] == [
        "dropped:x",
        "approximated:content",
        "dropped:content",
        "dropped:content.x",
    ]
    parts = folded([written]).choices[0].parts
    assert parts[:2] == (Text("No.a"), Thinking(("bc",), "sig", "gemini"))
    assert isinstance(parts[2], ToolCall)
    assert parts[2].signature == "sig"


def test_a_broken_call_is_no_complete_answer() -> None:
    """Cut by the limit it is left out; otherwise the stream ends in an error."""
    broken = (e.Opened(0, ToolCall("c", "f")), e.Grew(0, '{"a'), e.Closed(0))
    cut = GeminiStreamWriter(asked())
    answer = folded([b"".join(map(cut.write, events_of(*broken, finish=Finish("length"))))])
    assert answer.choices[0].finish.reason == "length"
    failed = GeminiStreamWriter(asked())
    events = read_whole([b"".join(map(failed.write, events_of(*broken)))])
    assert events[-1] == e.Failed(Failure("internal", "The model's call of 'f' has no JSON arguments.", "INTERNAL"))


@pytest.mark.parametrize(
    ("failure", "status", "word"),
    [
        (Failure("overloaded", "full"), 503, "UNAVAILABLE"),
        (Failure("rate_limited", "slow"), 429, "RESOURCE_EXHAUSTED"),
        (Failure("authentication", "key"), 500, "INTERNAL"),
        (Failure("cut"), 500, "INTERNAL"),
    ],
)
def test_a_failure_is_the_last_event(failure: Failure, status: int, word: str) -> None:
    """In Google's shape; in an array, the array is closed."""
    body = {"code": status, "message": failure.message or "The answer broke off (cut).", "status": word}
    events: list[e.Event] = [e.Started(), e.Failed(failure)]
    assert json.loads(b"".join(map(GeminiStreamWriter(asked()).write, events))[6:]) == {"error": body}
    assert json.loads(b"".join(map(GeminiArrayWriter(asked()).write, events))) == [{"error": body}]


def test_the_codecs_say_what_they_are() -> None:
    """One codec for events, one for arrays."""
    assert (CODEC.name, CODEC.family, CODEC.stream_writer) == ("gemini", "gemini", GeminiStreamWriter)
    assert (ARRAY_CODEC.media_type, ARRAY_CODEC.stream_writer) == ("application/json", GeminiArrayWriter)
    assert CODEC.names["max_output_tokens"] == "generationConfig.maxOutputTokens"


def test_a_last_event_that_is_cut_is_garbage() -> None:
    """Half an event at the end of the stream is a failure, told once."""
    events = read_whole([wire(GOLDENS["text"][:1]) + b'data: {"candi'])
    grammatical(events)
    assert isinstance(events[-1], e.Failed)
    assert events[-1].failure.reason == "garbage"
