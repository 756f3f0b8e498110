"""The few top-level members that every request dialect shares, read without looking at the rest.

The body itself is forwarded untouched, so nothing here may reject what an upstream would accept: only JSON that is no
JSON, no object, or names no model.
"""

from __future__ import annotations

import msgspec

from flumegate.dialects.expected import AsItStands, Bounds, UsualBounds, read_bounds
from flumegate.errors import INVALID_REQUEST, GatewayError
from flumegate.wire import splice

MODEL_KEY = b'"model"'
MAX_MODEL_LENGTH = 512
"""Characters. The name goes into records, headers and memory."""
STREAM_OPTIONS_KEY = b'"stream_options"'


class StreamOptions(msgspec.Struct, gc=False):
    """OpenAI's `stream_options`, as far as we need it."""

    include_usage: bool | None = None


class Envelope(UsualBounds, gc=False):
    """What the gateway must know of a request to route it, and to hold money for it."""

    model: str = ""
    stream: bool | None = None
    stream_options: StreamOptions | None = None


class Unbounded(Envelope, gc=False):
    """What is known of a request whose body was not read for what bounds the answer: see `bounds_of`."""


class _Loose(msgspec.Struct, gc=False):
    model: object = None
    stream: object = None
    stream_options: AsItStands = None


_decode = msgspec.json.Decoder(Envelope).decode
_decode_loosely = msgspec.json.Decoder(_Loose).decode
_decode_options = msgspec.json.Decoder(StreamOptions | None).decode


def read(body: bytes, *, model_required: bool = True) -> Envelope:
    """Return the envelope of a request body.

    Raises:
        GatewayError: not JSON, not an object, a model that is missing, empty, ambiguous or no string.
    """
    try:
        envelope = _decode(body)
    except msgspec.ValidationError:
        envelope = _read_loosely(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _not_json(body, error) from None
    if len(envelope.model) > MAX_MODEL_LENGTH:
        raise GatewayError(
            INVALID_REQUEST,
            "invalid_model",
            f"The name in 'model' has more than {MAX_MODEL_LENGTH} characters; no provider has such a model.",
            param="model",
        )
    if splice.is_ambiguous(body, MODEL_KEY):
        raise GatewayError(
            INVALID_REQUEST, "duplicate_model", "The body names 'model' more than once; name it once.", param="model"
        )
    if not envelope.model and model_required:
        raise GatewayError(
            INVALID_REQUEST, "missing_model", "The body needs a non-empty string 'model'.", param="model"
        )
    return envelope


def bounds_of(seen: Envelope, body: bytes) -> Bounds | UsualBounds:
    """Return what bounds the answer to a request whose envelope was read, or was not needed."""
    return seen if type(seen) is Envelope else read_bounds(body)


def _read_loosely(body: bytes) -> Envelope:
    """Read a body whose members have unexpected types: the upstream shall judge all but the model."""
    try:
        loose = _decode_loosely(body)
    except msgspec.ValidationError:
        raise GatewayError(INVALID_REQUEST, "invalid_json", "The body must be a JSON object.") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _not_json(body, error) from None
    if loose.model is not None and not isinstance(loose.model, str):
        raise GatewayError(
            INVALID_REQUEST, "invalid_model", "'model' must be a string, such as \"gpt-4o\".", param="model"
        )
    return Unbounded(
        model=loose.model or "",
        stream=None if loose.stream is None else bool(loose.stream),
        stream_options=_read_options(loose),
    )


def _read_options(loose: _Loose) -> StreamOptions | None:
    """Return what is known of usage; to what is not understood nothing is to be added, so that asks for it already."""
    if loose.stream is not None and not isinstance(loose.stream, bool):
        return StreamOptions(include_usage=True)
    try:
        options: StreamOptions | None = None if loose.stream_options is None else _decode_options(loose.stream_options)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return StreamOptions(include_usage=True)
    return options


def _not_json(body: bytes, error: Exception) -> GatewayError:
    if not body.strip():
        return GatewayError(INVALID_REQUEST, "empty_body", "The request has no body; send a JSON object.")
    detail = str(error).removesuffix(".")
    return GatewayError(INVALID_REQUEST, "invalid_json", f"The body is not valid JSON: {detail[:200]}.")
