from __future__ import annotations

import pytest

from flumegate.dialects.openai.embeddings.tap import EmbeddingsTap
from flumegate.ir.usage import Usage


def test_a_whole_answer_tells_usage_and_model() -> None:
    """The vectors themselves are not looked at; modelled on openai-embedding."""
    tap = EmbeddingsTap()
    tap.read_whole(
        b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1e-3]}],'
        b'"model":"delta-3","usage":{"prompt_tokens":4,"total_tokens":4}}'
    )
    assert (tap.usage, tap.model, tap.finish_reason, tap.complete) == (Usage(4), "delta-3", "", True)


def test_usage_may_be_missing() -> None:
    """Nothing is made up."""
    tap = EmbeddingsTap()
    tap.read_whole(b'{"data":[]}')
    assert (tap.usage, tap.model, tap.complete) == (None, "", True)


@pytest.mark.parametrize("body", [b"", b"[1]", b'{"model":[]}'])
def test_a_body_that_is_no_answer_tells_nothing(body: bytes) -> None:
    """What cannot be read is neither complete nor counted."""
    tap = EmbeddingsTap()
    tap.read_whole(body)
    assert (tap.usage, tap.model, tap.complete) == (None, "", False)


def test_a_stream_is_taken_at_its_word() -> None:
    """The dialect knows no stream, so there is no sign of a cut one beyond its emptiness."""
    tap = EmbeddingsTap()
    tap.close()
    assert not tap.complete
    tap.feed(b'data: {"embedding":[]}\n\n')
    tap.close()
    assert tap.complete
