"""Our answer as a `chat.completion` (dialects: §3.2, §13.3)."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.citations import write_annotation
from flumegate.dialects.openai.chat.finish import write_finish
from flumegate.dialects.openai.chat.names import CHAT, TARGET
from flumegate.dialects.openai.chat.read_request import OLD_FORM
from flumegate.dialects.openai.chat.thinking import write_thinking, write_thought_signature
from flumegate.dialects.openai.usage import write_usage
from flumegate.ir.answer import Answer, Asked, Choice
from flumegate.ir.loss import Loss, Losses
from flumegate.ir.parts import Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult

Json = dict[str, Any]
_encode = msgspec.json.Encoder().encode


def write_answer(answer: Answer, asked: Asked) -> tuple[bytes, tuple[Loss, ...]]:
    """Return the document, and what it could not say."""
    losses = Losses()
    old_form = wants_old_form(asked)
    calls = 0
    choices = []
    for number, choice in enumerate(answer.choices):
        choices.append(_choice(choice, number, CallNames(asked.seed, calls), old_form=old_form, losses=losses))
        calls += len(choice.parts)
    members: Json = {
        "id": answer.id or f"chatcmpl-{asked.seed}",
        "object": "chat.completion",
        "created": answer.created or asked.created,
        "model": asked.request.model,
        "choices": choices,
    }
    if answer.usage is not None:
        members["usage"] = write_usage(answer.usage)
    leftovers.give_back(members, answer.extras)
    losses.extras(answer.extras, "", (CHAT,), TARGET)
    return _encode(members), tuple(losses.found)


def wants_old_form(asked: Asked) -> bool:
    """Tell whether the client offered `functions` and so wants `function_call`."""
    return leftovers.is_marked(asked.request.extras, OLD_FORM)


class CallNames:
    """Makes ids for calls that came without one."""

    def __init__(self, seed: str, first: int = 0) -> None:
        self._seed = seed
        self._next = first

    def of(self, call: ToolCall) -> str:
        """Return the id of the next call."""
        self._next += 1
        return call.id or f"call_{self._seed}_{self._next - 1}"


def _choice(choice: Choice, number: int, names: CallNames, *, old_form: bool, losses: Losses) -> Json:
    outer, inner = leftovers.divided(choice.extras)
    message = _message(choice, names, old_form=old_form, losses=losses)
    leftovers.give_back(message, inner)
    logprobs = [part.logprobs for part in choice.parts if isinstance(part, Text) and part.logprobs]
    members: Json = {
        "index": number,
        "message": message,
        "logprobs": {"content": _joined(logprobs), "refusal": None} if logprobs else None,
        "finish_reason": write_finish(choice.finish, old_form=old_form),
    }
    if choice.finish.stop_sequence:
        members["stop_reason"] = choice.finish.stop_sequence
    if choice.finish.reason == "pause":
        note_pause(losses)
    leftovers.give_back(members, outer)
    losses.extras(outer, "", (CHAT,), TARGET)
    return members


def note_pause(losses: Losses) -> None:
    """Note that an unfinished turn of the provider's looks finished."""
    losses.approximated("finish_reason", f"{TARGET} cannot tell that the provider paused and wants to go on.")


def _joined(lists: list[bytes]) -> msgspec.Raw:
    if len(lists) == 1:
        return msgspec.Raw(lists[0])
    return msgspec.Raw(_encode([item for one in lists for item in msgspec.json.decode(one)]))


def _message(choice: Choice, names: CallNames, *, old_form: bool, losses: Losses) -> Json:
    texts = [part for part in choice.parts if isinstance(part, Text)]
    refusals = [part.text for part in choice.parts if isinstance(part, Refusal)]
    if not refusals and choice.finish.reason == "refusal" and choice.finish.detail:
        refusals.append(choice.finish.detail)
    message: Json = {
        "role": "assistant",
        "content": "".join(part.text for part in texts) if texts else None,
        "refusal": "".join(refusals) if refusals else None,
    }
    message |= write_thinking(part for part in choice.parts if isinstance(part, Thinking))
    if annotations := _annotations(texts):
        message["annotations"] = annotations
    calls = [part for part in choice.parts if isinstance(part, ToolCall)]
    if calls and old_form:
        message["function_call"] = {"name": calls[0].name, "arguments": calls[0].arguments or "{}"}
        if len(calls) > 1:
            note_old_form(losses)
    elif calls:
        message["tool_calls"] = [write_call(call, names.of(call)) for call in calls]
    for number, part in enumerate(choice.parts):
        at = f"content[{number}]"
        _other(part, message, losses, at)
        if not isinstance(part, Opaque | Thinking):
            losses.extras(part.extras, at, (CHAT,), TARGET)
    return message


def note_old_form(losses: Losses) -> None:
    """Note that the old form of calls has room for one."""
    losses.dropped("tool_calls", "The old form, function_call, holds one call; the others are left out.")


def _annotations(texts: list[Text]) -> list[Json]:
    shift = 0
    found = []
    for part in texts:
        found += [write_annotation(citation, shift) for citation in part.citations]
        shift += len(part.text)
    return found


def write_call(call: ToolCall, name: str) -> Json:
    """Return a tool call of an answer."""
    if call.kind == "custom":
        members: Json = {"id": name, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    else:
        function = {"name": call.name, "arguments": call.arguments or "{}"}
        members = {"id": name, "type": "function", "function": function}
    if call.signature:
        members["extra_content"] = write_thought_signature(call.signature, call.origin)
    leftovers.give_back(members, call.extras)
    return members


def _other(part: Part, message: Json, losses: Losses, at: str) -> None:
    """Write what has no place in OpenAI's reference but is understood all the same, or note its loss."""
    if isinstance(part, Media):
        image = write_image(part)
        if image is None:
            losses.dropped(at, f"{TARGET} answers with no part of kind {part.kind}.")
        else:
            message.setdefault("images", []).append(image)
    elif isinstance(part, Opaque):
        if part.dialect == CHAT and part.kind == "annotations":
            message.setdefault("annotations", []).extend(msgspec.json.decode(part.raw, type=list[msgspec.Raw]))
        elif part.dialect == CHAT and part.kind == "audio":
            message["audio"] = msgspec.Raw(part.raw)
        else:
            note_opaque(part, losses, at)
    elif isinstance(part, ToolResult):
        losses.dropped(at, f"{TARGET} shows no tool results in an answer.")


def note_opaque(part: Opaque, losses: Losses, at: str) -> None:
    """Note a block that only another dialect has: an answer is given all the same."""
    losses.dropped(at, f"{TARGET} has no block of type {part.kind[:60]!r}.")


def write_image(part: Media) -> Json | None:
    """Return an image as the servers that make some send it; None where it is none."""
    if part.kind != "image" or not (part.data or part.url):
        return None
    url = f"data:{part.media_type or 'image/png'};base64,{part.data}" if part.data else part.url
    return {"type": "image_url", "image_url": {"url": url}}
