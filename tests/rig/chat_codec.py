"""Short ways through the chat codec, for tests: documents in, documents, losses and events out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from flumegate.dialects.openai.chat.read_request import read_request
from flumegate.dialects.openai.chat.read_stream import ChatStreamReader
from flumegate.dialects.openai.chat.write_answer import write_answer
from flumegate.dialects.openai.chat.write_request import write_request
from flumegate.dialects.openai.chat.write_stream import ChatStreamWriter
from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Asked
from flumegate.ir.grammar import Grammar
from flumegate.ir.request import Request, Turn
from flumegate.ir.written import Abilities
from flumegate.wire import sse

Json = dict[str, Any]
USER = {"role": "user", "content": "Which way to the mill?"}


def read(*messages: Json, **settings: Any) -> Request:
    """Return a request read from a document."""
    return read_request(json.dumps({"model": "m-1", "messages": list(messages) or [USER]} | settings).encode())


def foreign(*turns: Turn, **settings: Any) -> Request:
    """Return a request of another dialect."""
    return Request(dialect="messages", model="m-1", turns=turns, **settings)


def written(request: Request, server: str = "", **abilities: Any) -> tuple[Json, list[str]]:
    """Return a request's document and the codes of its losses."""
    found = write_request(request, Abilities("m-1", server, **abilities))
    return json.loads(found.body), [loss.code for loss in found.losses]


def asked(request: Request | None = None, **settings: Any) -> Asked:
    """Return a question to answer."""
    return Asked(request or Request(dialect="chat", model="mine", **settings), "s33d", 77)


def answered(answer: Answer, question: Asked | None = None) -> tuple[Json, list[str]]:
    """Return an answer's document and the codes of its losses."""
    body, losses = write_answer(answer, question or asked())
    return json.loads(body), [loss.code for loss in losses]


def chunk(delta: Json | None, finish: str | None = None, index: Any = 0, **members: Any) -> bytes:
    """Return one event with one choice."""
    choice: Json = {"index": index, "finish_reason": finish}
    if delta is not None:
        choice["delta"] = delta
    return event({"id": "c-1", "model": "up", "created": 5, "choices": [choice]} | members)


def event(members: Json) -> bytes:
    """Return one event."""
    return b"data: %b\n\n" % json.dumps(members).encode()


DONE = b"data: [DONE]\n\n"


def streamed(*events: bytes) -> list[e.Event]:
    """Return what a stream says; holds it to the grammar."""
    reader = ChatStreamReader()
    found = [event for one in events for event in reader.feed(one)] + reader.close()
    assert reader.feed(chunk({"content": "late"})) == []
    assert reader.close() == []
    grammar = Grammar()
    for one in found:
        grammar.check(one)
    assert grammar.ended
    return found


def chunks(stream: Iterable[e.Event], question: Asked | None = None) -> tuple[list[Any], list[str]]:
    """Return the JSON of the events that we write, `[DONE]` as a string, and the codes of the losses."""
    writer = ChatStreamWriter(question or asked())
    data = b"".join(writer.write(one) for one in stream)
    frames = [one.data.decode() for one in sse.read(data)]
    return [one if one == "[DONE]" else json.loads(one) for one in frames], [one.code for one in writer.losses.found]
