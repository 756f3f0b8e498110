"""Finish reasons: the words of OpenAI and of the servers beside it, read and written (dialects: §15.1)."""

from __future__ import annotations

from flumegate.ir.answer import Finish, FinishReason, finish_of

_READ: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "context_full",
    "tool_calls": "tool",
    "function_call": "tool",
    "tool_use": "tool",
    "stop_sequence": "stop_sequence",
    "content_filter": "filter",
    "safety": "filter",
    "refusal": "refusal",
}
BROKEN = frozenset({"error", "insufficient_system_resource", "aborted"})
"""Words with which a server tells that it broke off: no answer, whatever stands before them."""
_WRITTEN: dict[FinishReason, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "tool": "tool_calls",
    "length": "length",
    "context_full": "length",
    "filter": "content_filter",
    "refusal": "content_filter",
    "pause": "stop",
}


def read_finish(raw: str, stop_sequence: str, *, called: bool) -> Finish:
    """Return the finish that a server's word means; unknown words are a plain end."""
    reason = _READ.get(raw.lower(), "stop")
    if stop_sequence and reason == "stop":
        reason = "stop_sequence"
    finish = finish_of(reason, raw, called=called)
    return Finish(finish.reason, raw, stop_sequence) if stop_sequence else finish


def write_finish(finish: Finish, *, old_form: bool = False) -> str:
    """Return OpenAI's word."""
    if old_form and finish.reason == "tool":
        return "function_call"
    return _WRITTEN[finish.reason]
