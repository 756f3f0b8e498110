"""A completions request, read into ours: one prompt is one user turn (dialects: §5, §13.8).

Prompts of token ids and lists of several prompts are left over as vital: whoever writes the request refuses them.
"""

from __future__ import annotations

from types import MappingProxyType

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.ir.parts import Extras, Text
from flumegate.ir.request import Request, Turn

COMPLETIONS = "completions"
ECHO = "echo"
"""Mark of a request whose answer begins with the prompt (see `wants_echo`)."""
VITAL = ("prompt", "suffix", "best_of", "logprobs")
SETTINGS = MappingProxyType(
    {
        "max_output_tokens": "max_tokens",
        "candidates": "n",
        "repeat_penalty": "repetition_penalty",
        "include_usage": "stream_options.include_usage",
    }
)
"""Neutral name of a setting → path in a request of this dialect."""
_DEFAULT_TOKENS = 16
"""OpenAI's own default of `max_tokens`."""


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> Request:
    """Return the request.

    Raises:
        ReadError: the document is no completions request.
    """
    node = Node(body, COMPLETIONS)
    named = node.text("model")
    if "prompt" not in node:
        raise ReadError("prompt", "It is required.")
    kept: dict[str, msgspec.Raw] = {}
    turns = _turns(node, kept)
    options = node.node("stream_options")
    include_usage = bool(options.boolean("include_usage")) if options is not None else False
    limit = node.integer("max_tokens")
    stop = (node.text("stop"),) if node.is_string("stop") else node.strings("stop")
    penalty = node.number("repetition_penalty")
    echo = node.boolean("echo")
    fields = {
        "turns": turns,
        "stream": bool(node.boolean("stream")) or stream,
        "include_usage": include_usage,
        "max_output_tokens": _DEFAULT_TOKENS if limit is None else limit,
        "temperature": node.number("temperature"),
        "top_p": node.number("top_p"),
        "top_k": node.integer("top_k"),
        "min_p": node.number("min_p"),
        "stop": stop,
        "seed": node.integer("seed"),
        "presence_penalty": node.number("presence_penalty"),
        "frequency_penalty": node.number("frequency_penalty"),
        "repeat_penalty": penalty,
        "candidates": node.integer("n"),
        "logit_bias": node.raw("logit_bias"),
        "user": node.text("user"),
    }
    extras = _extras(node, options, kept, echo=bool(echo))
    return Request(dialect=COMPLETIONS, model=model or named, extras=extras, **fields)  # type: ignore[arg-type]  # by name


def _turns(node: Node, kept: dict[str, msgspec.Raw]) -> tuple[Turn, ...]:
    """Take the prompt; one that is not a single text is kept as it is."""
    if node.is_string("prompt"):
        return (_turn(node.text("prompt"), "prompt"),)
    if not node.is_list("prompt"):
        raise ReadError("prompt", "It must be a string or a list.")
    items = node.items("prompt")
    if len(items) == 1 and bytes(items[0])[:1] == b'"':
        return (_turn(msgspec.json.decode(items[0], type=str), "prompt[0]"),)
    kept["prompt"] = msgspec.Raw(msgspec.json.encode(items))
    return ()


def _turn(text: str, at: str) -> Turn:
    return Turn("user", (Text(text, at=at),), plain=True, at=at)


def _extras(node: Node, options: Node | None, kept: dict[str, msgspec.Raw], *, echo: bool) -> Extras | None:
    for name, harmless in (("suffix", b'""'), ("best_of", b"1")):
        raw = node.raw(name)
        if raw and raw != harmless:
            kept[name] = msgspec.Raw(raw)
    if options is not None and (rest := options.left()) is not None:
        kept["stream_options"] = msgspec.Raw(msgspec.json.encode(rest.fields))
    others = node.left()
    fields = kept | (others.fields if others is not None else {})
    vital = tuple(name for name in VITAL if name in fields) + ((ECHO,) if echo else ())
    return Extras(COMPLETIONS, fields, vital) if fields or vital else None


def wants_echo(request: Request) -> bool:
    """Tell whether the client wants its prompt in front of the answer."""
    extras = request.extras
    return extras is not None and ECHO in extras.vital and ECHO not in extras.fields
