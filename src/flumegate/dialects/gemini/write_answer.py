"""An answer in Gemini's shape, for a client."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from flumegate.dialects.gemini.finish import PROMPT, minted, write_finish
from flumegate.dialects.gemini.grounding import write_citations
from flumegate.dialects.gemini.logprobs import write_logprobs
from flumegate.dialects.gemini.members import NAME, give_back
from flumegate.dialects.gemini.signature import write_signature
from flumegate.dialects.gemini.usage import write_usage
from flumegate.dialects.gemini.write_parts import TARGET, write_call, write_media, write_text
from flumegate.ir.answer import Answer, Asked, Choice, Finish
from flumegate.ir.arguments import as_object
from flumegate.ir.loss import Loss, Losses
from flumegate.ir.parts import Media, Opaque, Part, Refusal, Text, Thinking, ToolCall

_encode = msgspec.json.Encoder().encode
Members = dict[str, Any]


def write_answer(answer: Answer, asked: Asked) -> tuple[bytes, tuple[Loss, ...]]:
    """Return the body, and what could not be said."""
    losses = Losses()
    writer = PartWriter(answer.id, losses)
    members: Members = {}
    if is_blocked(answer):
        members["promptFeedback"] = write_block(answer.choices[0].finish)
    else:
        members["candidates"] = [
            _write_candidate(choice, number, writer, losses) for number, choice in enumerate(answer.choices)
        ]
    spent = write_usage(answer.usage) if answer.usage is not None else {}
    if spent:
        members["usageMetadata"] = spent
    members |= write_head(answer.id, answer.created, asked)
    losses.extras(answer.extras, "", (NAME,), TARGET)
    give_back(members, answer.extras)
    return _encode(members), tuple(losses.found)


def write_head(identity: str, created: int, asked: Asked) -> Members:
    """Return the members that name the answer; a stream repeats them in every event."""
    head: Members = {"modelVersion": asked.request.model, "responseId": identity or asked.seed}
    if created:
        moment = datetime.fromtimestamp(created, UTC)
        head["createTime"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return head


def is_blocked(answer: Answer) -> bool:
    """Tell whether a filter of Gemini's stopped the prompt: that is said without any candidate."""
    only = answer.choices[0] if len(answer.choices) == 1 else None
    return only is not None and not only.parts and only.extras is None and is_prompt_block(only.finish)


def is_prompt_block(finish: Finish) -> bool:
    """Tell whether the finish is that of a prompt which Gemini blocked, not of an answer."""
    return finish.reason == "filter" and finish.raw.startswith(PROMPT)


def write_block(finish: Finish) -> Members:
    """Return the `promptFeedback`."""
    return {"blockReason": finish.raw.removeprefix(PROMPT)} | (
        {"blockReasonMessage": finish.detail} if finish.detail else {}
    )


def _write_candidate(choice: Choice, number: int, writer: PartWriter, losses: Losses) -> Members:
    cut = choice.finish.reason in ("length", "context_full", "filter")
    parts = [
        written
        for place, part in enumerate(choice.parts)
        if (written := writer.write(part, f"content[{place}]", cut=cut)) is not None
    ]
    content: Members = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    members: Members = {"content": content} | write_end(choice.finish, losses) | {"index": number}
    losses.extras(choice.extras, "", (NAME,), TARGET)
    give_back(members, choice.extras)
    for part in choice.parts:
        if isinstance(part, Text):
            members |= _beside(part, members)
    return members


def _beside(text: Text, members: Members) -> Members:
    """Return what stands beside the parts of a candidate: sources and log probabilities."""
    beside: Members = {}
    if text.citations and "groundingMetadata" not in members:
        beside["groundingMetadata"] = write_citations(text.citations, text.text)
    if text.logprobs and "logprobsResult" not in members:
        beside["logprobsResult"] = write_logprobs(text.logprobs)
    return beside


def write_end(finish: Finish, losses: Losses) -> Members:
    """Return why a candidate ended."""
    if finish.stop_sequence:
        losses.dropped("stop_sequence", "Gemini does not tell which sequence was met.")
    if finish.reason == "pause":
        losses.approximated("finish_reason", "Gemini has no pauses; the answer looks complete.")
    end: Members = {"finishReason": write_finish(finish)}
    if finish.detail:
        end["finishMessage"] = finish.detail
    return end


class PartWriter:
    """Writes the parts of one answer."""

    def __init__(self, identity: str, losses: Losses) -> None:
        self._identity = identity
        self._losses = losses
        self._calls = 0

    def write(  # noqa: PLR0911 - one return for every kind of part
        self, part: Part, at: str, *, cut: bool = False
    ) -> Members | msgspec.Raw | None:
        """Return a part, or None where it cannot be said. `cut`: the answer was cut short, so a call may be broken."""
        match part:
            case Text():
                self._losses.extras(part.extras, at, (NAME,), TARGET)
                return write_text(part)
            case Thinking():
                self._losses.extras(part.extras, at, (NAME,), TARGET)
                return write_thinking(part)
            case ToolCall():
                return self._write_call(part, at, cut=cut)
            case Media():
                return write_media(msgspec.structs.replace(part, at=at), self._losses, own=True)
            case Refusal():
                self._losses.extras(part.extras, at, (NAME,), TARGET)
                self._losses.approximated(at, "Gemini has no refusals; it is said as text.")
                return {"text": part.text}
            case Opaque() if part.dialect == NAME:
                return msgspec.Raw(part.raw)
            case Opaque():
                # In an answer nothing can be refused any more: what was said is said.
                self._losses.dropped(at, f"Gemini has no block of type {part.kind[:60]!r}.")
                return None
            case _:
                self._losses.dropped(at, "A model gives no results of tools to a Gemini client.")
                return None

    def _write_call(self, call: ToolCall, at: str, *, cut: bool) -> Members | None:
        number = self._calls
        self._calls += 1
        args = as_object(call.arguments)
        if args is None:
            if cut:
                self._losses.dropped(at, "The call was cut short, and Gemini's calls are whole objects.")
            else:
                self._losses.refused(at, "The model's arguments are no JSON object, which Gemini's calls must have.")
            return None
        self._losses.extras(call.extras, at, (NAME,), TARGET)
        identity = "" if call.id == minted(self._identity, number) else call.id
        members = write_call(call, call.name, identity, args)
        if call.signature:
            members["thoughtSignature"] = write_signature(call.signature, call.origin)
        return members


def write_thinking(part: Thinking) -> Members:
    """Return the part of a thought."""
    members: Members = {"text": "\n\n".join(part.texts)}
    if part.texts:
        members["thought"] = True
    if part.signature:
        members["thoughtSignature"] = write_signature(part.signature, part.origin, redacted=part.redacted)
    give_back(members, part.extras)
    return members
