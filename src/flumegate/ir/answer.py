"""An answer in one piece, in nobody's dialect. A stream folds into the same value (see `fold`)."""

from __future__ import annotations

from typing import Literal

import msgspec

from flumegate.ir.parts import Extras, Part
from flumegate.ir.request import Request
from flumegate.ir.usage import Usage

FinishReason = Literal["stop", "stop_sequence", "tool", "length", "context_full", "filter", "refusal", "pause"]


class Finish(msgspec.Struct, frozen=True, gc=False):
    """Why it ended: one word for all dialects, and the provider's own."""

    reason: FinishReason
    raw: str = ""
    stop_sequence: str = ""
    """The sequence that was met, where the provider tells."""
    detail: str = ""
    """An explanation for people, as of a refusal."""


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One of the alternatives; nearly always the only one."""

    parts: tuple[Part, ...] = ()
    finish: Finish = Finish("stop")
    extras: Extras | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What the model said."""

    id: str = ""
    model: str = ""
    """As the provider names it."""
    created: int = 0
    """Unix seconds; 0 = not said."""
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    extras: Extras | None = None


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What a writer of answers must know of the question."""

    request: Request
    """Its `model` is the name that the client asked for, and the name that the answer bears."""
    seed: str
    """Unique to this exchange, letters and digits: what minted ids are made of. The same seed gives the same ids."""
    created: int
    """Unix seconds, for providers that do not say."""


def finish_of(reason: FinishReason, raw: str, *, called: bool) -> Finish:
    """Return a finish where a tool call that was seen outweighs a plain `stop` (many servers say `stop` for both)."""
    return Finish("tool" if called and reason in ("stop", "stop_sequence") else reason, raw)
