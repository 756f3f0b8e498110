from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flumegate.dialects.node import ReadError
from flumegate.dialects.openai.chat.read_answer import read_answer
from flumegate.dialects.openai.chat.write_stream import ChatStreamWriter
from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Choice, Finish
from flumegate.ir.failure import Failure
from flumegate.ir.fold import fold, unfold
from flumegate.ir.parts import Citation, Extras, Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.usage import Usage
from rig.chat_codec import USER, answered, asked, chunks, read, streamed

OLD = asked(read(USER, functions=[{"name": "f"}]))
WITH_USAGE = asked(include_usage=True)
STOP = Finish("stop")


def one(*parts: Part, finish: Finish = STOP, **members: Any) -> Answer:
    return Answer("id-1", "up", 9, (Choice(parts, finish),), **members)


RICH = Answer(
    "id-1",
    "up",
    9,
    (
        Choice(
            (
                Thinking(("one", "two"), "sig", "messages"),
                Thinking((), "data", "messages", redacted=True),
                Thinking((), "enc", "responses"),
                Text("wörd", (Citation("u", "t", 0, 2, "q"),), b'[{"token":"w"}]'),
                Media("image", "image/png", "AA"),
                Refusal("no"),
                ToolCall("a", "f", '{"x":1}', signature="s", origin="gemini"),
                ToolCall("b", "n", "text", "custom"),
            ),
            Finish("tool"),
        ),
        Choice((Text("b"),), Finish("stop_sequence", stop_sequence="##")),
    ),
    Usage(5, 3, 2, 1, 1),
)


def said(answer: Answer) -> list[Any]:
    """Return the parts, thinking in one piece each, and the ends of all choices."""
    return [
        (
            [
                msgspec.structs.replace(part, texts=("".join(part.texts),) if part.texts else ())
                if isinstance(part, Thinking)
                else part
                for part in choice.parts
            ],
            choice.finish.reason,
            choice.finish.stop_sequence,
        )
        for choice in answer.choices
    ]


def test_what_is_written_reads_as_it_was_meant() -> None:
    """Whole and streamed, every kind of part, several choices, usage."""
    body, losses = answered(RICH)
    assert losses == []
    again = read_answer(msgspec.json.encode(body))
    writer = ChatStreamWriter(WITH_USAGE)
    data = b"".join(writer.write(event) for event in unfold(RICH))
    assert writer.losses.found == []
    streamed_again = fold(streamed(data))
    for found in (again, streamed_again):
        parts, reason, _ = said(found)[0]
        assert reason == "tool"
        assert parts[:3] == [
            Thinking(("one\n\ntwo",), "sig", "messages"),
            Thinking((), "data", "messages", redacted=True),
            Thinking((), "enc", "responses"),
        ]
        assert sorted(map(repr, parts[3:])) == sorted(map(repr, RICH.choices[0].parts[3:]))
        assert said(found)[1] == ([Text("b")], "stop_sequence", "##")
        assert (found.id, found.model, found.created, found.usage) == ("id-1", "mine", 9, RICH.usage)


