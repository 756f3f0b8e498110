"""Token usage, in one way of counting.

All counts are inclusive, as OpenAI counts: cached and cache-write tokens are part of `input_tokens`, reasoning tokens
are part of `output_tokens`. Readers of dialects that count exclusively (Anthropic) convert. None = not reported.
"""

from __future__ import annotations

import msgspec

MAX_COUNT = 1 << 53
"""Beyond any context window, and what every store holds exactly."""


class Usage(msgspec.Struct, gc=False):
    """Tokens of one exchange; None where the provider said nothing, or nothing that can be true."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    """Those of `cache_write_tokens` that are kept for an hour, as reported; whoever uses it bounds it by them."""

    def __post_init__(self) -> None:
        """Take a number that can be no count (negative, or beyond `MAX_COUNT`) for not reported."""
        if (
            0 <= (self.input_tokens or 0) <= MAX_COUNT
            and 0 <= (self.output_tokens or 0) <= MAX_COUNT
            and 0 <= (self.cached_tokens or 0) <= MAX_COUNT
            and 0 <= (self.cache_write_tokens or 0) <= MAX_COUNT
            and 0 <= (self.reasoning_tokens or 0) <= MAX_COUNT
        ):
            return  # spelled out: this stands on the hot path
        for name in self.__struct_fields__:
            count = getattr(self, name)
            if count is not None and not 0 <= count <= MAX_COUNT:
                setattr(self, name, None)
