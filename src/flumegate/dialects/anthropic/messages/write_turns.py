"""The conversation as Anthropic takes it: `system`, then messages of alternating sides (dialects: §13.1).

A client that spoke Messages itself has its turns written as they came. Others' turns are put into the order that the
API demands: neighbours of one side together, tool results first in the turn behind their calls, nothing empty.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.anthropic.messages.draft import Draft
from flumegate.dialects.anthropic.messages.extras import DIALECT, TARGET
from flumegate.dialects.anthropic.messages.write_blocks import write_parts
from flumegate.ir.parts import Part, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Turn
from flumegate.ir.turns import grouped, leading_system, refuse_unanswered, report_name, report_turn

_SYSTEM = ("system", "developer")


def arrange(draft: Draft) -> tuple[list[Turn], list[Turn]]:
    """Return the leading system turns and the others, ready to be written one by one."""
    turns = tuple(_without_foreign_thinking(draft, turn) for turn in draft.request.turns)
    if draft.thinking_dropped:
        draft.losses.dropped("reasoning", "Earlier reasoning came from another provider, which alone can read it.")
    if draft.own:
        leading = [turn for turn in turns if turn.at == "system"]
        kept = [turn for turn in turns if turn.parts or not draft.thinking_dropped]
        others = [_place_system(draft, turn) for turn in kept if turn.at != "system"]
    else:
        run, rest = leading_system(turns)
        leading = [turn for turn in (_without_blanks(draft, turn) for turn in run) if turn.parts]
        placed = [_place_system(draft, _without_blanks(draft, turn)) for turn in rest]
        others = _systems_behind_results(grouped(turn for turn in placed if turn.parts))
    _check(draft, others)
    return leading, _trimmed(draft, others)


def _without_foreign_thinking(draft: Draft, turn: Turn) -> Turn:
    """Leave out reasoning that Anthropic did not sign: it would be refused."""
    kept = tuple(
        part
        for part in turn.parts
        if not isinstance(part, Thinking) or (part.origin == DIALECT and bool(part.signature))
    )
    if len(kept) == len(turn.parts):
        return turn
    draft.thinking_dropped = True
    return msgspec.structs.replace(turn, parts=kept)


def _without_blanks(draft: Draft, turn: Turn) -> Turn:
    """Leave out texts without a visible character, which the API refuses."""
    kept: list[Part] = []
    for part in turn.parts:
        if isinstance(part, Text) and not part.text.strip():
            if part.text:
                draft.losses.dropped(part.at or turn.at, f"{TARGET} takes no text of white space alone.")
            continue
        kept.append(part)
    if not kept:
        if not draft.thinking_dropped or turn.role != "assistant":
            draft.losses.dropped(turn.at, f"{TARGET} takes no empty message.")
        return msgspec.structs.replace(turn, parts=())
    return turn if len(kept) == len(turn.parts) else msgspec.structs.replace(turn, parts=tuple(kept))


def _place_system(draft: Draft, turn: Turn) -> Turn:
    """Return a system turn inside the conversation as the model takes it; it stays where it is."""
    if turn.role not in _SYSTEM:
        return turn
    able = draft.abilities.system_anywhere
    if able or (able is None and draft.own):
        return turn if turn.role == "system" else msgspec.structs.replace(turn, role="system")
    draft.losses.approximated(turn.at, "The model takes no later system message; it is sent as a marked user message.")
    parts = tuple(
        msgspec.structs.replace(part, text=f"<system>\n{part.text}\n</system>") if isinstance(part, Text) else part
        for part in turn.parts
    )
    return msgspec.structs.replace(turn, role="user", parts=parts, plain=False)


def _systems_behind_results(turns: list[Turn]) -> list[Turn]:
    """Move system turns from between calls and their results to behind the results."""
    ordered: list[Turn] = []
    waiting: list[Turn] = []
    calling = False
    for turn in turns:
        if turn.role == "system" and calling:
            waiting.append(turn)
            continue
        answers = turn.role == "user" and any(isinstance(part, ToolResult) for part in turn.parts)
        if waiting and not answers:
            ordered += waiting
            waiting = []
        ordered.append(turn)
        ordered += waiting
        waiting = []
        calling = turn.role == "assistant" and any(isinstance(part, ToolCall) for part in turn.parts)
    return ordered + waiting


def _check(draft: Draft, turns: list[Turn]) -> None:
    refuse_unanswered(turns, draft.losses)
    if not turns:
        draft.losses.refused("messages", f"{TARGET} needs at least one message that is not empty.")
    elif turns[-1].role == "assistant" and draft.abilities.prefill is False:
        draft.losses.refused(turns[-1].at, "The model does not continue a message of the assistant.")


def _trimmed(draft: Draft, turns: list[Turn]) -> list[Turn]:
    """Cut white space from the end of a message that the model shall continue: the API refuses it."""
    if draft.own or not turns or turns[-1].role != "assistant":
        return turns
    last = turns[-1]
    text = last.parts[-1]
    if not isinstance(text, Text) or text.text == text.text.rstrip():
        return turns
    draft.losses.approximated(text.at or last.at, f"{TARGET} takes no white space at the end of the last message.")
    parts = (*last.parts[:-1], msgspec.structs.replace(text, text=text.text.rstrip()))
    return [*turns[:-1], msgspec.structs.replace(last, parts=parts)]


def write_system(draft: Draft, members: dict[str, Any], turns: list[Turn], instruction: str) -> None:
    """Write `system`; `instruction` is what the form of the answer adds to it."""
    if not instruction and len(turns) == 1 and _is_string(turns[0]):
        members["system"] = _only_text(turns[0])
        report_turn(turns[0], draft.losses, DIALECT, TARGET)
        return
    blocks: list[Any] = []
    for turn in turns:
        report_turn(turn, draft.losses, DIALECT, TARGET)
        for part in turn.parts:
            if isinstance(part, Text) or (draft.own and not isinstance(part, ToolCall | ToolResult)):
                blocks += write_parts(draft, (part,), turn.at)
            else:
                draft.losses.refused(getattr(part, "at", "") or turn.at, f"{TARGET} takes only text as system.")
    if instruction:
        blocks.append({"type": "text", "text": instruction})
    if blocks:
        members["system"] = blocks


def write_messages(draft: Draft, turns: list[Turn]) -> list[dict[str, Any]]:
    """Return `messages`."""
    messages = []
    for turn in turns:
        message: dict[str, Any] = {"role": turn.role}
        if _is_string(turn):
            message["content"] = _only_text(turn)
        else:
            message["content"] = write_parts(draft, turn.parts, turn.at)
        draft.extras(message, turn.extras, turn.at)
        report_name(turn, draft.losses, TARGET)
        messages.append(message)
    return messages


def _is_string(turn: Turn) -> bool:
    """Tell whether a turn's content can be a bare string: it was one, and its text carries nothing else."""
    if not turn.plain or len(turn.parts) != 1:
        return False
    part = turn.parts[0]
    return isinstance(part, Text) and part.cache is None and part.extras is None and not part.citations


def _only_text(turn: Turn) -> str:
    return "".join(part.text for part in turn.parts if isinstance(part, Text))
