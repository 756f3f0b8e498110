"""An answer for a client of `POST /api/generate`, in one piece."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.ollama.ending import write_ending, write_time
from flumegate.dialects.ollama.said import Reporter, first_choice, gather
from flumegate.ir.answer import Answer, Asked
from flumegate.ir.loss import Loss, Losses
from flumegate.ir.parts import Media

_encode = msgspec.json.Encoder().encode


def write_answer(answer: Answer, asked: Asked) -> tuple[bytes, tuple[Loss, ...]]:
    """Return the answer in the form of generate, and what it could not say."""
    losses = Losses()
    reporter = Reporter(losses)
    reporter.extras(answer.extras)
    choice = first_choice(answer, losses)
    said = gather(choice, reporter)
    members: dict[str, Any] = {
        "model": asked.request.model,
        "created_at": write_time(answer.created or asked.created),
        "response": "".join(said.texts),
    }
    if said.thinking:
        members["thinking"] = "\n\n".join(said.thinking)
    if said.images:
        reporter.media(Media("image", data=said.images[0]))
    if said.calls:
        reporter.calls()
    logprobs = said.all_logprobs()
    if logprobs is not None:
        members["logprobs"] = logprobs
    return _encode(members | write_ending(choice.finish, answer.usage, choice.extras, losses)), tuple(losses.found)