def test_a_stream_has_openais_order() -> None:
    """Role once, deltas, finish, usage, `[DONE]`; all chunks share their head, and usage is null in the others."""
    found, losses = chunks(unfold(one(Text("hi"), ToolCall("", "f"), usage=Usage(1, 2))), WITH_USAGE)
    assert losses == []
    assert found[-1] == "[DONE]"
    assert {(part["id"], part["object"], part["created"], part["model"]) for part in found[:-1]} == {
        ("id-1", "chat.completion.chunk", 9, "mine")
    }
    assert [part["choices"][0]["delta"] for part in found[:-2]] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "hi"},
        {
            "tool_calls": [
                {"index": 0, "id": "call_s33d_0", "type": "function", "function": {"name": "f", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert [part["usage"] for part in found[:-2]] == [None] * 5
    assert found[-2]["choices"] == []
    assert found[-2]["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def test_usage_is_told_only_to_those_who_asked() -> None:
    """Neither the chunk nor the null."""
    found, _ = chunks(unfold(one(Text("hi"), usage=Usage(1, 2))))
    assert not any("usage" in part for part in found[:-1])
    without, _ = chunks(unfold(one(Text("hi"))), WITH_USAGE)
    assert without[-2]["choices"]


def test_ids_and_times_are_made_of_the_question() -> None:
    """Where the provider gives none."""
    found, _ = chunks(unfold(Answer(choices=(Choice((ToolCall("", "f"), ToolCall("", "f"))),))))
    assert (found[0]["id"], found[0]["created"]) == ("chatcmpl-s33d", 77)
    body, _ = answered(Answer(choices=(Choice((ToolCall("", "f"), ToolCall("", "f"))), Choice((ToolCall("", "f"),)))))
    assert (body["id"], body["created"]) == ("chatcmpl-s33d", 77)
    ids = [call["id"] for choice in body["choices"] for call in choice["message"]["tool_calls"]]
    assert ids == ["call_s33d_0", "call_s33d_1", "call_s33d_2"]


def test_the_old_form_is_answered_in_the_old_form() -> None:
    """One call fits; the others are told."""
    answer = one(ToolCall("a", "f", "1"), ToolCall("b", "g", "2"), finish=Finish("tool"))
    body, losses = answered(answer, OLD)
    assert body["choices"][0]["message"]["function_call"] == {"name": "f", "arguments": "1"}
    assert "tool_calls" not in body["choices"][0]["message"]
    assert body["choices"][0]["finish_reason"] == "function_call"
    assert losses == ["dropped:tool_calls"]
    assert answered(one(ToolCall("a", "f")), OLD)[1] == []
    found, losses = chunks(unfold(answer), OLD)
    deltas = [part["choices"][0]["delta"] for part in found[1:-1]]
    assert deltas == [{"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": "1"}}, {}]
    assert found[-2]["choices"][0]["finish_reason"] == "function_call"
    assert losses == ["dropped:tool_calls"]


def test_state_may_come_at_the_end_of_a_block() -> None:
    """Of thinking and of calls; sealed where it is not the field's own."""
    stream: list[e.Event] = [
        e.Started(),
        e.Opened(0, Thinking()),
        e.Grew(0, "hm"),
        e.Closed(0, "sig", "gemini"),
        e.Opened(1, ToolCall("a", "f", "{}")),
        e.Closed(1, "t", "messages"),
        e.Opened(2, Thinking(("x", "y"))),
        e.Closed(2),
        e.Opened(3, Text("whole", (Citation("u"),))),
        e.Closed(3),
        e.Finished(Finish("tool")),
        e.Ended(),
    ]
    found, _ = chunks(stream)
    deltas = [part["choices"][0]["delta"] for part in found[:-1]]
    assert {
        "thinking_blocks": [{"index": 0, "type": "thinking", "thinking": "hm", "signature": "fg1.gemini.s.sig"}]
    } in deltas
    signed = {"index": 0, "extra_content": {"google": {"thought_signature": "fg1.messages.s.t"}}}
    assert {"tool_calls": [signed]} in deltas
    assert {"reasoning_content": "\n\ny", "reasoning": "\n\ny"} in deltas
    assert {"annotations": [{"index": 0, "type": "url_citation", "url_citation": {"url": "u", "title": ""}}]} in deltas


@pytest.mark.parametrize(
    ("finish", "word", "losses"),
    [
        (Finish("length"), "length", []),
        (Finish("context_full"), "length", []),
        (Finish("filter"), "content_filter", []),
        (Finish("refusal", detail="Will not."), "content_filter", []),
        (Finish("pause"), "stop", ["approximated:finish_reason"]),
    ],
)
def test_finish_reasons_in_openais_words(finish: Finish, word: str, losses: list[str]) -> None:
    """What a refusal explains stands in `refusal`."""
    answer = one(Text("a"), finish=finish)
    body, lost = answered(answer)
    found, lost_streaming = chunks(unfold(answer))
    last = found[-2]["choices"][0]
    assert body["choices"][0]["finish_reason"] == last["finish_reason"] == word
    assert lost == lost_streaming == losses
    detail = finish.detail or None
    assert body["choices"][0]["message"]["refusal"] == last["delta"].get("refusal") == detail


def test_what_an_answer_cannot_say_is_told() -> None:
    """Leftovers and blocks of other dialects; own ones come back."""
    theirs = Extras("messages", {"x": msgspec.Raw(b"1")})
    odd: tuple[Part, ...] = (
        Text("a", extras=theirs),
        ToolCall("a", "f", extras=theirs),
        Opaque("messages", "server", b"{}"),
        Media("audio", "audio/wav", "AA"),
        ToolResult("c"),
    )
    answer = Answer("i", "m", 1, (Choice(odd, Finish("stop"), theirs),), extras=theirs)
    body, losses = answered(answer)
    assert losses == [
        "dropped:content.x",
        "dropped:content.x",
        "dropped:content",
        "dropped:content",
        "dropped:content",
        "dropped:x",
    ]
    assert "x" not in body
    _, losses = chunks(unfold(answer))
    assert losses == [
        "dropped:x",
        "dropped:content.x",
        "dropped:content.x",
        "dropped:content",
        "dropped:content",
        "dropped:content",
    ]
    own = (
        Opaque("chat", "annotations", b'[{"type":"file"}]'),
        Opaque("chat", "audio", b'{"id":"x"}'),
        Media("image", url="u"),
    )
    found, losses = chunks(unfold(one(*own)))
    assert losses == []
    assert [next(iter(part["choices"][0]["delta"])) for part in found[1:-2]] == ["annotations", "audio", "images"]
    assert answered(one(*own))[1] == []


def test_a_failure_ends_a_stream_in_openais_shape() -> None:
    """One event with the error, then the end marker; before the start as well."""
    found, _ = chunks([e.Failed(Failure("overloaded", "Busy.", "busy"))])
    error = {"message": "Busy.", "type": "server_error", "param": None, "code": "busy"}
    assert found == [{"error": error}, "[DONE]"]


def test_later_choices_begin_in_order() -> None:
    """Each with its role, also one that says nothing."""
    found, _ = chunks(
        [
            e.Started(),
            e.Finished(Finish("stop"), 2),
            e.Finished(Finish("stop")),
            e.Finished(Finish("stop"), 1),
            e.Ended(),
        ]
    )
    roles = [part["choices"][0]["index"] for part in found[:-1] if "role" in part["choices"][0]["delta"]]
    assert roles == [0, 1, 2]


WRONG: list[tuple[bytes, str]] = [
    (b'{"error":"boom"}', "error"),
    (b'{"error":{"code":5}}', "error"),
    (b"{}", "choices"),
    (b'{"choices":[{}]}', "choices[0].message"),
    (b'{"choices":[{"message":{},"finish_reason":"error"}]}', "choices[0].finish_reason"),
    (b"<html>", ""),
]


@pytest.mark.parametrize(("body", "path"), WRONG)
def test_what_is_no_answer_is_not_read(body: bytes, path: str) -> None:
    """An error with status 200, a page, an end that is none."""
    with pytest.raises(ReadError) as raised:
        read_answer(body)
    assert raised.value.path == path


def test_sloppy_answers_are_understood() -> None:
    """Odd ids and times, citations without text, the old form, sound, details without text."""
    message = {
        "content": None,
        "annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}, {"type": "file"}],
        "function_call": {"name": "f", "arguments": "{}"},
        "audio": {"id": "x"},
        "images": [{"type": "image_url", "image_url": {"url": "u"}}],
        "reasoning_details": 5,
    }
    body = {
        "id": 5,
        "created": "soon",
        "usage": "none",
        "choices": [{"message": message, "logprobs": {"content": [{"token": "a"}]}, "stop_reason": 7}],
    }
    found = read_answer(msgspec.json.encode(body))
    assert (found.id, found.created, found.usage) == ("5" if found.id else "", 0, None)
    kinds = [type(part).__name__ for part in found.choices[0].parts]
    assert kinds == ["Text", "Media", "Opaque", "Opaque", "ToolCall"]
    assert found.choices[0].finish.reason == "tool"
    parts = (
        read_answer(b'{"choices":[{"message":{"content":"a"},"logprobs":{"content":[1]}}],"usage":{}}').choices[0].parts
    )
    assert parts == (Text("a", logprobs=b"[1]"),)
    joined, _ = answered(one(Text("a", logprobs=b"[1]"), Text("b", logprobs=b"[2]")))
    assert joined["choices"][0]["logprobs"]["content"] == [1, 2]
