from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.dialects.openai.embeddings.read import read_answer, read_request
from flumegate.dialects.openai.embeddings.write import write_answer, write_request
from flumegate.ir.embedding import EmbeddingAnswer, EmbeddingRequest
from flumegate.ir.parts import Extras
from flumegate.ir.usage import Usage
from flumegate.ir.written import Abilities
from rig import cuts

REQUESTS: dict[str, dict[str, Any]] = {
    "a text": {"input": "a"},
    "texts": {"input": ["a", "b"]},
    "token ids": {"input": [1, 2]},
    "lists of token ids": {"input": [[1, 2], [3]]},
    "base64": {"input": ["a"], "encoding_format": "base64"},
    "everything": {"input": ["a"], "encoding_format": "float", "dimensions": 8, "user": "u", "x_new": {"a": [1]}},
}


@pytest.mark.parametrize("name", REQUESTS)
def test_identity_of_requests(name: str) -> None:
    """What a client asks of OpenAI is asked in the same words."""
    document = {"model": "delta-3", **REQUESTS[name]}
    written = write_request(read_request(json.dumps(document).encode()), Abilities("delta-3", server="openai"))
    assert json.loads(written.body) == document
    assert (written.losses, written.renames) == ((), {})


@pytest.mark.parametrize("server", ["vllm", "mistral", "compatible"])
@pytest.mark.parametrize("encoding", ["", "float", "base64"])
def test_others_are_asked_for_numbers(server: str, encoding: str) -> None:
    """Whatever the client asked for: many refuse base64, some ignore it."""
    body = json.dumps({"model": "m", "input": "a"} | ({"encoding_format": encoding} if encoding else {})).encode()
    written = write_request(read_request(body), Abilities("m", server=server))
    assert json.loads(written.body)["encoding_format"] == "float"
    assert written.losses == ()


def write(**members: Any) -> tuple[dict[str, Any], list[str]]:
    request = EmbeddingRequest(**{"dialect": "gemini_embed", "model": "m", "inputs": ("a",)} | members)
    written = write_request(request, Abilities("delta-3"))
    return json.loads(written.body), [loss.code for loss in written.losses]


FATES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "nothing": ({}, {}, []),
    "too long is an error anyway": ({"truncate": False}, {}, []),
    "cutting": ({"truncate": True}, {}, ["dropped:truncate"]),
    "hints": ({"task": "t", "title": "i"}, {}, ["dropped:task", "dropped:title"]),
    "members of others": (
        {"extras": Extras("gemini_embed", {"x": msgspec.Raw(b"1")})},
        {},
        ["dropped:x"],
    ),
}


@pytest.mark.parametrize("name", FATES)
def test_fates(name: str) -> None:
    """Each member is said, or its loss is."""
    members, more, lost = FATES[name]
    assert write(**members) == ({"model": "delta-3", "input": ["a"]} | more, lost)


def asked(**members: Any) -> EmbeddingRequest:
    return EmbeddingRequest(**{"dialect": "openai_embeddings", "model": "delta", "inputs": ("a",)} | members)


def test_the_shape() -> None:
    """The client's name of the model, indices in order, usage."""
    answer = EmbeddingAnswer(((0.5, -0.25), (1.0, 0.0)), "other", Usage(4))
    assert json.loads(write_answer(answer, asked())) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -0.25]},
            {"object": "embedding", "index": 1, "embedding": [1.0, 0.0]},
        ],
        "model": "delta",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }


@pytest.mark.parametrize("usage", [None, Usage(), Usage(0)])
def test_usage_that_nobody_reported(usage: Usage | None) -> None:
    """The SDKs demand a number."""
    body = json.loads(write_answer(EmbeddingAnswer((), usage=usage), asked()))
    assert body["usage"] == {"prompt_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize("encoding", ["", "float", "base64"])
@cuts.short_law
@given(st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=6), max_size=4))
def test_reading_what_was_written(encoding: str, vectors: list[list[float]]) -> None:
    """Both forms hold float32 exactly."""
    answer = EmbeddingAnswer(tuple(tuple(vector) for vector in vectors), "delta", Usage(1))
    assert read_answer(write_answer(answer, asked(encoding=encoding))) == answer


def test_base64_is_little_endian_float32() -> None:
    """As every SDK unpacks it."""
    body = json.loads(write_answer(EmbeddingAnswer(((1.0, -2.5),)), asked(encoding="base64")))
    assert struct.unpack("<2f", base64.b64decode(body["data"][0]["embedding"])) == (1.0, -2.5)


def test_numbers_beyond_float32() -> None:
    """The largest that there is."""
    body = json.loads(write_answer(EmbeddingAnswer(((1e300, -1e300, 1.0),)), asked(encoding="base64")))
    large, small, one = struct.unpack("<3f", base64.b64decode(body["data"][0]["embedding"]))
    assert (large, small, one) == (3.4028234663852886e38, -3.4028234663852886e38, 1.0)


def test_dimensions_that_the_server_ignored() -> None:
    """The vector is cut, and gets the length 1 again; what fits is left alone."""
    answer = EmbeddingAnswer(((3.0, 4.0, 12.0), (0.0, 0.0, 1.0)))
    first, second = (one["embedding"] for one in json.loads(write_answer(answer, asked(dimensions=2)))["data"])
    assert first == [0.6, 0.8]
    assert math.hypot(*first) == 1.0
    assert second == [0.0, 0.0]
    for dimensions in (None, 0, 3, 9):
        kept = json.loads(write_answer(answer, asked(dimensions=dimensions)))["data"][0]["embedding"]
        assert kept == [3.0, 4.0, 12.0]


def test_members_of_the_server() -> None:
    """Given back to clients of the dialect, and to no other."""
    own = Extras("openai_embeddings", {"x_id": msgspec.Raw(b'"e1"')})
    foreign = Extras("ollama_embed", {"load_duration": msgspec.Raw(b"1")})
    assert json.loads(write_answer(EmbeddingAnswer((), extras=own), asked()))["x_id"] == "e1"
    assert "load_duration" not in json.loads(write_answer(EmbeddingAnswer((), extras=foreign), asked()))
