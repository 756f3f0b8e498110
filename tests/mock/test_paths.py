"""Which dialect and operation a path means."""

from __future__ import annotations

import pytest

from flumegate.mock.paths import Place, find, own

VERSION = {b"anthropic-version": b"2023-06-01"}
GOOGLE = {b"x-goog-api-key": b"k"}


@pytest.mark.parametrize("prefix", ["", "/v1", "/openai/v1", "/api/v1", "/inference/v1", "/v1beta/openai", "/v1/v1"])
@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/chat/completions", "chat"),
        ("/completions", "completions"),
        ("/responses", "responses"),
        ("/responses/input_tokens", "input_tokens"),
        ("/embeddings/", "embeddings"),
    ],
)
def test_any_prefix_is_tolerated(prefix: str, path: str, operation: str) -> None:
    """Every provider's base address can point at the mock."""
    assert find("POST", prefix + path, "", {}) == Place("openai", operation)


@pytest.mark.parametrize(
    ("method", "target", "headers", "expected"),
    [
        ("POST", "/openai/deployments/d1/chat/completions", {}, Place("openai", "chat", "d1", "azure")),
        ("POST", "/openai/deployments/d1/embeddings", {}, Place("openai", "embeddings", "d1", "azure")),
        ("POST", "/v1/messages", {}, Place("anthropic", "messages")),
        ("POST", "/v1/messages/count_tokens", {}, Place("anthropic", "count_tokens")),
        ("GET", "/v1/models", {}, Place("openai", "models")),
        ("GET", "/v1/models/a/b:c", {}, Place("openai", "model", "a/b:c")),
        ("GET", "/v1/models/a%2Fb%2Bhang", {}, Place("openai", "model", "a/b+hang")),
        ("GET", "/v1/models", VERSION, Place("anthropic", "models")),
        ("GET", "/v1/models", GOOGLE, Place("gemini", "models")),
        ("GET", "/v1beta/models", {}, Place("gemini", "models")),
        ("GET", "/v1beta/openai/models", {}, Place("openai", "models")),
        ("GET", "/openai/models", {}, Place("openai", "models")),
        ("POST", "/v1beta/models/g:generateContent", {}, Place("gemini", "generate_content", "g")),
        ("POST", "/v1/models/g:streamGenerateContent?alt=sse", {}, Place("gemini", "generate_content", "g", "sse")),
        ("POST", "/v1beta/models/g:streamGenerateContent", {}, Place("gemini", "generate_content", "g", "array")),
        ("POST", "/v1beta/models/g:countTokens", {}, Place("gemini", "count_gemini", "g")),
        ("POST", "/model/a.b-v1%3A0/converse", {}, Place("bedrock", "converse", "a.b-v1:0")),
        ("POST", "/model/m/converse-stream", {}, Place("bedrock", "converse", "m", "stream")),
        (
            "POST",
            "/x/publishers/anthropic/models/c@1:rawPredict",
            {},
            Place("anthropic", "messages", "c@1", "vertex"),
        ),
        ("POST", "/publishers/anthropic/models/c:streamRawPredict", {}, Place("anthropic", "messages", "c", "vertex")),
        ("GET", "/publishers/anthropic/models/c:rawPredict", {}, Place("anthropic", "", allow="POST")),
        ("POST", "/v1/x/publishers/google/models/g:generateContent", {}, Place("gemini", "generate_content", "g")),
        ("GET", "/model/m/converse", {}, Place("bedrock", "", allow="POST")),
        ("POST", "/model/m/nothing", {}, Place("bedrock", "")),
        ("POST", "/v1beta/models/g:embedContent", {}, Place("gemini", "embed_content", "g")),
        ("POST", "/v1beta/models/g:batchEmbedContents", {}, Place("gemini", "embed_batch", "g")),
        ("POST", "/api/chat", {}, Place("ollama", "ollama")),
        ("POST", "/api/generate", {}, Place("ollama", "ollama", variant="generate")),
        ("POST", "/ollama/api/embed", {}, Place("ollama", "embed")),
        ("HEAD", "/api/tags", {}, Place("ollama", "tags")),
        ("HEAD", "/", {}, Place("ollama", "root")),
        ("POST", "/v1/upload", {}, Place("openai", "upload")),
        ("GET", "/v1/download", {}, Place("openai", "download")),
        ("PATCH", "/v1/echo/a/b", {}, Place("openai", "reflect")),
        ("GET", "/v1/chat/completions", {}, Place("openai", "", allow="POST")),
        ("GET", "/v1/messages", {}, Place("anthropic", "", allow="POST")),
        ("GET", "/api/chat", {}, Place("ollama", "", allow="POST")),
        ("POST", "/api/tags", {}, Place("ollama", "", allow="GET, HEAD")),
        ("GET", "/v1beta/models/g:countTokens", {}, Place("gemini", "", allow="POST")),
        ("POST", "/v1/models", {}, Place("openai", "", allow="GET")),
        ("GET", "/v1/upload", {}, Place("openai", "", allow="POST, PUT")),
        ("GET", "/v1/nothing", {}, Place("openai", "")),
        ("GET", "/v1/nothing", VERSION, Place("anthropic", "")),
        ("GET", "/v1beta/nothing", {}, Place("gemini", "")),
        ("GET", "/api/nothing", {}, Place("ollama", "")),
        ("POST", "/", {}, Place("openai", "")),
        ("POST", "/v1/upload/more", {}, Place("openai", "")),
    ],
)
def test_paths_are_found(method: str, target: str, headers: dict[bytes, bytes], expected: Place) -> None:
    """Dialect, operation, and what the path itself says; what nobody serves keeps its likeness."""
    path, _, query = target.partition("?")
    assert find(method, path, query, headers) == expected


def test_own_addresses() -> None:
    """The mock's own addresses are taken literally, with their method."""
    assert own("GET", "/mock/ledger") == "ledger"
    assert own("POST", "/mock/mark") == "mark"
    assert own("POST", "/mock/ledger") == ""
    assert own("GET", "/v1/health") == ""
