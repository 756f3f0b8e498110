"""What chat and generate ask for beside the conversation: `options`, `format`, `think`.

Options that only Ollama knows stay behind among the extras, each under its path (`options.num_ctx`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.ir.parts import Extras
from flumegate.ir.request import Effort, Output, Reasoning, Request

_NUMBERS = ("temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repeat_penalty")
_INTEGERS = ("top_k", "seed")
_OPTIONS = {"max_output_tokens": "num_predict", "stop": "stop"} | {name: name for name in (*_NUMBERS, *_INTEGERS)}
_PREFIX = "options."
_LEVELS_BY_JSON: dict[bytes, Effort] = {b'"low"': "low", b'"medium"': "medium", b'"high"': "high", b'"max"': "max"}
_decode_number = msgspec.json.Decoder(int | float).decode
NAMES = {name: f"options.{wire}" for name, wire in _OPTIONS.items()} | {"output": "format", "reasoning": "think"}
"""Neutral name of a setting → where it stands in a request."""


def read_settings(node: Node) -> dict[str, Any]:
    """Take the settings out of a request; return them under the neutral names.

    What `options` holds beside them stands under `left`: they are to be kept as extras.

    Raises:
        ReadError: one is of the wrong type.
    """
    found: dict[str, Any] = {
        "left": {},
        "stream": node.boolean("stream") is not False,  # streaming is the default
        "output": _read_format(node),
        "reasoning": _read_think(node),
        "logprobs": node.boolean("logprobs"),
        "top_logprobs": node.integer("top_logprobs"),
    }
    options = node.node("options")
    if options is not None:
        found |= _read_options(options)
    return found


def _read_options(options: Node) -> dict[str, Any]:
    found: dict[str, Any] = {name: options.number(name) for name in _NUMBERS}
    found |= {name: _whole(options, name) for name in _INTEGERS}
    limit = _whole(options, "num_predict")
    kept: dict[str, msgspec.Raw] = {}
    if limit is not None and limit < 0:  # without a limit, or the rest of the window
        kept["num_predict"] = msgspec.Raw(b"%d" % limit)
        limit = None
    found["max_output_tokens"] = limit
    found["stop"] = options.strings("stop")
    left = options.left()
    found["left"] = kept | (left.fields if left is not None else {})
    return found


def _whole(options: Node, name: str) -> int | None:
    """Take an integer; the server takes `40.0` for one too."""
    raw = options.raw(name)
    if not raw:
        return None
    try:
        number = _decode_number(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        number = None
    if number is None or not float(number).is_integer():
        raise ReadError(options.at(name), "It must be an integer.")
    return int(number)


def _read_format(node: Node) -> Output | None:
    raw = node.raw("format")
    if raw in (b"", b'""'):
        return None
    if raw == b'"json"':
        return Output("json")
    if raw[:1] != b"{":
        raise ReadError(node.at("format"), "It must be 'json' or a JSON schema.")
    return Output("schema", schema=raw)


def _read_think(node: Node) -> Reasoning | None:
    raw = node.raw("think")
    if raw in (b"", b'""'):
        return None
    if raw in (b"true", b"false"):
        enabled = raw == b"true"
        return Reasoning(enabled=enabled, visible=enabled or None)
    level = _LEVELS_BY_JSON.get(raw)
    if level is None:
        raise ReadError(node.at("think"), "It must be true, false, 'low', 'medium', 'high' or 'max'.")
    return Reasoning(effort=level, visible=True)


def write_format(output: Output | None) -> str | msgspec.Raw | None:
    """Return the `format` member; None = none."""
    if output is None or output.kind == "text":
        return None
    return msgspec.Raw(output.schema) if output.kind == "schema" and output.schema else "json"


def with_options(extras: Extras | None, dialect: str, left: dict[str, msgspec.Raw]) -> Extras | None:
    """Return what a request has left over, with what its options have left over under their paths."""
    if not left:
        return extras
    fields = {_PREFIX + name: raw for name, raw in left.items()}
    if extras is None:
        return Extras(dialect, fields)
    return msgspec.structs.replace(extras, fields=extras.fields | fields)


def take_options(fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Take out of extras what belongs into the options, and return it under the options' own names."""
    paths = [path for path in fields if path.startswith(_PREFIX)]
    return {path.removeprefix(_PREFIX): fields.pop(path) for path in paths}


def option_members(request: Request) -> dict[str, Any]:
    """Return the neutral settings that Ollama has as options."""
    members: dict[str, Any] = {}
    for name, wire in _OPTIONS.items():
        value = getattr(request, name)
        if value is not None and value != ():
            members[wire] = value
    return members
