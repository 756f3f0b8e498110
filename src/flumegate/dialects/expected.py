"""How long an answer may become, by the request's own word: for what is held back of a budget before it is sent."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec

_Inner = TypeVar("_Inner")
if TYPE_CHECKING:
    AsItStands: TypeAlias = msgspec.Raw | None
else:
    AsItStands = msgspec.Raw  # its decoder knows no "or None" here, but takes None for what is not there


class Bounds(msgspec.Struct, gc=False):
    """The members of all dialects that bound an answer, as they stand in the body: nobody here may judge them."""

    max_tokens: AsItStands = None
    max_completion_tokens: AsItStands = None
    max_output_tokens: AsItStands = None
    n: AsItStands = None
    generationConfig: AsItStands = None  # noqa: N815 - named as on the wire
    options: AsItStands = None


class UsualBounds(msgspec.Struct, gc=False):
    """The same members where they are of the types that they should have; the inner ones are looked into by need."""

    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None
    generationConfig: AsItStands = None  # noqa: N815 - named as on the wire
    options: AsItStands = None


class _Generation(msgspec.Struct, gc=False):
    maxOutputTokens: AsItStands = None  # noqa: N815 - named as on the wire
    candidateCount: AsItStands = None  # noqa: N815 - likewise


class _Options(msgspec.Struct, gc=False):
    num_predict: AsItStands = None


_decode = msgspec.json.Decoder(Bounds).decode
_decode_number = msgspec.json.Decoder(int | float).decode  # many servers take 9e3 for 9000
_decode_generation = msgspec.json.Decoder(_Generation).decode
_decode_options = msgspec.json.Decoder(_Options).decode
_NO_GENERATION = _Generation()
_NO_OPTIONS = _Options()
MOST_CHOICES = 128
MOST_TOKENS = 1_000_000_000
"""Of one answer: more than any has, and few enough that what all of them cost is a whole number in JSON and in Lua."""


def read_bounds(body: bytes) -> Bounds:
    """Return what a request says of its answer's length; what is no request says nothing."""
    try:
        return _decode(body)  # quicker than to look first whether one of the names is in it
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Bounds()


def most_output_tokens(bounds: Bounds | UsualBounds, unstated: int) -> int:
    """Return the most tokens that all answers to a request may have together.

    Of several words the highest counts: which of them is heard depends on who answers, and nobody is to make a request
    look cheap by a word of another dialect.

    Args:
        bounds: of the request.
        unstated: for each answer whose length is not stated.
    """
    # Nearly all requests have one of these words, or none.
    if bounds.n is None and bounds.options is None and bounds.generationConfig is None:
        stated, completion, output = bounds.max_tokens, bounds.max_completion_tokens, bounds.max_output_tokens
        if completion is not None or output is not None:
            if stated is not None or (completion is not None and output is not None):
                return _look_closely(bounds, unstated)
            stated = output if completion is None else completion
        if stated is None:
            return unstated
        if type(stated) is int and 0 < stated <= MOST_TOKENS:
            return stated
    return _look_closely(bounds, unstated)


def _look_closely(bounds: Bounds | UsualBounds, unstated: int) -> int:
    generation = _inner(_decode_generation, bounds.generationConfig, _NO_GENERATION)
    options = _inner(_decode_options, bounds.options, _NO_OPTIONS)
    stated = (
        bounds.max_tokens,
        bounds.max_completion_tokens,
        bounds.max_output_tokens,
        generation.maxOutputTokens,
        options.num_predict,
    )
    most = min(max(_counts(*stated), default=unstated), MOST_TOKENS)
    choices = min(max(_counts(bounds.n, generation.candidateCount), default=1), MOST_CHOICES)
    return math.ceil(most) * math.ceil(choices)


def _inner(decode: Callable[[msgspec.Raw], _Inner], raw: msgspec.Raw | None, nothing: _Inner) -> _Inner:
    if raw is None:
        return nothing
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return nothing  # something else by that name, which unsays no other word


def _counts(*words: msgspec.Raw | int | None) -> list[float]:
    """Return the numbers above zero; what is none says nothing."""
    counts: list[float] = []
    for word in words:
        if isinstance(word, int):
            counts.append(word)
        elif word is not None:
            with suppress(msgspec.DecodeError):
                counts.append(_decode_number(word))
    return [count for count in counts if count > 0]
