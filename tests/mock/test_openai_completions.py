"""The old completions, as the official client reads them."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from rig.mock import Mock


@pytest.fixture
def client(mock: Mock) -> Iterator[openai.OpenAI]:
    # Not strict: its type for chunks refuses the null reason that the real service sends in all but the last.
    with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="any", max_retries=0) as opened:
        yield opened


def test_answer_repeats_the_prompt(client: openai.OpenAI) -> None:
    """The text is the echo and its words are counted."""
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="once upon", max_tokens=10)
    assert answer.choices[0].text == "echo: once upon"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 5


def test_stream_ends_with_its_reason_and_usage(mock: Mock, client: openai.OpenAI) -> None:
    """Pieces, then the reason, then usage as the last chunk, then `[DONE]`."""
    body = {"model": "m", "prompt": "a b", "stream": True, "max_tokens": 2}
    reply = mock.post("/v1/completions", body | {"stream_options": {"include_usage": True}})
    assert reply.body.endswith(b"data: [DONE]\n\n")
    chunks = list(
        client.completions.create(
            model="m", prompt="a b", stream=True, max_tokens=2, stream_options={"include_usage": True}
        )
    )
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "echo: a "
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None


def test_prompt_of_token_ids_is_counted(client: openai.OpenAI) -> None:
    """Each id is a word."""
    answer = client.completions.create(model="m", prompt=[1, 2, 3], max_tokens=5)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3
