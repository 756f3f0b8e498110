from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from flumegate.dialects.node import ReadError
from flumegate.dialects.ollama.embeddings import (
    EMBED_CODEC,
    EMBEDDINGS_CODEC,
    read_answer,
    read_old_request,
    read_request,
    write_answer,
    write_old_answer,
    write_request,
)
from flumegate.ir.embedding import EmbeddingAnswer, EmbeddingRequest
from flumegate.ir.parts import Extras
from flumegate.ir.usage import Usage
from flumegate.ir.written import Abilities
from rig.ollama_cases import packed

REQUESTS: dict[str, dict[str, Any]] = {
    "one text": {"input": "a"},
    "an empty text": {"input": ""},
    "texts": {"input": ["a", "b"]},
    "one text in a list": {"input": ["a"]},
    "the model is only loaded": {"input": []},
    "everything": {
        "input": ["a"],
        "truncate": True,
        "dimensions": 8,
        "keep_alive": "5m",
        "options": {"num_ctx": 512, "seed": 1},
        "x_new": [1],
    },
}


@pytest.mark.parametrize("name", REQUESTS)
def test_identity_of_requests(name: str) -> None:
    """What a client of the dialect asks is asked in the same words."""
    document = {"model": "heron", **REQUESTS[name]}
    written = write_request(read_request(packed(document)), Abilities("heron"))
    assert json.loads(written.body) == document
    assert written.losses == ()


ANSWERS: dict[str, dict[str, Any]] = {
    "vectors": {
        "embeddings": [[0.5, -0.25], [1.0, 0.0057293195]],
        "total_duration": 9,
        "load_duration": 3,
        "prompt_eval_count": 4,
    },
    "none": {"embeddings": [], "total_duration": 0, "load_duration": 0},
    "more": {"embeddings": [[1.0]], "total_duration": 1, "load_duration": 0, "x_new": {"a": 1}},
}


@pytest.mark.parametrize("name", ANSWERS)
def test_identity_of_answers(name: str) -> None:
    """What the server said is said again."""
    document = {"model": "heron", **ANSWERS[name]}
    request = EmbeddingRequest(dialect="ollama_embed", model="heron", inputs=("a",))
    assert json.loads(write_answer(read_answer(packed(document)), request)) == document


def write(abilities: Abilities | None = None, **members: Any) -> tuple[dict[str, Any], list[str]]:
    request = EmbeddingRequest(**{"dialect": "openai_embeddings", "model": "m", "inputs": ("a",)} | members)
    written = write_request(request, abilities or Abilities("heron:8b"))
    body = json.loads(written.body)
    assert body.pop("model") == "heron:8b"
    return body, [loss.code for loss in written.losses]


FATES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "too long is an error": ({}, {"input": ["a"], "truncate": False}, []),
    "unless it was said": ({"truncate": True}, {"input": ["a"], "truncate": True}, []),
    "one text": ({"plain": True}, {"input": "a", "truncate": False}, []),
    "dimensions": ({"dimensions": 4}, {"input": ["a"], "dimensions": 4, "truncate": False}, []),
    "the form is written here": ({"encoding": "base64"}, {"input": ["a"], "truncate": False}, []),
    "token ids": ({"inputs": ((1, 2), "b")}, {"input": ["b"], "truncate": False}, ["refused:input"]),
    "one list of ids": ({"inputs": ((1, 2),), "plain": True}, {"input": [], "truncate": False}, ["refused:input"]),
    "hints": (
        {"user": "u", "task": "t", "title": "i"},
        {"input": ["a"], "truncate": False},
        ["dropped:user", "dropped:task", "dropped:title"],
    ),
    "members of others": (
        {"extras": Extras("openai_embeddings", {"x": msgspec.Raw(b"1")})},
        {"input": ["a"], "truncate": False},
        ["dropped:x"],
    ),
}


@pytest.mark.parametrize("name", FATES)
def test_fates(name: str) -> None:
    """Each member is said, or its loss is."""
    members, expected, lost = FATES[name]
    assert write(**members) == (expected, lost)


def test_the_window() -> None:
    """It is asked for where it is known; the client's own comes first."""
    window = Abilities("heron:8b", num_ctx=2048)
    assert write(window)[0]["options"] == {"num_ctx": 2048}
    options = {"options": msgspec.Raw(b'{"num_ctx":512,"seed":1}')}
    body, _ = write(window, dialect="ollama_embed", extras=Extras("ollama_embed", options))
    assert body == {"input": ["a"], "options": {"num_ctx": 512, "seed": 1}}


def test_the_old_endpoint() -> None:
    """One prompt in, one vector out; it is asked as the new one."""
    request = read_old_request(b'{"model":"heron","prompt":"a","keep_alive":5}')
    assert (request.inputs, request.plain, request.model) == (("a",), True, "heron")
    assert json.loads(write_request(request, Abilities("heron")).body) == {
        "model": "heron",
        "input": "a",
        "keep_alive": 5,
    }
    assert json.loads(write_old_answer(EmbeddingAnswer(((0.5, 1.0),)), request)) == {"embedding": [0.5, 1.0]}
    assert json.loads(write_old_answer(EmbeddingAnswer(()), request)) == {"embedding": []}
    assert read_old_request(b"{}", model="heron").inputs == ()
    assert read_old_request(b"{}", model="heron").model == "heron"


def test_an_answer_of_another_provider() -> None:
    """The client's name of the model; durations that nobody measured are 0."""
    request = EmbeddingRequest(dialect="ollama_embed", model="heron", inputs=("a",))
    answer = EmbeddingAnswer(((1.0,),), "other", Usage(3), Extras("openai_embeddings", {"x": msgspec.Raw(b"1")}))
    assert json.loads(write_answer(answer, request)) == {
        "model": "heron",
        "embeddings": [[1.0]],
        "total_duration": 0,
        "load_duration": 0,
        "prompt_eval_count": 3,
    }
    assert "prompt_eval_count" not in json.loads(write_answer(EmbeddingAnswer(((1.0,),)), request))
    assert "prompt_eval_count" not in json.loads(write_answer(EmbeddingAnswer(((1.0,),), usage=Usage()), request))


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"error":"no such model"}', "error"),
        (b'{"embeddings":"x"}', "embeddings"),
        (b'{"embeddings":[["x"]]}', "embeddings"),
        (b"[]", ""),
    ],
)
def test_what_is_no_answer(body: bytes, path: str) -> None:
    """It is named."""
    with pytest.raises(ReadError) as caught:
        read_answer(body)
    assert caught.value.path == path


@pytest.mark.parametrize("body", [b'{"input":[1]}', b'{"input":{}}', b'{"input":"a","truncate":1}', b""])
def test_what_is_no_request(body: bytes) -> None:
    """It is a ReadError."""
    with pytest.raises(ReadError):
        read_request(body)


def test_the_codecs() -> None:
    """The old endpoint is for clients only."""
    assert (EMBED_CODEC.name, EMBED_CODEC.family) == ("ollama_embed", "ollama")
    assert None not in EMBED_CODEC
    assert (EMBEDDINGS_CODEC.name, EMBEDDINGS_CODEC.family) == ("ollama_embeddings", "ollama")
    assert EMBEDDINGS_CODEC.write_request is None
    assert EMBEDDINGS_CODEC.read_answer is None
