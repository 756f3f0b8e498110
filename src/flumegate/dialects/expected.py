"""How long an answer may become, by the request's own word: for what is held back of a budget before it is sent."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import msgspec

_Inner = TypeVar("_Inner")


class _Plain(msgspec.Struct, gc=False):
    """A request that says no more of its answer's length than most do; any other is refused, and looked at closely."""

    max_tokens: int = 0
    max_completion_tokens: int = 0
    max_output_tokens: int = 0
    n: int = 1
    generationConfig: None = None  # noqa: N815 - named as on the wire
    options: None = None


class _Generation(msgspec.Struct, gc=False):
    maxOutputTokens: object = None  # noqa: N815 - named as on the wire
    candidateCount: object = None  # noqa: N815 - likewise


class _Options(msgspec.Struct, gc=False):
    num_predict: object = None


class _Request(msgspec.Struct, gc=False):
    """The members of all dialects that bound an answer."""

    max_tokens: object = None
    max_completion_tokens: object = None
    max_output_tokens: object = None
    generationConfig: msgspec.Raw = msgspec.Raw(b"")  # noqa: N815 - named as on the wire
    options: msgspec.Raw = msgspec.Raw(b"")
    n: object = None


_decode_plain = msgspec.json.Decoder(_Plain).decode
_decode = msgspec.json.Decoder(_Request).decode
_decode_generation = msgspec.json.Decoder(_Generation).decode
_decode_options = msgspec.json.Decoder(_Options).decode
MOST_CHOICES = 128
MOST_TOKENS = 1_000_000_000
"""Of one answer: more than any has, and few enough that what all of them cost is a whole number in JSON and in Lua."""
_NO_GENERATION = _Generation()
_NO_OPTIONS = _Options()


def most_output_tokens(body: bytes, unstated: int) -> int:
    """Return the most tokens that all answers to a request may have together.

    Of several words the highest counts: which of them is heard depends on who answers, and nobody is to make a request
    look cheap by a word of another dialect.

    Args:
        body: of the request.
        unstated: for each answer whose length is not stated.
    """
    try:
        plain = _decode_plain(body)  # quicker than to look first whether one of the names is in it
    except msgspec.ValidationError:
        return _look_closely(body, unstated)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return unstated
    most = max(plain.max_tokens, plain.max_completion_tokens, plain.max_output_tokens)
    if most <= 0:
        most = unstated
    elif most > MOST_TOKENS:
        most = MOST_TOKENS
    return most if plain.n <= 1 else most * min(plain.n, MOST_CHOICES)


def _look_closely(body: bytes, unstated: int) -> int:
    try:
        request = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return unstated
    generation, options = _NO_GENERATION, _NO_OPTIONS
    if len(request.generationConfig):
        generation = _inner(_decode_generation, request.generationConfig, _NO_GENERATION)
    if len(request.options):
        options = _inner(_decode_options, request.options, _NO_OPTIONS)
    stated = (
        request.max_completion_tokens,
        request.max_tokens,
        request.max_output_tokens,
        generation.maxOutputTokens,
        options.num_predict,
    )
    choices = max(_counts(request.n, generation.candidateCount), default=1)
    most = min(max(_counts(*stated), default=unstated), MOST_TOKENS)
    return math.ceil(most) * math.ceil(min(choices, MOST_CHOICES))


def _inner(decode: Callable[[msgspec.Raw], _Inner], raw: msgspec.Raw, nothing: _Inner) -> _Inner:
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return nothing  # something else by that name, which unsays no other word


def _counts(*values: object) -> list[float]:
    # Many servers take 9e3 for 9000.
    return [
        value for value in values if value is not None and (type(value) is int or type(value) is float) and value > 0
    ]
