from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from flumegate.dialects.node import ReadError
from flumegate.dialects.openai.embeddings import EMBEDDING_CODEC
from flumegate.dialects.openai.embeddings.read import read_answer, read_request
from flumegate.ir.usage import Usage


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize(
    ("given", "inputs", "plain"),
    [
        (b'"a"', ("a",), True),
        (b'""', ("",), True),
        (b'["a","b"]', ("a", "b"), False),
        (b'["a"]', ("a",), False),
        (b"[1,2]", ((1, 2),), True),
        (b"[ 12 ]", ((12,),), True),
        (b"[[1,2],[3]]", ((1, 2), (3,)), False),
        (b'[[1],"a"]', ((1,), "a"), False),
    ],
)
def test_inputs(given: bytes, inputs: tuple[object, ...], plain: bool) -> None:
    """A text, token ids, or a list of either."""
    request = read_request(b'{"model":"delta-3","input":%b}' % given)
    assert (request.inputs, request.plain, request.model) == (inputs, plain, "delta-3")


def test_every_member() -> None:
    """What others have too has a place, the rest stays behind."""
    request = read_request(
        b'{"input":"a","dimensions":8,"encoding_format":"base64","user":"u","x_new":[1]}', model="delta-3"
    )
    assert (request.dialect, request.model) == ("openai_embeddings", "delta-3")
    assert (request.dimensions, request.encoding, request.user) == (8, "base64", "u")
    assert request.extras is not None
    assert set(request.extras.fields) == {"x_new"}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"{}", "input"),
        (b'{"input":null}', "input"),
        (b'{"input":[]}', "input"),
        (b'{"input":{}}', "input"),
        (b'{"input":7}', "input"),
        (b'{"input":[1,"a"]}', "input"),
        (b'{"input":["a",1]}', "input"),
        (b'{"input":[[1.5]]}', "input"),
        (b'{"input":"a","encoding_format":"int8"}', "encoding_format"),
        (b'{"input":"a","dimensions":"8"}', "dimensions"),
        (b"[]", ""),
    ],
)
def test_what_is_no_request(body: bytes, path: str) -> None:
    """The error leads to the member."""
    with pytest.raises(ReadError) as caught:
        read_request(body)
    assert caught.value.path == path


def item(index: Any, embedding: Any) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": embedding}


def answered(*data: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"object": "list", "data": data, "model": "delta-3", **more}).encode()


def test_vectors() -> None:
    """Numbers or base64, whatever was asked for, in the order of the inputs."""
    answer = read_answer(answered(item(1, [3, 0.25]), item(0, packed(1.0, -0.5)), item(2, [])))
    assert answer.vectors == ((1.0, -0.5), (3.0, 0.25), ())
    assert (answer.model, answer.usage, answer.extras) == ("delta-3", None, None)


def test_without_indices_the_order_counts() -> None:
    """Some servers leave them out."""
    assert read_answer(answered(item(None, [1.0]), item(None, [2.0]))).vectors == ((1.0,), (2.0,))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 4, "total_tokens": 4}, Usage(4)),
        ({"total_tokens": 5}, Usage(5)),
        ({"prompt_tokens": 0}, Usage(0)),
        ({}, None),
        (None, None),
    ],
)
def test_usage(usage: object, expected: Usage | None) -> None:
    """Nothing is made up."""
    assert read_answer(answered(usage=usage)).usage == expected


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (answered(item(0, "a")), "data[0].embedding"),
        (answered(item(0, "AAAA")), "data[0].embedding"),
        (answered(item(0, "ä")), "data[0].embedding"),
        (answered(item(0, ["x"])), "data[0].embedding"),
        (answered(item(0, None)), "data[0].embedding"),
        (answered(item("x", [])), "data[0].index"),
        (b'{"data":{}}', "data"),
        (b'{"error":{"message":"No."}}', "data"),
        (b"", ""),
    ],
)
def test_what_is_no_answer(body: bytes, path: str) -> None:
    """It is named."""
    with pytest.raises(ReadError) as caught:
        read_answer(body)
    assert caught.value.path == path


def test_members_of_the_server_stay() -> None:
    """For clients of the same dialect."""
    extras = read_answer(answered(x_id="e1")).extras
    assert extras is not None
    assert set(extras.fields) == {"x_id"}


def test_the_codec() -> None:
    """Asked in it, answered in it."""
    assert (EMBEDDING_CODEC.name, EMBEDDING_CODEC.family) == ("openai_embeddings", "openai")
    assert None not in EMBEDDING_CODEC
