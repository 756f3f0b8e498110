"""Gemini's codec over recorded traffic: what is read is written again, in one piece and in any pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.dialects.gemini import CODEC, EMBEDDING_CODEC
from flumegate.dialects.gemini.count import read_count_request, write_count_request
from flumegate.dialects.gemini.read_answer import read_answer
from flumegate.dialects.gemini.read_request import read_request
from flumegate.dialects.gemini.write_answer import write_answer
from flumegate.dialects.gemini.write_request import write_request
from flumegate.dialects.gemini.write_stream import GeminiStreamWriter
from flumegate.dialects.node import ReadError
from flumegate.ir.events import Event
from flumegate.ir.fold import fold
from flumegate.ir.written import Abilities
from rig import cuts
from rig.gemini_cases import asked, folded, grammatical, merged, normal_answer, normal_request, plain, read_whole
from rig.recordings import FOLDER, load

RECORDED = load("gemini.generate", "gemini.count_tokens", "gemini.embed")
GENERATED = [one for one in RECORDED if one.dialect == "gemini.generate"]
STREAMS = [pytest.param(one, id=one.name) for one in GENERATED if one.stream]
BROKEN = {
    "google-vertex-multimodal-tool-return-matrix-tool-return-content-url-image-google-vertex#0": (
        "it ends in UNEXPECTED_TOOL_CALL: no answer, but the report of a broken one"
    )
}
WHOLES = [one for one in GENERATED if not one.stream and one.status < 400]
ANSWERS = [pytest.param(one, id=one.name) for one in WHOLES if one.name not in BROKEN]
ERRORS = [pytest.param(one, id=one.name) for one in RECORDED if one.status >= 400]
EMBEDDINGS = [pytest.param(one, id=one.name) for one in RECORDED if one.dialect == "gemini.embed"]


def requests_of(*dialects: str) -> list[Any]:
    """Return the recorded requests, which the rig's rows do not hold."""
    return [
        pytest.param(exchange["request"]["body"], id=f"{file.stem}#{number}")
        for dialect in dialects
        for file in sorted((FOLDER / dialect).glob("*.json"))
        for number, exchange in enumerate(json.loads(file.read_text("utf-8"))["exchanges"])
        if exchange["request"] is not None and exchange["request"].get("body")
    ]


@pytest.mark.parametrize("body", requests_of("gemini.generate", "gemini.count_tokens"))
def test_a_request_is_written_as_it_was_read(body: dict[str, Any]) -> None:
    """Nothing of a recorded request is lost or changed, normalisations aside (see the rig)."""
    request = read_request(json.dumps(body).encode(), model="m")
    written = write_request(request, Abilities("m"))
    assert written.losses == ()
    assert normal_request(json.loads(written.body)) == normal_request(body)
    assert read_request(written.body, model="m") == request


@pytest.mark.parametrize("body", requests_of("gemini.count_tokens"))
def test_a_count_asks_for_the_same(body: dict[str, Any]) -> None:
    """The question of a count is the request itself, bare or wrapped."""
    request = read_count_request(json.dumps(body).encode(), model="m")
    wrapped = json.loads(write_count_request(request, Abilities("m")).body)
    assert normal_request(wrapped["generateContentRequest"]) == normal_request(body) | {"model": "models/m"}


@pytest.mark.parametrize("one", ANSWERS)
def test_an_answer_is_written_as_it_was_read(one: Any) -> None:
    """Nothing of a recorded answer is lost or changed, normalisations aside (see the rig)."""
    answer = read_answer(json.dumps(one.body).encode())
    body, losses = write_answer(answer, asked(answer.model))
    assert losses == ()
    assert normal_answer(json.loads(body)) == normal_answer(one.body)
    assert read_answer(body) == answer


@pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in WHOLES if one.name in BROKEN])
def test_a_broken_answer_is_none(one: Any) -> None:
    """What a model could not finish is an error with Google's own words."""
    with pytest.raises(ReadError, match="undeclared function"):
        read_answer(json.dumps(one.body).encode())


@pytest.mark.parametrize("one", STREAMS)
def test_a_stream_says_the_same_in_any_pieces(one: Any) -> None:
    """Whole, by event, byte by byte and at random cuts: the same events, in a legal order, to a complete end."""
    expected = read_whole([one.stream])
    grammatical(expected)
    by_event = [event + b"\r\n\r\n" for event in one.stream.split(b"\r\n\r\n")]
    for pieces in (by_event, cuts.bytewise(one.stream), *cuts.random_cuts(one.stream, one.name)):
        assert read_whole(pieces) == expected


@pytest.mark.parametrize("one", STREAMS)
def test_a_stream_folds_into_the_whole_answer(one: Any) -> None:
    """A stream amounts to the answer that the same parts in one piece would be."""
    chunks = [json.loads(line[5:]) for line in one.stream.decode().splitlines() if line.startswith("data:")]
    assert plain(folded([one.stream])) == plain(read_answer(json.dumps(merged(chunks)).encode()))


@pytest.mark.parametrize("one", STREAMS)
def test_a_stream_is_written_as_it_was_read(one: Any) -> None:
    """What our writer makes of the events of our reader folds into the same answer."""
    events: list[Event] = read_whole([one.stream])
    whole = fold(events)
    writer = GeminiStreamWriter(asked(whole.model))
    written = b"".join(map(writer.write, events))
    assert writer.losses.found == []
    assert folded([written]) == whole


@pytest.mark.parametrize("one", ERRORS)
def test_an_error_tells_its_reason(one: Any) -> None:
    """Every recorded error has a message, a status word and a reason beyond its HTTP status."""
    assert CODEC.read_error is not None
    failure = CODEC.read_error(one.status, json.dumps(one.body).encode())
    assert failure.message == one.body["error"]["message"]
    assert failure.code == one.body["error"]["status"]
    assert failure.reason in ("rate_limited", "not_found", "invalid_request")


@pytest.mark.parametrize("one", EMBEDDINGS)
def test_vectors_are_written_as_they_were_read(one: Any) -> None:
    """Vectors keep their order and every digit."""
    codec = EMBEDDING_CODEC
    assert codec.read_answer is not None
    assert codec.write_answer is not None
    assert codec.read_request is not None
    body = json.dumps(one.body).encode()
    request = codec.read_request(b'{"requests":[{"content":{"parts":[{"text":"a"}]}}]}')
    assert json.loads(codec.write_answer(codec.read_answer(body), request)) == one.body


@pytest.mark.parametrize("body", requests_of("gemini.embed"))
def test_an_embedding_request_is_written_as_it_was_read(body: dict[str, Any]) -> None:
    """Texts and settings of a recorded batch come back."""
    codec = EMBEDDING_CODEC
    assert codec.read_request is not None
    assert codec.write_request is not None
    request = codec.read_request(json.dumps(body).encode())
    written = codec.write_request(request, Abilities(request.model))
    assert json.loads(written.body) == body
    assert written.losses == ()
