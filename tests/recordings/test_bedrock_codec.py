"""Recorded traffic of Bedrock's Converse: whole answers, binary streams in any cut, errors."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flumegate.dialects.bedrock import CODEC
from flumegate.dialects.bedrock.read_answer import read_answer
from flumegate.dialects.bedrock.read_stream import BedrockStreamReader
from flumegate.ir import events as e
from flumegate.ir.fold import fold
from flumegate.ir.grammar import Grammar
from flumegate.ir.parts import Opaque, Text, Thinking, ToolCall
from flumegate.wire import eventstream
from rig import cuts
from rig.recordings import FOLDER

if not FOLDER.is_dir():
    pytest.skip(f"no recordings: the folder ../{FOLDER.parent.name}/{FOLDER.name} is absent", allow_module_level=True)


class Recorded(NamedTuple):
    name: str
    status: int
    body: Any
    stream: bytes


def _load() -> list[Recorded]:
    found = []
    for file in sorted(Path(FOLDER / "bedrock.converse").glob("*.json")):
        for number, exchange in enumerate(json.loads(file.read_text("utf-8"))["exchanges"]):
            response = exchange["response"]
            stream = base64.b64decode(response.get("stream_base64", ""))
            found.append(Recorded(f"{file.stem}#{number}", response["status"], response.get("body"), stream))
    return found


ALL = _load()
ANSWERS = [one for one in ALL if one.status == 200 and one.body is not None]
STREAMS = [one for one in ALL if one.stream]
ERRORS = [one for one in ALL if one.status != 200]


def read(pieces: list[bytes]) -> list[e.Event]:
    reader = BedrockStreamReader()
    return [event for piece in pieces for event in reader.feed(piece)] + reader.close()


def frames(stream: bytes) -> list[bytes]:
    return [eventstream.write(*frame) for frame in eventstream.Reader().feed(stream)]


@pytest.mark.parametrize("recorded", STREAMS, ids=lambda one: one.name)
def test_streams_obey_the_grammar_in_any_cut(recorded: Recorded) -> None:
    """Whole, frame by frame, byte by byte and at random: the same legal events."""
    whole = read([recorded.stream])
    grammar = Grammar()
    for event in whole:
        grammar.check(event)
    assert isinstance(whole[-1], e.Ended)
    cuttings = [frames(recorded.stream), cuts.bytewise(recorded.stream)]
    for pieces in [*cuttings, *cuts.random_cuts(recorded.stream, recorded.name)]:
        assert read(pieces) == whole


@pytest.mark.parametrize("recorded", STREAMS, ids=lambda one: one.name)
def test_written_frames_are_the_recorded_ones(recorded: Recorded) -> None:
    """Our framing is AWS's, checksums included."""
    assert b"".join(frames(recorded.stream)) == recorded.stream


@pytest.mark.parametrize("recorded", STREAMS, ids=lambda one: one.name)
def test_a_stream_folds_into_what_its_events_amount_to(recorded: Recorded) -> None:
    """The pieces of each block, put together here without the reader, are the blocks of the folded answer."""
    folded = fold(read([recorded.stream]))
    blocks: dict[int, dict[str, str]] = {}
    for frame in eventstream.Reader().feed(recorded.stream):
        payload = json.loads(frame.payload)
        block = blocks.setdefault(payload.get("contentBlockIndex", -1), {})
        delta = payload.get("delta", {})
        tool = payload.get("start", {}).get("toolUse")
        if tool is not None:
            block |= {"name": tool["name"], "id": tool["toolUseId"]}
        for place in (delta, delta.get("toolUse", {}), delta.get("reasoningContent", {})):
            for member, value in place.items():
                if isinstance(value, str):
                    block[member] = block.get(member, "") + value
    del blocks[-1]
    said = []
    for part in folded.choices[0].parts:
        match part:
            case Text():
                said.append({"text": part.text})
            case ToolCall():
                said.append({"name": part.name, "id": part.id, "input": part.arguments})
            case Thinking():
                said.append({"redactedContent" if part.redacted else "signature": part.signature})
    assert said == list(blocks.values())
    assert folded.usage is not None
    assert folded.usage.input_tokens


@pytest.mark.parametrize("recorded", ANSWERS, ids=lambda one: one.name)
def test_whole_answers_are_read_without_a_rest(recorded: Recorded) -> None:
    """Every block has a place, and the counts are those of the recording."""
    answer = read_answer(json.dumps(recorded.body).encode())
    content = recorded.body["output"]["message"]["content"]
    assert len(answer.choices[0].parts) == len(content)
    assert not any(isinstance(part, Opaque) for part in answer.choices[0].parts)
    assert answer.choices[0].finish.raw == recorded.body["stopReason"]
    assert answer.usage is not None
    assert answer.usage.output_tokens == recorded.body["usage"]["outputTokens"]


@pytest.mark.parametrize("recorded", ERRORS, ids=lambda one: one.name)
def test_errors_keep_their_words(recorded: Recorded) -> None:
    assert CODEC.read_error is not None
    failure = CODEC.read_error(recorded.status, json.dumps(recorded.body).encode())
    assert failure.message == recorded.body["message"]
    assert failure.reason in ("invalid_request", "not_found")


def test_there_is_something_of_each_kind() -> None:
    """A loader that finds nothing proves nothing."""
    assert ANSWERS
    assert STREAMS
    assert ERRORS
