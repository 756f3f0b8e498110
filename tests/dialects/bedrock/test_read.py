"""Answers and streams of Bedrock: read_answer, read_stream, read_parts, usage, errors."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.dialects.bedrock import CODEC
from flumegate.dialects.bedrock.errors import read_error, read_exception
from flumegate.dialects.bedrock.read_answer import read_answer
from flumegate.dialects.bedrock.read_parts import joined_bytes, united
from flumegate.dialects.bedrock.read_stream import BedrockStreamReader
from flumegate.dialects.bedrock.usage import broken, read_finish, read_usage
from flumegate.dialects.node import Node, ReadError
from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Finish
from flumegate.ir.failure import Failure
from flumegate.ir.fold import fold
from flumegate.ir.grammar import Grammar
from flumegate.ir.parts import Citation, Extras, Media, Opaque, Part, Text, Thinking, ToolCall
from flumegate.ir.usage import Usage
from flumegate.wire import eventstream
from rig import cuts

USAGE = {
    "inputTokens": 10,
    "outputTokens": 4,
    "totalTokens": 44,
    "cacheReadInputTokens": 20,
    "cacheWriteInputTokens": 10,
    "cacheReadInputTokenCount": 20,
    "serverToolUsage": {},
    "cacheDetails": [{"ttl": "1h", "inputTokens": 10}],
}


def answer(*blocks: Any, stop: str = "end_turn", **members: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": list(blocks)}
    return {"output": {"message": message}, "stopReason": stop, "metrics": {"latencyMs": 7}} | members


def read(document: dict[str, Any]) -> Answer:
    return read_answer(json.dumps(document).encode())


def part(block: dict[str, Any]) -> Part:
    return read(answer(block)).choices[0].parts[0]


def event(name: str, payload: Any) -> bytes:
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return eventstream.write(headers, json.dumps(payload).encode())


def start(index: int, block: Any) -> bytes:
    return event("contentBlockStart", {"contentBlockIndex": index, "start": block, "p": "abc"})


def delta(index: int, piece: Any) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": piece, "p": "abcd"})


def stop(index: int) -> bytes:
    return event("contentBlockStop", {"contentBlockIndex": index, "p": "ab"})


BEGIN = event("messageStart", {"role": "assistant", "p": "abc"})
END = event("messageStop", {"stopReason": "end_turn", "p": "a"})
METADATA = event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 7}, "p": "abcdef"})


def events(stream: bytes) -> list[e.Event]:
    """Read a stream, and hold the reader to the laws of grammar and chunking."""
    whole = BedrockStreamReader()
    told = whole.feed(stream) + whole.close()
    grammar = Grammar()
    for one in told:
        grammar.check(one)
    assert grammar.ended
    bytewise = BedrockStreamReader()
    pieces = [one for piece in cuts.bytewise(stream) for one in bytewise.feed(piece)]
    assert comparable(pieces + bytewise.close()) == comparable(told)
    assert whole.close() == []
    return told


def comparable(value: Any) -> Any:
    """Return events or answers with raw JSON parsed, as raw values compare by identity."""
    return msgspec.to_builtins(value, enc_hook=lambda raw: json.loads(bytes(raw)), builtin_types=(bytes,))


def failure_of(stream: bytes) -> Failure:
    last = events(stream)[-1]
    assert isinstance(last, e.Failed)
    return last.failure


CALL = {"toolUse": {"toolUseId": "tool_1", "name": "find_river", "input": {"name": "Oder"}}}
SEARCH = {"toolUse": {"toolUseId": "srv_1", "name": "grounding", "type": "server_tool_use", "input": {"q": "Oder"}}}
FOUND = {"toolResult": {"toolUseId": "srv_1", "type": "grounding", "status": "success", "content": [{"text": "x"}]}}
SOURCE = {
    "title": "Rivers",
    "source": "rivers.example",
    "sourceContent": [{"text": "It is "}, {"text": "long."}],
    "location": {"web": {"url": "https://rivers.example/oder", "domain": "rivers.example"}},
}
IMAGE = {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}}
PAIRS = {
    "text": (answer({"text": "A river."}), [delta(0, {"text": "A "}), delta(0, {"text": "river."}), stop(0)]),
    "empty text": (answer({"text": ""}), [delta(0, {"text": ""}), stop(0)]),
    "call": (
        answer({"text": "I look."}, CALL, stop="tool_use"),
        [
            delta(0, {"text": "I look."}),
            stop(0),
            start(1, {"toolUse": {"toolUseId": "tool_1", "name": "find_river"}}),
            delta(1, {"toolUse": {"input": ""}}),
            delta(1, {"toolUse": {"input": '{"name": "O'}}),
            delta(1, {"toolUse": {"input": 'der"}'}}),
            stop(1),
        ],
    ),
    "thinking": (
        answer({"reasoningContent": {"reasoningText": {"text": "Well.", "signature": "c2ln"}}}, {"text": "Yes."}),
        [
            delta(0, {"reasoningContent": {"text": "We"}}),
            delta(0, {"reasoningContent": {"text": "ll."}}),
            delta(0, {"reasoningContent": {"signature": "c2ln"}}),
            stop(0),
            delta(1, {"text": "Yes."}),
            stop(1),
        ],
    ),
    "thinking unsigned": (
        answer({"reasoningContent": {"reasoningText": {"text": "Well."}}}),
        [delta(0, {"reasoningContent": {"text": "Well."}}), stop(0)],
    ),
    "thinking hidden": (
        answer({"reasoningContent": {"redactedContent": "aGlkZGVu"}}),
        [
            delta(0, {"reasoningContent": {"redactedContent": "aGlk"}}),
            delta(0, {"reasoningContent": {"redactedContent": "ZGVu"}}),
            stop(0),
        ],
    ),
    "cited": (
        answer({"citationsContent": {"content": [{"text": "It is long."}], "citations": [SOURCE]}}),
        [delta(0, {"text": "It is long."}), delta(0, {"citation": SOURCE}), stop(0)],
    ),
    "tools of the provider": (
        answer(SEARCH, FOUND),
        [
            start(0, {"toolUse": {"toolUseId": "srv_1", "name": "grounding", "type": "server_tool_use"}}),
            delta(0, {"toolUse": {"input": '{"q": '}}),
            delta(0, {"toolUse": {"input": '"Oder"}'}}),
            stop(0),
            start(1, {"toolResult": {"toolUseId": "srv_1", "type": "grounding", "status": "success"}}),
            delta(1, {"toolResult": [{"text": "x"}]}),
            stop(1),
        ],
    ),
    "image": (
        answer(IMAGE),
        [
            start(0, {"image": {"format": "png"}}),
            delta(0, {"image": {"source": {"bytes": "iVBORw0K"}}}),
            delta(0, {"image": {"source": {"bytes": "Ggo="}}}),
            delta(0, {"image": {}}),
            stop(0),
        ],
    ),
    "image that failed": (answer({"image": {"format": "png", "source": {}}}), [start(0, {"image": {"format": "png"}})]),
    "nothing": (answer(), []),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_stream_folds_into_the_answer_that_it_is(name: str) -> None:
    """One meaning, whether it comes whole or in pieces."""
    document, pieces = PAIRS[name]
    reason = document["stopReason"]
    end = event("messageStop", {"stopReason": reason, "p": "a"})
    folded = fold(events(b"".join((BEGIN, *pieces, end, METADATA))))
    assert settled(folded) == settled(read(document | {"usage": USAGE}))


def settled(whole: Answer) -> Any:
    """Return an answer as plain values; JSON within it is compared as JSON."""
    plain = comparable(whole)
    for choice in plain["choices"]:
        for one in choice["parts"]:
            for member in ("arguments", "raw"):
                if one.get(member):
                    one[member] = json.loads(one[member])
    return plain


@cuts.short_law
@given(cuts.POSITIONS)
def test_no_cut_changes_what_a_stream_says(positions: list[int]) -> None:
    """Frames may arrive in any pieces."""
    stream = b"".join((BEGIN, *PAIRS["thinking"][1], END, METADATA))
    reader = BedrockStreamReader()
    told = [one for piece in cuts.at(stream, positions) for one in reader.feed(piece)] + reader.close()
    assert comparable(told) == comparable(events(stream))


POOL = [BEGIN, END, METADATA, event("unheardOf", {}), event("metadata", {}), stop(0), stop(1)]
POOL += [piece for _, pieces in PAIRS.values() for piece in pieces]


@cuts.short_law
@given(st.lists(st.sampled_from(POOL), max_size=12))
def test_whatever_comes_in_whatever_order_obeys_the_grammar(pieces: list[bytes]) -> None:
    """And ends in exactly one end or failure, however it is cut."""
    events(b"".join(pieces))


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"text": "A river."}, Text("A river.")),
        (CALL, ToolCall("tool_1", "find_river", '{"name": "Oder"}')),
        ({"toolUse": {"toolUseId": "a", "name": "b", "type": "tool_use", "input": {}}}, ToolCall("a", "b", "{}")),
        ({"toolUse": {"toolUseId": "a", "name": "b"}}, ToolCall("a", "b")),
        (
            {"reasoningContent": {"reasoningText": {"text": "Well.", "signature": "c2ln"}}},
            Thinking(("Well.",), "c2ln", "bedrock"),
        ),
        ({"reasoningContent": {"reasoningText": {"text": "", "signature": "c2ln"}}}, Thinking((), "c2ln", "bedrock")),
        ({"reasoningContent": {"reasoningText": {"text": "Well."}}}, Thinking(("Well.",))),
        ({"reasoningContent": {}}, Thinking()),
        ({"reasoningContent": {"redactedContent": "aGlk"}}, Thinking((), "aGlk", "bedrock", redacted=True)),
        (IMAGE, Media("image", "image/png", data="iVBORw0KGgo=")),
        (
            {"image": {"format": "heic", "source": {"s3Location": {"uri": "s3://bucket/a"}}}},
            Media("image", "image/heic", url="s3://bucket/a"),
        ),
        ({"image": {"source": {"bytes": "AA=="}}}, Media("image", "", data="AA==")),
        ({"audio": {"format": "mp3", "source": {"bytes": "AA=="}}}, Media("audio", "audio/mpeg", data="AA==")),
    ],
)
def test_blocks_get_their_place_in_the_neutral_form(block: dict[str, Any], expected: Part) -> None:
    assert part(block) == expected


@pytest.mark.parametrize(
    ("block", "kind", "vital"),
    [
        ({"video": {"format": "mp4"}}, "video", True),
        ({"text": None, "document": {"name": "a"}}, "document", True),
        ({"image": {"format": "png"}}, "image", True),
        ({"audio": {"format": "mp3", "error": {"message": "no"}}}, "audio", True),
        (SEARCH, "toolUse", False),
        (FOUND, "toolResult", False),
        ({}, "", True),
    ],
)
def test_what_has_no_place_is_kept_whole(block: dict[str, Any], kind: str, vital: bool) -> None:
    """And a call that runs at the provider never reaches the client as its own."""
    found = part(block)
    assert isinstance(found, Opaque)
    assert (found.dialect, found.kind, found.vital) == ("bedrock", kind, vital)
    assert json.loads(found.raw) == block


def test_citations_keep_what_only_bedrock_knows() -> None:
    """Places in documents have no common form."""
    chunk = {"title": "Rivers", "location": {"documentChar": {"documentIndex": 0, "start": 1, "end": 2}}}
    cited = {"citationsContent": {"content": [{"text": "a"}, {"text": "b"}], "citations": [SOURCE, chunk, {}], "x": 1}}
    found = part(cited)
    assert isinstance(found, Text)
    assert found.text == "ab"
    first, second, third = found.citations
    assert (first.url, first.title, first.quote) == ("https://rivers.example/oder", "Rivers", "It is long.")
    assert comparable(first.extras)["fields"] == {"source": "rivers.example"}
    assert comparable(second.extras)["fields"] == {"documentChar": chunk["location"]["documentChar"]}  # type: ignore[index]
    assert third == Citation()
    assert comparable(found.extras)["fields"] == {"x": 1}


def test_nothing_is_dropped_but_sums() -> None:
    """Every member of every level is read, or stays behind as an extra."""
    document = answer(
        {"text": "a", "t": 1},
        {"toolUse": {"toolUseId": "i", "name": "n", "u": 2}, "v": 3},
        {"reasoningContent": {"reasoningText": {"text": "a", "w": 4}, "x": 5}, "y": 6},
        {"reasoningContent": {"redactedContent": "aGlk", "z": 7}},
        {"image": {"format": "png", "source": {"bytes": "AA=="}, "i": 8}, "j": 9},
        usage=USAGE | {"kind": "k"},
        trace={"guardrail": {}},
        performanceConfig={"latency": "optimized"},
        serviceTier={"type": "flex"},
        additionalModelResponseFields={"stop_sequence": "x"},
    )
    document["output"]["o"] = 10
    document["output"]["message"]["m"] = 11
    read_back = read(document)
    choice = read_back.choices[0]
    extras = [comparable(one.extras)["fields"] for one in choice.parts]  # type: ignore[union-attr] # none is opaque
    assert extras == [{"t": 1}, {"u": 2, "v": 3}, {"w": 4, "x": 5, "y": 6}, {"z": 7}, {"i": 8, "j": 9}]
    assert comparable(choice.extras)["fields"] == {
        "metrics": {"latencyMs": 7},
        "trace": {"guardrail": {}},
        "performanceConfig": {"latency": "optimized"},
        "serviceTier": {"type": "flex"},
        "additionalModelResponseFields": {"stop_sequence": "x"},
        "usage.cacheDetails": USAGE["cacheDetails"],
        "usage.kind": "k",
        "o": 10,
        "m": 11,
    }
    assert choice.extras is not None
    assert choice.extras.trivial == ("metrics", "performanceConfig", "serviceTier", "usage.cacheDetails")


def test_the_cache_is_counted_inside() -> None:
    """Bedrock counts it beside the input (dialects: §15.2)."""
    assert read_usage(Node(json.dumps(USAGE).encode(), "bedrock")) == Usage(40, 4, 20, 10, None, 10)
    assert read_usage(Node(b'{"outputTokens":1}', "bedrock")) == Usage(None, 1)


@pytest.mark.parametrize(
    ("details", "lasting"),
    [
        ([{"ttl": "5m", "inputTokens": 4}, {"ttl": "1h", "inputTokens": 6}], 6),
        ([{"ttl": "5m", "inputTokens": 10}], 0),
        ([{"inputTokens": 10}], 0),
        (None, None),
        ([{"ttl": "1h", "inputTokens": "6"}], None),
        ("1h", None),
    ],
)
def test_how_long_the_cache_is_kept_is_told_or_not(details: Any, lasting: int | None) -> None:
    """What is odd about it hides no other count."""
    node = Node(json.dumps(USAGE | {"cacheDetails": details}).encode(), "bedrock")
    assert read_usage(node) == Usage(40, 4, 20, 10, None, lasting)
    assert read(answer()).usage is None


@pytest.mark.parametrize(
    ("raw", "called", "finish"),
    [
        ("end_turn", False, Finish("stop", "end_turn")),
        ("end_turn", True, Finish("tool", "end_turn")),
        ("tool_use", True, Finish("tool", "tool_use")),
        ("max_tokens", True, Finish("length", "max_tokens")),
        ("stop_sequence", False, Finish("stop_sequence", "stop_sequence")),
        ("guardrail_intervened", True, Finish("filter", "guardrail_intervened")),
        ("content_filtered", False, Finish("filter", "content_filtered")),
        ("model_context_window_exceeded", False, Finish("context_full", "model_context_window_exceeded")),
        ("refusal", False, Finish("refusal", "refusal")),
        ("pause_turn", False, Finish("pause", "pause_turn")),
        ("unheard_of", False, Finish("filter", "unheard_of")),
    ],
)
def test_reasons_have_one_word_for_all_dialects(raw: str, called: bool, finish: Finish) -> None:
    assert read_finish(raw, called=called) == finish


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_a_broken_output_is_no_answer(reason: str) -> None:
    assert broken("end_turn") is None
    with pytest.raises(ReadError) as raised:
        read(answer(stop=reason))
    assert raised.value.path == "stopReason"
    assert failure_of(BEGIN + event("messageStop", {"stopReason": reason}) + METADATA).reason == "internal"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"[]", ""),
        (b"{}", "output.message"),
        (b'{"output":{}}', "output.message"),
        (b'{"message":"It is an error."}', "output.message"),
        (b'{"output":{"message":{"content":{}}}}', "output.message.content"),
        (b'{"output":{"message":{"content":[1]}}}', "output.message.content[0]"),
        (b'{"output":{"message":{"content":[{"toolUse":{}}]}}}', "output.message.content[0].toolUse.name"),
    ],
)
def test_what_is_no_answer_is_told_with_its_place(body: bytes, path: str) -> None:
    with pytest.raises(ReadError) as raised:
        read_answer(body)
    assert raised.value.path == path


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_a_stream_without_its_end_was_cut(length: int) -> None:
    """However far it had come."""
    pieces = (BEGIN, delta(0, {"text": "a"}), stop(0))
    assert failure_of(b"".join(pieces[:length])).reason == "cut"


def test_a_stream_cut_within_its_last_frame_was_cut() -> None:
    assert failure_of(BEGIN + END + METADATA[:-1]).reason == "cut"


def test_an_answer_is_complete_without_its_usage() -> None:
    """`messageStop` is what ends it."""
    told = events(BEGIN + delta(0, {"text": "a"}) + stop(0) + END)
    assert isinstance(told[-1], e.Ended)
    assert not any(isinstance(one, e.Counted) for one in told)


def test_what_comes_in_the_wrong_order_still_obeys_the_grammar() -> None:
    """Usage first, no start, blocks that nobody closed or opened, content behind the end, words behind the last."""
    told = events(
        b"".join(
            (
                METADATA,
                stop(5),
                start(0, None),
                start(0, {"unheardOf": {}}),
                delta(0, None),
                delta(0, {"unheardOf": 1}),
                delta(0, {"text": "a"}),
                start(8, {"image": {"format": "png"}}),
                delta(8, {"unheardOf": 1}),
                delta(0, {"reasoningContent": {"text": "b"}}),
                delta(1, {"citation": SOURCE}),
                start(1, {"toolUse": {"toolUseId": "t", "name": "n", "type": "tool_use"}}),
                event("unheardOf", {}),
                END,
                END,
                delta(1, {"text": "late"}),
                start(1, {"toolUse": {"name": "late"}}),
                stop(1),
                METADATA,
                METADATA,
            )
        )
    )
    answer_ = fold(told)
    kinds = [type(one) for one in answer_.choices[0].parts]
    assert kinds == [Text, Thinking, Text, ToolCall, Opaque]
    assert answer_.choices[0].finish == Finish("tool", "end_turn")
    assert answer_.usage == Usage(40, 4, 20, 10, None, 10)


def test_a_whole_block_alone_begins_the_answer() -> None:
    told = events(start(0, {"image": {"format": "png"}}) + stop(0) + END + METADATA)
    assert isinstance(told[0], e.Started)


def test_only_usage_is_an_answer_that_says_nothing() -> None:
    assert fold(events(END + event("metadata", {}))).choices[0].parts == ()


@pytest.mark.parametrize(
    "frame",
    [
        event("contentBlockDelta", [1]),
        event("contentBlockDelta", {"contentBlockIndex": "x"}),
        event("messageStop", {"stopReason": 1}),
        event("metadata", {"usage": {"inputTokens": "many"}}),
        eventstream.write({":event-type": "messageStop"}, b"\xff"),
        delta(0, {"toolUse": {"input": "{}"}}),
        delta(0, {"text": "a"}) + delta(0, {"toolUse": {"input": "{}"}}),
        start(0, {"toolUse": {"type": "server_tool_use"}}) + delta(0, {"toolUse": {"input": "{"}}) + stop(0),
        start(0, {"image": {"format": "png"}})
        + delta(0, {"image": {"source": {"bytes": "?"}}})
        + delta(0, {"image": {"source": {"bytes": "?"}}})
        + stop(0),
        b"HTTP/1.1 502 Bad Gateway",
    ],
)
def test_garbage_fails_and_ends_the_stream(frame: bytes) -> None:
    assert failure_of(BEGIN + frame + END + METADATA).reason == "garbage"


def exception(kind: str, message: str) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return eventstream.write(headers, json.dumps({"message": message}).encode())


@pytest.mark.parametrize(
    ("kind", "message", "reason"),
    [
        ("throttlingException", "Slow down.", "rate_limited"),
        ("modelStreamErrorException", "The model failed.", "internal"),
        ("modelStreamErrorException", "Input is too long for requested model.", "context_length"),
        ("internalServerException", "Oh.", "internal"),
        ("serviceUnavailableException", "Later.", "overloaded"),
        ("modelTimeoutException", "Too slow.", "timeout"),
        ("validationException", "No.", "invalid_request"),
        ("unheardOfException", "Hm.", "internal"),
    ],
)
def test_exceptions_within_a_stream_fail_it(kind: str, message: str, reason: str) -> None:
    """A 200 that breaks off is no answer (dialects: §16.13)."""
    stream = BEGIN + delta(0, {"text": "a"}) + exception(kind, message) + END + METADATA
    failure = failure_of(stream)
    assert (failure.reason, failure.message, failure.code, failure.status) == (reason, message, kind, 0)


def test_errors_without_a_model_fail_the_stream() -> None:
    headers = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "Oh."}
    assert failure_of(eventstream.write(headers, b"")) == Failure("internal", "Oh.", "InternalFailure")


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (400, b'{"message":"No."}', Failure("invalid_request", "No.", status=400)),
        (400, b'{"Message":"No."}', Failure("invalid_request", "No.", status=400)),
        (
            400,
            b'{"message":"Input is too long for requested model."}',
            Failure("context_length", "Input is too long for requested model.", status=400),
        ),
        (
            400,
            b'{"message":"prompt is too long: 9 tokens > 8 maximum"}',
            Failure("context_length", "prompt is too long: 9 tokens > 8 maximum", status=400),
        ),
        (
            400,
            b'{"message":"The provided model identifier is invalid."}',
            Failure("not_found", "The provided model identifier is invalid.", status=400),
        ),
        (
            403,
            b'{"message":"The security token included in the request is invalid."}',
            Failure("authentication", "The security token included in the request is invalid.", status=403),
        ),
        (403, b'{"message":"You may not."}', Failure("permission", "You may not.", status=403)),
        (
            400,
            b'{"__type":"com.amazon.coral.service#ThrottlingException","message":"Slow down."}',
            Failure("rate_limited", "Slow down.", "ThrottlingException", status=400),
        ),
        (
            400,
            b'{"__type":"ServiceQuotaExceededException","message":"Enough."}',
            Failure("quota", "Enough.", "ServiceQuotaExceededException", status=400),
        ),
        (424, b'{"message":"The model failed."}', Failure("internal", "The model failed.", status=424)),
        (503, b"<html>", Failure("overloaded", "It answered with a page, not with JSON.", status=503)),
        (500, b"", Failure("internal", "", status=500)),
    ],
)
def test_error_answers_are_one_vocabulary(status: int, body: bytes, failure: Failure) -> None:
    assert read_error(status, body) == failure


def test_an_exception_may_be_no_json() -> None:
    assert read_exception("throttlingException", b"slow") == Failure("rate_limited", "slow", "throttlingException")
    assert read_exception("validationException:http://x", b"{}").reason == "invalid_request"


def test_pieces_of_base64_are_one() -> None:
    assert joined_bytes(["!"]) == "!"  # what came whole is nobody's business
    assert joined_bytes(["AA==", "AQI="]) == "AAEC"


def test_extras_of_one_part_are_one() -> None:
    assert united(None, None) is None
    both = united(Extras("bedrock", {"a": msgspec.Raw(b"1")}), None, Extras("bedrock", {"b": msgspec.Raw(b"2")}))
    assert comparable(both)["fields"] == {"a": 1, "b": 2}


def test_the_codec_is_a_providers_alone() -> None:
    """Nobody asks us in this dialect."""
    assert CODEC.name == CODEC.family == "bedrock"
    assert CODEC.read_request is None
    assert CODEC.write_answer is None
    assert CODEC.stream_writer is None
    assert CODEC.stream_reader is BedrockStreamReader
