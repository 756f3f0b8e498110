"""How long an answer may become, by the request's own word: for what is held back of a budget before it is sent."""

from __future__ import annotations

import msgspec


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


_decode = msgspec.json.Decoder(_Request).decode
_decode_generation = msgspec.json.Decoder(_Generation).decode
_decode_options = msgspec.json.Decoder(_Options).decode
MOST_CHOICES = 128


def most_output_tokens(body: bytes) -> int | None:
    """Return the most tokens that all answers to a request may have together; None = it does not say."""
    if b"max" not in body and b"num_predict" not in body:
        return None  # none of the names above is in it: it need not be decoded
    try:
        request = _decode(body)
        generation = _decode_generation(request.generationConfig) if len(request.generationConfig) else _Generation()
        options = _decode_options(request.options) if len(request.options) else _Options()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    stated = (
        request.max_completion_tokens,
        request.max_tokens,
        request.max_output_tokens,
        generation.maxOutputTokens,
        options.num_predict,
    )
    limits = [value for value in stated if type(value) is int and value > 0]
    if not limits:
        return None
    choices = next((value for value in (request.n, generation.candidateCount) if type(value) is int and value > 0), 1)
    return min(limits) * min(choices, MOST_CHOICES)
