from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.dialects.node import ReadError
from flumegate.dialects.ollama.chat.read_answer import read_answer
from flumegate.dialects.ollama.chat.write_answer import write_answer
from flumegate.ir.answer import Finish
from flumegate.ir.parts import Media, Text, Thinking, ToolCall
from flumegate.ir.usage import Usage
from rig.ollama_cases import CALL, CALL_WITH_ID, ENDING, PNG, SECONDS, STREAMS, TOKEN, asked, line, packed, whole


@pytest.mark.parametrize("name", STREAMS)
def test_identity(name: str) -> None:
    """What the server said is said again; the model bears the client's name.

    Documented: durations that are not there become 0, an index that its place tells is left out, reasons that nobody
    knows are `stop`.
    """
    document = whole(STREAMS[name])
    body, losses = write_answer(read_answer(packed(document)), asked(model="heron:8b"))
    durations = {name: 0 for name in ENDING if name.endswith("duration")}
    expected = durations | document
    if expected["done_reason"] == "odd":
        expected["done_reason"] = "stop"
    for call in expected["message"].get("tool_calls", []):
        call["function"].pop("index", None)
    assert json.loads(body) == expected
    assert losses == ()


def test_parts_in_their_order() -> None:
    """Thinking, text, images, calls."""
    said = line(True, thinking="hm", content="So", images=[PNG], tool_calls=[CALL, CALL_WITH_ID])
    answer = read_answer(packed(said | ENDING))
    (choice,) = answer.choices
    assert [type(part) for part in choice.parts] == [Thinking, Text, Media, ToolCall, ToolCall]
    assert choice.finish == Finish("tool", "stop")
    assert answer.usage == Usage(21, 13)
    assert (answer.model, answer.created) == ("heron:8b", SECONDS)


def test_calls_without_ids_get_some() -> None:
    """The same answer gives the same ids, another answer others; what is said twice is one call."""
    first = read_answer(packed(line(True, tool_calls=[CALL, CALL])))
    again = read_answer(packed(line(True, tool_calls=[CALL, CALL])))
    later = read_answer(packed(line(True, stamp="2026-03-04T05:06:08Z", tool_calls=[CALL, CALL])))
    ids = [part.id for answer in (first, later) for part in answer.choices[0].parts if isinstance(part, ToolCall)]
    assert first == again
    assert len(set(ids)) == 4
    twice = read_answer(packed(line(True, tool_calls=[CALL_WITH_ID, CALL_WITH_ID])))
    assert len(twice.choices[0].parts) == 1


def test_arguments_as_a_text_are_taken() -> None:
    """Some servers behind the same API send them so."""
    answer = read_answer(packed(line(True, tool_calls=[{"function": {"name": "f", "arguments": '{"a":1}'}}])))
    part = answer.choices[0].parts[0]
    assert isinstance(part, ToolCall)
    assert part.arguments == '{"a":1}'


@pytest.mark.parametrize(
    ("reason", "calls", "expected"),
    [
        ("stop", [], Finish("stop", "stop")),
        ("stop", [CALL], Finish("tool", "stop")),
        ("length", [], Finish("length", "length")),
        ("length", [CALL], Finish("length", "length")),
        ("load", [], Finish("stop", "load")),
        ("odd", [], Finish("stop", "odd")),
        (None, [], Finish("stop", "")),
    ],
)
def test_finish(reason: str | None, calls: list[Any], expected: Finish) -> None:
    """A call outweighs `stop`, which the server says for both; the limit outweighs the call."""
    answer = read_answer(packed(line(True, tool_calls=calls) | {"done_reason": reason}))
    assert answer.choices[0].finish == expected


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("2026-03-04T05:06:07Z", SECONDS),
        ("2026-03-04T05:06:07.123456789Z", SECONDS),
        ("2026-03-04T07:06:07.5+02:00", SECONDS),
        ("2026-03-04T05:06:07", SECONDS),
        ("0001-01-01T00:00:00Z", 0),
        ("yesterday", 0),
        ("", 0),
    ],
)
def test_times(stamp: str, seconds: int) -> None:
    """To the second; what is no time is not told."""
    assert read_answer(packed(line(True, stamp=stamp))).created == seconds


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({}, None),
        ({"eval_count": 3}, Usage(None, 3)),
        ({"prompt_eval_count": 3}, Usage(3)),
        ({"prompt_eval_count": -3, "eval_count": 1}, Usage(None, 1)),
    ],
)
def test_usage(counts: dict[str, int], usage: Usage | None) -> None:
    """A prompt out of the cache is not counted by some servers: nothing is made up."""
    assert read_answer(packed(line(True) | counts)).usage == usage


def test_durations_of_nothing_are_nothing() -> None:
    """0 is what is written where nobody measured."""
    answer = read_answer(packed(line(True) | {"total_duration": 0, "load_duration": 5}))
    extras = answer.choices[0].extras
    assert extras is not None
    assert set(extras.fields) == {"load_duration"}
    assert read_answer(packed(line(True) | {"total_duration": 0})).choices[0].extras is None


def test_log_probabilities() -> None:
    """The items are OpenAI's; they belong to the text."""
    answer = read_answer(packed(line(True, content="Hi") | {"logprobs": [TOKEN]}))
    part = answer.choices[0].parts[0]
    assert isinstance(part, Text)
    assert json.loads(part.logprobs) == [TOKEN]
    assert read_answer(packed(line(True) | {"logprobs": []})).choices[0].parts == ()


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"error": "out of memory"}, "error"),
        ({"error": {"message": "out of memory"}}, "error"),
        ({"model": "m", "response": "generated"}, "message"),
        ({"message": "Hi"}, "message"),
        (line(True, content=["Hi"]), "message.content"),
        (line(True) | {"eval_count": "many"}, "eval_count"),
        (
            line(True, tool_calls=[{"function": {"name": "f", "arguments": 1}}]),
            "message.tool_calls[0].function.arguments",
        ),
    ],
)
def test_what_is_no_answer(document: object, path: str) -> None:
    """An error in a 200, another endpoint's answer, a wrong type: named, never an empty success."""
    with pytest.raises(ReadError) as caught:
        read_answer(packed(document))
    assert caught.value.path == path
    if path == "error":
        assert caught.value.detail == "out of memory"
