"""A whole message into the neutral form."""

from __future__ import annotations

from flumegate.dialects.anthropic.messages.extras import DIALECT, Fields, extras_of
from flumegate.dialects.anthropic.messages.read_blocks import read_block
from flumegate.dialects.anthropic.messages.stops import read_stop, settle
from flumegate.dialects.anthropic.messages.usage import Counters
from flumegate.dialects.node import Node, ReadError
from flumegate.ir.answer import Answer, Choice
from flumegate.ir.parts import Part, ToolCall


def read_answer(body: bytes) -> Answer:
    """Return an answer. What only Anthropic says of it stands at its choice, as in a stream.

    Raises:
        ReadError: it is no message.
    """
    node = Node(body, DIALECT)
    if node.text("type") not in ("", "message"):
        raise ReadError("type", "It must be 'message'.")
    node.raw("role")
    identity, model = node.text("id"), node.text("model")
    parts = read_blocks(node)
    found: Fields = {}
    finish = read_stop(node, found)
    counters = Counters()
    counted = node.node("usage")
    usage = counters.take(counted) if counted is not None else None
    done = settle(finish, called=any(isinstance(part, ToolCall) for part in parts))
    choice = Choice(parts, done, extras_of(node, found | counters.left))
    return Answer(identity, model, 0, (choice,), usage)


def read_blocks(node: Node) -> tuple[Part, ...]:
    """Take a message's content.

    Raises:
        ReadError: it is no list of blocks.
    """
    place = node.at("content")
    raws = node.items("content")
    return tuple(read_block(bytes(raw), f"{place}[{number}]", at="") for number, raw in enumerate(raws))
