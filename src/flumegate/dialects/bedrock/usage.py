"""Usage and stop reasons of Converse (dialects: §15.1, §15.2).

Bedrock counts what the cache read and wrote beside the input; `ir.usage` counts it inside.
"""

from __future__ import annotations

import msgspec

from flumegate.dialects.node import Node
from flumegate.ir.answer import Finish, FinishReason, finish_of
from flumegate.ir.failure import Failure
from flumegate.ir.usage import Usage

_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "tool_use": "tool",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "guardrail_intervened": "filter",
    "content_filtered": "filter",
    "model_context_window_exceeded": "context_full",
    "refusal": "refusal",
    "pause_turn": "pause",
}
_BROKEN = frozenset(("malformed_model_output", "malformed_tool_use"))


class _Detail(msgspec.Struct, gc=False):
    ttl: str = ""
    inputTokens: int = 0  # noqa: N815 - named as on the wire


def read_usage(node: Node) -> Usage:
    """Return the counts. Its twin names (`cacheReadInputTokenCount`) and the total say nothing new."""
    fresh, output = node.integer("inputTokens"), node.integer("outputTokens")
    read, written = node.integer("cacheReadInputTokens"), node.integer("cacheWriteInputTokens")
    whole = None if fresh is None else fresh + (read or 0) + (written or 0)
    return Usage(whole, output, read, written, None, _lasting(node))


def _lasting(node: Node) -> int | None:
    """Return how much was written to the cache for an hour; None = it does not tell."""
    details = node.look("cacheDetails")
    if details is None:
        return None
    try:
        return sum(detail.inputTokens for detail in msgspec.convert(details, list[_Detail]) if detail.ttl == "1h")
    except msgspec.ValidationError:
        return None


def read_finish(raw: str, *, called: bool) -> Finish:
    """Return why the answer ended. A reason that nobody knows is no clean end, so it counts as a filter's."""
    return finish_of(_REASONS.get(raw, "filter"), raw, called=called)


def broken(raw: str) -> Failure | None:
    """Return the failure where the reason tells that the model's output is none."""
    if raw not in _BROKEN:
        return None
    return Failure("internal", f"The model's output could not be used ({raw}).", raw)
