"""Why an answer ended: Anthropic's stop reasons and ours, both ways (dialects: §15.1)."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.anthropic.messages.extras import Fields, inner
from flumegate.dialects.node import Node
from flumegate.ir.answer import Finish, FinishReason, finish_of

_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool",
    "max_tokens": "length",
    "model_context_window_exceeded": "context_full",
    "refusal": "refusal",
    "pause_turn": "pause",
    "compaction": "pause",
}
_RAW: dict[FinishReason, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "tool": "tool_use",
    "length": "max_tokens",
    "context_full": "model_context_window_exceeded",
    "filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
}
CUT_SHORT = ("length", "context_full")
"""Reasons after which the last tool call may be incomplete."""


def read_stop(node: Node, found: Fields) -> Finish | None:
    """Take the members that tell the end, from a message or a `message_delta`; None = not yet.

    `found` gets what only Anthropic says; a reason that nobody knows stays there too, so that it can be given back.
    """
    raw = node.text("stop_reason")
    sequence = node.text("stop_sequence")
    details = node.node("stop_details")
    detail = details.text("explanation") if details is not None else ""
    inner(found, details, "stop_details")
    if not raw:
        return None
    if raw not in _REASONS:
        found["stop_reason"] = msgspec.Raw(msgspec.json.encode(raw))
    return Finish(_REASONS.get(raw, "stop"), raw, sequence, detail)


def settle(finish: Finish | None, *, called: bool) -> Finish:
    """Return the finish of an answer that is complete."""
    if finish is None:
        return finish_of("stop", "", called=called)
    reason = finish_of(finish.reason, finish.raw, called=called).reason
    return finish if reason == finish.reason else msgspec.structs.replace(finish, reason=reason)


def write_stop(finish: Finish) -> dict[str, Any]:
    """Return `stop_reason` and its neighbours."""
    raw = finish.raw if _REASONS.get(finish.raw) == finish.reason else _RAW[finish.reason]
    members: dict[str, Any] = {"stop_reason": raw, "stop_sequence": finish.stop_sequence or None}
    if finish.detail and raw == "refusal":
        members["stop_details"] = {"type": "refusal", "explanation": finish.detail}
    return members
