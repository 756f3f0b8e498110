"""What the chat codec makes of real traffic: nothing is lost, cuts change nothing, every stream is legal.

Normalisations stand in `rig.chat_documents`.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.node import ReadError
from flumegate.dialects.openai.chat import CODEC
from flumegate.dialects.openai.chat.read_answer import read_answer
from flumegate.dialects.openai.chat.read_request import read_request
from flumegate.dialects.openai.chat.read_stream import ChatStreamReader
from flumegate.dialects.openai.chat.write_answer import write_answer
from flumegate.dialects.openai.chat.write_request import write_request
from flumegate.dialects.openai.chat.write_stream import ChatStreamWriter
from flumegate.dialects.openai.errors import read_error
from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Asked
from flumegate.ir.fold import fold
from flumegate.ir.grammar import Grammar
from flumegate.ir.parts import Text, Thinking
from flumegate.ir.request import Request
from flumegate.ir.written import Abilities
from flumegate.wire import sse
from rig import chat_documents, recordings

FOLDER = recordings.FOLDER / "openai.chat"
if not FOLDER.is_dir():
    pytest.skip("no recordings: the folder ../shared/recordings is absent", allow_module_level=True)


def _exchanges() -> list[tuple[str, str, Any]]:
    return [
        (f"{file.stem}#{number}", exchange["provider"], exchange)
        for file in sorted(FOLDER.glob("*.json"))
        for number, exchange in enumerate(json.loads(file.read_text("utf-8"))["exchanges"])
    ]


EXCHANGES = _exchanges()
REQUESTS = [(name, who, found["request"]["body"]) for name, who, found in EXCHANGES if found["request"]]
ANSWERS = [
    (name, found["response"]["body"])
    for name, _, found in EXCHANGES
    if found["response"]["status"] == 200 and "body" in found["response"]
]
ERRORS = [
    (name, found["response"]["status"], found["response"]["body"])
    for name, _, found in EXCHANGES
    if found["response"]["status"] != 200
]
STREAMS = [
    (name, found["response"]["stream"].encode()) for name, _, found in EXCHANGES if "stream" in found["response"]
]
BROKEN = {
    "openrouter-stream-error#0": "Token limit reached",
    "groq-tool-use-failed-error-streaming#0": "Tool call validation failed",
}
"""Recorded streams that fail, and what they say."""
SPLICED = {
    "cerebras-cererebras-structured-output-tools-1-stream#0": "two answers one after the other in one stream",
}
"""Recordings that are no single answer, so that no whole answer amounts to the same."""


def named(cases: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case[0] for case in cases])


def read(stream: bytes, size: int) -> list[e.Event]:
    reader = ChatStreamReader()
    found = []
    for start in range(0, len(stream), size):
        found += reader.feed(stream[start : start + size])
    return found + reader.close()


def asked(model: str) -> Asked:
    return Asked(Request(dialect="chat", model=model, include_usage=True), "seed", 7)


@named(REQUESTS)
def test_a_request_comes_back_as_it_was(case: tuple[str, str, Any]) -> None:
    """Reading and writing a recorded request loses nothing and changes nothing but what is documented."""
    _, provider, body = case
    request = read_request(json.dumps(body).encode())
    field = next(
        (name for turn in body["messages"] for name in ("reasoning_content", "reasoning") if turn.get(name)), ""
    )
    written = write_request(request, Abilities(body["model"], provider, reasoning_field=field))
    assert written.losses == ()
    assert written.renames == {}
    assert chat_documents.request(json.loads(written.body)) == chat_documents.request(body)


@named(ANSWERS)
def test_an_answer_comes_back_as_it_was(case: tuple[str, Any]) -> None:
    """Reading and writing a recorded answer loses nothing and changes nothing but what is documented."""
    _, body = case
    written, losses = write_answer(read_answer(json.dumps(body).encode()), asked(body["model"]))
    assert losses == ()
    assert chat_documents.answer(json.loads(written)) == chat_documents.answer(body)


@named(STREAMS)
def test_a_stream_is_legal_and_cuts_do_not_change_it(case: tuple[str, bytes]) -> None:
    """Whole, event by event or byte by byte: the same events, in legal order."""
    _, stream = case
    whole = read(stream, len(stream))
    grammar = Grammar()
    for event in whole:
        grammar.check(event)
    assert grammar.ended
    assert read(stream, 1) == whole
    reader = ChatStreamReader()
    pieces = [event for block in sse.split(stream) for event in reader.feed(block)]
    assert pieces + reader.close() == whole


def plain(answer: Answer) -> Any:
    """Return what an answer says, with neighbours joined: a stream may say in pieces what a message says at once."""
    said = []
    for choice in answer.choices:
        texts = "".join(part.text for part in choice.parts if isinstance(part, Text))
        thoughts = "".join(text for part in choice.parts if isinstance(part, Thinking) for text in part.texts)
        others = [
            msgspec.structs.replace(part, extras=None) for part in choice.parts if not isinstance(part, Text | Thinking)
        ]
        citations = [one for part in choice.parts if isinstance(part, Text) for one in part.citations]
        said.append((thoughts, texts, others, citations, choice.finish.reason, choice.finish.stop_sequence))
    return answer.id, answer.model, answer.created, said, answer.usage


@named(STREAMS)
def test_a_stream_amounts_to_the_whole_answer(case: tuple[str, bytes]) -> None:
    """Folding the events gives what reading the same answer in one piece gives."""
    name, stream = case
    if name in SPLICED:
        pytest.skip(SPLICED[name])
    events = read(stream, 1_000)
    if name in BROKEN:
        failed = events[-1]
        assert isinstance(failed, e.Failed)
        assert BROKEN[name] in failed.failure.message
        return
    whole = read_answer(json.dumps(chat_documents.accumulate(stream)).encode())
    assert plain(fold(events)) == plain(whole)


@named(STREAMS)
def test_a_stream_is_written_as_it_was_meant(case: tuple[str, bytes]) -> None:
    """What we write for a client reads as the same answer, and adds up the same way in a naive client."""
    name, stream = case
    events = read(stream, 1_000)
    writer = ChatStreamWriter(asked("a-model"))
    written = b"".join(writer.write(event) for event in events)
    again = read(written, len(written))
    if name in BROKEN:
        assert isinstance(again[-1], e.Failed)
        return
    meant = fold(events)
    expected = msgspec.structs.replace(
        meant, id=meant.id or "chatcmpl-seed", created=meant.created or 7, model="a-model"
    )
    assert plain(fold(again)) == plain(expected)
    assert plain(read_answer(json.dumps(chat_documents.accumulate(written)).encode())) == plain(expected)
    assert all(loss.kind == "dropped" for loss in writer.losses.found)


@named(ERRORS)
def test_an_error_says_what_the_server_said(case: tuple[str, int, Any]) -> None:
    """The message of a recorded error survives, and its class fits its status."""
    _, status, body = case
    failure = read_error(status, json.dumps(body).encode())
    assert failure.message.startswith(body["error"]["message"])
    assert failure.status == status
    assert failure.reason in ("invalid_request", "not_found", "rate_limited")


def test_an_error_is_no_answer() -> None:
    """An error body that comes with status 200 is not taken for an answer."""
    for _, _, body in ERRORS:
        with pytest.raises(ReadError):
            read_answer(json.dumps(body).encode())
    assert CODEC.name == "chat"
