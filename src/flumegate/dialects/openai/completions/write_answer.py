"""Our answer as a `text_completion` (dialects: §5)."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.openai.completions import speech
from flumegate.dialects.openai.usage import write_usage
from flumegate.ir.answer import Answer, Asked, Choice
from flumegate.ir.loss import Loss, Losses
from flumegate.ir.parts import Refusal, Text

_encode = msgspec.json.Encoder().encode


def write_answer(answer: Answer, asked: Asked) -> tuple[bytes, tuple[Loss, ...]]:
    """Return the document, and what it could not say."""
    losses = Losses()
    speech.begin(losses)
    before = speech.echoed(asked)
    members: dict[str, Any] = {
        "id": answer.id or f"cmpl-{asked.seed}",
        "object": "text_completion",
        "created": answer.created or asked.created,
        "model": asked.request.model,
        "choices": [_choice(choice, number, before, losses) for number, choice in enumerate(answer.choices)],
    }
    if answer.usage is not None:
        members["usage"] = write_usage(answer.usage)
    speech.note_extras(answer.extras, losses)
    return _encode(members), tuple(losses.found)


def _choice(choice: Choice, number: int, before: str, losses: Losses) -> dict[str, Any]:
    for place, part in enumerate(choice.parts):
        speech.note_part(part, losses, f"content[{place}]")
    speech.note_extras(choice.extras, losses)
    return {
        "text": before + "".join(part.text for part in choice.parts if isinstance(part, Text | Refusal)),
        "index": number,
        "logprobs": None,
        "finish_reason": speech.write_finish(choice.finish, losses),
    }
