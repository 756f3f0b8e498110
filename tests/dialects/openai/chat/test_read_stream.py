from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flumegate.dialects.openai.chat.read_answer import read_answer
from flumegate.dialects.openai.chat.read_stream import MAX_CHOICES, ChatStreamReader
from flumegate.ir import events as e
from flumegate.ir.answer import Finish
from flumegate.ir.fold import fold
from flumegate.ir.grammar import Grammar
from flumegate.ir.parts import Citation, Media, Opaque, Refusal, Text, Thinking, ToolCall
from flumegate.ir.usage import Usage
from rig.chat_codec import DONE, chunk, event, streamed

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
END = (chunk({}, "stop"), event({"id": "c-1", "choices": [], "usage": USAGE}), DONE)


def parts(*events: bytes) -> tuple[Any, ...]:
    """Return what the first choice of a good stream amounts to."""
    return fold(streamed(*events, *END)).choices[0].parts


def call(index: Any = 0, name: str | None = None, arguments: Any = None, **members: Any) -> bytes:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return chunk({"tool_calls": [{"index": index, "function": function} | members]})


def calls(*events: bytes) -> list[tuple[str, str, str]]:
    return [(one.id, one.name, one.arguments) for one in parts(*events)]


def test_a_stream_as_openai_sends_it() -> None:
    """Role, text, finish, usage, end."""
    found = streamed(
        chunk({"role": "assistant", "content": "", "refusal": None}, system_fingerprint="fp"),
        chunk({"content": "wör"}),
        chunk({"content": "d"}),
        *END,
    )
    started = found[0]
    assert isinstance(started, e.Started)
    assert (started.id, started.model, started.created) == ("c-1", "up", 5)
    assert started.extras is not None
    assert list(started.extras.fields) == ["system_fingerprint"]
    assert found[1:] == [
        e.Opened(0, Text("")),
        e.Grew(0, "wör"),
        e.Grew(0, "d"),
        e.Closed(0),
        e.Finished(Finish("stop", "stop")),
        e.Counted(Usage(3, 2)),
        e.Ended(),
    ]


def test_thinking_text_and_refusal_follow_one_another() -> None:
    """Both fields of reasoning are one; a mirrored text counts once."""
    assert parts(
        chunk({"reasoning": "h", "reasoning_content": "h"}),
        chunk({"reasoning": "m"}),
        chunk({"reasoning_details": [{"type": "reasoning.text", "text": "!"}, {"summary": "?"}]}),
        chunk({"reasoning_details": 5}),
        chunk({"content": "a"}),
        chunk({"refusal": "no"}),
    ) == (Thinking(("hm!?",)), Text("a"), Refusal("no"))


