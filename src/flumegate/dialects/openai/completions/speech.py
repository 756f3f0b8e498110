"""What whole answers and streams of completions share: text only, in front of it the prompt if the client wants it."""

from __future__ import annotations

from flumegate.dialects.openai.completions.read_request import wants_echo
from flumegate.ir.answer import Asked, Finish, FinishReason
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Extras, Part, Refusal, Text, Thinking, ToolCall
from flumegate.ir.turns import text_of

TARGET = "OpenAI completions"
_FINISHES: dict[FinishReason, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "tool": "stop",
    "length": "length",
    "context_full": "length",
    "filter": "content_filter",
    "refusal": "content_filter",
    "pause": "stop",
}


def begin(losses: Losses) -> None:
    """Note what every answer of this dialect lacks."""
    losses.approximated("prompt", "A chat model answers the prompt; it does not go on with its text.")


def echoed(asked: Asked) -> str:
    """Return the text in front of the answer."""
    request = asked.request
    return "".join(text_of(turn.parts) for turn in request.turns) if wants_echo(request) else ""


def write_finish(finish: Finish, losses: Losses) -> str:
    """Return OpenAI's word."""
    if finish.reason in ("tool", "pause"):
        losses.approximated("finish_reason", f"{TARGET} cannot tell why the answer ended ({finish.reason}).")
    return _FINISHES[finish.reason]


def note_part(part: Part, losses: Losses, at: str) -> None:
    """Note what is lost of a part."""
    match part:
        case Text() if part.citations:
            losses.dropped("citations", f"{TARGET} names no sources.")
        case Text():
            pass
        case Refusal():
            losses.approximated(at, f"{TARGET} knows no refusals; it is written as text.")
        case Thinking():
            losses.dropped("reasoning", f"{TARGET} shows no reasoning.")
        case ToolCall():
            losses.dropped(at, f"{TARGET} has no tool calls.")
        case _:
            losses.dropped(at, f"{TARGET} answers with text only.")


def note_extras(extras: Extras | None, losses: Losses) -> None:
    """Note what a provider says beside the answer."""
    losses.extras(extras, "", (), TARGET)
