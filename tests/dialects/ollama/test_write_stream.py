from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from ollama import ChatResponse, GenerateResponse

from flumegate.dialects.codecs import StreamWriter
from flumegate.dialects.ollama.chat.write_stream import ChatStreamWriter
from flumegate.dialects.ollama.generate.write_stream import GenerateStreamWriter
from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Choice, Finish
from flumegate.ir.failure import Failure
from flumegate.ir.fold import fold, unfold
from flumegate.ir.parts import (
    Citation,
    Extras,
    Media,
    Opaque,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from flumegate.ir.usage import Usage
from rig.ollama_cases import STAMP, STREAMS, asked, read, streamed

STOP = e.Finished(Finish("stop"))
END = (STOP, e.Ended())
ODD = Extras("chat", {"x": msgspec.Raw(b"1")})


def write(*events: e.Event, writer: StreamWriter | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the lines without what all have, and the codes of the losses."""
    writer = writer or ChatStreamWriter(asked(stream=True))
    lines = []
    for event in events:
        written = writer.write(event)
        assert written.count(b"\n") <= 1
        assert written.endswith(b"\n") or not written
        if written:
            lines.append(json.loads(written))
    for one in lines:
        if "error" not in one:
            assert (one.pop("model"), one.pop("created_at")) == ("heron", STAMP)
    return lines, [loss.code for loss in writer.losses.found]


def said(done: bool = False, **message: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": ""} | message, "done": done}


LAST = said(True) | {
    "done_reason": "stop",
    "total_duration": 0,
    "load_duration": 0,
    "prompt_eval_duration": 0,
    "eval_duration": 0,
}


@pytest.mark.parametrize("name", STREAMS)
def test_reading_what_was_written(name: str) -> None:
    """The lines say what the events said."""
    events = read([streamed(STREAMS[name])])
    writer = ChatStreamWriter(asked(stream=True, model="heron:8b"))
    data = b"".join(writer.write(event) for event in events)
    again, expected = fold(read([data])), fold(events)
    if name == "a reason that nobody knows":
        finish = Finish("stop", "stop")
        expected = msgspec.structs.replace(
            expected, choices=(msgspec.structs.replace(expected.choices[0], finish=finish),)
        )
    assert again == expected
    assert not writer.losses.found


def test_the_lines() -> None:
    """One for each event that says something, the last one done."""
    lines, lost = write(
        e.Started("id", "other"),
        e.Opened(0, Thinking()),
        e.Grew(0, "hm"),
        e.Grew(0, ""),
        e.Grew(0, "so", 1),
        e.Closed(0),
        e.Opened(1, Text("")),
        e.Grew(1, 'Hi "\u2028'),
        e.Grew(1, ""),
        e.Grew(1, "", logprobs=b'[{"token":""}]'),
        e.Closed(1),
        e.Opened(2, ToolCall("c", "tide")),
        e.Grew(2, '{"a"'),
        e.Grew(2, ":1}"),
        e.Closed(2),
        e.Counted(Usage(1, 1)),
        e.Counted(Usage(9, 8)),
        *END,
    )
    assert lines == [
        said(thinking="hm"),
        said(thinking="\n\nso"),
        said(content='Hi "\u2028'),
        said() | {"logprobs": [{"token": ""}]},
        said(tool_calls=[{"id": "c", "function": {"name": "tide", "arguments": {"a": 1}}}]),
        LAST | {"prompt_eval_count": 9, "eval_count": 8},
    ]
    assert not lost


def test_what_a_block_begins_with_is_said() -> None:
    """Some parts open with something in them."""
    lines, _ = write(
        e.Started(), e.Opened(0, Text("a")), e.Closed(0), e.Opened(1, ToolCall("c", "f", "{}")), e.Closed(1)
    )
    assert lines == [
        said(content="a"),
        said(tool_calls=[{"id": "c", "function": {"name": "f", "arguments": {}}}]),
    ]


def test_two_thoughts_are_two_paragraphs() -> None:
    """As in an answer in one piece."""
    lines, _ = write(
        e.Started(), e.Opened(0, Thinking()), e.Grew(0, "a"), e.Closed(0), e.Opened(1, Thinking()), e.Grew(1, "b")
    )
    assert [one["message"]["thinking"] for one in lines] == ["a", "\n\nb"]


@pytest.mark.parametrize("form", [ChatStreamWriter, GenerateStreamWriter])
def test_a_failure(form: type[StreamWriter]) -> None:
    """One line with the error, and nothing behind it."""
    asking = asked(stream=True)
    broken = e.Failed(Failure("internal", "It broke."))
    writer = form(asking)  # type: ignore[call-arg] # a protocol says nothing of how its values are made
    lines, _ = write(e.Started(), broken, *END, e.Grew(0, "a"), writer=writer)
    assert lines == [{"error": "It broke."}]
    writer = form(asking)  # type: ignore[call-arg] # likewise
    assert write(e.Failed(Failure("cut")), writer=writer)[0] == [{"error": "The answer broke off (cut)."}]


BROKEN = (e.Started(), e.Opened(0, ToolCall("c", "tide")), e.Grew(0, '{"a'), e.Closed(0))


def test_arguments_that_are_no_object() -> None:
    """The provider's failure, if it says that it had finished; left out, if a limit cut them."""
    lines, lost = write(*BROKEN, *END)
    assert lines == [{"error": "The arguments of the call of 'tide' are no JSON object."}]
    assert lost == ["refused:tool_calls"]
    lines, lost = write(*BROKEN, e.Finished(Finish("length")), e.Ended())
    assert lines == [LAST | {"done_reason": "length"}]
    assert lost == ["dropped:tool_calls"]


PARTS: dict[str, tuple[list[e.Event], list[dict[str, Any]], list[str]]] = {
    "a refusal": (
        [e.Opened(0, Refusal("")), e.Grew(0, "No."), e.Closed(0)],
        [said(content="No.")],
        ["approximated:content"],
    ),
    "state at the end": ([e.Opened(0, Thinking()), e.Closed(0, "sig", "messages")], [], ["dropped:reasoning"]),
    "state of a call": (
        [e.Opened(0, ToolCall("c", "f", signature="s", origin="gemini")), e.Closed(0, "s", "gemini")],
        [said(tool_calls=[{"id": "c", "function": {"name": "f", "arguments": {}}}])],
        ["dropped:reasoning"],
    ),
    "a source": ([e.Opened(0, Text("")), e.Cited(0, Citation("u")), e.Closed(0)], [], ["dropped:citations"]),
    "an image": ([e.Opened(0, Media("image", data="AAAA")), e.Closed(0)], [said(images=["AAAA"])], []),
    "a sound": ([e.Opened(0, Media("audio", data="AAAA")), e.Closed(0)], [], ["refused:audio"]),
    "a trace": ([e.Opened(0, Opaque("messages", "t", b"{}", vital=False)), e.Closed(0)], [], ["dropped:content"]),
    "a result": ([e.Opened(0, ToolResult("c")), e.Closed(0)], [], ["dropped:tool_results"]),
    "members of others": (
        [e.Opened(0, Text("", extras=ODD)), e.Closed(0), e.Opened(1, Thinking(extras=ODD)), e.Closed(1)],
        [],
        ["dropped:content.x", "dropped:content.x"],
    ),
    "another choice": (
        [e.Opened(0, Text(""), 1), e.Grew(0, "b"), e.Closed(0), e.Finished(Finish("stop"), 1)],
        [],
        ["dropped:choices"],
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts(name: str) -> None:
    """Each part is said, or its loss is."""
    events, expected, lost = PARTS[name]
    assert write(e.Started(), *events, *END) == ([*expected, LAST], lost)


def test_members_of_others_at_start_and_end() -> None:
    """They are named."""
    end = e.Finished(Finish("stop"), extras=Extras("chat", {"y": msgspec.Raw(b"1")}))
    assert write(e.Started(extras=ODD), end, e.Ended())[1] == ["dropped:x", "dropped:y"]


def test_the_providers_own_time_comes_first() -> None:
    """As in an answer in one piece."""
    writer = ChatStreamWriter(asked())
    out = b"".join(writer.write(event) for event in (e.Started(created=1), *END))
    assert json.loads(out)["created_at"] == "1970-01-01T00:00:01Z"


def test_the_vendors_client_takes_the_lines() -> None:
    """Its own types read every line of both endpoints."""
    answer = Answer(choices=(Choice((Thinking(("hm",)), Text("Hi"), ToolCall("c", "f", "{}")), Finish("tool")),))
    for name, model in (("chat", ChatResponse), ("generate", GenerateResponse)):
        writer = (ChatStreamWriter if name == "chat" else GenerateStreamWriter)(asked(stream=True))
        lines = b"".join(writer.write(event) for event in unfold(answer)).splitlines()
        read_lines = [model.model_validate_json(one) for one in lines]
        assert [one.done for one in read_lines] == [False] * (len(lines) - 1) + [True]


def test_an_end_without_a_finish() -> None:
    """No legal stream has it, and it still ends."""
    assert write(e.Started(), e.Ended())[0] == [LAST]


def test_generate() -> None:
    """The same in the words of the old endpoint: calls and images have no place."""
    answer = Answer(
        choices=(
            Choice(
                (Thinking(("hm",)), Text("Hi"), Media("image", data="AAAA"), ToolCall("c", "f", "{}")),
                Finish("tool"),
            ),
        ),
        usage=Usage(3, 2),
    )
    lines, lost = write(*unfold(answer), writer=GenerateStreamWriter(asked()))
    last = {name: value for name, value in LAST.items() if name != "message"}
    assert lines == [
        {"response": "", "thinking": "hm", "done": False},
        {"response": "Hi", "done": False},
        {"response": "", "prompt_eval_count": 3, "eval_count": 2} | last,
    ]
    assert lost == ["refused:image", "refused:tool_calls"]
