"""The dialects' endpoints, one line each: what a path means, who taps its answer, how errors are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flumegate.dialects.anthropic import errors as anthropic_errors
from flumegate.dialects.anthropic.messages.tap import MessagesTap
from flumegate.dialects.openai import errors as openai_errors
from flumegate.dialects.openai.chat.tap import ChatTap
from flumegate.dialects.openai.embeddings.tap import EmbeddingsTap
from flumegate.dialects.openai.responses import ResponsesTap
from flumegate.dialects.tap import Tap
from flumegate.errors import GatewayError

ErrorWriter = Callable[[GatewayError, str], bytes]


class Endpoint(NamedTuple):
    """One operation of a dialect."""

    name: str
    dialect: str
    """Whose wire format it is: `openai` or `anthropic`."""
    path: str
    """Below the version prefix: `/chat/completions`."""
    tap: Callable[[], Tap]
    write_error: ErrorWriter
    write_stream_error: ErrorWriter
    may_ask_usage: bool = False
    """Streams report usage only when `stream_options.include_usage` asks for it."""
    default_headers: tuple[tuple[str, str], ...] = ()
    """Sent where neither the client nor the provider's row says anything: upstreams answer 400 without them."""


_OPENAI = (openai_errors.write_error, openai_errors.write_stream_error)
_ANTHROPIC = (anthropic_errors.write_error, anthropic_errors.write_stream_error)
_ANTHROPIC_VERSION = (("anthropic-version", "2023-06-01"),)

ENDPOINTS = (
    Endpoint("chat", "openai", "/chat/completions", ChatTap, *_OPENAI, may_ask_usage=True),
    Endpoint("completions", "openai", "/completions", ChatTap, *_OPENAI, may_ask_usage=True),
    Endpoint("embeddings", "openai", "/embeddings", EmbeddingsTap, *_OPENAI),
    Endpoint(
        "responses",
        "openai",
        "/responses",
        ResponsesTap,
        openai_errors.write_error,
        openai_errors.write_responses_stream_error,
    ),
    Endpoint("messages", "anthropic", "/messages", MessagesTap, *_ANTHROPIC, default_headers=_ANTHROPIC_VERSION),
    Endpoint(
        "count_tokens",
        "anthropic",
        "/messages/count_tokens",
        MessagesTap,
        *_ANTHROPIC,
        default_headers=_ANTHROPIC_VERSION,
    ),
)

ERROR_WRITERS: dict[str, ErrorWriter] = {
    "openai": openai_errors.write_error,
    "anthropic": anthropic_errors.write_error,
}