SLOPPY: dict[str, tuple[tuple[bytes, ...], list[tuple[str, str, str]]]] = {
    "as documented": (
        (call(0, "f", "", id="a"), call(0, None, '{"x":'), call(0, None, "1}"), call(1, "g", "", id="b")),
        [("a", "f", '{"x":1}'), ("b", "g", "")],
    ),
    "interleaved": (
        (
            call(0, "f", "", id="a"),
            call(1, "g", "", id="b"),
            call(0, None, "1"),
            call(1, None, "2"),
            call(0, None, "3"),
        ),
        [("a", "f", "13"), ("b", "g", "2")],
    ),
    "id and name in every delta": (
        (call(0, "f", "1", id="a"), call(0, "f", "2", id="a"), call(0, "f", "3")),
        [("a", "f", "123")],
    ),
    "all at index 0": ((call(0, "f", "1", id="a"), call(0, "f", "2", id="b")), [("a", "f", "1"), ("b", "f", "2")]),
    "all at index 0 without ids": ((call(0, "f", "1"), call(0, "f", "2")), [("", "f", "1"), ("", "f", "2")]),
    "another name at a known index": (
        (call(0, "f", "1", id="a"), call(0, "g", "2")),
        [("a", "f", "1"), ("", "g", "2")],
    ),
    "index null": (
        (call(None, "f", "1", id="a"), call(None, None, "2"), call(None, "g", "3")),
        [("a", "f", "12"), ("", "g", "3")],
    ),
    "index from 1": ((call(1, "f", "1", id="a"), call(1, None, "2")), [("a", "f", "12")]),
    "the id comes late": ((call(0, "f"), call(0, None, "1", id="a"), call(0, None, "2", id="a")), [("", "f", "12")]),
    "the name comes late": ((call(0, None, "1", id="a"), call(0, "f", "2"), call(0, None, "3")), [("a", "f", "123")]),
    "the name never comes": ((call(0, None, "1", id="a"),), [("a", "", "1")]),
    "an empty entry": ((call(0),), []),
    "a placeholder in front": (
        (call(0, "f", "{}", id="a"), call(0, None, '{"x":'), call(0, None, "1}")),
        [("a", "f", '{"x":1}')],
    ),
    "no placeholder": ((call(0, "f", "{}", id="a"), call(0, None, " ")), [("a", "f", "{} ")]),
    "no arguments": ((call(0, "f", "{}", id="a"),), [("a", "f", "{}")]),
    "an object": ((call(0, "f", {"x": 1}, id="a"),), [("a", "f", '{"x":1}')]),
    "the old form": (
        (
            chunk({"function_call": {"name": "f", "arguments": ""}}),
            chunk({"function_call": {"arguments": "1"}}),
            chunk({"function_call": {"name": "", "arguments": "2"}}),
        ),
        [("", "f", "12")],
    ),
    "an empty old form": ((chunk({"function_call": {"name": "", "arguments": ""}}),), []),
    "custom": (
        (
            chunk({"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "n", "input": ""}}]}),
            chunk({"tool_calls": [{"index": 0, "custom": {"input": "x"}}]}),
        ),
        [("a", "n", "x")],
    ),
    "no inner object": ((call(0, "f", id="a"), chunk({"tool_calls": [{"index": 0}]})), [("a", "f", "")]),
}


@pytest.mark.parametrize("case", SLOPPY)
def test_calls_are_told_apart(case: str) -> None:
    """Whatever servers do with ids, names and indices."""
    events, expected = SLOPPY[case]
    assert calls(*events) == expected


def test_a_call_outweighs_a_plain_stop() -> None:
    """Many servers say `stop` for both."""
    assert fold(streamed(call(0, "f", id="a"), *END)).choices[0].finish == Finish("tool", "stop")


def test_google_signs_streamed_calls() -> None:
    """The signature comes with the call."""
    (one,) = parts(call(0, "f", "{}", id="a", extra_content={"google": {"thought_signature": "s"}}))
    assert one == ToolCall("a", "f", "{}", signature="s", origin="gemini")


BLOCKS: list[tuple[list[dict[str, Any]], tuple[Thinking | Opaque | Text, ...]]] = [
    (
        [
            {"reasoning_content": "h", "reasoning": "h"},
            {"reasoning_content": "m"},
            {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}]},
        ],
        (Thinking(("hm",), "s", "messages"),),
    ),
    (
        [
            {"reasoning_content": "h", "thinking_blocks": [{"type": "thinking", "thinking": "h"}]},
            {"reasoning_content": "m", "thinking_blocks": [{"type": "thinking", "thinking": "m"}]},
            {"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "s"}]},
        ],
        (Thinking(("hm",), "s", "messages"),),
    ),
    ([{"thinking_blocks": [{"type": "thinking", "thinking": "hm"}]}, {"content": "a"}], (Thinking(("hm",)), Text("a"))),
    (
        [{"thinking_blocks": [{"type": "redacted_thinking", "data": "d"}, {"type": "thinking", "signature": "s"}]}],
        (Thinking((), "d", "messages", redacted=True), Thinking((), "s", "messages")),
    ),
    ([{"thinking_blocks": [{"type": "odd"}]}], (Opaque("chat", "odd", b'{"type": "odd"}'),)),
]


@pytest.mark.parametrize(("deltas", "expected"), BLOCKS, ids=str)
def test_signed_thinking_comes_with_the_block_list(deltas: list[dict[str, Any]], expected: tuple[Any, ...]) -> None:
    """Its text came as reasoning; whole blocks and pieces of them are both understood."""
    assert parts(*(chunk(delta) for delta in deltas)) == expected


def test_everything_beside_text() -> None:
    """Lists of parts, citations, images, sound, log probabilities."""
    cited = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 1}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    found = parts(
        chunk(
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "a"},
                ]
            }
        ),
        chunk({"annotations": [cited]}),
        chunk({"content": [{"type": "refusal", "refusal": "no"}, image]}),
        chunk({"annotations": [{"type": "file"}]}),
        chunk({"images": [image, {"type": "text", "text": "odd"}]}),
        chunk({"audio": {"id": "x"}}),
        chunk({"content": 5}),
        chunk({"refusal": 5}),
    )
    picture = Media("image", "image/png", "AA")
    assert found[:4] == (Thinking(("hm",)), Text("a", (Citation("u", "t", 0, 1),)), Refusal("no"), picture)
    assert [getattr(part, "kind", "") for part in found[4:]] == ["annotations", "image", "images", "audio"]


