from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.dialects.node import ReadError
from flumegate.ir.parts import Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.written import Abilities, Written
from rig import goldens
from rig.goldens import CODECS, TARGETS, Question, Target

READABLE = goldens.requests()
OWN = [question for question in READABLE if CODECS[question.client].write_request is not None]
NORMALISED = {
    # what a dialect says in several ways is written in one of them
    "empties-gemini": "an empty generationConfig says nothing",
    "empties-ollama_chat": "empty options say nothing",
    "foreign-state-chat": "state of another provider may not be sent",
    "foreign-state-messages": "likewise",
    "foreign-state-responses": "likewise",
    "returned-state-chat": "likewise",
    "returned-state-messages": "likewise",
    "returned-state-responses": "likewise",
    "nasty-schemas-gemini": "parameters are written as JSON Schema",
    "odd-names-chat": "ids are made legal, and no arguments are an empty object",
    "old-functions-chat": "functions are written as tools",
}


def write(question: Question, abilities: Abilities, codec: str) -> Written:
    writer = CODECS[codec].write_request
    assert writer is not None
    return writer(question.read(), abilities)


LOSES = {
    "foreign-state": "state of another provider may not be sent",
    "returned-state": "likewise",
    "unanswered-call": "a provider that refuses this is not even asked",
}


def own(question: Question) -> Written:
    """Return a request as its own dialect writes it for a model of which little is known."""
    abilities = Abilities(question.read().model, reasoning_field="reasoning_content")
    return write(question, abilities, question.client)


def without_nothing(value: Any) -> Any:
    """Return a document without nulls and empty lists, which say the same as their absence."""
    if isinstance(value, dict):
        return {name: without_nothing(inner) for name, inner in value.items() if inner is not None and inner != []}
    if isinstance(value, list):
        return [without_nothing(inner) for inner in value]
    return value


def usual(client: str, document: Any) -> Any:
    """Return a document that says what may be left unsaid: the type of Responses messages, that Ollama streams."""
    if client == "ollama_chat":
        document.setdefault("stream", True)
    items = document.get("input")
    for item in items if isinstance(items, list) else []:
        if "role" in item:
            item.setdefault("type", "message")
    return document


@pytest.mark.parametrize("question", OWN, ids=lambda question: question.name)
def test_identity(question: Question) -> None:
    """Read and written in its own dialect a request is the same, and nothing is lost."""
    written = own(question)
    again = own(question._replace(body=written.body))
    assert json.loads(again.body) == json.loads(written.body)
    assert written.losses == () or question.case in LOSES
    assert written.renames == {}
    document = without_nothing(json.loads(question.body))
    if question.name not in NORMALISED:
        assert without_nothing(json.loads(written.body)) == usual(question.client, document)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("question", READABLE, ids=lambda question: question.name)
def test_no_word_is_lost_in_silence(question: Question, target: Target) -> None:
    """Whatever the client said to the model stands in the written request, or a loss names it or what holds it."""
    request = question.read()
    written = write(question, target.abilities, target.codec)
    losses = {loss.path for loss in written.losses}
    said = list(strings(json.loads(written.body)))
    everything = "\n".join(said)
    for turn in request.turns:
        for part in turn.parts:
            for word, at in words(part):
                assert word in everything or is_named(at, losses), f"{word!r} of {at} is neither said nor reported"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("question", READABLE, ids=lambda question: question.name)
def test_what_is_written_is_of_its_dialect(question: Question, target: Target) -> None:
    """The target's own reader takes what was written, and it names the model; twice written it is the same."""
    written = write(question, target.abilities, target.codec)
    assert written == write(question, target.abilities, target.codec)
    read = CODECS[target.codec].read_request
    assert read is not None
    try:
        again = read(written.body, model=target.abilities.model)
    except ReadError:
        assert any(loss.kind == "refused" for loss in written.losses), "unreadable and not refused"
    else:
        assert again.model == target.abilities.model
        assert b"fg1." not in written.body, "state of another provider was sent"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("question", READABLE, ids=lambda question: question.name)
def test_a_loss_tells_where_and_why(question: Question, target: Target) -> None:
    """Every loss has a path and one sentence, and none is told twice."""
    losses = write(question, target.abilities, target.codec).losses
    for loss in losses:
        assert loss.path, loss
        assert loss.reason.endswith("."), loss
        assert loss.reason[0].isupper(), loss
    assert len(set(losses)) == len(losses)


MESSAGES = [target for target in TARGETS if target.codec in {"chat", "ollama_chat"}]


@pytest.mark.parametrize("target", MESSAGES, ids=lambda target: target.name)
@pytest.mark.parametrize("question", READABLE, ids=lambda question: question.name)
def test_results_stand_behind_their_calls(question: Question, target: Target) -> None:
    """Calls made at once are one message and their results come next, named as the tools are: servers refuse else."""
    written = write(question, target.abilities, target.codec)
    is_refused = any(loss.kind == "refused" for loss in written.losses)
    if is_refused or question.client == target.codec or question.case == "unanswered-call":
        return
    document = json.loads(written.body)
    offered = {tool["function"]["name"] for tool in document.get("tools", []) if "function" in tool}
    open_calls: dict[str, str] = {}
    for message in document["messages"]:
        if message["role"] == "tool":
            called = open_calls.pop(message.get("tool_call_id", ""))
            assert message.get("tool_name", called) == called
        else:
            assert not open_calls, f"{message} stands between calls and results"
        for call in message.get("tool_calls", []):
            inner = call.get("function") or call["custom"]
            open_calls[call.get("id", "")] = inner["name"]
            assert inner["name"] in offered or "custom" in call
    assert not open_calls


def is_named(at: str, losses: set[str]) -> bool:
    """Tell whether a loss names a place, one inside it or one around it."""
    return any(at == path or at.startswith((f"{path}.", f"{path}[")) or path.startswith(f"{at}.") for path in losses)


def words(part: Part) -> list[tuple[str, str]]:
    """Return what the model would read of a part, each with its place."""
    match part:
        case Text() | Refusal():
            said = part.text.strip()
            return [(word, part.at) for word in (strings_of(said) if said.startswith("{") else [said])]
        case Thinking():
            return [(text, "reasoning") for text in part.texts]
        case ToolCall():
            return [(word, part.at) for word in strings_of(part.arguments)]
        case ToolResult():
            return [found for inner in part.parts for found in words(inner)]
        case Media():
            return [(part.data or part.text or part.url or part.file_id, part.at)]
        case Opaque():
            return [(word, part.at) for word in strings_of(part.raw)]


def strings_of(raw: str | bytes) -> list[str]:
    try:
        return list(strings(json.loads(raw or "{}")))
    except ValueError:
        return [raw if isinstance(raw, str) else raw.decode()]


def strings(value: Any) -> Any:
    """Yield every string inside a document, also of JSON texts inside strings."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value
        if value.startswith("{") and value.endswith("}"):
            yield from strings_of(value)
