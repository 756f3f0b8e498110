"""How long an answer may become, by the request's own word: for what is held back of a budget before it is sent."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

_Inner = TypeVar("_Inner")
_ABSENT: Any = None
"""In place of what is read as it stands: the decoder has no word for "or nothing" there."""


class Bounds(msgspec.Struct, gc=False):
    """The members of all dialects that bound an answer."""

    max_tokens: object = None
    max_completion_tokens: object = None
    max_output_tokens: object = None
    n: object = None
    generationConfig: msgspec.Raw = _ABSENT  # noqa: N815 - named as on the wire
    options: msgspec.Raw = _ABSENT


class _Generation(msgspec.Struct, gc=False):
    maxOutputTokens: object = None  # noqa: N815 - named as on the wire
    candidateCount: object = None  # noqa: N815 - likewise


class _Options(msgspec.Struct, gc=False):
    num_predict: object = None


_decode = msgspec.json.Decoder(Bounds).decode
_decode_generation = msgspec.json.Decoder(_Generation).decode
_decode_options = msgspec.json.Decoder(_Options).decode
MOST_CHOICES = 128
MOST_TOKENS = 1_000_000_000
"""Of one answer: more than any has, and few enough that what all of them cost is a whole number in JSON and in Lua."""


def read_bounds(body: bytes) -> Bounds:
    """Return what a request says of its answer's length; what is no request says nothing."""
    try:
        return _decode(body)  # quicker than to look first whether one of the names is in it
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Bounds()


def most_output_tokens(bounds: Bounds, unstated: int) -> int:
    """Return the most tokens that all answers to a request may have together.

    Of several words the highest counts: which of them is heard depends on who answers, and nobody is to make a request
    look cheap by a word of another dialect.

    Args:
        bounds: of the request.
        unstated: for each answer whose length is not stated.
    """
    # Nearly all requests have one of these words, or none.
    if bounds.n is None and bounds.options is _ABSENT and bounds.generationConfig is _ABSENT:
        most, completion, output = bounds.max_tokens, bounds.max_completion_tokens, bounds.max_output_tokens
        if most is None and (completion is None or output is None):
            stated = output if completion is None else completion
        elif completion is None and output is None:
            stated = most
        else:
            return _look_closely(bounds, unstated)
        if stated is None:
            return unstated
        if type(stated) is int and 0 < stated <= MOST_TOKENS:
            return stated
    return _look_closely(bounds, unstated)


def _look_closely(bounds: Bounds, unstated: int) -> int:
    generation, options = _inner(_decode_generation, bounds.generationConfig), _inner(_decode_options, bounds.options)
    stated = [bounds.max_completion_tokens, bounds.max_tokens, bounds.max_output_tokens]
    if generation is not None:
        stated.append(generation.maxOutputTokens)
    if options is not None:
        stated.append(options.num_predict)
    choices = max(_counts(bounds.n, None if generation is None else generation.candidateCount), default=1)
    most = min(max(_counts(*stated), default=unstated), MOST_TOKENS)
    return math.ceil(most) * math.ceil(min(choices, MOST_CHOICES))


def _inner(decode: Callable[[msgspec.Raw], _Inner], raw: msgspec.Raw) -> _Inner | None:
    if raw is _ABSENT:
        return None
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # something else by that name, which unsays no other word


def _counts(*values: object) -> list[float]:
    # Many servers take 9e3 for 9000.
    return [
        value for value in values if value is not None and (type(value) is int or type(value) is float) and value > 0
    ]
