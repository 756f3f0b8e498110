"""OpenAI's `usage` objects, in both namings, read into ours."""

from __future__ import annotations

import msgspec

from flumegate.ir.usage import Usage


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class WireUsage(msgspec.Struct, gc=False):
    """`prompt_tokens`/`completion_tokens` (chat) or `input_tokens`/`output_tokens` (Responses)."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


def read_usage(wire: WireUsage) -> Usage:
    """Return the usage; OpenAI already counts inclusively."""
    into = wire.prompt_tokens_details or wire.input_tokens_details
    out = wire.completion_tokens_details or wire.output_tokens_details
    return Usage(
        wire.prompt_tokens if wire.prompt_tokens is not None else wire.input_tokens,
        wire.completion_tokens if wire.completion_tokens is not None else wire.output_tokens,
        into.cached_tokens if into is not None else None,
        into.cache_write_tokens if into is not None else None,
        out.reasoning_tokens if out is not None else None,
    )
