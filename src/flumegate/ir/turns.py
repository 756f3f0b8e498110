"""What every writer of requests needs to know of a conversation: groups, the tools' names, legal ids."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec

from flumegate.ir.loss import Losses
from flumegate.ir.parts import Extras, Part, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Request, Turn

_MAX_NAMED = 5
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def leading_system(turns: tuple[Turn, ...]) -> tuple[tuple[Turn, ...], tuple[Turn, ...]]:
    """Return the run of system and developer turns that a conversation begins with, and the rest."""
    count = 0
    for turn in turns:
        if turn.role not in ("system", "developer"):
            break
        count += 1
    return turns[:count], turns[count:]


def grouped(turns: Iterable[Turn]) -> list[Turn]:
    """Return the turns with neighbours of one speaker put together.

    Tool results are the user's side: they join the user turn behind them, results first, where one follows.
    """
    groups: list[Turn] = []
    for turn in turns:
        side = "user" if turn.role == "tool" else turn.role
        last = groups[-1] if groups else None
        if last is not None and side in ("user", "assistant") and last.role == side:
            groups[-1] = _merged(last, turn)
        else:
            groups.append(turn if turn.role == side else msgspec.structs.replace(turn, role=side, plain=False))
    return [_results_first(turn) if turn.role == "user" else turn for turn in groups]


def with_calls_together(turns: Iterable[Turn]) -> list[Turn]:
    """Return the turns with the assistant's neighbouring ones put together where calls demand it.

    In dialects of messages, the calls that were made at once, what was said beside them and the reasoning before them
    are one message; two texts in a row stay two.
    """
    together: list[Turn] = []
    for turn in turns:
        last = together[-1] if together else None
        if (
            last is not None
            and last.role == turn.role == "assistant"
            and (_calls(last) or _calls(turn) or _thinks(last))
        ):
            together[-1] = _merged(last, turn)
        else:
            together.append(turn)
    return together


def _calls(turn: Turn) -> bool:
    return any(isinstance(part, ToolCall) for part in turn.parts)


def _thinks(turn: Turn) -> bool:
    return all(isinstance(part, Thinking) for part in turn.parts)


def _merged(first: Turn, second: Turn) -> Turn:
    return msgspec.structs.replace(
        first,
        parts=first.parts + second.parts,
        plain=False,
        name=first.name or second.name,
        extras=_united(first.extras, second.extras),
    )


def _united(first: Extras | None, second: Extras | None) -> Extras | None:
    """Return the extras of two turns that become one: what is not written must still be reported."""
    if first is None or second is None:
        return first or second
    return Extras(
        first.dialect,
        second.fields | first.fields,
        tuple(dict.fromkeys(first.vital + second.vital)),
        tuple(dict.fromkeys(first.trivial + second.trivial)),
    )


def _results_first(turn: Turn) -> Turn:
    results = tuple(part for part in turn.parts if isinstance(part, ToolResult))
    if not results or turn.parts[: len(results)] == results:
        return turn
    others = tuple(part for part in turn.parts if not isinstance(part, ToolResult))
    return msgspec.structs.replace(turn, parts=results + others)


def with_state_on_calls(turns: Iterable[Turn], origin: str) -> list[Turn]:
    """Return the turns with a call's opaque state on the call again.

    Dialects whose calls have no member for it show it as thinking without a text, directly before the call.
    """
    return [_with_state_on_calls(turn, origin) if _calls(turn) else turn for turn in turns]


def _with_state_on_calls(turn: Turn, origin: str) -> Turn:
    parts: list[Part] = []
    for part in turn.parts:
        last = parts[-1] if parts else None
        if (
            isinstance(part, ToolCall)
            and isinstance(last, Thinking)
            and last.origin == origin
            and last.signature
            and not (part.signature or last.texts or last.redacted)
        ):
            parts[-1] = msgspec.structs.replace(part, signature=last.signature, origin=origin)
        else:
            parts.append(part)
    return turn if len(parts) == len(turn.parts) else msgspec.structs.replace(turn, parts=tuple(parts))


def tool_names(turns: Iterable[Turn]) -> dict[str, str]:
    """Return call id → tool name over the whole conversation."""
    return {part.id: part.name for turn in turns for part in turn.parts if isinstance(part, ToolCall)}


def unanswered(turns: Iterable[Turn]) -> list[ToolCall]:
    """Return the calls of earlier turns that have no result, where the conversation went on behind them."""
    waiting: dict[str, ToolCall] = {}
    missing: list[ToolCall] = []
    for turn in grouped(turns):
        if turn.role == "assistant":
            missing.extend(waiting.values())
            waiting = {part.id: part for part in turn.parts if isinstance(part, ToolCall)}
        elif turn.role == "user":
            for part in turn.parts:
                if isinstance(part, ToolResult):
                    waiting.pop(part.call_id, None)
            missing.extend(waiting.values())
            waiting = {}
    return missing


def refuse_unanswered(turns: Iterable[Turn], losses: Losses) -> None:
    """Refuse a conversation that went on behind calls without a result: most providers do, in other words."""
    missing = unanswered(turns)
    if missing:
        ids = ", ".join(call.id[:80] for call in missing[:_MAX_NAMED])
        losses.refused(missing[0].at or "messages", f"These tool calls have no result: {ids}.")


def refuse_no_answer(request: Request, losses: Losses) -> bool:
    """Refuse a limit of 0 tokens, towards everybody but the dialect that it was written in."""
    if request.max_output_tokens != 0:
        return False
    losses.refused(
        "max_output_tokens", "A limit of 0 tokens only warms a cache, which no provider of another dialect does."
    )
    return True


def note_as_user(turn: Turn, losses: Losses, target: str) -> Turn:
    """Return a system turn within the conversation as the user's, for dialects that have only one place for them."""
    if turn.role not in ("system", "developer"):
        return turn
    losses.approximated(turn.at, f"{target} takes system messages only at the start; it is marked user text.")
    parts = tuple(
        msgspec.structs.replace(part, text=f"[system] {part.text}") if isinstance(part, Text) else part
        for part in turn.parts
    )
    return msgspec.structs.replace(turn, role="user", parts=parts, plain=False)


