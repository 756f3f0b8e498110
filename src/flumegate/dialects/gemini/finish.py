"""`finishReason` (dialects: §15.1). A reason that nobody knows is no clean end, so it counts as a filter's."""

from __future__ import annotations

from flumegate.ir.answer import Finish, FinishReason, finish_of
from flumegate.ir.failure import Failure

PROMPT = "promptFeedback."
"""Before the raw reason of an answer that never began, as the prompt was blocked: the same words mean both."""
_REASONS: dict[str, FinishReason] = {"STOP": "stop", "FINISH_REASON_UNSPECIFIED": "stop", "MAX_TOKENS": "length"}
_BROKEN = frozenset(
    (
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
    )
)
_WORDS: dict[FinishReason, str] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "tool": "STOP",
    "pause": "STOP",
    "length": "MAX_TOKENS",
    "context_full": "MAX_TOKENS",
    "filter": "SAFETY",
    "refusal": "SAFETY",
}


def read_finish(raw: str, detail: str, *, called: bool) -> Finish:
    """Return why a candidate ended."""
    finish = finish_of(_REASONS.get(raw, "filter"), raw, called=called)
    return Finish(finish.reason, raw, detail=detail) if detail else finish


def broken(raw: str, detail: str) -> Failure | None:
    """Return the failure where the reason tells that the model's output is none."""
    if raw not in _BROKEN:
        return None
    return Failure("internal", detail or f"The model's output could not be used ({raw}).", raw)


def write_finish(finish: Finish) -> str:
    """Return Google's word: the one that was read, else the nearest."""
    word = _WORDS[finish.reason]
    return finish.raw if word == "SAFETY" and finish.raw.isupper() else word


def minted(answer_id: str, number: int) -> str:
    """Return the id of an answer's nth call that has none.

    With the answer's own id in it, as ids must not repeat within a conversation, and every answer counts from 0.
    """
    return f"call_{answer_id}_{number}" if answer_id else f"call_{number}"
