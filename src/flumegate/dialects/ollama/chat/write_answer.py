"""An answer for a client of `POST /api/chat`, in one piece."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.ollama.calls import give_back_nested, write_call
from flumegate.dialects.ollama.ending import write_ending, write_time
from flumegate.dialects.ollama.said import Reporter, Said, first_choice, gather
from flumegate.ir.answer import Answer, Asked, Finish
from flumegate.ir.loss import Loss, Losses

_encode = msgspec.json.Encoder().encode


def write_answer(answer: Answer, asked: Asked) -> tuple[bytes, tuple[Loss, ...]]:
    """Return the answer in Ollama's form, and what it could not say."""
    losses = Losses()
    reporter = Reporter(losses)
    reporter.extras(answer.extras)
    choice = first_choice(answer, losses)
    said = gather(choice, reporter)
    members: dict[str, Any] = {
        "model": asked.request.model,
        "created_at": write_time(answer.created or asked.created),
        "message": _message(said, reporter, choice.finish),
    }
    logprobs = said.all_logprobs()
    if logprobs is not None:
        members["logprobs"] = logprobs
    members |= write_ending(choice.finish, answer.usage, choice.extras, losses)
    give_back_nested(members, choice.extras, "message")
    return _encode(members), tuple(losses.found)


def _message(said: Said, reporter: Reporter, finish: Finish) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(said.texts)}
    if said.thinking:
        message["thinking"] = "\n\n".join(said.thinking)
    if said.images:
        message["images"] = said.images
    calls = []
    for call in said.calls:
        written = write_call(call, bare=True)
        if written is None:
            reporter.broken(call, finish)
        else:
            calls.append(written)
    if calls:
        message["tool_calls"] = calls
    return message
