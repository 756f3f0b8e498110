"""Which lane a request takes at a provider: its own bytes, or another dialect's.

Verbatim wherever the provider is asked in the client's dialect and serves the endpoint; otherwise translated into the
first of the provider's dialects that can do what is asked.
"""

from __future__ import annotations

from urllib.parse import quote

from flumegate.dialects.registry import Endpoint
from flumegate.errors import INVALID_REQUEST, GatewayError
from flumegate.providers import bedrock, vertex
from flumegate.snapshot import Provider

ESTIMATE = "estimate"
"""Tokens are counted here, because the provider cannot."""
_ANSWER = {"openai": "chat", "anthropic": "messages", "gemini": "gemini", "ollama": "ollama_chat", "bedrock": "bedrock"}
_EMBED = {"openai": "openai_embeddings", "gemini": "gemini_embed", "ollama": "ollama_embed"}
_PATHS = {
    "chat": "/chat/completions",
    "messages": "/messages",
    "ollama_chat": "/api/chat",
    "gemini": "/models/{model}:generateContent",
    "openai_embeddings": "/embeddings",
    "ollama_embed": "/api/embed",
    "gemini_embed": "/models/{model}:batchEmbedContents",
}
_STREAM_PATHS = {"gemini": "/models/{model}:streamGenerateContent?alt=sse"}
_HEADERS = {"messages": (("anthropic-version", "2023-06-01"),)}
_NATIVE = frozenset(("gemini", "ollama"))


def is_verbatim(provider: Provider, endpoint: Endpoint) -> bool:
    """Tell whether a provider is asked in the client's own bytes."""
    return (
        endpoint.dialect in provider.speaks and endpoint.name not in provider.lacks and not endpoint.always_translated
    )


def codec_of(provider: Provider, endpoint: Endpoint, model: str = "") -> str:
    """Return the name of the codec in which a provider is asked for a model, or ESTIMATE.

    Raises:
        GatewayError: 400, none of its dialects can do what is asked.
    """
    if endpoint.does == "count":
        return ESTIMATE
    table = _EMBED if endpoint.does == "embed" else _ANSWER
    for dialect in provider.speaks:
        if dialect in table:
            return table[dialect]
        if dialect == "vertex" and endpoint.does == "answer":
            return "vertex_messages" if model.startswith(vertex.CLAUDE) else "gemini"
    speaks = " and ".join(provider.speaks) or "nothing that is known"
    raise GatewayError(
        INVALID_REQUEST,
        "translation_not_available",
        f"{provider.name!r} speaks {speaks}, in which there is no {endpoint.name}. Use a model of another provider.",
        param="model",
    )


def dialect_of(codec: str) -> str:
    """Return the dialect of a codec that providers are asked in."""
    return next(dialect for table in (_ANSWER, _EMBED) for dialect, name in table.items() if name == codec)


def paths(provider: Provider, codec: str, model: str) -> tuple[str, str]:
    """Return the paths of a codec at a provider, for answers in one piece and for streams."""
    if codec == "bedrock":
        whole, streamed = (bedrock.model_path(model, streamed=each) for each in (False, True))
        return provider.base_path + whole, provider.base_path + streamed
    if "vertex" in provider.speaks:
        name = quote(model.removeprefix("models/"), safe="@")
        whole, streamed = (vertex.model_path(name, streamed=each) for each in (False, True))
        return provider.base_path + whole, provider.base_path + streamed
    path = _PATHS[codec]
    stream_path = _STREAM_PATHS.get(codec, path)
    return own_path(provider, dialect_of(codec), path, model), own_path(provider, dialect_of(codec), stream_path, model)


def own_path(provider: Provider, dialect: str, path: str, model: str) -> str:
    """Return the path of an endpoint in the provider's own place for that dialect."""
    root = provider.native_path if dialect in _NATIVE else provider.base_path
    return root + path.replace("{model}", quote(model.removeprefix("models/"), safe=""))


def default_headers(codec: str) -> tuple[tuple[str, str], ...]:
    """Return the header fields that a dialect demands."""
    return _HEADERS.get(codec, ())
