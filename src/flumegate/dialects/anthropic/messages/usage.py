"""Token counts: Anthropic counts the cache beside the input, we count it inside (dialects: §15.2)."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.anthropic.messages.extras import Fields, inner
from flumegate.dialects.node import Node
from flumegate.ir.usage import Usage


class _CacheCreation(msgspec.Struct, gc=False):
    ephemeral_1h_input_tokens: int | None = None


class Counters:
    """What one answer has reported so far. A stream's counts are cumulative: what is repeated replaces."""

    __slots__ = ("_fresh", "_lasting", "_output", "_read", "_thinking", "_written", "left")

    def __init__(self) -> None:
        self._fresh: int | None = None
        self._output: int | None = None
        self._read: int | None = None
        self._written: int | None = None
        self._thinking: int | None = None
        self._lasting: int | None = None
        self.left: Fields = {}
        """What only Anthropic counts, under `usage.…`."""

    def take(self, node: Node) -> Usage:
        """Take a `usage` object; return the count so far, cache included.

        Raises:
            ReadError: a count is no number.
        """
        self._fresh = _newer(node.integer("input_tokens"), self._fresh)
        self._output = _newer(node.integer("output_tokens"), self._output)
        self._read = _newer(node.integer("cache_read_input_tokens"), self._read)
        self._written = _newer(node.integer("cache_creation_input_tokens"), self._written)
        details = node.node("output_tokens_details")
        if details is not None:
            self._thinking = _newer(details.integer("thinking_tokens"), self._thinking)
        self._lasting = _newer(lasting_of(node.look("cache_creation")), self._lasting)
        inner(self.left, details, "usage.output_tokens_details")
        inner(self.left, node, "usage")
        total = None if self._fresh is None else self._fresh + (self._read or 0) + (self._written or 0)
        return Usage(total, self._output, self._read, self._written, self._thinking, self._lasting)


def _newer(value: int | None, known: int | None) -> int | None:
    return known if value is None else value


def lasting_of(creation: object) -> int | None:
    """Return how much was written to the cache for an hour, of `cache_creation`; None = it does not tell."""
    if creation is None:
        return None
    try:
        return msgspec.convert(creation, _CacheCreation).ephemeral_1h_input_tokens
    except msgspec.ValidationError:
        return None


def write_usage(usage: Usage | None) -> dict[str, Any]:
    """Return the `usage` object with all four counters, which clients add up."""
    if usage is None:
        usage = Usage()
    read, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
    members: dict[str, Any] = {
        "input_tokens": max(0, (usage.input_tokens or 0) - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output_tokens or 0,
    }
    if usage.reasoning_tokens is not None:
        members["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return members
