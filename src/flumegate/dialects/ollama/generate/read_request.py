"""A client's `POST /api/generate`: the prompt becomes a user's message, `system` one in front of it.

What steers the raw text of the prompt (`suffix`, `template`, `raw`, `context`) has no place in a conversation: without
it the request would mean something else.
"""

from __future__ import annotations

import msgspec

from flumegate.dialects.node import Node
from flumegate.dialects.ollama.images import read_images
from flumegate.dialects.ollama.names import GENERATE
from flumegate.dialects.ollama.settings import read_settings, with_options
from flumegate.ir.parts import Extras, Part, Text
from flumegate.ir.request import Request, Turn

_VITAL = ("suffix", "template", "raw", "context", "width", "height", "steps")
_NOT_SAID = (b"", b'""', b"false", b"[]", b"0")


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> Request:  # noqa: ARG001 - the body tells
    """Return the request. One without a prompt only loads the model: it has no turns.

    Raises:
        ReadError: the document is not of the dialect.
    """
    node = Node(body, GENERATE)
    settings = read_settings(node)
    left = settings.pop("left")
    name = node.text("model") or model
    turns = _read_turns(node)
    steering = {member: raw for member in _VITAL if (raw := node.raw(member)) not in _NOT_SAID}
    extras = with_options(node.left(), GENERATE, left)
    if steering:
        fields = {member: msgspec.Raw(raw) for member, raw in steering.items()}
        extras = Extras(GENERATE, fields | (extras.fields if extras is not None else {}), tuple(steering))
    return Request(dialect=GENERATE, model=name, turns=turns, extras=extras, **settings)


def _read_turns(node: Node) -> tuple[Turn, ...]:
    system, prompt = node.text("system"), node.text("prompt")
    images = read_images(node)
    if not prompt and not images:
        return ()
    turns = []
    if system:
        turns.append(Turn("system", (Text(system, at="system"),), plain=True, at="system"))
    parts: tuple[Part, ...] = ((Text(prompt, at="prompt"),) if prompt else ()) + images
    turns.append(Turn("user", parts, plain=not images, at="prompt"))
    return tuple(turns)
