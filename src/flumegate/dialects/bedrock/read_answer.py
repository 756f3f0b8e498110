"""Converse's answer in one piece, read (dialects: §10). It names neither itself nor its model."""

from __future__ import annotations

import msgspec

from flumegate.dialects.bedrock.names import NAME
from flumegate.dialects.bedrock.read_parts import read_part
from flumegate.dialects.bedrock.usage import broken, read_finish, read_usage
from flumegate.dialects.node import Node, ReadError
from flumegate.ir.answer import Answer, Choice
from flumegate.ir.parts import Extras, ToolCall
from flumegate.ir.usage import Usage

_TRIVIAL = ("metrics", "performanceConfig", "serviceTier", "usage.cacheDetails", "usage.serverToolUsage")
"""What tells nothing to a client of another dialect."""
_DERIVED = ("totalTokens", "cacheReadInputTokenCount", "cacheWriteInputTokenCount")
"""Members of `usage` that say again what others say."""


def read_answer(body: bytes) -> Answer:
    """Return the answer.

    Raises:
        ReadError: it is none, or the model's output was broken.
    """
    node = Node(body, NAME)
    output = node.node("output")
    message = output.node("message") if output is not None else None
    if output is None or message is None:
        raise ReadError("output.message", "It is required.")
    raw = node.text("stopReason")
    failure = broken(raw)
    if failure is not None:
        raise ReadError("stopReason", failure.message)
    message.raw("role")
    place = message.at("content")
    parts = tuple(read_part(block, f"{place}[{number}]") for number, block in enumerate(message.items("content")))
    usage, fields = read_metadata(node)
    fields |= left_of(node) | left_of(output) | left_of(message)
    choice = Choice(
        parts,
        read_finish(raw, called=any(isinstance(part, ToolCall) for part in parts)),
        extras_of(fields),
    )
    return Answer(choices=(choice,), usage=usage)


def read_metadata(node: Node) -> tuple[Usage | None, dict[str, msgspec.Raw]]:
    """Return the usage, and what else is counted.

    Raises:
        ReadError: a count is no number.
    """
    counted = node.node("usage")
    if counted is None:
        return None, {}
    usage = read_usage(counted)
    for name in _DERIVED:
        counted.raw(name)
    fields = {f"usage.{name}": raw for name, raw in left_of(counted).items() if bytes(raw) not in (b"{}", b"[]")}
    return usage, fields


def extras_of(fields: dict[str, msgspec.Raw]) -> Extras | None:
    """Return what a provider says of an answer beside its parts."""
    return Extras(NAME, fields, trivial=tuple(name for name in _TRIVIAL if name in fields)) if fields else None


def left_of(node: Node) -> dict[str, msgspec.Raw]:
    """Return the members that nobody took."""
    left = node.left()
    return left.fields if left is not None else {}
