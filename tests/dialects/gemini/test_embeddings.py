"""Gemini's embeddings, read and written."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.gemini import EMBEDDING_CODEC
from flumegate.dialects.gemini.embeddings import read_answer, read_request, write_answer, write_request
from flumegate.dialects.node import ReadError
from flumegate.ir.embedding import EmbeddingAnswer, EmbeddingRequest
from flumegate.ir.parts import Extras
from flumegate.ir.usage import Usage
from flumegate.ir.written import Abilities

MODEL = Abilities("tide-1")


def one(text: str, **members: Any) -> dict[str, Any]:
    return {"model": "models/tide-1", "content": {"parts": [{"text": text}]}} | members


ALL = {"taskType": "RETRIEVAL_DOCUMENT", "title": "t", "outputDimensionality": 64, "autoTruncate": True, "x": {"y": 1}}


@pytest.mark.parametrize("requests", [[one("a")], [one("a", **ALL), one("b", **ALL)]])
def test_a_batch_is_written_as_it_was_read(requests: list[Any]) -> None:
    """Texts, settings and unknown members come back."""
    request = read_request(json.dumps({"requests": requests}).encode())
    written = write_request(request, MODEL)
    assert json.loads(written.body) == {"requests": requests}
    assert written.losses == ()
    assert (request.model, request.plain) == ("tide-1", False)


def test_a_single_text_is_asked_for_as_a_batch() -> None:
    """The same settings, in either spelling; the model of the path wins."""
    body = {"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "task_type": "X", "output_dimensionality": 3}
    request = read_request(json.dumps(body).encode(), model="m")
    assert (request.inputs, request.plain, request.task, request.dimensions, request.model) == (
        ("a\nb",),
        True,
        "X",
        3,
        "m",
    )
    asked = json.loads(write_request(request, Abilities("tunedModels/t")).body)["requests"]
    assert asked == [
        {
            "model": "tunedModels/t",
            "content": {"parts": [{"text": "a\nb"}]},
            "taskType": "X",
            "outputDimensionality": 3,
        }
    ]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "content"),
        ({"requests": []}, "requests"),
        ({"requests": [{}]}, "requests[0].content"),
        ({"requests": [one("a"), one("b", taskType="X")]}, "requests[1]"),
        ({"content": {"parts": [{"inlineData": {}}]}}, "content.parts[0]"),
    ],
)
def test_what_cannot_be_embedded_is_told(body: Any, path: str) -> None:
    """With the path of the member."""
    with pytest.raises(ReadError) as caught:
        read_request(json.dumps(body).encode())
    assert caught.value.path == path


def test_losses_of_other_dialects() -> None:
    """Lists of tokens are refused, ids of users dropped; encodings are the gateway's own affair."""
    request = EmbeddingRequest(
        dialect="embeddings",
        model="m",
        inputs=("a", (1, 2)),
        encoding="base64",
        user="u",
        extras=Extras("embeddings", {"x": msgspec.Raw(b"1")}),
    )
    written = write_request(request, MODEL)
    assert json.loads(written.body) == {"requests": [one("a")]}
    assert [loss.code for loss in written.losses] == ["dropped:x", "dropped:user", "refused:input"]


def test_vectors_keep_their_order_and_form() -> None:
    """A single vector for a single text, a list for a batch; usage and unknown members come back."""
    batch = {"embeddings": [{"values": [1.5, -2.0]}, {"values": []}], "usageMetadata": {"promptTokenCount": 4}, "x": 1}
    answer = read_answer(json.dumps(batch).encode())
    assert answer.vectors == ((1.5, -2.0), ())
    assert answer.usage == Usage(4)
    many = EmbeddingRequest(dialect="gemini", model="m", inputs=("a", "b"))
    assert json.loads(write_answer(answer, many)) == batch
    single = {"embedding": {"values": [0.5]}}
    lone = EmbeddingRequest(dialect="gemini", model="m", inputs=("a",), plain=True)
    assert json.loads(write_answer(read_answer(json.dumps(single).encode()), lone)) == single
    assert json.loads(write_answer(EmbeddingAnswer(((1.0,),), usage=Usage()), lone)) == {"embedding": {"values": [1.0]}}


def test_what_is_no_answer_is_not_read_as_one() -> None:
    """No vectors, or vectors of words; an unreadable count is passed over."""
    for body in (b"{}", b'{"embedding":{"values":["a"]}}', b'{"embedding":{}}'):
        with pytest.raises(ReadError):
            read_answer(body)
    assert read_answer(b'{"embedding":{"values":[1]},"usageMetadata":3}').usage is None


def test_the_codec_has_both_sides() -> None:
    """All four functions stand in the table."""
    assert (EMBEDDING_CODEC.name, EMBEDDING_CODEC.family) == ("gemini", "gemini")
    assert EMBEDDING_CODEC[2:6] == (read_request, write_request, read_answer, write_answer)