def test_log_probabilities_stay_with_their_text() -> None:
    """Also those of a piece without text."""
    item = {"token": "a", "logprob": -1.0}
    first = event({"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [item]}}]})
    second = event({"id": "c", "choices": [{"index": 0, "delta": {}, "logprobs": {"content": [item]}}]})
    third = event({"id": "c", "choices": [{"index": 0, "delta": {"content": "b"}, "logprobs": {"content": None}}]})
    (text,) = parts(first, second, third)
    assert text.text == "ab"
    assert json.loads(text.logprobs) == [item, item]


def test_chunks_without_choices_stand_anywhere() -> None:
    """Azure's first, llama.cpp's timings in the middle, usage, moderation behind it, usage behind `[DONE]`."""
    azure = event({"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": []})
    filtered = event(
        {"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    )
    found = streamed(
        azure,
        filtered,
        b": comment\n\ndata:\n\ndata: \n\n",
        chunk(None, content_filter_results={}),
        chunk({"content": "a"}),
        event({"choices": [], "timings": {}}),
        chunk({}, "stop"),
        DONE,
        event({"choices": [], "usage": USAGE | {"prompt_tokens": "3"}}),
    )
    started = found[0]
    assert isinstance(started, e.Started)
    assert started.id == "c-1"
    assert started.extras is not None
    assert "prompt_filter_results" in started.extras.fields
    assert found[-2:] == [e.Counted(Usage(3, 2)), e.Ended()]


def test_the_last_usage_wins_but_zeros_do_not() -> None:
    """VLLM repeats it in every chunk; some relays send zeros at the end; some send nonsense."""
    found = streamed(
        chunk({"content": "a"}, usage=USAGE | {"completion_tokens": 1, "total_tokens": 4}),
        chunk({}, "stop", usage=USAGE),
        event({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}),
        event({"choices": [], "usage": {"prompt_tokens": "many"}}),
        event({"choices": [], "usage": {}}),
    )
    assert found[-2] == e.Counted(Usage(3, 2))


def test_several_choices_interleave_and_finish_apart() -> None:
    """Numbered as they appear: some servers begin with 1, or give no index."""
    found = fold(
        streamed(
            chunk({"content": "a"}, index=1),
            chunk({"content": "x"}, index=4),
            chunk({"content": "b"}, index=1),
            chunk({}, "length", index=1),
            chunk({"content": "y"}, "content_filter", index=4),
        )
    )
    assert [(choice.parts[0], choice.finish.reason) for choice in found.choices] == [
        (Text("ab"), "length"),
        (Text("xy"), "filter"),
    ]


def test_what_comes_behind_a_finish_reason_still_counts() -> None:
    """In a block of its own; an empty finish reason is none."""
    assert parts(chunk({"content": "a"}, ""), chunk({}, "stop"), chunk({"content": "b"})) == (Text("a"), Text("b"))


def test_a_stop_sequence_is_told_by_vllm() -> None:
    """In `stop_reason`; other leftovers of the choice are kept."""
    last = event(
        {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "##", "seed": 4}]}
    )
    (choice,) = fold(streamed(last)).choices
    assert choice.finish == Finish("stop_sequence", "stop", "##")
    assert choice.extras is not None
    assert list(choice.extras.fields) == ["seed"]


def test_done_and_usage_end_a_stream_without_finish_reasons() -> None:
    """As Snowflake sends it; neither of the two alone is enough."""
    text, usage = chunk({"content": "a"}), event({"choices": [], "usage": USAGE})
    assert isinstance(streamed(text, usage, DONE)[-1], e.Ended)
    for events in ((text, usage), (text, DONE), (DONE,), (usage, DONE), ()):
        failed = streamed(*events)[-1]
        assert isinstance(failed, e.Failed)
        assert failed.failure.reason == "cut"


def test_a_last_event_may_lack_its_blank_line() -> None:
    """Some servers leave it out."""
    assert isinstance(streamed(chunk({"content": "a"}), chunk({}, "stop").rstrip())[-1], e.Ended)


FAILURES: list[tuple[bytes, str, str]] = [
    (event({"error": {"message": "boom", "code": 503}}), "overloaded", "boom"),
    (event({"error": "boom"}), "internal", "boom"),
    (event({"object": "error", "message": "boom", "type": "invalid_request_error"}), "invalid_request", "boom"),
    (b'event: error\ndata: {"message":"boom"}\n\n', "internal", "boom"),
    (event({"id": "c", "choices": [{"index": 0, "error": {"message": "boom"}}]}), "internal", "boom"),
    (chunk({}, "error"), "internal", "broke off"),
    (b"data: <html>\n\n", "garbage", "cannot be read"),
    (b"data: [1]\n\n", "garbage", "cannot be read"),
    (b'data: {"choices":5}\n\n', "garbage", "cannot be read"),
    (chunk({"content": [{"type": "text"}]}), "garbage", "cannot be read"),
    (chunk({"images": 5}), "garbage", "cannot be read"),
]


@pytest.mark.parametrize(("broken", "reason", "message"), FAILURES, ids=[str(one[0][:40]) for one in FAILURES])
@pytest.mark.parametrize("first", [True, False])
def test_a_failure_in_a_stream_is_no_answer(broken: bytes, reason: str, message: str, *, first: bool) -> None:
    """It ends in the upstream's own words, at once, and nothing behind it counts; usage so far is kept."""
    before = [] if first else [chunk({"content": "a"}, usage=USAGE)]
    found = streamed(*before, broken + chunk({}, "stop") + DONE)
    failed = found[-1]
    assert isinstance(failed, e.Failed)
    assert failed.failure.reason == reason
    assert message in failed.failure.message
    assert (e.Counted(Usage(3, 2)) in found) is not first


def test_streams_are_bounded() -> None:
    """More choices than anybody may ask for, and events without end, are garbage."""
    found = streamed(*(chunk({"content": "a"}, index=number) for number in range(MAX_CHOICES + 1)))
    assert isinstance(found[-1], e.Failed)
    reader = ChatStreamReader()
    reader._sse._max_bytes = 10
    (failed,) = reader.feed(b"data: " + b"x" * 50)
    assert isinstance(failed, e.Failed)
    assert failed.failure.reason == "garbage"
    assert reader.close() == []


STREAM = b"".join(
    (
        b": ping\r\n\r\n",
        chunk({"role": "assistant", "reasoning_content": "h\u2028m"}).replace(b"\n", b"\r\n"),
        chunk({"content": "wörd \U0001f600"}),
        call(0, "f", '{"x":"\\u00', id="a"),
        call(1, "g", "", id="b"),
        call(0, None, 'e9"}'),
        *END,
    )
)


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    """Any split of the bytes gives the same events."""
    places = sorted({0, *cuts, len(STREAM)})
    reader = ChatStreamReader()
    found = [one for start, end in pairwise(places) for one in reader.feed(STREAM[start:end])]
    assert found + reader.close() == streamed(STREAM)


@settings(max_examples=50, deadline=None)
@given(
    deltas=st.lists(
        st.tuples(
            st.sampled_from([0, 1, None]),
            st.sampled_from(
                [
                    {"content": "a"},
                    {"reasoning": "r"},
                    {"refusal": "x"},
                    {"tool_calls": [{"index": 0, "function": {"arguments": "1"}}]},
                    {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]},
                    {"tool_calls": [{"id": "b", "function": {"name": "g"}}]},
                    {"thinking_blocks": [{"type": "thinking", "thinking": "r", "signature": "s"}]},
                    {"annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}]},
                    {"audio": {"id": "x"}},
                    {},
                ]
            ),
            st.sampled_from([None, "", "stop", "tool_calls"]),
        ),
        max_size=10,
    )
)
def test_nonsense_is_put_in_order(deltas: list[tuple[int | None, dict[str, Any], str | None]]) -> None:
    """Whatever the upstream sends, the grammar accepts what we make of it."""
    reader, grammar = ChatStreamReader(), Grammar()
    found = [one for index, delta, end in deltas for one in reader.feed(chunk(delta, end, index))]
    for one in found + reader.close():
        grammar.check(one)
    assert grammar.ended


def test_the_stream_folds_into_the_whole_answer() -> None:
    """The same answer, read in one piece."""
    message = {
        "role": "assistant",
        "reasoning_content": "h\u2028m",
        "content": "wörd \U0001f600",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":"\\u00e9"}'}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": ""}},
        ],
    }
    body = {
        "id": "c-1",
        "model": "up",
        "created": 5,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": USAGE,
    }
    assert fold(streamed(STREAM)) == read_answer(msgspec.json.encode(body))
