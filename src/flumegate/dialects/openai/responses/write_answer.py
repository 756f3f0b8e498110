"""Writes a response object for a client (dialects: §4.2, §13.4). Texts and refusals in a row are one message."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.openai.responses.names import INSIDE, ITEM, NAME, TARGET, own
from flumegate.dialects.openai.responses.output_items import (
    begins_message,
    call_item,
    image_item,
    message_item,
    state_item,
    thinking_item,
)
from flumegate.dialects.openai.responses.response_object import ending, response_object, write_usage
from flumegate.dialects.openai.responses.write_parts import output_text, part_extras, write_citation
from flumegate.ir.answer import Answer, Asked, Choice, Finish
from flumegate.ir.loss import Loss, Losses
from flumegate.ir.parts import Extras, Media, Opaque, Part, Refusal, Text, Thinking, ToolCall

_encode = msgspec.json.Encoder().encode


def write_answer(answer: Answer, asked: Asked) -> tuple[bytes, tuple[Loss, ...]]:
    """Return the whole response object, and what was lost."""
    losses = Losses()
    losses.extras(answer.extras, "", (NAME,), TARGET)
    choice = answer.choices[0] if answer.choices else Choice()
    losses.extras(choice.extras, "", (NAME,), TARGET)
    if len(answer.choices) > 1:
        losses.dropped("choices", f"{TARGET} gives one answer.")
    parts = choice.parts + explained(choice.finish, refused=_refused(choice.parts))
    status, details = ending(choice.finish, refused=_refused(parts))
    members = response_object(asked, answer.id, answer.created, answer.extras)
    members["status"] = status
    members["incomplete_details"] = own(answer.extras).get("incomplete_details", details)
    members["output"] = _Output(asked.seed, losses).write(parts, incomplete=status == "incomplete")
    members["usage"] = write_usage(answer.usage, answer.extras)
    return _encode(members), tuple(losses.found)


def _refused(parts: tuple[Part, ...]) -> bool:
    return any(isinstance(part, Refusal) for part in parts)


def explained(finish: Finish, *, refused: bool) -> tuple[Refusal, ...]:
    """Return the refusal part that says what the provider explained at the end."""
    return (Refusal(finish.detail),) if finish.reason == "refusal" and finish.detail and not refused else ()


def foreign_extras(extras: Extras | None, losses: Losses, at: str) -> None:
    """Report what only another dialect says of a part."""
    losses.extras(extras, at, (NAME,), TARGET)


def write_picture(part: Media, seed: str, number: int, losses: Losses, at: str) -> dict[str, Any] | None:
    """Return a medium in the answer as an item; None if it cannot be said, which is reported."""
    if part.kind == "image" and part.data:
        losses.approximated(at, "A picture in the answer becomes a call of the image tool.")
        return image_item(part, seed, number)
    losses.dropped(at, f"{TARGET} has no {part.kind} in answers.")
    return None


class _Output:
    def __init__(self, seed: str, losses: Losses) -> None:
        self._seed = seed
        self._losses = losses
        self._items: list[dict[str, Any] | msgspec.Raw] = []
        self._message: dict[str, Any] | None = None

    def write(self, parts: tuple[Part, ...], *, incomplete: bool) -> list[dict[str, Any] | msgspec.Raw]:
        for place, part in enumerate(parts):
            self._add(part, f"content[{place}]")
        last = self._items[-1] if self._items else None
        if incomplete and isinstance(last, dict) and last.get("status") == "completed" and last["type"] != "reasoning":
            last["status"] = "incomplete"
        return self._items

    def _put(self, item: dict[str, Any] | msgspec.Raw | None) -> None:
        self._message = None
        if item is not None:
            self._items.append(item)

    def _add(self, part: Part, at: str) -> None:
        number = len(self._items)
        match part:
            case Text() | Refusal():
                self._speak(part, at)
            case Thinking():
                foreign_extras(part.extras, self._losses, at)
                self._put(thinking_item(part, self._seed, number))
            case ToolCall():
                foreign_extras(part.extras, self._losses, at)
                if part.signature:
                    self._put(state_item(part, self._seed, number))
                    number += 1
                arguments = part.arguments or ("{}" if part.kind == "function" else "")
                self._put(call_item(part, arguments, self._seed, number, "completed"))
            case Media():
                self._put(write_picture(part, self._seed, number, self._losses, at))
            case Opaque() if part.dialect != NAME:
                self._losses.opaque(msgspec.structs.replace(part, at=at), TARGET)
            case Opaque() if INSIDE in part.at and self._message is not None:
                self._message["content"].append(msgspec.Raw(part.raw))
            case Opaque():
                self._put(msgspec.Raw(part.raw))
            case _:
                self._losses.dropped(at, f"{TARGET} has no tool results in answers.")

    def _speak(self, part: Text | Refusal, at: str) -> None:
        foreign_extras(part.extras, self._losses, at)
        message = self._message
        if message is None or begins_message(part):
            message = message_item(part, self._seed, len(self._items), "completed")
            self._put(message)
            self._message = message
        if isinstance(part, Text):
            written = [write_citation(one, len(part.text), self._losses) for one in part.citations]
            members = output_text(part.text, [one for one in written if one is not None], part.logprobs)
            part_extras(members, part)
        else:
            members = {"type": "refusal", "refusal": part.text}
            members |= {name: raw for name, raw in own(part.extras).items() if name != ITEM}
        message["content"].append(members)
