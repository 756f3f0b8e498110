"""The dialects' endpoints and codecs, one line each: what a path means, who reads and writes it, how errors look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from flumegate.dialects import bedrock, gemini
from flumegate.dialects.anthropic import errors as anthropic_errors
from flumegate.dialects.anthropic import messages
from flumegate.dialects.anthropic.messages import vertex as vertex_messages
from flumegate.dialects.anthropic.messages.tap import MessagesTap
from flumegate.dialects.anthropic.messages.write_request import write_count
from flumegate.dialects.codecs import Codec, EmbeddingCodec, RequestReader
from flumegate.dialects.gemini import errors as gemini_errors
from flumegate.dialects.gemini.count import read_count_request, write_count_answer
from flumegate.dialects.gemini.tap import GeminiTap
from flumegate.dialects.ollama import chat as ollama_chat
from flumegate.dialects.ollama import embeddings as ollama_embeddings
from flumegate.dialects.ollama import errors as ollama_errors
from flumegate.dialects.ollama import generate as ollama_generate
from flumegate.dialects.ollama.tap import OllamaTap
from flumegate.dialects.openai import chat, completions, responses
from flumegate.dialects.openai import embeddings as openai_embeddings
from flumegate.dialects.openai import errors as openai_errors
from flumegate.dialects.openai.chat.tap import ChatTap
from flumegate.dialects.openai.embeddings.tap import EmbeddingsTap
from flumegate.dialects.openai.responses.tap import ResponsesTap
from flumegate.dialects.tap import Tap
from flumegate.errors import GatewayError

ErrorWriter = Callable[[GatewayError, str], bytes]


class Endpoint(NamedTuple):
    """One operation of a dialect."""

    name: str
    dialect: str
    """Whose wire format it is: `openai`, `anthropic`, `ollama`, `gemini`."""
    path: str
    """Below the version prefix: `/chat/completions`; Ollama's have none: `/api/chat`."""
    tap: Callable[[], Tap]
    write_error: ErrorWriter
    write_stream_error: ErrorWriter
    codec: str = ""
    """How its requests are read where they must be translated: a name in CODECS, EMBEDDING_CODECS or COUNTS."""
    does: Literal["answer", "embed", "count"] = "answer"
    may_ask_usage: bool = False
    """Streams report usage only when `stream_options.include_usage` asks for it."""
    default_headers: tuple[tuple[str, str], ...] = ()
    """Sent where neither the client nor the provider's row says anything: upstreams answer 400 without them."""
    streams: bool | None = None
    """Whether an answer is streamed: True, False, or None where the body tells, which then names the model, too."""
    streams_by_default: bool = False
    """A body that does not say wants a stream."""
    always_translated: bool = False
    """Never passed on as it is, whatever the provider speaks."""


_OPENAI = (openai_errors.write_error, openai_errors.write_stream_error)
_RESPONSES = (openai_errors.write_error, openai_errors.write_responses_stream_error)
_ANTHROPIC = (anthropic_errors.write_error, anthropic_errors.write_stream_error)
_OLLAMA = (ollama_errors.write_error, ollama_errors.write_stream_error)
_GEMINI = (gemini_errors.write_error, gemini_errors.write_stream_error)
_ANTHROPIC_VERSION = (("anthropic-version", "2023-06-01"),)
_MODEL = "/models/{model}"

ENDPOINTS = (
    Endpoint("chat", "openai", "/chat/completions", ChatTap, *_OPENAI, "chat", may_ask_usage=True),
    Endpoint("completions", "openai", "/completions", ChatTap, *_OPENAI, "completions", may_ask_usage=True),
    Endpoint("embeddings", "openai", "/embeddings", EmbeddingsTap, *_OPENAI, "openai_embeddings", "embed"),
    Endpoint("responses", "openai", "/responses", ResponsesTap, *_RESPONSES, "responses"),
    Endpoint("response", "openai", "/response", ResponsesTap, *_RESPONSES, "responses", always_translated=True),
    Endpoint(
        "messages", "anthropic", "/messages", MessagesTap, *_ANTHROPIC, "messages", default_headers=_ANTHROPIC_VERSION
    ),
    Endpoint(
        "count_tokens",
        "anthropic",
        "/messages/count_tokens",
        MessagesTap,
        *_ANTHROPIC,
        "count_tokens",
        "count",
        default_headers=_ANTHROPIC_VERSION,
    ),
    Endpoint("ollama_chat", "ollama", "/api/chat", OllamaTap, *_OLLAMA, "ollama_chat", streams_by_default=True),
    Endpoint(
        "ollama_generate", "ollama", "/api/generate", OllamaTap, *_OLLAMA, "ollama_generate", streams_by_default=True
    ),
    Endpoint("ollama_embed", "ollama", "/api/embed", OllamaTap, *_OLLAMA, "ollama_embed", "embed"),
    Endpoint("ollama_embeddings", "ollama", "/api/embeddings", OllamaTap, *_OLLAMA, "ollama_embeddings", "embed"),
    Endpoint("gemini", "gemini", f"{_MODEL}:generateContent", GeminiTap, *_GEMINI, "gemini", streams=False),
    Endpoint("gemini_stream", "gemini", f"{_MODEL}:streamGenerateContent", GeminiTap, *_GEMINI, "gemini", streams=True),
    Endpoint(
        "gemini_count", "gemini", f"{_MODEL}:countTokens", GeminiTap, *_GEMINI, "gemini_count", "count", streams=False
    ),
    Endpoint(
        "gemini_embed", "gemini", f"{_MODEL}:embedContent", GeminiTap, *_GEMINI, "gemini_embed", "embed", streams=False
    ),
    Endpoint(
        "gemini_embed_batch",
        "gemini",
        f"{_MODEL}:batchEmbedContents",
        GeminiTap,
        *_GEMINI,
        "gemini_embed",
        "embed",
        streams=False,
    ),
)

ERROR_WRITERS: dict[str, ErrorWriter] = {
    "openai": openai_errors.write_error,
    "anthropic": anthropic_errors.write_error,
    "ollama": ollama_errors.write_error,
    "gemini": gemini_errors.write_error,
}

CODECS: Mapping[str, Codec] = {
    codec.name: codec
    for codec in (
        chat.CODEC,
        completions.CODEC,
        responses.CODEC,
        messages.CODEC,
        ollama_chat.CODEC,
        ollama_generate.CODEC,
        gemini.CODEC,
        bedrock.CODEC,
        vertex_messages.CODEC,
    )
}

EMBEDDING_CODECS: Mapping[str, EmbeddingCodec] = {
    "openai_embeddings": openai_embeddings.EMBEDDING_CODEC,
    "ollama_embed": ollama_embeddings.EMBED_CODEC,
    "ollama_embeddings": ollama_embeddings.EMBEDDINGS_CODEC,
    "gemini_embed": gemini.EMBEDDING_CODEC,
}

COUNTS: Mapping[str, tuple[RequestReader | None, Callable[[int], bytes]]] = {
    "count_tokens": (messages.CODEC.read_request, write_count),
    "gemini_count": (read_count_request, write_count_answer),
}
"""Questions for a number of tokens: who reads them, and who writes the number."""
