"""What an answer says, gathered into the few slots that Ollama has for it: one text, one thinking, images, calls."""

from __future__ import annotations

import msgspec

from flumegate.dialects.ollama.names import CHAT, GENERATE
from flumegate.ir.answer import Answer, Choice, Finish
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Citation, Extras, Media, Opaque, Part, Refusal, Text, Thinking, ToolCall

TARGET = "Ollama"
OWN = (CHAT, GENERATE)
CUT_SHORT = ("length", "context_full")
"""Ends behind which a call may be incomplete without anybody being at fault."""


class Reporter:
    """Reports what parts of an answer have no place here, each kind of thing once."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._reported: set[str] = set()

    def once(self, path: str, reason: str) -> None:
        """Report a hint that is left out."""
        if path not in self._reported:
            self._reported.add(path)
            self._losses.dropped(path, reason)

    def state(self, signature: str) -> None:
        """Report opaque state of the provider, if there is any."""
        if signature:
            self.once("reasoning", "Ollama has no place for the opaque state of the reasoning.")

    def cited(self, citations: tuple[Citation, ...]) -> None:
        """Report sources, if there are any."""
        if citations:
            self.once("citations", "Ollama's answers name no sources.")

    def extras(self, extras: Extras | None, at: str = "") -> None:
        """Report members that only another dialect knows."""
        self._losses.extras(extras, at, OWN, TARGET)

    def refusal(self, at: str) -> None:
        """Report that a refusal becomes text."""
        if "refusal" not in self._reported:
            self._reported.add("refusal")
            self._losses.approximated(at, "Ollama has no refusals: it becomes text.")

    def media(self, part: Media) -> None:
        """Report a medium that cannot be said."""
        what = "an image that is not sent along" if part.kind == "image" else f"a part of the kind {part.kind!r}"
        self._losses.refused(part.kind, f"Ollama's answers cannot hold {what}.")

    def opaque(self, part: Opaque, at: str) -> None:
        """Report a block that only another dialect knows."""
        self._losses.opaque(msgspec.structs.replace(part, at=at), TARGET)

    def results(self) -> None:
        """Report the result of a tool that ran at the provider."""
        self.once("tool_results", "Ollama's answers hold no results of tools that ran at the provider.")

    def calls(self) -> None:
        """Report a tool call in an answer that cannot hold one."""
        self._losses.refused("tool_calls", "Ollama's generate answers cannot hold tool calls.")

    def broken(self, call: ToolCall, finish: Finish) -> None:
        """Report a call whose arguments are no object."""
        if finish.reason in CUT_SHORT:
            self._losses.dropped("tool_calls", "The answer was cut short within a tool call, which is left out.")
        else:
            name = call.name[:60]
            self._losses.refused("tool_calls", f"The arguments of the call of {name!r} are no JSON object.")


class Said:
    """The slots."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.thinking: list[str] = []
        self.images: list[str] = []
        self.calls: list[ToolCall] = []
        self.logprobs: list[bytes] = []

    def all_logprobs(self) -> msgspec.Raw | None:
        """Return the items of all texts as one list; None = there are none."""
        inner = [items.strip()[1:-1] for items in self.logprobs]
        return msgspec.Raw(b"[%b]" % b",".join(inner)) if inner else None


def first_choice(answer: Answer, losses: Losses) -> Choice:
    """Return the one alternative that can be shown."""
    if len(answer.choices) > 1:
        losses.dropped("choices", "Ollama gives one answer: the others are left out.")
    return answer.choices[0] if answer.choices else Choice()


def gather(choice: Choice, reporter: Reporter) -> Said:
    """Return what an answer says; report what has no place."""
    said = Said()
    for number, part in enumerate(choice.parts):
        _take(said, part, reporter, f"content[{number}]")
    return said


def _take(said: Said, part: Part, reporter: Reporter, at: str) -> None:
    match part:
        case Text():
            said.texts.append(part.text)
            if part.logprobs:
                said.logprobs.append(part.logprobs)
            reporter.cited(part.citations)
            reporter.extras(part.extras, at)
        case Thinking():
            said.thinking += [text for text in part.texts if text]
            reporter.state(part.signature)
            reporter.extras(part.extras, at)
        case ToolCall():
            said.calls.append(part)
            reporter.state(part.signature)
            reporter.extras(part.extras, at)
        case Refusal():
            said.texts.append(part.text)
            reporter.refusal(at)
        case Media() if part.kind == "image" and part.data:
            said.images.append(part.data)
        case Media():
            reporter.media(part)
        case Opaque():
            reporter.opaque(part, at)
        case _:
            reporter.results()
