"""Token usage, in one way of counting.

All counts are inclusive, as OpenAI counts: cached and cache-write tokens are part of `input_tokens`, reasoning tokens
are part of `output_tokens`. Readers of dialects that count exclusively (Anthropic) convert. None = not reported.
"""

from __future__ import annotations

import msgspec


class Usage(msgspec.Struct, gc=False):
    """Tokens of one exchange; None where the provider said nothing."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
