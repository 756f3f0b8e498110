"""An answer as a whole message (dialects: §13.3)."""

from __future__ import annotations

from typing import Any, assert_never

import msgspec

from flumegate.dialects.anthropic.messages.answer_blocks import (
    call_id,
    ending,
    message,
    opaque,
    open_call,
    open_thinking,
    report,
    state_of,
)
from flumegate.dialects.anthropic.messages.citations import write_citation
from flumegate.dialects.anthropic.messages.extras import DIALECT, TARGET, put_back
from flumegate.dialects.anthropic.messages.stops import CUT_SHORT
from flumegate.dialects.anthropic.messages.usage import write_usage
from flumegate.ir.answer import Answer, Asked, Choice
from flumegate.ir.arguments import object_of
from flumegate.ir.loss import Loss, Losses
from flumegate.ir.parts import Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.seal import seal

Block = dict[str, Any] | msgspec.Raw
_encode = msgspec.json.Encoder().encode


def write_answer(answer: Answer, asked: Asked) -> tuple[bytes, tuple[Loss, ...]]:
    """Return a message and what was lost; a `refused` loss means that it must not be shown as an answer."""
    losses = Losses()
    report(losses, answer.extras)
    choice = answer.choices[0] if answer.choices else Choice()
    if len(answer.choices) > 1:
        losses.dropped("choices", f"{TARGET} gives one answer at a time.")
    blocks: list[Block | None] = []
    for number, part in enumerate(choice.parts):
        block = _write_part(losses, choice, number, asked.seed)
        if block is not None and isinstance(part, ToolCall) and part.signature:
            blocks.append(state_of(part))
        blocks.append(block)
    members = message(answer.id, answer.model, asked)
    members["content"] = [block for block in blocks if block is not None]
    put_back(members, answer.extras)
    if answer.usage is None:
        losses.invented("usage", "The provider reported no usage; zeros stand for it.")
    ending(members, losses, choice.extras, choice.finish, write_usage(answer.usage))
    return _encode(members), tuple(losses.found)


def _write_part(losses: Losses, choice: Choice, number: int, seed: str) -> Block | None:
    part: Part = choice.parts[number]
    at = f"content[{number}]"
    match part:
        case Text():
            return _write_text(losses, part, at)
        case Thinking():
            block = open_thinking(part)
            if not part.redacted:
                block["thinking"] = "\n\n".join(part.texts)
                block["signature"] = seal(part.signature, part.origin, own=DIALECT)
            report(losses, part.extras, at)
            put_back(block, part.extras)
            return block
        case ToolCall():
            return _write_call(losses, choice, part, at, call_id(part, seed, number))
        case Refusal():
            losses.approximated(at, f"{TARGET} has no blocks of refusal; it is sent as text.")
            report(losses, part.extras, at)
            return {"type": "text", "text": part.text} if part.text else None
        case Opaque():
            return opaque(losses, part, at)
        case Media() | ToolResult():
            losses.dropped(at, f"{TARGET} has no {type(part).__name__.lower()} in answers.")
            return None
        case _:  # pragma: no cover - the union is exhausted
            assert_never(part)


def _write_text(losses: Losses, text: Text, at: str) -> Block | None:
    if text.logprobs:
        losses.dropped("logprobs", f"{TARGET} tells no probabilities.")
    if not text.text and not text.citations:
        return None  # clients send it back, and Anthropic refuses a text that is empty
    block: dict[str, Any] = {"type": "text", "text": text.text}
    citations = [write_citation(citation, text.text) for citation in text.citations]
    named = [citation for citation in citations if citation is not None]
    if named:
        block["citations"] = named
    if len(named) < len(citations):
        losses.dropped(f"{at}.citations", f"{TARGET} names only sources that have an address.")
    report(losses, text.extras, at)
    put_back(block, text.extras)
    return block


def _write_call(losses: Losses, choice: Choice, call: ToolCall, at: str, identity: str) -> Block | None:
    arguments = object_of(call)
    if arguments is None:
        if choice.finish.reason in CUT_SHORT:
            losses.dropped(at, "The limit of tokens cut the arguments of a tool call short.")
        else:
            losses.refused(at, "The model called a tool with arguments that are no JSON object.")
        return None
    block = open_call(call, identity)
    block["input"] = arguments
    report(losses, call.extras, at)
    put_back(block, call.extras)
    return block
