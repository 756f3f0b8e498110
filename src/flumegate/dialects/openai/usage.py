"""OpenAI's `usage` objects, in both namings, read into ours and written in chat's.

OpenAI counts inclusively, as we do. DeepSeek, Moonshot and Mistral say elsewhere how much came from their cache.
"""

from __future__ import annotations

from typing import Any

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
    total_tokens: int | None = None
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek's."""
    cached_tokens: int | None = None
    """Moonshot's."""
    num_cached_tokens: int | None = None
    """Mistral's."""


_decode = msgspec.json.Decoder(WireUsage, strict=False).decode
"""Not strict: some servers count in floats or strings."""


def read_usage(wire: WireUsage) -> Usage:
    """Return the usage, cached tokens from wherever they stand, and the reasoning inside the output.

    Google and xAI leave reasoning out of all but their total.
    """
    into = wire.prompt_tokens_details or wire.input_tokens_details
    out = wire.completion_tokens_details or wire.output_tokens_details
    spent = wire.prompt_tokens if wire.prompt_tokens is not None else wire.input_tokens
    said = wire.completion_tokens if wire.completion_tokens is not None else wire.output_tokens
    thought = out.reasoning_tokens if out is not None else None
    total = wire.total_tokens
    if total is not None and spent is not None and said is not None and total > spent + said:
        beside = total - spent - said
        if thought in (None, 0, beside):
            said, thought = said + beside, beside
    cached = into.cached_tokens if into is not None else None
    if cached is None:
        places = (wire.prompt_cache_hit_tokens, wire.cached_tokens, wire.num_cached_tokens)
        cached = next((count for count in places if count is not None), None)
    return Usage(spent, said, cached, into.cache_write_tokens if into is not None else None, thought)


def decode_usage(raw: bytes | msgspec.Raw) -> Usage | None:
    """Return the usage that raw JSON holds, inclusive; None where it is none that can be read."""
    try:
        usage = read_usage(_decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return usage if usage.input_tokens is not None or usage.output_tokens is not None else None


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return chat's object; totals that nobody reported are 0, for the dialect demands a number."""
    into, out = usage.input_tokens or 0, usage.output_tokens or 0
    members: dict[str, Any] = {"prompt_tokens": into, "completion_tokens": out, "total_tokens": into + out}
    details = {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens}
    if known := {name: count for name, count in details.items() if count is not None}:
        members["prompt_tokens_details"] = known
    if usage.reasoning_tokens is not None:
        members["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return members
