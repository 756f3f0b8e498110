"""What stands in the last line of an answer: why it ended, the counts, the durations; and the time in every line.

Of chat and generate alike. Durations are nanoseconds. The provider's own travel as extras of the choice; for the
answers of others nobody measured any, so they are 0.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flumegate.dialects.node import Node
from flumegate.dialects.ollama.calls import nested
from flumegate.dialects.ollama.names import CHAT, GENERATE
from flumegate.ir.answer import Finish, FinishReason, finish_of
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Extras
from flumegate.ir.usage import Usage

_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
_LENGTHS = ("length", "context_full")
_LOADING = ("load", "unload")
_UNTOLD = ("filter", "refusal", "pause")
_OWN = (CHAT, GENERATE)
_TRIVIAL = ("context", "error", "remote_host", "remote_model")
"""Where it was made, and a memory of tokens that the server gave up."""
DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")


def read_finish(raw: str, *, called: bool) -> Finish:
    """Return why an answer ended: the server says `stop` after tool calls too."""
    return finish_of(_REASONS.get(raw, "stop"), raw, called=called)


def read_usage(node: Node) -> Usage | None:
    """Take the counts; a server that found the prompt in its cache leaves the first one out."""
    into, out = node.integer("prompt_eval_count"), node.integer("eval_count")
    return None if into is None and out is None else Usage(into, out)


def read_time(text: str) -> int:
    """Return Unix seconds; 0 where it is no time."""
    try:
        moment = datetime.fromisoformat(text)
        return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, OverflowError):
        return 0


def read_extras(node: Node, message: Node | None) -> Extras | None:
    """Return what the last line has beside the known: durations that somebody measured, and what a message holds."""
    left = message.left() if message is not None else None
    extras = nested(node, "message", left.fields if left is not None else {})
    if extras is None:
        return None
    fields = {name: raw for name, raw in extras.fields.items() if name not in DURATIONS or bytes(raw) != b"0"}
    trivial = tuple(name for name in (*DURATIONS, *_TRIVIAL) if name in fields)
    return Extras(extras.dialect, fields, trivial=trivial) if fields else None


def write_time(seconds: int) -> str:
    """Return a time as RFC 3339 demands it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _give_back(members: dict[str, Any], extras: Extras | None, losses: Losses) -> None:
    if extras is None:
        return
    losses.extras(extras, "", _OWN, "Ollama")
    if extras.dialect in _OWN:  # what was left over in the message is given back there
        members |= {name: raw for name, raw in extras.fields.items() if name != "message"}


def write_ending(finish: Finish, usage: Usage | None, extras: Extras | None, losses: Losses) -> dict[str, Any]:
    """Return the members that only the last line has."""
    raw = finish.raw if finish.raw in _LOADING else "stop"
    members: dict[str, Any] = {"done": True, "done_reason": "length" if finish.reason in _LENGTHS else raw}
    if finish.reason in _UNTOLD:
        losses.approximated("finish_reason", f"Ollama knows no end of the kind {finish.reason!r}, only 'stop'.")
    _give_back(members, extras, losses)
    for name in DURATIONS:
        members.setdefault(name, 0)
    if usage is not None:
        if usage.input_tokens is not None:
            members["prompt_eval_count"] = usage.input_tokens
        if usage.output_tokens is not None:
            members["eval_count"] = usage.output_tokens
    return members
