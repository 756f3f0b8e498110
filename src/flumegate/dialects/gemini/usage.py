"""`usageMetadata` (dialects: §15.2): cached tokens stand inside the prompt, thoughts and tools' prompts beside."""

from __future__ import annotations

import msgspec

from flumegate.ir.usage import Usage


class WireUsage(msgspec.Struct, gc=False):
    """The counts that mean something elsewhere; the split by modality is bookkeeping of Google's."""

    promptTokenCount: int | None = None  # noqa: N815 - named as on the wire
    candidatesTokenCount: int | None = None  # noqa: N815 - named as on the wire
    thoughtsTokenCount: int | None = None  # noqa: N815 - named as on the wire
    toolUsePromptTokenCount: int | None = None  # noqa: N815 - named as on the wire
    cachedContentTokenCount: int | None = None  # noqa: N815 - named as on the wire
    totalTokenCount: int | None = None  # noqa: N815 - named as on the wire


def read_usage(wire: WireUsage) -> Usage | None:
    """Return the usage, or None where nothing was counted."""
    prompt, tools = wire.promptTokenCount, wire.toolUsePromptTokenCount
    said, thought = wire.candidatesTokenCount, wire.thoughtsTokenCount
    into = None if prompt is None and tools is None else (prompt or 0) + (tools or 0)
    out = None if said is None and thought is None else (said or 0) + (thought or 0)
    if into is None and out is None:
        return None
    if out is None and wire.totalTokenCount is not None:
        out = 0  # Google leaves zeros out; the total tells that it has counted
    return Usage(into, out, wire.cachedContentTokenCount, None, thought)


def write_usage(usage: Usage) -> dict[str, int]:
    """Return the object for the wire."""
    thought = usage.reasoning_tokens
    wire: dict[str, int] = {}
    if usage.input_tokens is not None:
        wire["promptTokenCount"] = usage.input_tokens
    if usage.output_tokens is not None:
        wire["candidatesTokenCount"] = max(0, usage.output_tokens - (thought or 0))
    if thought is not None:
        wire["thoughtsTokenCount"] = thought
    if usage.cached_tokens is not None:
        wire["cachedContentTokenCount"] = usage.cached_tokens
    if wire:
        wire["totalTokenCount"] = (usage.input_tokens or 0) + (usage.output_tokens or 0)
    return wire
