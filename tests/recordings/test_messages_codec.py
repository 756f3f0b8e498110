"""The Messages codec over recorded traffic: nothing changes on the way through the neutral form."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest

from flumegate.dialects.anthropic.messages import CODEC
from flumegate.dialects.anthropic.messages.read_answer import read_answer
from flumegate.dialects.anthropic.messages.read_request import read_request
from flumegate.dialects.anthropic.messages.read_stream import MessagesStreamReader
from flumegate.dialects.anthropic.messages.write_answer import write_answer
from flumegate.dialects.anthropic.messages.write_request import write_request
from flumegate.dialects.anthropic.messages.write_stream import MessagesStreamWriter
from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Asked
from flumegate.ir.fold import fold
from flumegate.ir.grammar import Grammar
from flumegate.ir.parts import Opaque, ToolCall
from flumegate.ir.request import Request
from flumegate.ir.written import Abilities
from rig import cuts
from rig.recordings import FOLDER, load

DIALECT = "anthropic.messages"
NOT_SHOWN = {
    "anthropic-sdk-tool-use-invalid-json#0": "arguments that are no JSON though the model finished: an error",
}


class Exchange(NamedTuple):
    name: str
    request: Any
    status: int
    answer: Any
    stream: bytes


def exchanges() -> list[Exchange]:
    load(DIALECT)  # skips when there is nothing
    found = []
    for file in sorted((FOLDER / DIALECT).glob("*.json")):
        for number, one in enumerate(json.loads(file.read_text("utf-8"))["exchanges"]):
            request, response = (one["request"] or {}).get("body"), one["response"]
            stream = response.get("stream", "").encode()
            found.append(Exchange(f"{file.stem}#{number}", request, response["status"], response.get("body"), stream))
    return found


RECORDED = exchanges()
REQUESTS = [pytest.param(one.request, id=one.name) for one in RECORDED if one.request]
ANSWERS = [pytest.param(one.answer, id=one.name) for one in RECORDED if "content" in (one.answer or {})]
ERRORS = [pytest.param(one, id=one.name) for one in RECORDED if one.status >= 400]
STREAMS = [pytest.param(one.stream, id=one.name) for one in RECORDED if one.stream]
SHOWN = [pytest.param(one.stream, id=one.name) for one in RECORDED if one.stream and one.name not in NOT_SHOWN]


def without_nothing(value: Any) -> Any:
    """Return a document without nulls and empty lists, which say what their absence says."""
    if isinstance(value, dict):
        return {name: without_nothing(inner) for name, inner in value.items() if inner is not None and inner != []}
    if isinstance(value, list):
        return [without_nothing(inner) for inner in value]
    return value


def usual(request: dict[str, Any]) -> Any:
    """Return a request without what else says nothing: that it is not streamed, that a tool has no description."""
    plain = without_nothing(request)
    if plain.get("stream") is False:
        del plain["stream"]
    for tool in plain.get("tools", ()):
        if tool.get("description") == "":
            del tool["description"]
    return plain


def asked(model: str) -> Asked:
    return Asked(Request(dialect=CODEC.name, model=model), "seed0", 0)


def read(pieces: Iterable[bytes]) -> list[e.Event]:
    reader = MessagesStreamReader()
    return [event for piece in pieces for event in reader.feed(piece)] + reader.close()


def told(answer: Answer) -> Any:
    """Return an answer with JSON texts parsed, and cache counts that were not told as zeros."""
    choice, usage = answer.choices[0], answer.usage
    parts = [
        json.loads(part.raw)
        if isinstance(part, Opaque)
        else (part.id, part.name, loosely(part.arguments), part.extras)
        if isinstance(part, ToolCall)
        else part
        for part in choice.parts
    ]
    counts = None if usage is None else [getattr(usage, name) or 0 for name in usage.__struct_fields__]
    return answer.id, answer.model, parts, choice.finish, choice.extras, counts


def loosely(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


@pytest.mark.parametrize("request_body", REQUESTS)
def test_a_request_survives(request_body: dict[str, Any]) -> None:
    """Identity: read and written for a model of which nothing is known, a request is the same."""
    request = read_request(json.dumps(request_body).encode())
    written = write_request(request, Abilities(request.model))
    assert usual(json.loads(written.body)) == usual(request_body)
    assert (written.losses, written.renames) == ((), {})


@pytest.mark.parametrize("body", ANSWERS)
def test_an_answer_survives(body: dict[str, Any]) -> None:
    """Identity: read and written an answer is the same."""
    written, losses = write_answer(read_answer(json.dumps(body).encode()), asked(body["model"]))
    assert without_nothing(json.loads(written)) == without_nothing(body)
    assert losses == ()


@pytest.mark.parametrize("one", ERRORS)
def test_an_error_is_read(one: Exchange) -> None:
    """Message and type are the recording's."""
    assert CODEC.read_error is not None
    failure = CODEC.read_error(one.status, json.dumps(one.answer).encode())
    assert (failure.message, failure.code) == (one.answer["error"]["message"], one.answer["error"]["type"])


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_is_legal_in_any_pieces(stream: bytes) -> None:
    """Grammar and chunking: whole, event by event, at random cuts and byte by byte."""
    events = read([stream])
    grammar = Grammar()
    for event in events:
        grammar.check(event)
    assert isinstance(events[-1], e.Ended)
    by_event = [piece + b"\n\n" for piece in stream.split(b"\n\n")]
    for pieces in (by_event, cuts.bytewise(stream), *cuts.random_cuts(stream, "messages")):
        assert read(pieces) == events


@pytest.mark.parametrize("stream", SHOWN)
def test_a_stream_survives(stream: bytes) -> None:
    """Fold: what is written of a stream, in pieces or as a whole answer, amounts to what was read."""
    events = read([stream])
    answer = fold(events)
    writer = MessagesStreamWriter(asked(answer.model))
    again = fold(read([b"".join(writer.write(event) for event in events)]))
    assert told(again) == told(answer)
    assert writer.losses.found == []
    if answer.choices[0].finish.reason != "length":
        whole, losses = write_answer(answer, asked(answer.model))
        assert told(read_answer(whole)) == told(answer)
        assert losses == ()
