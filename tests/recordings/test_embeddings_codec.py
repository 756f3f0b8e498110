"""Embeddings over recorded traffic: what was asked and answered survives reading and writing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.dialects.openai.embeddings import EMBEDDING_CODEC
from flumegate.dialects.openai.embeddings.read import read_answer, read_request
from flumegate.dialects.openai.embeddings.write import write_answer, write_request
from flumegate.ir.embedding import EmbeddingRequest
from flumegate.ir.written import Abilities
from rig.recordings import FOLDER, load

load("openai.embeddings")  # skips the module where the recordings are absent


def exchanges() -> list[Any]:
    return [
        pytest.param(exchange, id=f"{file.stem}#{number}")
        for file in sorted((FOLDER / "openai.embeddings").glob("*.json"))
        for number, exchange in enumerate(json.loads(file.read_text("utf-8"))["exchanges"])
    ]


def answered(exchange: Any) -> bool:
    return bool(exchange["response"]["status"] < 400)


def request_of(exchange: Any) -> EmbeddingRequest:
    """Return the request; recordings of answers alone stand for one that asked for numbers."""
    if exchange["request"] is None:
        model = exchange["response"]["body"]["model"]
        return EmbeddingRequest(dialect="openai_embeddings", model=model, inputs=("",))
    return read_request(json.dumps(exchange["request"]["body"]).encode())


@pytest.mark.parametrize("exchange", [one for one in exchanges() if one.values[0]["request"] is not None])
def test_requests_survive(exchange: Any) -> None:
    """Asked of OpenAI, they are the same; nothing is lost."""
    body = exchange["request"]["body"]
    written = write_request(request_of(exchange), Abilities(body["model"], server="openai"))
    assert json.loads(written.body) == body
    assert written.losses == ()


@pytest.mark.parametrize("exchange", [one for one in exchanges() if answered(one.values[0])])
def test_answers_survive(exchange: Any) -> None:
    """Numbers and base64 come back as they were."""
    body = exchange["response"]["body"]
    answer = read_answer(json.dumps(body).encode())
    assert json.loads(write_answer(answer, request_of(exchange))) == body


@pytest.mark.parametrize("exchange", [one for one in exchanges() if not answered(one.values[0])])
def test_errors_are_understood(exchange: Any) -> None:
    """An unknown model is one."""
    response = exchange["response"]
    assert EMBEDDING_CODEC.read_error is not None
    failure = EMBEDDING_CODEC.read_error(response["status"], json.dumps(response["body"]).encode())
    assert failure.reason == "not_found"
    assert failure.message == response["body"]["error"]["message"]
