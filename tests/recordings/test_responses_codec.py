"""The Responses codec over recorded traffic: nothing changes on the way through the neutral form."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import pytest

from flumegate.dialects.openai.responses import CODEC
from flumegate.dialects.openai.responses.read_answer import read_answer
from flumegate.dialects.openai.responses.read_request import read_request
from flumegate.dialects.openai.responses.read_stream import ResponsesStreamReader
from flumegate.dialects.openai.responses.write_answer import write_answer
from flumegate.dialects.openai.responses.write_request import write_request
from flumegate.dialects.openai.responses.write_stream import ResponsesStreamWriter
from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Asked
from flumegate.ir.fold import BrokenStreamError, fold
from flumegate.ir.grammar import Grammar
from flumegate.ir.request import Request
from flumegate.ir.written import Abilities
from flumegate.wire import sse
from rig.recordings import FOLDER, load


class Exchange(NamedTuple):
    name: str
    request: Any
    status: int
    answer: Any
    stream: bytes


def exchanges() -> list[Exchange]:
    load("openai.responses")  # skips when there is nothing
    found = []
    for file in sorted((FOLDER / "openai.responses").glob("*.json")):
        for number, one in enumerate(json.loads(file.read_text("utf-8"))["exchanges"]):
            request, response = one["request"] or {}, one["response"]
            body = request.get("body") if str(request.get("path", "")).endswith("/responses") else None
            found.append(
                Exchange(
                    f"{file.stem}#{number}",
                    body,
                    response["status"],
                    response.get("body"),
                    response.get("stream", "").encode(),
                )
            )
    return found


RECORDED = exchanges()
REQUESTS = [pytest.param(one.request, id=one.name) for one in RECORDED if one.request]
ANSWERS = [pytest.param(one.answer, id=one.name) for one in RECORDED if (one.answer or {}).get("object") == "response"]
ERRORS = [pytest.param(one, id=one.name) for one in RECORDED if one.status >= 400]
STREAMS = [pytest.param(one.stream, id=one.name) for one in RECORDED if one.stream]
DISAGREE = {"openai-shell-container-1-stream#0": "its deltas and its whole answer differ by one character"}
COMPLETE = [
    pytest.param(
        one.stream,
        id=one.name,
        marks=[pytest.mark.skip(reason=DISAGREE[one.name])] if one.name in DISAGREE else [],
    )
    for one in RECORDED
    if b"response.completed" in one.stream
]
ROTATING = b'"capture-id-'
"""A relay that gives an item another id in every event: ids are left out of the comparison."""


def pruned(value: Any) -> Any:
    """Nulls, empty lists and empty descriptions aside."""
    if isinstance(value, dict):
        kept = {key: pruned(one) for key, one in value.items() if one is not None and one != []}
        return {key: one for key, one in kept.items() if key != "description" or one}
    return [pruned(one) for one in value] if isinstance(value, list) else value


def typed(request: dict[str, Any]) -> dict[str, Any]:
    """A message may go without its type; ours has it. `stream: false` is the default."""
    if request.get("stream") is False:
        del request["stream"]
    if isinstance(request.get("input"), list):
        items = [{"type": "message"} | item if "role" in item else item for item in request["input"]]
        return request | {"input": items}
    return request


@pytest.mark.parametrize("body", REQUESTS)
def test_a_request_stays_what_it_was(body: Any) -> None:
    request = read_request(json.dumps(body).encode())
    written = write_request(request, Abilities(body.get("model", "")))
    assert pruned(json.loads(written.body)) == pruned(typed(body))
    assert written.losses == ()
    assert written.renames == {}


def normal(answer: dict[str, Any]) -> dict[str, Any]:
    """What we write besides: settings that this recording leaves out, and the count of cache writes."""
    answer = pruned(answer)
    if answer["status"] == "complete":  # one server's spelling
        answer["status"] = "completed"
    usage = answer.get("usage")
    if usage:
        for name, count in (("input_tokens_details", "cache_write_tokens"), ("input_tokens_details", "cached_tokens")):
            usage.setdefault(name, {}).setdefault(count, 0)
        usage.setdefault("output_tokens_details", {}).setdefault("reasoning_tokens", 0)
    return answer


def asked_for(body: Any) -> Asked:
    return Asked(Request(dialect="responses", model=body.get("model") or ""), "abc123", 1_700_000_000)


@pytest.mark.parametrize("body", ANSWERS)
def test_an_answer_stays_what_it_was(body: Any) -> None:
    written, losses = write_answer(read_answer(json.dumps(body).encode()), asked_for(body))
    assert losses == ()
    again = json.loads(written)
    whole = normal(body)
    assert {key: value for key, value in pruned(again).items() if key in whole} == whole


def streamed(pieces: Iterable[bytes]) -> list[e.Event]:
    reader = ResponsesStreamReader()
    found = [event for piece in pieces for event in reader.feed(piece)]
    return found + reader.close()


@pytest.mark.parametrize("stream", STREAMS)
def test_every_split_tells_the_same_in_a_legal_order(stream: bytes) -> None:
    whole = streamed([stream])
    grammar = Grammar()
    for event in whole:
        grammar.check(event)
    assert grammar.ended
    assert streamed(sse.split(stream)) == whole
    assert streamed(bytes([byte]) for byte in stream) == whole


def opened(value: Any) -> Any:
    """Structs as dictionaries, raw JSON as what it says."""
    if isinstance(value, msgspec.Raw | bytes):
        return pruned(json.loads(bytes(value))) if bytes(value) else None
    if isinstance(value, msgspec.Struct):
        return {name: opened(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {name: opened(one) for name, one in value.items()}
    return [opened(one) for one in value] if isinstance(value, tuple) else value


def comparable(answer: Answer, *, ids: bool) -> dict[str, Any]:
    """Settings change between the first and the last event of a stream, so they are not compared."""
    whole: dict[str, Any] = opened(answer)
    whole.pop("extras")
    for part in whole["choices"][0]["parts"]:
        for name in ("id", "item") if not ids and part.get("extras") else ():
            part["extras"]["fields"].pop(name, None)
    if not ids:
        whole.pop("id")
    return whole


def settled(value: Any) -> Any:
    """Providers encrypt state anew, and round probabilities differently, each time that they repeat an item."""
    if isinstance(value, dict):
        return {
            name: one is not None if name in ("signature", "fingerprint", "logprob") else settled(one)
            for name, one in value.items()
        }
    return [settled(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("stream", COMPLETE)
def test_a_folded_stream_is_the_whole_answer(stream: bytes) -> None:
    ends = [json.loads(event.data) for event in sse.read(stream) if event.data != b"[DONE]"]
    whole = next(end["response"] for end in ends if end["type"] == "response.completed")
    ids = ROTATING not in stream
    answer = read_answer(json.dumps(whole).encode())
    assert settled(comparable(fold(streamed([stream])), ids=ids)) == settled(comparable(answer, ids=ids))


@pytest.mark.parametrize("stream", STREAMS)
def test_what_is_written_for_a_client_reads_the_same(stream: bytes) -> None:
    events = streamed([stream])
    writer = ResponsesStreamWriter(asked_for({"model": "m"}))
    written = [writer.write(event) for event in events]
    again = streamed(written)
    assert writer.losses.found == []
    if isinstance(events[-1], e.Failed):
        with pytest.raises(BrokenStreamError):
            fold(again)
        return
    before, after = comparable(fold(events), ids=True), comparable(fold(again), ids=True)
    for part in before["choices"][0]["parts"]:  # raw reasoning text travels as a summary
        if part.get("extras"):
            part["extras"]["fields"].pop("content", None)
    before["usage"] = {name: count or 0 for name, count in (before["usage"] or {}).items()} or None
    if before["usage"]:
        before["usage"]["cache_write_1h_tokens"] = None  # this dialect has no place for it
    assert {**after, "model": before["model"], "created": before["created"]} == before


@pytest.mark.parametrize("one", ERRORS)
def test_an_error_tells_its_reason(one: Exchange) -> None:
    assert CODEC.read_error is not None
    failure = CODEC.read_error(one.status, json.dumps(one.answer).encode())
    assert failure.message == one.answer["error"]["message"]
    assert failure.status == one.status
