"""Which lane a request takes at a provider."""

from __future__ import annotations

import pytest

from flumegate.dialects.registry import CODECS, EMBEDDING_CODECS, ENDPOINTS
from flumegate.errors import GatewayError
from flumegate.routing import lanes
from rig.exchanges import provider

BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}


@pytest.mark.parametrize(
    ("speaks", "lacks", "name", "verbatim"),
    [
        (("openai",), (), "chat", True),
        (("anthropic",), (), "chat", False),
        (("anthropic", "openai"), (), "chat", True),
        (("openai",), ("responses",), "responses", False),
        (("openai",), (), "responses", True),
        (("openai",), (), "response", False),
        (("ollama",), (), "ollama_chat", True),
        (("gemini",), (), "gemini_stream", True),
        ((), (), "chat", False),
    ],
)
def test_the_clients_own_dialect_is_preferred(
    speaks: tuple[str, ...], lacks: tuple[str, ...], name: str, verbatim: bool
) -> None:
    """Verbatim wherever the provider can be asked in the client's own bytes; `/response` never."""
    assert lanes.is_verbatim(provider(speaks=speaks, lacks=lacks), BY_NAME[name]) is verbatim


@pytest.mark.parametrize(
    ("speaks", "name", "codec"),
    [
        (("openai",), "messages", "chat"),
        (("openai", "anthropic"), "gemini", "chat"),
        (("anthropic", "openai"), "gemini", "messages"),
        (("gemini",), "chat", "gemini"),
        (("ollama",), "responses", "ollama_chat"),
        (("ollama",), "embeddings", "ollama_embed"),
        (("gemini",), "embeddings", "gemini_embed"),
        (("anthropic", "openai"), "ollama_embed", "openai_embeddings"),
        (("openai",), "count_tokens", lanes.ESTIMATE),
        (("anthropic",), "gemini_count", lanes.ESTIMATE),
    ],
)
def test_the_first_dialect_that_can_do_it_is_taken(speaks: tuple[str, ...], name: str, codec: str) -> None:
    """The order is the operator's."""
    assert lanes.codec_of(provider(speaks=speaks), BY_NAME[name]) == codec


def test_what_no_dialect_can_do_is_refused() -> None:
    """Anthropic has no embeddings; the message says so and what to do."""
    with pytest.raises(GatewayError, match=r"embeddings\. Use a model of another provider") as refused:
        lanes.codec_of(provider(speaks=("anthropic",)), BY_NAME["embeddings"])
    assert refused.value.code == "translation_not_available"


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "gemini", "ollama"])
def test_every_codec_that_is_asked_can_be_asked(dialect: str) -> None:
    """It writes requests and reads answers, streams and errors; it has a path; its dialect is known."""
    one = provider(speaks=(dialect,), native_path="/native")
    answers = CODECS[lanes.codec_of(one, BY_NAME["gemini" if dialect != "gemini" else "chat"])]
    assert None not in (
        answers.write_request,
        answers.read_answer,
        answers.stream_reader,
        answers.read_error,
    )
    assert lanes.dialect_of(answers.name) == dialect
    assert all(path.startswith("/") for path in lanes.paths(one, answers.name, "m"))
    if dialect != "anthropic":
        embeds = lanes.codec_of(one, BY_NAME["embeddings"])
        assert None not in (EMBEDDING_CODECS[embeds].write_request, EMBEDDING_CODECS[embeds].read_answer)
        assert lanes.paths(one, embeds, "m")[0].startswith("/")
