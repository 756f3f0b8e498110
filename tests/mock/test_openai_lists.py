"""Embeddings and models, as the official client reads them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import openai
import pytest

from flumegate.mock.openai_lists import embedded, vector
from rig.mock import Mock


@pytest.fixture
def client(mock: Mock) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="any", max_retries=0) as opened:
        yield opened


def test_base64_and_floats_say_the_same(client: openai.OpenAI) -> None:
    """The client asks for base64 when told nothing; it decodes to the very floats."""
    coded = client.embeddings.create(model="text-embedding-3-small", input=["one two", "three"])
    plain = client.embeddings.create(
        model="text-embedding-3-small", input=["one two", "three"], encoding_format="float"
    )
    for one, other in zip(coded.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding)
    assert [row.index for row in coded.data] == [0, 1]
    assert len(coded.data[0].embedding) == 1536
    assert coded.data[0].embedding != coded.data[1].embedding
    assert coded.usage.prompt_tokens == 3


def test_dimensions_are_kept(client: openai.OpenAI) -> None:
    """A shorter vector is asked for and comes, of length 1."""
    [row] = client.embeddings.create(model="m", input="x", dimensions=16, encoding_format="float").data
    assert len(row.embedding) == 16
    assert math.hypot(*row.embedding) == pytest.approx(1, abs=1e-6)


def test_equal_texts_have_equal_vectors() -> None:
    """A vector depends on its text alone."""
    assert vector("same", 8) == vector("same", 8) != vector("other", 8)


def test_token_ids_are_read_as_texts() -> None:
    """All four forms of `input` are one text a vector."""
    assert embedded([1, 2]) == ["1 2"]
    assert embedded([[1, 2], [3]]) == ["1 2", "3"]
    assert embedded(["a", "b"]) == ["a", "b"]
    assert embedded("a") == ["a"]


def test_models_are_listed_and_any_name_is_one(client: openai.OpenAI) -> None:
    """The list names some; a name with slashes and colons is a model too."""
    assert "gpt-4o" in [model.id for model in client.models.list()]
    assert client.models.retrieve("org/model:free").id == "org/model:free"