def report_turn(turn: Turn, losses: Losses, own: str, target: str) -> None:
    """Report what of a turn itself a dialect without names of speakers does not say; `own` is its codec's name."""
    losses.extras(turn.extras, turn.at, (own,), target)
    report_name(turn, losses, target)


def report_name(turn: Turn, losses: Losses, target: str) -> None:
    """Report a speaker's name, for dialects that have none."""
    if turn.name:
        losses.dropped(f"{turn.at}.name", f"{target} has no names of speakers.")


def text_of(parts: Iterable[Part], between: str = "") -> str:
    """Return the text of the Text parts, joined."""
    return between.join(part.text for part in parts if isinstance(part, Text))


def safe_id(value: str, limit: int = 64) -> str:
    """Return a tool call's id that any dialect takes: `[A-Za-z0-9_-]`, bounded.

    Stateless: the call and its result in the same request get the same id.
    """
    if value and len(value) <= limit and not _UNSAFE.search(value):
        return value
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{_UNSAFE.sub('_', value)[: limit - 17]}_{digest[:16]}"


def safe_name(value: str, limit: int = 64) -> str:
    """Return a tool's name that any dialect takes; deterministic, like `safe_id`."""
    return safe_id(value, limit)


def asks_reasoning(request: Request) -> bool:
    """Tell whether the client wants the model to think."""
    reasoning = request.reasoning
    if reasoning is None or reasoning.enabled is False or reasoning.effort == "none":
        return False
    return reasoning.enabled is True or reasoning.effort is not None or reasoning.budget_tokens is not None
